"""A recording of a real depth camera with a better depth map for each frame, e.g. one fused from many frames.

    rgb/           colour, 8 bits (.jpg or .png)
    depth_raw/     what the sensor measured, registered to colour, 16-bit PNG in millimetres, 0 = unknown
    depth_gt_tsdf/ the truth, likewise

with the same file names in all three. Frames follow each other in time. The input of the methods is made from the raw
depth, holes and noise included.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from dkn.data.pairs import read_color, read_map
from dkn.data.sample import InMetres, Sample
from dkn.depth import to_metres
from dkn.errors import DataError

FOLDERS = ("rgb", "depth_raw", "depth_gt_tsdf")

EDGE_STEP = 0.05  # relative step in depth between neighbours that makes an edge
EDGE_MARGIN = 3  # pixels around an edge that are not judged: the truth lies 1 to 3 pixels off there


class Recording(InMetres):
    """The frames of a recording, with a truth that is known only where it can be relied on.

    A pixel's truth counts if the sensor measured something there and no depth edge lies within `EDGE_MARGIN` pixels
    (rows and columns). An edge is a relative step of more than `EDGE_STEP` between two neighbours, in the truth.

    Raises:
        DataError: folders or frames that are missing or unreadable.
    """

    name = "recording"
    sequential = True

    def __init__(self, path: Path):
        self._folder = Path(path)
        for name in FOLDERS:
            if not (self._folder / name).is_dir():
                raise DataError(f"{self._folder}: no folder {name}; a recording has {', '.join(FOLDERS)}")
        files = sorted((self._folder / "depth_raw").glob("*.png"))
        self._frames = [
            (self._color_file(file.stem), file, self._folder / "depth_gt_tsdf" / file.name) for file in files
        ]
        if not self._frames:
            raise DataError(f"{self._folder / 'depth_raw'}: no .png in it")

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        color_file, raw_file, truth_file = self._frames[index]
        color = read_color(color_file)
        raw, truth = (to_metres(read_map(file)) for file in (raw_file, truth_file))
        if not color.shape[:2] == raw.shape == truth.shape:
            raise DataError(f"{raw_file}: {raw.shape}, but colour has {color.shape[:2]} and the truth {truth.shape}")
        truth[near_edges(truth) | ~np.isfinite(raw)] = np.nan
        return Sample(color, truth, raw_file.stem, raw)

    def _color_file(self, stem: str) -> Path:
        jpg = self._folder / "rgb" / f"{stem}.jpg"
        return jpg if jpg.is_file() else jpg.with_suffix(".png")


def near_edges(depth: np.ndarray, step: float = EDGE_STEP, margin: int = EDGE_MARGIN) -> np.ndarray:
    """(H, W) bool: within `margin` rows and columns of two neighbours whose depths differ by more than the share `step`
    of the nearer one's. Unknown depth makes no edge."""
    edges = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        first, second = (np.moveaxis(depth, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        jump = np.abs(first - second) > step * np.fmin(first, second)  # False where one is NaN
        pair = np.moveaxis(edges, axis, 0)
        pair[:-1] |= jump
        pair[1:] |= jump
    around = np.ones((2 * margin + 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(edges.astype(np.uint8), around) > 0)
