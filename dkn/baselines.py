"""Methods to compare with, from a well-kept library (opencv-contrib), where it is installed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from dkn.errors import ConfigError
from dkn.upsampler import upsample_bicubic

_RANGE = 10.0  # metres that the filters see as 1


def _filtered(
    apply: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A filter of (guide uint8 BGR, depth float32 in 0..1) as a method on arrays in metres."""

    def method(color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        if not hasattr(cv2, "ximgproc"):
            raise ConfigError("the baselines need OpenCV's contrib modules: pip install opencv-contrib-python-headless")
        start = upsample_bicubic(depth, (color.shape[0], color.shape[1]), fill=True) / np.float32(_RANGE)
        guide = np.ascontiguousarray(color[..., ::-1])
        return np.asarray(apply(guide, start), np.float32).reshape(start.shape) * np.float32(_RANGE)

    return method


BASELINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "guided filter": _filtered(lambda guide, depth: cv2.ximgproc.guidedFilter(guide, depth, 8, 6.5)),
    "joint bilateral": _filtered(
        lambda guide, depth: cv2.ximgproc.jointBilateralFilter(guide.astype(np.float32), depth, 17, 12.0, 5.0)
    ),
}
"""By name, as methods of `evaluation.evaluate`. Each starts from the bicubic interpolation."""
