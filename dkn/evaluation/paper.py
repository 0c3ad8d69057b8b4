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

"""Figures of the paper, quoted for comparison. Nothing in here was measured by this project.

The rows of the older methods were taken by the paper from its references 31 and 32 for Middlebury, Lu and NYU v2. Their
low-resolution depth is another one: a single pixel of each block, where the networks' rows have bicubic
interpolation. Measured on bicubic input, the row "Bicubic Int." is about half as large (`docs/evaluation.md`), so
those rows and the networks' must not be compared.
"""

from __future__ import annotations

from typing import NamedTuple

SCALES = (4, 8, 16)
DATASETS = ("middlebury", "lu", "nyu", "sintel")


class Quote(NamedTuple):
    """One figure of Table 2: RMSE in cm for NYU v2, else of depth in 0..255."""

    method: str
    rmse: float
    other_input: bool
    """Measured on another low-resolution depth than the networks' rows."""


# Middlebury, Lu, NYU v2, Sintel; for each 4x, 8x, 16x.
_TABLE_2: dict[str, tuple[float, ...]] = {
    "Bicubic Int.": (4.44, 7.58, 11.87, 5.07, 9.22, 14.27, 8.16, 14.22, 22.32, 6.54, 8.80, 12.17),
    "MRF": (4.26, 7.43, 11.80, 4.90, 9.03, 14.19, 7.84, 13.98, 22.20, 8.81, 11.77, 15.75),
    "GF": (4.01, 7.22, 11.70, 4.87, 8.85, 14.09, 7.32, 13.62, 22.03, 6.10, 8.22, 11.22),
    "JBU": (2.44, 3.81, 6.13, 2.99, 5.06, 7.51, 4.07, 8.29, 13.35, 5.88, 7.63, 10.97),
    "TGV": (3.39, 5.41, 12.03, 4.48, 7.58, 17.46, 6.98, 11.23, 28.13, 32.01, 36.78, 43.89),
    "Park": (2.82, 4.08, 7.26, 4.09, 6.19, 10.14, 5.21, 9.56, 18.10, 9.28, 12.22, 16.51),
    "SDF": (3.14, 5.03, 8.83, 4.65, 7.53, 11.52, 5.27, 12.31, 19.24, 6.52, 7.98, 11.36),
    "FBS": (2.58, 4.19, 7.30, 3.03, 5.77, 8.48, 4.29, 8.94, 14.59, 11.96, 12.29, 13.08),
    "FGI": (3.24, 4.60, 6.74, 4.68, 6.32, 9.25, 6.43, 9.52, 14.13, 6.29, 8.24, 11.01),
    "DMSG": (1.88, 3.45, 6.28, 2.30, 4.17, 7.22, 3.02, 5.38, 9.17, 5.32, 7.24, 10.11),
    "DJF": (2.14, 3.77, 6.12, 2.54, 4.71, 7.66, 3.54, 6.20, 10.21, 5.51, 7.52, 10.63),
    "DJFR": (1.98, 3.61, 6.07, 2.22, 4.54, 7.48, 3.38, 5.86, 10.11, 5.50, 7.43, 10.48),
    "FDKN †": (1.07, 2.23, 5.09, 0.85, 1.90, 5.33, 2.05, 4.10, 8.10, 3.31, 5.08, 8.51),
    "DKN †": (1.12, 2.13, 5.00, 0.90, 1.83, 4.99, 2.11, 4.00, 8.24, 3.40, 4.90, 8.18),
    "FDKN w/o Res.": (1.12, 2.23, 4.52, 0.85, 2.19, 5.15, 1.88, 3.67, 7.13, 3.38, 5.02, 7.74),
    "DKN w/o Res.": (1.26, 2.16, 4.32, 0.99, 2.21, 5.12, 1.66, 3.36, 6.78, 3.36, 4.82, 7.48),
    "FDKN": (1.08, 2.17, 4.50, 0.82, 2.10, 5.05, 1.86, 3.58, 6.96, 3.36, 4.96, 7.74),
    "DKN": (1.23, 2.12, 4.24, 0.96, 2.16, 5.11, 1.62, 3.26, 6.51, 3.30, 4.77, 7.59),
}

_OWN_ROWS = ("FDKN †", "DKN †", "FDKN w/o Res.", "DKN w/o Res.", "FDKN", "DKN")


def table_2(dataset: str, scale: int) -> list[Quote]:
    """The paper's Table 2 for a data set and a scale, in its order; empty where it has none."""
    if dataset not in DATASETS or scale not in SCALES:
        return []
    column = len(SCALES) * DATASETS.index(dataset) + SCALES.index(scale)
    return [Quote(name, row[column], name not in _OWN_ROWS and dataset != "sintel") for name, row in _TABLE_2.items()]


TABLE_4_KERNEL_SIZES = (3, 5, 7, 15, 19, 25)

# Weights from, offsets from (none: a regular grid), residual; RMSE in cm (DKN, FDKN) by kernel size.
_TABLE_4: dict[tuple[str, str, bool], tuple[tuple[float, float], ...]] = {
    ("rgb", "none", False): ((5.92, 6.05), (5.52, 5.73), (5.43, 5.67), (5.59, 5.74), (5.82, 5.81), (6.21, 5.99)),
    ("depth", "none", False): ((5.24, 5.30), (4.36, 4.47), (4.09, 4.24), (4.09, 4.17), (4.11, 4.18), (4.15, 4.21)),
    ("both", "none", False): ((5.03, 5.14), (3.90, 4.16), (3.48, 3.80), (3.32, 3.66), (3.33, 3.66), (3.39, 3.72)),
    ("rgb", "rgb", False): ((5.37, 5.18), (5.38, 5.09), (5.40, 5.07)),
    ("depth", "depth", False): ((4.06, 4.13), (4.09, 4.13), (4.13, 4.14)),
    ("both", "both", False): ((3.36, 3.67), (3.32, 3.65), (3.33, 3.66)),
    ("both", "both", True): ((3.26, 3.58), (3.21, 3.53), (3.19, 3.52)),
}
TABLE_4_ROWS = tuple(_TABLE_4)


def table_4(architecture: str, weights_from: str, offsets_from: str, residual: bool, kernel_size: int) -> float | None:
    """The paper's Table 4: RMSE in cm on NYU v2 at 8x; None where the paper has no figure."""
    row = _TABLE_4.get((weights_from, offsets_from, residual), ())
    figures = dict(zip(TABLE_4_KERNEL_SIZES, row, strict=False)).get(kernel_size)
    return None if figures is None else figures[architecture == "fdkn"]


# --- Supplement -----------------------------------------------------------------------------------------------------

SUPPLEMENT_TABLE_2: dict[tuple[int, int], tuple[tuple[float, float], ...]] = {
    (128, 128): ((3.26, 3.58), (0.17, 0.01), (1.1, 0.6), (4.5, 2.8)),
    (256, 128): ((3.22, 3.51), (0.20, 0.01), (1.7, 1.1), (6.7, 4.5)),
    (256, 256): ((3.20, 3.49), (0.22, 0.01), (2.3, 1.7), (9.0, 7.3)),
    (256, 512): ((3.17, 3.46), (0.27, 0.02), (3.5, 2.9), (14.0, 13.0)),
    (256, 1024): ((3.15, 3.42), (0.36, 0.02), (5.8, 5.9), (23.0, 24.2)),
}
"""By (n1, n2): RMSE in cm (NYU v2, 8x), seconds, millions of parameters, megabytes; each (DKN, FDKN)."""

SUPPLEMENT_TABLE_3: dict[tuple[int, int], tuple[float, float]] = {
    (4, 4): (1.62, 3.34),
    (4, 8): (6.70, 10.21),
    (4, 16): (11.24, 19.75),
    (8, 4): (3.93, 9.27),
    (8, 8): (3.26, 5.86),
    (8, 16): (10.53, 15.65),
    (16, 4): (9.04, 19.12),
    (16, 8): (8.61, 13.43),
    (16, 16): (6.51, 10.11),
}
"""By (scale of training, scale of test): RMSE in cm on NYU v2 of (DKN, DJFR)."""

TRAINING_SIZES = (10, 50, 100, 200, 500, 700, 1000)
SUPPLEMENT_TABLE_4: dict[tuple[str, str], tuple[float, ...]] = {
    ("nyu", "DMSG"): (7.40, 6.32, 5.97, 5.64, 5.41, 5.35, 5.38),
    ("nyu", "FDKN"): (5.01, 4.28, 3.98, 3.77, 3.61, 3.60, 3.58),
    ("nyu", "DKN"): (4.73, 3.97, 3.62, 3.33, 3.27, 3.25, 3.26),
    ("sintel", "DMSG"): (8.62, 8.08, 7.65, 7.46, 7.27, 7.21, 7.24),
    ("sintel", "FDKN"): (6.04, 5.37, 5.16, 5.05, 4.98, 4.98, 4.96),
    ("sintel", "DKN"): (5.79, 5.24, 5.01, 4.85, 4.82, 4.74, 4.77),
}
"""RMSE at 8x by the number of training images (`TRAINING_SIZES`)."""

SALIENCY = {
    "Bicubic Int.": 0.8860,
    "GF": 0.8895,
    "SDF": 0.8851,
    "DJFR": 0.9248,
    "DKN": 0.9440,
    "FDKN": 0.9606,
}
"""Supplement Table 5: weighted F-measure of saliency maps, 8x, 5,168 images of DUT-OMRON."""

NOISE = {"GF": 5.34, "Yan": 12.53, "SDF": 7.56, "DJF": 2.63, "DKN": 2.46}
"""Supplement 4.1.1: RMSE of depth noise removal on the test images of NYU v2; no unit is named."""

SEGMENTATION = {"Baseline": 70.69, "DenseCRF": 71.98, "DGF": 72.96, "FDKN": 73.60}
"""Supplement Table 6: mean IoU in per cent, 1,449 validation images of Pascal VOC 2012."""
