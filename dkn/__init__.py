"""dkn: deformable kernel networks for guided depth upsampling. No ROS in here.

from dkn import Upsampler
upsample = Upsampler("fdkn")
depth_hr = upsample(color, depth)  # (H, W, 3) uint8 RGB, (h, w) float32 metres → (H, W) float32 metres
"""

from dkn.errors import CheckpointError, ConfigError, DataError, DknError, ImageError
from dkn.networks import DKN, FDKN, NetworkConfig
from dkn.upsampler import Upsampler

__all__ = [
    "DKN",
    "FDKN",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DknError",
    "ImageError",
    "NetworkConfig",
    "Upsampler",
]
