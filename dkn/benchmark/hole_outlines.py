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

"""Where holes end at high resolution: by the blocks of the input, and along colour (`dkn.depth.holes.validity`).

A mask of what a sensor sees at full resolution is reduced to its value at the centre of each block, brought back to
full resolution, and compared with what it was. Rendered rooms with exact depth: what casts a Kinect's shadow, what lies
beyond its range, what is dark, and some things whole, as glass and black cloth are. Recordings: the sensor's own holes.

wrong     share of all pixels that are on the wrong side, by blocks and along colour
gained    share of all pixels that have a depth along colour, and have none by blocks
flying    share of flying pixels (`dkn.evaluation.metrics.flying_pixels`) among those that have a depth by blocks,
          among those that have one along colour, and among those that are gained. Of a recording it says little, since
          what is gained may have no truth
ms        of one mask, the least of some
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from dkn.checkpoint import DEFAULT_MODEL
from dkn.data.recording import Recording
from dkn.data.rendered.room import Scene, render_frame
from dkn.depth.holes.validity import upsample_validity
from dkn.depth.resample import resize_mask
from dkn.depth.sensor import kinect_noise
from dkn.evaluation.metrics import flying_pixels
from dkn.upsampler import Upsampler
from dkn.utils.tables import markdown

SIZE = 640, 480
ROOMS = ("shadows", "far", "dark", "things")
RUNS = 5


class Case(NamedTuple):
    """(H, W) each: colour, uint8 RGB; depth in metres, the best that is known; whether it is seen."""

    color: np.ndarray
    depth: np.ndarray
    seen: np.ndarray


def rooms(kind: str, count: int) -> Iterator[Case]:
    """Rendered rooms, one view of each, of which a part is not seen."""
    for seed in range(count):
        rng, scene = np.random.default_rng(seed), Scene(seed)
        frame = render_frame(scene, 0, SIZE, 30.0, seed)
        color, depth = frame.color, frame.depth
        if kind == "shadows":
            seen = np.isfinite(kinect_noise(depth, rng, focal=frame.intrinsics[0]))
        elif kind == "far":
            seen = depth < np.quantile(depth, 0.6)
        elif kind == "dark":
            seen = color.max(2) > np.quantile(color.max(2), 0.15)
        else:
            thing = scene.seen(frame.pose, SIZE)
            numbers = np.unique(thing[thing != 0])  # 0 is the room itself
            seen = ~np.isin(thing, rng.choice(numbers, len(numbers) // 3, replace=False))
        yield Case(color, depth, seen)


def recorded(folder: Path, count: int) -> Iterator[Case]:
    """Frames of a recording, evenly spread, with the holes that its sensor left."""
    frames = Recording(folder)
    for index in np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int):
        sample = frames[index]
        yield Case(sample.color, sample.source, np.isfinite(sample.source))


def judge(cases: Iterator[Case], scale: int, model: Upsampler) -> list[float]:
    """Means over the cases, per cent: wrong by blocks, along colour, gained, flying by blocks, along colour, and of
    what is gained; ms. NaN: not known."""
    rows = []
    for color, depth, seen in cases:
        height, width = (n - n % scale for n in seen.shape)
        color, seen, depth = color[:height, :width].copy(), seen[:height, :width], depth[:height, :width]
        measured = np.where(seen, depth, np.float32(np.nan))[scale // 2 :: scale, scale // 2 :: scale].copy()
        result = model(color, measured)
        low, whole = (torch.from_numpy(m)[None, None] for m in (measured, result))
        valid, guide, times = low.isfinite(), torch.from_numpy(color), []
        for _ in range(RUNS):
            begun = time.perf_counter()
            found = upsample_validity(valid, guide, low, whole)[0, 0].numpy()
            times.append(1e3 * (time.perf_counter() - begun))
        blocks = resize_mask(valid, (height, width))[0, 0].numpy()
        gained = found & ~blocks
        wrong = [100 * float(np.mean(mask != seen)) for mask in (blocks, found)]
        wild = flying_pixels(result, depth)
        flying = [100 * float(wild[mask].mean()) if mask.any() else np.nan for mask in (blocks, found, gained)]
        rows.append([*wrong, 100 * float(gained.mean()), *flying, min(times)])
    return [float(np.nanmean(column)) if np.isfinite(column).any() else np.nan for column in np.array(rows).T]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table, a row for each kind of room and each recording."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", action="append", default=[], type=Path, help="folder, docs/data.md")
    parser.add_argument("--scale", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--limit", type=int, default=6, help="rooms, or frames, of each kind")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="that makes the depths [%(default)s]")
    options = parser.parse_args(arguments)
    model = Upsampler(options.model, device="cpu", fill_holes="all")
    rows = []
    for scale in options.scale:
        sets = {f"rooms, {kind}": rooms(kind, options.limit) for kind in ROOMS}
        sets |= {folder.name: recorded(folder, options.limit) for folder in options.recording}
        for name, cases in sets.items():
            rows.append([f"{name} {scale}×", *(f"{value:.2f}" for value in judge(cases, scale, model))])
    print(markdown(["%", "wrong: blocks", "colour", "gained", "flying: blocks", "colour", "gained", "ms"], rows))


if __name__ == "__main__":
    main()
