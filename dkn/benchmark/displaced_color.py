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

"""What colour that stands beside its depth costs, and how much of that `dkn.depth.alignment` brings back.

The colour of a data set's pairs is moved by so many pixels, each pair's in another direction:

moved     share of the pairs whose colour was moved back
off       pixels that it then still was off, in the mean
RMSE, near edges
          of all pixels that are known, and the mean absolute error within 4 pixels of depth edges, in cm: with colour
          as it is, and moved back
ms        of the search, for one pair: the median
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from dkn.checkpoint import DEFAULT_MODEL
from dkn.data.registry import named, open_dataset
from dkn.depth.alignment import displacement, moved
from dkn.depth.degradation import degrade
from dkn.depth.edges import near_edges
from dkn.upsampler import Upsampler
from dkn.utils.arguments import limited
from dkn.utils.tables import markdown

NEAR = 4  # pixels


def errors(result: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """RMSE, and mean absolute error near edges, in cm."""
    apart = 100 * np.abs(result - truth)
    known = np.isfinite(apart)
    near = known & near_edges(truth, margin=NEAR)
    return float(np.sqrt(np.mean(apart[known] ** 2))), float(apart[near].mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table, a row for each scale and number of pixels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="NAME=PATH", help="nyu=FILE, recording=FOLDER …")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--pixels", type=int, nargs="+", default=[0, 2, 4, 8])
    parser.add_argument("--limit", type=int, default=20, help="the first N pairs")
    options = parser.parse_args(arguments)
    dataset = open_dataset(*named(options.data), "test")
    model = Upsampler(options.model, device="cpu", precision=options.precision, fill_holes=True, align_color=False)
    rows = []
    for scale in options.scale:
        for pixels in options.pixels:
            times, off, found = [], [], []
            for index in tqdm(range(limited(len(dataset), options.limit)), f"{scale}x, {pixels}", unit="pair"):
                rng = np.random.default_rng((pixels, index))
                sample = dataset[index].cropped(scale)
                truth = sample.depth if sample.full_depth is None else sample.full_depth
                low = degrade(sample.source, scale, "nearest", rng, sample.color)
                angle = rng.uniform(0, 2 * math.pi)
                x, y = (round(pixels * part) for part in (math.cos(angle), math.sin(angle)))
                color = moved(sample.color, (x, y))
                begun = time.perf_counter()
                back = displacement(color, low)
                times.append(1e3 * (time.perf_counter() - begun))
                if back != (0, 0):
                    off.append(math.hypot(back[0] + x, back[1] + y))
                as_it_is = model(color, low)
                found.append((errors(as_it_is, truth), errors(model(moved(color, back), low), truth)))
            means = np.mean(found, axis=0)
            rows.append(
                [
                    f"{scale}×, {pixels}",
                    f"{len(off) / len(found):.0%}",
                    f"{np.mean(off):.1f}" if off else "",
                    *(f"{means[0, k]:.2f} → {means[1, k]:.2f}" for k in range(2)),
                    f"{np.median(times):.1f}",
                ]
            )
    print(markdown(["scale, pixels", "moved", "off", "RMSE, cm", "near edges, cm", "ms"], rows))


if __name__ == "__main__":
    main()
