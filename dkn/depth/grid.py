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

"""Which pixel of one grid lies under a pixel of another one of the same view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pixels_under(size: int, other: int) -> NDArray[np.int64]:
    """The pixel of an axis of `other` pixels that the centre of each of `size` pixels lies in: (size,), as PyTorch's
    "nearest-exact" has it, in whole numbers."""
    return (2 * np.arange(size) + 1) * other // (2 * size)
