# Copyright 2026 dkn_ros maintainers
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Where a kernel's taps lie."""

from __future__ import annotations

import numpy as np


def regular_taps(kernel_size: int) -> np.ndarray:
    """The positions q of a k×k kernel relative to its centre, (k², 2) float32 as (x, y), row by row."""
    along = np.arange(kernel_size, dtype=np.float32) - kernel_size // 2
    return np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2)
