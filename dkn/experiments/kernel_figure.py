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

"""A picture of learned kernels, as Fig. 4 of the paper's supplement: where the taps went, and with which weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from dkn.upsampler import Taps
from dkn.utils.visualize import beside, colorize, depth_span, labelled

Picture = np.ndarray

_ZOOM = 14  # screen pixels for a pixel of a snippet
_MARGIN = 4  # pixels shown around the window that taps can reach
_SHIFT = 4  # OpenCV draws at fractions of 2^-4 pixel
_INK = (255, 255, 255)


def kernel_figure(
    color: np.ndarray,
    inputs: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    taps: Mapping[str, Sequence[Taps]],
    pixels: Sequence[tuple[int, int]],
    window: int,
    truth: np.ndarray | None = None,
) -> Picture:
    """Above, the whole images with the pixels marked. Below, a row for each pixel: snippets of colour and of the
    interpolated depth with the taps of each model drawn in, and its kernel on the regular grid.

    A tap is a disc: red for a positive weight, blue for a negative one, its area as large as the weight is in size. A
    grey line leads to it from its place in the regular grid. The square is the d×d window: taps beyond count as zero.

    Args:
        color: (H, W, 3) uint8 RGB.
        inputs: (H, W) float, the depth that the taps read.
        outputs: (H, W) float for each model.
        taps: for each model those of each pixel, as `Upsampler.taps` gives them.
        pixels: (x, y) of each.
        window: d.
        truth: (H, W) float, if known.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    rows = [_overview(color, inputs, outputs, pixels)]
    for i, pixel in enumerate(pixels):
        each = {model: found[i] for model, found in taps.items()}
        rows.append(_pixel_row(f"{i + 1}: ", color, inputs, outputs, each, pixel, window, truth))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 12), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.concatenate(padded)


def kernel_on_grid(taps: Taps, window: int) -> np.ndarray:
    """(d, d) the weights shared out to the pixels that bilinear interpolation reads: the kernel as a dense filter.

    What falls outside the window is lost, as it is in the network.
    """
    radius = window // 2
    kernel = np.zeros((window + 2, window + 2))
    for (x, y), weight in zip(taps.positions + radius + 1, taps.weights, strict=True):
        column, row = int(np.floor(x)), int(np.floor(y))
        for i, j in ((row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)):
            if 0 <= i < len(kernel) and 0 <= j < len(kernel):
                kernel[i, j] += weight * (1 - abs(y - i)) * (1 - abs(x - j))
    return kernel[1:-1, 1:-1]


def _overview(
    color: np.ndarray, inputs: np.ndarray, outputs: Mapping[str, np.ndarray], pixels: Sequence[tuple[int, int]]
) -> Picture:
    span = depth_span(inputs, *outputs.values())
    pictures = {"color": color, "input (bicubic)": colorize(inputs, *span)}
    pictures |= {name: colorize(output, *span) for name, output in outputs.items()}
    panels = []
    for name, picture in pictures.items():
        marked = np.array(picture, order="C")
        for i, (x, y) in enumerate(pixels):
            for thickness, ink in ((4, (0, 0, 0)), (2, _INK)):
                cv2.rectangle(marked, (x - 11, y - 11), (x + 11, y + 11), ink, thickness)
                cv2.putText(marked, str(i + 1), (x + 15, y + 5), cv2.FONT_HERSHEY_SIMPLEX, 0.6, ink, thickness)
        panels.append(labelled(name, marked))
    return beside(panels)


def _pixel_row(
    number: str,
    color: np.ndarray,
    inputs: np.ndarray,
    outputs: Mapping[str, np.ndarray],
    taps: Mapping[str, Taps],
    pixel: tuple[int, int],
    window: int,
    truth: np.ndarray | None,
) -> Picture:
    x, y = pixel
    radius = window // 2 + _MARGIN
    colors, depths = _snippet(color, pixel, radius), _snippet(inputs, pixel, radius)
    # Grey, and dark snippets brightened: red and blue belong to the taps.
    low, high = depth_span(depths)
    grey = np.rint(235 - 215 * np.clip((depths - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    bright = np.clip(colors * max(1.0, 200 / max(float(np.percentile(colors, 98)), 1)), 0, 255).astype(np.uint8)
    known = "" if truth is None else f", truth {truth[y, x]:.3f}"
    panels = []
    for name, each in taps.items():
        title = f"{number}{name} at {x},{y}"
        values = f"in {inputs[y, x]:.3f}, out {outputs[name][y, x]:.3f}{known}"
        weights = f"weights {each.weights.min():+.2f} to {each.weights.max():+.2f}"
        panels.append(labelled(title, _draw_taps(_enlarge(bright), each, radius, window)))
        panels.append(labelled(values, _draw_taps(_enlarge(np.repeat(grey[..., None], 3, 2)), each, radius, window)))
        panels.append(labelled(weights, _draw_kernel(kernel_on_grid(each, window), radius)))
    return beside(panels)


def _snippet(image: np.ndarray, pixel: tuple[int, int], radius: int) -> np.ndarray:
    """The pixels around `pixel`; beyond the image, its border is repeated."""
    height, width = image.shape[:2]
    rows = np.arange(pixel[1] - radius, pixel[1] + radius + 1).clip(0, height - 1)
    columns = np.arange(pixel[0] - radius, pixel[0] + radius + 1).clip(0, width - 1)
    return image[np.ix_(rows, columns)]


def _enlarge(picture: Picture) -> Picture:
    return np.repeat(np.repeat(picture, _ZOOM, 0), _ZOOM, 1)


def _draw_taps(picture: Picture, taps: Taps, radius: int, window: int) -> Picture:
    """Draw on an enlarged snippet of (2 · radius + 1)² pixels."""
    picture = np.ascontiguousarray(picture)
    centre = np.array([radius, radius])
    corner = window / 2
    cv2.rectangle(picture, _screen(centre - corner), _screen(centre + corner), _INK, 1, cv2.LINE_AA, _SHIFT)
    places = centre + taps.positions
    for start, end in zip(centre + taps.regular, places, strict=True):
        cv2.line(picture, _screen(start), _screen(end), (160, 160, 160), 1, cv2.LINE_AA, _SHIFT)
    strongest = max(float(np.abs(taps.weights).max()), 1e-9)
    for place, weight in zip(places, taps.weights, strict=True):
        disc = max(0.75 * _ZOOM * np.sqrt(abs(weight) / strongest), 2.0)
        ink = _diverging(np.array([[weight / strongest]]))[0, 0].tolist()
        cv2.circle(picture, _screen(place), round((disc + 1.5) * 2**_SHIFT), (0, 0, 0), -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(picture, _screen(place), round(disc * 2**_SHIFT), ink, -1, cv2.LINE_AA, _SHIFT)
    for thickness, ink in ((4, (0, 0, 0)), (2, _INK)):
        cv2.drawMarker(
            picture, tuple(int(v * _ZOOM + _ZOOM // 2) for v in centre), ink, cv2.MARKER_CROSS, _ZOOM, thickness
        )
    return picture


def _draw_kernel(kernel: np.ndarray, radius: int) -> Picture:
    strongest = max(float(np.abs(kernel).max()), 1e-9)
    margin = radius - len(kernel) // 2
    picture = _enlarge(np.pad(_diverging(kernel / strongest), ((margin,) * 2,) * 2 + ((0, 0),), constant_values=255))
    edge = np.array([radius, radius])
    half = len(kernel) / 2
    picture = np.ascontiguousarray(picture)
    cv2.rectangle(picture, _screen(edge - half), _screen(edge + half), (0, 0, 0), 1, cv2.LINE_AA, _SHIFT)
    return picture


def _screen(point: np.ndarray) -> tuple[int, int]:
    """A point of a snippet, whose pixels' centres are whole numbers, in 2^-4 screen pixels."""
    x, y = (np.asarray(point) + 0.5) * _ZOOM - 0.5
    return round(float(x) * 2**_SHIFT), round(float(y) * 2**_SHIFT)


def _diverging(values: np.ndarray) -> Picture:
    """(H, W) in -1..1 → (H, W, 3) uint8 RGB: blue, white at zero, red."""
    positive, negative = np.clip(values, 0, 1)[..., None], np.clip(-values, 0, 1)[..., None]
    fade = positive * (255 - np.array([200, 20, 30])) + negative * (255 - np.array([25, 70, 200]))
    return np.rint(255 - fade).astype(np.uint8)
