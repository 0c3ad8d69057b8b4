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

"""How a network is run: several engines that give the same depth, and the choice between them.

reference   the paper's own formulation, float32; what the others are checked against, never chosen by itself
torch       PyTorch alone; wherever it is installed
onnx        ONNX Runtime for the convolutions, Numba for the average; CPU
openvino    OpenVINO for the convolutions, Numba for the average; CPU
cuda        PyTorch for the convolutions, Triton for the heads and the average; CUDA

`registry.py` knows which there are and in which order to try them, `runner.py` runs the first that works; `selection`
times the others beside it and lets the fastest take over.
"""

from dkn.engines.base import PRECISIONS, Engine
from dkn.engines.registry import ENGINES, Choice, candidates, plan
from dkn.engines.runner import TOLERANCE, DeviceChanged, Runner, difference_from_numpy

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "TOLERANCE",
    "Choice",
    "DeviceChanged",
    "Engine",
    "Runner",
    "candidates",
    "difference_from_numpy",
    "plan",
]
