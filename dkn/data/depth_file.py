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

"""Depth in a file: counts of some unit, or metres, in; metres with NaN out, and back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dkn.depth.units import Depth, not_metres, to_counts, to_metres
from dkn.errors import ConfigError, DataError
from dkn.utils.image_io import read_map, write_image

MILLIMETRE = 1e-3
LARGEST_PNG = 65.534  # metres that 16 bits of millimetres can say; 65535 stands for unknown


def read_depth(path: Path, unit: float | None = None, min_depth: float = 0.0, max_depth: float = np.inf) -> Depth:
    """Depth as it is stored → (H, W) float32 metres, NaN = unknown.

    Args:
        path: PNG, PGM or TIFF of 16 bits, float TIFF, PFM or .npy. Not positive, not finite, and of 16 bits 65535 mean
            unknown.
        unit: metres a count; by default 0.001 for 16 bits (REP 118) and 1 for floats. Other types need one.
        min_depth, max_depth: metres; depth outside is unknown.

    Raises:
        ConfigError: a unit that is not positive, or none where none is usual.
        DataError: missing, damaged, of another shape; or floats that are hardly metres.
    """
    if unit is not None and not 0 < unit < np.inf:
        raise ConfigError(f"unit={unit}: metres a count, a positive number, is needed")
    counts = read_map(path)
    are_16_bits = counts.dtype.kind == "u" and counts.dtype.itemsize == 2  # of any byte order
    if unit is None and counts.dtype.kind != "f" and not are_16_bits:
        raise ConfigError(f"{path}: {counts.dtype} depth has no usual unit; give one, in metres a count (--unit)")
    if are_16_bits:
        return to_metres(counts, unit or MILLIMETRE, min_depth, max_depth)
    with np.errstate(over="ignore"):
        depth = to_metres((counts.astype(np.float64) * (unit or 1.0)).astype(np.float32), 1.0, min_depth, max_depth)
    if unit is None and (doubt := not_metres(counts)):
        raise DataError(f"{path}: {doubt} --unit 0.001")
    return depth


def check_depth_type(path: Path) -> None:
    """Say at once, not after minutes of work, that depth cannot be written to a file of this name.

    Raises:
        DataError: neither .png, .npy nor .tif(f).
    """
    if path.suffix.lower() not in (".png", ".npy", ".tif", ".tiff"):
        raise DataError(f"{path}: depth is written as .png (16-bit millimetres), or as .npy or .tiff (float metres)")


def write_depth(path: Path, metres: Depth) -> None:
    """Write (H, W) float32 metres with NaN, making the folder: .png as 16-bit millimetres with 0 for unknown, .npy and
    .tiff as float32 metres with NaN.

    Raises:
        DataError: another kind of file, depth beyond what a .png can say, or a file that cannot be written.
    """
    check_depth_type(path)
    kind = path.suffix.lower()
    if kind == ".png":
        if (beyond := int(np.sum(metres > LARGEST_PNG))) > 0:
            raise DataError(
                f"{path}: {beyond} pixels lie beyond {LARGEST_PNG} m, the most that 16 bits of millimetres can say; "
                "write .npy or .tiff, give --max-depth, or --unit if the input is in another unit"
            )
        write_image(path, to_counts(metres))
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == ".npy":
            np.save(path, np.asarray(metres, np.float32))
            return
        written = cv2.imwrite(str(path), np.asarray(metres, np.float32))
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None
    if not written:
        raise DataError(f"{path}: cannot be written")
