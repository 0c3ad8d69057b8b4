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

"""dkn: deformable kernel networks for guided depth upsampling. No ROS in here.

from dkn import Upsampler
upsample = Upsampler("fdkn")
depth_hr = upsample(color, depth)  # (H, W, 3) uint8 RGB, (h, w) float32 metres → (H, W) float32 metres
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dkn.errors import CheckpointError, ConfigError, DataError, DknError, ImageError
    from dkn.filter import Filter
    from dkn.networks.config import NetworkConfig
    from dkn.networks.dkn import DKN, FDKN
    from dkn.networks.fdkn_layer import FDKNLayer
    from dkn.upsampler import Upsampler

__all__ = [
    "DKN",
    "FDKN",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DknError",
    "FDKNLayer",
    "Filter",
    "ImageError",
    "NetworkConfig",
    "Upsampler",
]

_PLACES = {
    "Upsampler": "dkn.upsampler",
    "Filter": "dkn.filter",
    "FDKNLayer": "dkn.networks.fdkn_layer",
    "DKN": "dkn.networks.dkn",
    "FDKN": "dkn.networks.dkn",
    "NetworkConfig": "dkn.networks.config",
}


def __getattr__(name: str) -> Any:
    """PyTorch takes seconds to import: only what is used pays for it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES.get(name, "dkn.errors")), name)
