"""Results for people and programs: depth in false colour, panels side by side, JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dkn.errors import DataError

_LABEL_HEIGHT = 26


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


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) uint8 or uint16 as PNG, making the folder.

    Raises:
        DataError: another kind of file, or one that cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: pictures are written as .png")
    if not cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image):
        raise DataError(f"{path}: cannot be written")


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A Markdown table; after the first `words` columns come numbers, which are aligned at the right."""
    align = ["---"] * words + ["---:"] * (len(heads) - words)
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(align)}|", *lines[1:]])


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write `data` as JSON, making the folder; a number that is none (NaN) becomes null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(data), indent=2, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
