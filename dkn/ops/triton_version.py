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

"""Which Triton our kernels are for."""

from __future__ import annotations

OLDEST = 3, 2
"""3.0 and 3.1, which came with PyTorch 2.4 and 2.5, do not compile for sm_90: an assertion ends the process."""


def is_new_enough() -> bool:
    """Whether a Triton is installed that is not older."""
    try:
        import triton
    except ImportError:
        return False
    return tuple(int(number) for number in triton.__version__.split(".")[:2]) >= OLDEST
