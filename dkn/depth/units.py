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

"""Depth maps in files, on the wire (REP 118), and at Python's boundary: units and what marks an invalid pixel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dkn.errors import ImageError

Depth = NDArray[np.float32]
Mask = NDArray[np.bool_]


TOO_FAR = 200.0  # metres; depth of which half lies beyond is in another unit
UNKNOWN_COUNT = 65535
"""What many drivers give where they know nothing, beside 0: the largest count of 16 bits."""


def to_metres(raw: np.ndarray, unit: float = 1e-3, min_depth: float = 0.0, max_depth: float = math.inf) -> Depth:
    """Depth as a camera gives it → float32 metres with NaN for invalid.

    Args:
        raw: (H, W) uint16 counts (16UC1, mono16; 0 and 65535 are unknown) or float metres (32FC1), of any byte order.
        unit: metres per count; REP 118 has millimetres. Floats are metres whatever it is.
        min_depth, max_depth: metres; depth outside becomes NaN too.

    Raises:
        ImageError: another shape or dtype.
    """
    if raw.ndim != 2:
        raise ImageError(f"depth has shape {raw.shape}; expected (H, W)")
    if raw.dtype.kind == "u" and raw.dtype.itemsize == 2:
        metres = raw.astype(np.float32)
        metres *= np.float32(unit)
        metres[raw == UNKNOWN_COUNT] = np.nan
    elif raw.dtype.kind == "f":
        metres = raw.astype(np.float32)
        metres[~np.isfinite(metres)] = np.nan
    else:
        raise ImageError(f"depth is {raw.dtype}; expected uint16 millimetres or float metres")
    metres[metres <= 0] = np.nan
    if min_depth > 0:
        metres[metres < min_depth] = np.nan
    if max_depth < math.inf:
        metres[metres > max_depth] = np.nan
    return metres


def not_metres(depth: np.ndarray) -> str | None:
    """That depth, any array of numbers, seems to be in another unit, in a few words; None if it may be metres."""
    known = depth[np.isfinite(depth) & (depth > 0)]
    middle = float(np.median(known)) if known.size else 0.0
    return f"half of its depth is beyond {middle:.0f} m; are these millimetres?" if middle > TOO_FAR else None


def measured(depth: Depth, min_depth: float, max_depth: float) -> Depth:
    """Metres as they are where they are positive, finite and within the limits, in a copy; NaN elsewhere."""
    inside = (depth > 0) & (depth >= min_depth) & (depth <= max_depth) & (depth < np.inf)
    return np.where(inside, depth, np.float32(np.nan))


def to_counts(metres: np.ndarray, unit: float = 1e-3) -> np.ndarray:
    """float32 metres with NaN → uint16 counts of so many metres, with 0 for invalid, and for what 16 bits cannot
    say."""
    counts = np.rint(metres * np.float32(1 / unit))
    fits = (counts >= 1) & (counts <= 65535)  # False for NaN
    return np.where(fits, counts, 0).astype(np.uint16)
