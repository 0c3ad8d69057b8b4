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

"""The stages of a frame as Triton kernels: for GPUs, where PyTorch takes one launch for each operation and each takes
longer than what it computes. One map at a time; nothing waits for the device.

Sizes are not specialised (`do_not_specialize`): but for the alignment of pointers, a kernel is compiled once for all of
them, so that the check in `dkn.depth.stages.choice` has seen what will run.
"""

from dkn.depth.stages.fused.network_input import prepare, validity
from dkn.depth.stages.fused.pyramid import fill_holes, launches
from dkn.depth.stages.fused.result import finish, local_range

__all__ = ["fill_holes", "finish", "launches", "local_range", "prepare", "validity"]
