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

"""The stages in PyTorch: what all others are checked against, and what serves on a GPU without Triton."""

from __future__ import annotations

import math

from torch import Tensor

from dkn.depth.holes.validity import upsample_validity
from dkn.depth.network_input import prepare
from dkn.depth.resample import clamp, local_range
from dkn.depth.stages.base import Prepared, Stages


def validity(low: Tensor, least: float, most: float) -> Tensor:
    """Where a depth (1, 1, h, w) is positive, finite, and within these metres: (1, 1, h, w) bool."""
    return (low > 0) & (low >= least) & (low <= most) & low.isfinite()


def finish(
    result: Tensor, prepared: Prepared, bounds: Tensor, low: Tensor, valid: Tensor, color: Tensor, cut: bool
) -> Tensor:
    """What the network gave, in metres, within bounds, and NaN where nothing is known.

    Args:
        result: (1, 1, H, W), in the unit of `prepared`.
        bounds: (1, 2, h, w) of `local_range`.
        low, valid: (1, 1, h, w) metres and bool: what was measured.
        color: (H, W, 3) uint8 RGB.
        cut: unknown is what `upsample_validity` says; otherwise nothing, unless all of `low` is.

    Returns:
        (1, 1, H, W) float32.
    """
    metres = clamp(result, bounds, prepared.unit, prepared.start)
    known = upsample_validity(valid, color, low, metres) if cut else valid.any()
    return metres.masked_fill_(~known, math.nan)


PYTORCH = Stages(validity, prepare, local_range, finish, upsample_validity)
