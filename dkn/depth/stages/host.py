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

"""The stages on a CPU, without PyTorch: by Numba or, where that is missing or has not compiled them yet, by NumPy."""

from __future__ import annotations

import math
from types import ModuleType

import cv2
import numpy as np

from dkn.depth.grid import pixels_under, radii
from dkn.depth.holes import numpy_validity
from dkn.depth.kernels import numpy_network_input, numpy_resample
from dkn.depth.stages.base import OCTAVES, Prepared, Size, Stages, follows_color


def stages_by(resample: ModuleType, network_input: ModuleType, validity: ModuleType) -> Stages:
    """The stages, by what these modules do with single maps (h, w): those of `dkn.depth.kernels` and `dkn.depth.holes`
    whose names begin alike."""

    def valid_of(low: np.ndarray, least: float, most: float) -> np.ndarray:
        return np.asarray(resample.within(low[0, 0], least, most)[None, None])

    def prepare(low: np.ndarray, valid: np.ndarray, size: Size, depth_range: float | None, channels: int) -> Prepared:
        filled = resample.fill_holes(low[0, 0], valid[0, 0])
        depth = resample.resize_bicubic(filled, size)
        start, unit = 0.0, depth_range or 1.0
        if depth_range is None:
            start, unit = float(depth.min()), max(float(depth.max() - depth.min()), 1e-6)
        shown = np.empty((1, channels, *size), np.float32)
        np.subtract(depth, np.float32(start), out=shown[0, 0])
        shown[0, 0] /= np.float32(unit)
        if channels > 1:
            measured = valid[0, 0].astype(np.float32)
            shown[0, 1] = measured if measured.shape == size else cv2.resize(measured, size[::-1])
            shown[0, 2] = math.log2(math.sqrt(math.prod(size) / measured.size)) / OCTAVES
            shown[0, 3] = network_input.mixed_pixels(filled, valid[0, 0])
        return Prepared(filled[None, None], shown, start, unit)

    def local_range(depth: np.ndarray, valid: np.ndarray, size: Size, reach: int) -> np.ndarray:
        small = depth.shape[2], depth.shape[3]
        return np.asarray(resample.local_range(depth[0, 0], valid[0, 0], radii(small, size, reach))[None])

    def finish(
        result: np.ndarray,
        prepared: Prepared,
        bounds: np.ndarray,
        low: np.ndarray,
        valid: np.ndarray,
        color: np.ndarray,
        cut: bool,
    ) -> np.ndarray:
        (least, most), unit, start = bounds[0], prepared.unit, prepared.start
        metres: np.ndarray = resample.clamp(result[0, 0], least, most, unit, start)[None, None]
        if not valid.all():
            metres[~(known(valid, color, low, metres) if cut else valid.any())] = np.nan
        return metres

    def known(valid: np.ndarray, color: np.ndarray, low: np.ndarray, result: np.ndarray) -> np.ndarray:
        size, small = color.shape[:2], valid.shape[2:]
        if (every := bool(valid.all())) or not valid.any():
            return np.full((1, 1, *size), every)
        if not follows_color(small, size):
            rows, columns = map(pixels_under, size, small)
            return np.asarray(valid[:, :, rows[:, None], columns])
        found = validity.upsample_validity(valid[0, 0], color, low[0, 0], result[0, 0])
        return np.asarray(found[None, None])

    return Stages(valid_of, prepare, local_range, finish, known)


BY_NUMPY = stages_by(numpy_resample, numpy_network_input, numpy_validity)


def compiled() -> Stages:
    """Numba's, compiled so that no frame waits for it: some seconds, or a part of one where Numba kept it.

    Raises:
        ImportError: Numba is missing.
    """
    from dkn.depth.holes import numba_validity
    from dkn.depth.kernels import numba_network_input, numba_resample

    modules = numba_resample, numba_network_input, numba_validity
    for module in modules:
        module.compile_all()
    return stages_by(*modules)
