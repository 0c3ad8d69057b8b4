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

"""How much depth flickers where nothing moves, with and without the average over time (`dkn.depth.temporal`).

Rendered rooms before a camera that stands still, its depth as a Kinect measures it, with new noise in every frame, and
noise of colour. Of the deviation over time of each pixel that is known in all frames, after `SETTLING` frames:

median    over the pixels: that of the typical pixel
rms       over the pixels: made by few, at depth edges, that jump from one surface to the other
ms        of the average alone, for one frame
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm import tqdm

from dkn.checkpoint import DEFAULT_MODEL
from dkn.data.rendered.room import render_sequence
from dkn.depth.sensor import kinect_noise
from dkn.depth.temporal import TemporalFilter
from dkn.upsampler import Upsampler
from dkn.utils.tables import markdown

SIZE = 640, 480
RATE = 30.0
SETTLING, FRAMES = 10, 16
COLOR_NOISE = 2.0  # levels


def at_rest(seed: int, scale: int, frames: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Colour (H, W, 3) uint8 and low-resolution depth (h, w) metres of a room before a camera that stands still."""
    rng = np.random.default_rng(seed)
    view = next(iter(render_sequence(1, SIZE, seed=seed)))
    for _ in range(frames):
        color = view.color + rng.normal(0, COLOR_NOISE, view.color.shape)
        depth = kinect_noise(view.depth, rng, focal=view.intrinsics[0])
        yield color.clip(0, 255).astype(np.uint8), depth[scale // 2 :: scale, scale // 2 :: scale]


def deviations(results: Sequence[np.ndarray]) -> np.ndarray:
    """Centimetres, of each pixel that all of these (H, W) maps in metres know."""
    maps = np.stack(results)
    return np.asarray(100 * maps[:, np.isfinite(maps).all(0)].std(0, ddof=1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table, a row for each scale and weight."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--temporal", type=float, nargs="+", default=[0.8], metavar="W", help="weights of the past")
    parser.add_argument("--limit", type=int, default=2, help="rooms")
    options = parser.parse_args(arguments)
    model, rows = Upsampler(options.model, device="cpu"), []
    for scale in options.scale:
        found: dict[float, list[np.ndarray]] = {weight: [] for weight in (0.0, *options.temporal)}
        times: list[float] = []
        for seed in tqdm(range(options.limit), f"{scale}x", unit="room"):
            averages = {weight: TemporalFilter(weight) for weight in found}
            results: dict[float, list[np.ndarray]] = {weight: [] for weight in found}
            for k, (color, low) in enumerate(at_rest(seed, scale, SETTLING + FRAMES)):
                depth = model(color, low)
                for weight, average in averages.items():
                    begun = time.perf_counter()
                    results[weight].append(average(color, depth, k / RATE, low))
                    if weight and k >= SETTLING:
                        times.append(1e3 * (time.perf_counter() - begun))
            for weight, frames in results.items():
                found[weight].append(deviations(frames[SETTLING:]))
        for weight, parts in found.items():
            each = np.concatenate(parts)
            cost = f"{np.median(times):.2f}" if weight else ""
            figures = np.median(each), np.sqrt(np.mean(each**2))
            rows.append([f"{scale}×, {weight:g}", *(f"{value:.3f}" for value in figures), cost])
    print(markdown(["scale, weight", "median, cm", "rms, cm", "ms"], rows))


if __name__ == "__main__":
    main()
