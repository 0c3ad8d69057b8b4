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

"""Depth maps: units, validity, resampling, a network's input, and how a low-resolution map arises.

At Python's boundary depth is float32 metres, invalid = NaN. On the wire (REP 118) it is 16UC1 millimetres, invalid
= 0, or 32FC1 metres, invalid = NaN. Inside, a map and its validity mask are two tensors (N, 1, H, W), so that no
arithmetic ever meets a NaN.
"""

from dkn.depth.degradation import DEGRADATIONS, degrade
from dkn.depth.edges import near_edges
from dkn.depth.network_input import Prepared, input_channels, mixed_pixels, prepare
from dkn.depth.resample import (
    clamp,
    clamp_to_local_range,
    fill_holes,
    is_readable,
    local_range,
    reduce_color,
    resize_bicubic,
    resize_mask,
    to_grid,
    upsample_bicubic,
)
from dkn.depth.sensor import (
    axial_sigma,
    blobs,
    kinect_noise,
    quantise_disparity,
)
from dkn.depth.units import Depth, Mask, to_counts, to_metres

__all__ = [
    "DEGRADATIONS",
    "Depth",
    "Mask",
    "Prepared",
    "axial_sigma",
    "blobs",
    "clamp",
    "clamp_to_local_range",
    "degrade",
    "fill_holes",
    "input_channels",
    "is_readable",
    "kinect_noise",
    "local_range",
    "mixed_pixels",
    "near_edges",
    "prepare",
    "quantise_disparity",
    "reduce_color",
    "resize_bicubic",
    "resize_mask",
    "to_counts",
    "to_grid",
    "to_metres",
    "upsample_bicubic",
]
