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

"""Methods to compare with, from a well-kept library (opencv-contrib), where it is installed.

Each starts from the bicubic interpolation and looks at colour, as the paper's baselines do: the guided filter (He et
al.), joint bilateral upsampling (Kopf et al.), the fast bilateral solver (Barron and Poole) and the fast global
smoother (Min et al.). Their parameters depend on the scale; `dkn.evaluation.tuning` chose them on training images, and
once more on a recording for what a real sensor measures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from dkn.depth.resample import upsample_bicubic
from dkn.errors import ConfigError
from dkn.evaluation.bilateral_solver import solve

Array = np.ndarray
Parameters = Mapping[str, float]


@dataclass(frozen=True)
class Baseline:
    """A filter as a method of `evaluation.evaluate`.

    Depth comes out in the unit it went in, whatever that is: every filter is linear in depth.
    """

    apply: Callable[[Array, Array, Array, Parameters], Array]
    """(guide uint8 BGR, interpolated depth float32, edge strength float32, parameters) → depth."""
    parameters: Mapping[int, Parameters]
    """By scale; another scale takes those of the nearest, as a ratio."""

    def __call__(self, color: Array, depth: Array) -> Array:
        """(H, W, 3) uint8 RGB and (h, w) float32 with NaN → (H, W) float32, without holes.

        Raises:
            ConfigError: an OpenCV without its contrib modules.
        """
        scale = math.sqrt(color[..., 0].size / depth.size)
        nearest = min(self.parameters, key=lambda s: abs(math.log(s / scale)))
        return self.run(color, depth, self.parameters[nearest])

    def run(self, color: Array, depth: Array, parameters: Parameters) -> Array:
        """The same with parameters of the caller's."""
        if not hasattr(cv2, "ximgproc"):
            raise ConfigError("the baselines need OpenCV's contrib modules: pip install opencv-contrib-python-headless")
        start = upsample_bicubic(depth, (color.shape[0], color.shape[1]), fill=True)
        scale = math.sqrt(start.size / depth.size)
        result = self.apply(np.ascontiguousarray(color[..., ::-1]), start, _edge_strength(start, scale), parameters)
        return np.asarray(result, np.float32).reshape(start.shape)


def _edge_strength(depth: Array, scale: float) -> Array:
    """(H, W) float32: how much depth changes along one low-resolution pixel, as a share of the depth."""
    down = cv2.Sobel(depth, cv2.CV_32F, 0, 1, scale=1 / 8)
    right = cv2.Sobel(depth, cv2.CV_32F, 1, 0, scale=1 / 8)
    return np.asarray(scale * np.hypot(down, right) / np.maximum(np.abs(depth), 1e-6), np.float32)


def _confidence(edges: Array, parameters: Parameters) -> Array:
    """Trust in the interpolated depth, 0..1: little across a depth edge, where it is a mixture of both sides."""
    return np.maximum(np.exp(-edges / np.float32(parameters["edge"])), np.float32(1e-4))


def _guided(guide: Array, depth: Array, edges: Array, p: Parameters) -> Array:
    return guided_filter(depth, guide, p["radius"], p["eps"])


def _joint_bilateral(guide: Array, depth: Array, edges: Array, p: Parameters) -> Array:
    joint, diameter = guide.astype(np.float32), 2 * int(p["radius"]) + 1

    def smooth(image: Array) -> Array:
        return np.asarray(cv2.ximgproc.jointBilateralFilter(joint, image, diameter, p["sigma_color"], p["sigma_space"]))

    return _normalised(smooth, depth, _confidence(edges, p))


def _fast_global_smoother(guide: Array, depth: Array, edges: Array, p: Parameters) -> Array:
    def smooth(image: Array) -> Array:
        return np.asarray(cv2.ximgproc.fastGlobalSmootherFilter(guide, image, p["lambda"], p["sigma_color"]))

    return _normalised(smooth, depth, _confidence(edges, p))


def _fast_bilateral_solver(guide: Array, depth: Array, edges: Array, p: Parameters) -> Array:
    trust = _confidence(edges, p)
    solution = solve(
        guide, depth, trust, sigma_space=p["sigma_space"], sigma_color=p["sigma_color"], strength=p["lambda"]
    )
    # The solution is constant in each cell of its grid: where the interpolation is trusted, slopes are better there.
    return np.asarray(trust * depth + (1 - trust) * solution)


def _normalised(smooth: Callable[[Array], Array], depth: Array, confidence: Array) -> Array:
    """A smoothing filter as a weighted mean of trusted pixels (normalised convolution, Knutsson and Westin)."""
    return np.asarray(smooth(depth * confidence) / np.maximum(smooth(confidence), 1e-12))


BASELINES: dict[str, Baseline] = {
    "guided filter": Baseline(
        _guided,
        {
            4: {"radius": 1, "eps": 6.5},
            8: {"radius": 1, "eps": 6.5},
            16: {"radius": 2, "eps": 6.5},
        },
    ),
    "joint bilateral": Baseline(
        _joint_bilateral,
        {
            4: {"sigma_color": 96, "radius": 4, "sigma_space": 1, "edge": 0.02},
            8: {"sigma_color": 96, "radius": 8, "sigma_space": 2, "edge": 0.02},
            16: {"sigma_color": 96, "radius": 16, "sigma_space": 4, "edge": 0.02},
        },
    ),
    "fast bilateral solver": Baseline(
        _fast_bilateral_solver,
        {
            4: {"sigma_space": 2, "sigma_color": 8, "lambda": 0.02, "edge": 0.2},
            8: {"sigma_space": 4, "sigma_color": 8, "lambda": 0.02, "edge": 0.2},
            16: {"sigma_space": 8, "sigma_color": 8, "lambda": 0.02, "edge": 0.2},
        },
    ),
    "fast global smoother": Baseline(
        _fast_global_smoother,
        {
            4: {"lambda": 0.3, "sigma_color": 64, "edge": 0.01},
            8: {"lambda": 1, "sigma_color": 64, "edge": 0.02},
            16: {"lambda": 3, "sigma_color": 128, "edge": 0.02},
        },
    ),
}
"""By name, as methods of `evaluation.evaluate`."""

RECORDING_BASELINES: dict[str, Baseline] = {
    "guided filter": Baseline(
        _guided,
        {
            1: {"radius": 1, "eps": 6500},
            4: {"radius": 2, "eps": 6.5},
            8: {"radius": 4, "eps": 0.65},
        },
    ),
    "joint bilateral": Baseline(
        _joint_bilateral,
        {
            1: {"sigma_color": 96, "radius": 4, "sigma_space": 2, "edge": 0.02},
            4: {"sigma_color": 96, "radius": 8, "sigma_space": 4, "edge": 0.02},
            8: {"sigma_color": 96, "radius": 8, "sigma_space": 4, "edge": 0.02},
        },
    ),
    "fast global smoother": Baseline(
        _fast_global_smoother,
        {
            1: {"lambda": 1, "sigma_color": 64, "edge": 0.02},
            4: {"lambda": 3, "sigma_color": 64, "edge": 0.02},
            8: {"lambda": 3, "sigma_color": 64, "edge": 0.05},
        },
    ),
}
"""The same for recordings of a real sensor: with its noise to remove, and edges that do not lie where colour's do."""


def guided_filter(noisy: np.ndarray, color: np.ndarray, radius: float, eps: float) -> np.ndarray:
    """He et al.'s, from opencv-contrib; `eps` for a guidance of 0..255.

    Raises:
        ConfigError: an OpenCV without its contrib modules.
    """
    if not hasattr(cv2, "ximgproc"):
        raise ConfigError(
            "the guided filter needs OpenCV's contrib modules: pip install opencv-contrib-python-headless"
        )
    return np.asarray(cv2.ximgproc.guidedFilter(np.ascontiguousarray(color), noisy, int(radius), eps))
