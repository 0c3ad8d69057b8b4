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
    from dkn.filtering.filter import Filter
    from dkn.networks import DKN, FDKN, NetworkConfig
    from dkn.segmentation.layer import FDKNLayer
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
    "Filter": "dkn.filtering.filter",
    "FDKNLayer": "dkn.segmentation.layer",
    "DKN": "dkn.networks",
    "FDKN": "dkn.networks",
    "NetworkConfig": "dkn.networks",
}


def __getattr__(name: str) -> Any:
    """PyTorch takes seconds to import: only what is used pays for it (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES.get(name, "dkn.errors")), name)
