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

"""Depth in false colour, panels side by side, and charts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dkn.errors import ConfigError

_LABEL_HEIGHT = 26
_FURTHER = 1.25  # away than the camera's is the view of points, so that what was near stays in it


def colorize(depth: np.ndarray, low: float, high: float) -> np.ndarray:
    """(H, W) depth → (H, W, 3) uint8 RGB from near (warm) to far (cool); unknown = black."""
    scaled = np.clip((np.nan_to_num(depth, nan=low) - low) / max(high - low, 1e-6), 0, 1)
    picture = cv2.applyColorMap(np.rint(255 * (1 - scaled)).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(np.isfinite(depth)[..., None], picture, 0).astype(np.uint8)


def colorize_error(error: np.ndarray, high: float) -> np.ndarray:
    """(H, W) absolute error → (H, W, 3) uint8 RGB, black for none to bright for `high`; unknown = grey."""
    scaled = np.clip(np.nan_to_num(error) / high, 0, 1)
    picture = cv2.applyColorMap(np.rint(255 * scaled).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.where(np.isfinite(error)[..., None], picture, 64).astype(np.uint8)


def from_the_side(depth: np.ndarray, color: np.ndarray, focal: float, degrees: float = 25.0) -> np.ndarray:
    """The points of a depth image seen from beside the camera, (H, W, 3) uint8 RGB: what hangs between an object and
    the wall behind it shows.

    Args:
        depth: (H, W) metres, NaN = unknown.
        color: (H, W, 3) uint8 RGB.
        focal: pixels; the principal point is the middle of the image.
        degrees: by which the view is turned about the middle of the scene.
    """
    height, width = depth.shape
    picture = np.full((height, width, 3), 24, np.uint8)
    known = np.isfinite(depth)
    if not known.any():
        return picture
    middle = float(np.median(depth[known]))
    rows, columns = np.nonzero(known)
    z = depth[known]
    x, y = (columns - (width - 1) / 2) / focal * z, (rows - (height - 1) / 2) / focal * z
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    x, z = cosine * x + sine * (z - middle), cosine * (z - middle) - sine * x + _FURTHER * middle
    good = z > 0.1 * middle
    u, v = (np.full(z.shape, -1.0) for _ in range(2))
    u[good], v[good] = focal * x[good] / z[good] + width / 2, focal * y[good] / z[good] + height / 2
    order = np.argsort(-z)  # the nearest last, so that it stays
    for dv, du in ((0, 0), (0, 1), (1, 0), (1, 1)):
        i, j = np.floor(v[order]).astype(int) + dv, np.floor(u[order]).astype(int) + du
        on = (i >= 0) & (i < height) & (j >= 0) & (j < width) & good[order]
        picture[i[on], j[on]] = color[known][order][on]
    return picture


def depth_span(*maps: np.ndarray) -> tuple[float, float]:
    """One span (2nd to 98th percentile) for several maps, so that their colours compare."""
    known = np.concatenate([m[np.isfinite(m)] for m in maps])
    if not known.size:
        return 0.0, 1.0
    low, high = np.percentile(known, (2, 98))
    return float(low), float(high)


def figure(panels: dict[str, np.ndarray]) -> np.ndarray:
    """Pictures side by side under their names: (H, W, 3) uint8 as they are, (H, W) float as depth in one colour scale.

    Pictures of other sizes are enlarged without smoothing to the first one's.
    """
    depths = [p for p in panels.values() if p.ndim == 2]
    span = depth_span(*depths) if depths else (0.0, 1.0)
    pictures = {name: colorize(p, *span) if p.ndim == 2 else p for name, p in panels.items()}
    height, width = next(iter(pictures.values())).shape[:2]
    return beside([labelled(name, picture, (height, width)) for name, picture in pictures.items()])


def labelled(name: str, picture: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """(H, W, 3) uint8 under its name, enlarged without smoothing to `size` (H, W) if given."""
    height, width = size or picture.shape[:2]
    label = np.full((_LABEL_HEIGHT, width, 3), 255, np.uint8)
    cv2.putText(label, name, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    picture = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.concatenate((label, picture))


def beside(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side, with a gap between them."""
    gap = np.full((pictures[0].shape[0], 6, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def headless_pyplot() -> Any:
    """matplotlib's pyplot, drawing without a display. matplotlib is an extra, imported when a chart is asked for.

    Raises:
        ConfigError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise ConfigError("--figure needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure of `headless_pyplot` to a file, whose folder is made, and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, bbox_inches="tight")
    headless_pyplot().close(figure)
