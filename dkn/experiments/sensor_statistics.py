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

"""What errors a depth camera makes, real or simulated: `python -m dkn.experiments.sensor_statistics`.

Measured against the truth of each frame, of a recording (`--data recording=F`) or of exact depth that a camera of
`dkn.sensors` is simulated on. Estimators:

    borders   A border is a step of more than `STEP` of the nearer depth between two neighbours in a row or column of
              the truth, with flat sides (`FLAT` of the step) over `REACH` pixels. From the near side outwards, the
              measured surface ends at its first pixel that is not valid or beyond the middle of the step: how many
              pixels behind the truth's border is its `offset`. Growth is the mean offset; wander 1.4826 × the median
              distance from it. A hole lies beside the border if one of the `HOLE` pixels behind it has no depth.
              Mixed: the share of borders with a pixel between 15 and 85 % of the step; flying pixels: their share of
              the valid pixels within 3 of the border; wrong side: likewise those beyond the middle.
    noise     Measured less true depth, at least `APART` pixels from every border: 1.4826 × the median distance from
              the median, divided by z², in mm at 1 m; and the same of what is left of 15 × 15 pixels when their
              plane is taken away. Correlation of errors / z² at lags along rows; beyond five deviations none counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from dkn.data.registry import DATASETS, open_dataset
from dkn.data.sample import Sample
from dkn.depth.edges import near_edges
from dkn.sensors import MISREGISTERED, SENSORS, measure
from dkn.sensors.toolbox import points
from dkn.utils.arguments import spread
from dkn.utils.tables import markdown

STEP, FLAT, REACH, HOLE, APART = 0.08, 0.25, 8, 6, 8
LAGS = (1, 2, 4, 8, 16)
TILE = 15
SIDES = ("left", "right", "up", "down")
_TO_DEVIATION = 1.4826

Pair = tuple[np.ndarray, np.ndarray]
"""(measured, true) depth, both (H, W) float32 metres with NaN."""


def statistics(pairs: Iterable[Pair]) -> dict[str, float]:
    """Every figure by its name, over all frames."""
    profiles: dict[str, list[Pair]] = {side: [] for side in SIDES}
    errors, local, invalid = [], [], []
    products, squares = np.zeros(len(LAGS)), np.zeros(len(LAGS))
    for measured, truth in pairs:
        for side in SIDES:
            profiles[side].append(_profiles(measured, truth, side))
        invalid.append(float(np.mean(~np.isfinite(measured[np.isfinite(truth)]))))
        error = (measured - truth) / truth**2
        error[near_edges(truth, STEP, APART)] = np.nan
        errors.append(error[np.isfinite(error)])
        local.append(_local(error))
        error = _without_outliers(error)
        for i, lag in enumerate(LAGS):
            first, second = error[:, :-lag], error[:, lag:]
            both = np.isfinite(first * second)
            products[i] += float((first[both] * second[both]).sum())
            squares[i] += float((first[both] ** 2 + second[both] ** 2).sum() / 2)
    result = {"invalid, %": 100 * float(np.mean(invalid))} | _borders(profiles)
    result["noise, mm at 1 m"] = 1e3 * _deviation(np.concatenate(errors))
    result["within 15×15 px"] = 1e3 * _deviation(np.concatenate(local))
    correlation = products / np.maximum(squares, 1e-30)
    return result | {f"correlation, {lag} px": float(c) for lag, c in zip(LAGS, correlation, strict=True)}


def simulated(
    samples: Iterable[Pair], sensor: str, scale: int, misregistered: float = 0.0, seed: int = 0
) -> Iterator[Pair]:
    """(measured, true) depth of a simulated camera with pixels `scale` times as large, from (colour, depth)."""
    for i, (color, depth) in enumerate(samples):
        size = depth.shape[0] // scale, depth.shape[1] // scale
        rng = np.random.default_rng((seed, i))
        yield measure(sensor, depth, color, size, rng, misregistered=misregistered), points(depth, size)


def full(sample: Sample) -> np.ndarray:
    """All that is known of its true depth."""
    return sample.depth if sample.full_depth is None else sample.full_depth


def _profiles(measured: np.ndarray, truth: np.ndarray, side: str) -> Pair:
    """Measured and true depth across every border, as (m, 2 REACH), relative: 0 near, 1 far; REACH pixels on the near
    surface, then as many on the far one. `side`: where the far surface lies, seen from the near one."""
    measured, truth = (_turned(image, side) for image in (measured, truth))
    near, far = truth[:, :-1], truth[:, 1:]
    with np.errstate(invalid="ignore"):
        row, column = np.nonzero(far - near > STEP * near)
    inside = (column >= REACH - 1) & (column + REACH < truth.shape[1])
    row, column = row[inside], column[inside]
    across = column[:, None] + np.arange(1 - REACH, REACH + 1)
    true, found = truth[row[:, None], across], measured[row[:, None], across]
    low, high = true[:, REACH - 1], true[:, REACH]
    with np.errstate(invalid="ignore"):
        flat = (
            np.abs(true - np.where(np.arange(2 * REACH) < REACH, low[:, None], high[:, None]))
            < FLAT * (high - low)[:, None]
        )
    flat = flat.all(1)
    relative = [(image[flat] - low[flat, None]) / (high - low)[flat, None] for image in (found, true)]
    with np.errstate(invalid="ignore"):
        seen = relative[0][:, 2] < 0.5  # the near surface, six pixels from its border
    return relative[0][seen], relative[1][seen]


def _turned(image: np.ndarray, side: str) -> np.ndarray:
    image = image.T if side in ("up", "down") else image
    return image[:, ::-1] if side in ("left", "up") else image


def _borders(profiles: dict[str, list[Pair]]) -> dict[str, float]:
    by_side = {side: np.concatenate([found for found, _ in each]) for side, each in profiles.items()}
    all_ = np.concatenate(list(by_side.values()))
    offsets = {side: _offset(found) for side, found in by_side.items()}
    every = np.concatenate(list(offsets.values()))
    if not len(every):
        return {"borders": 0.0}
    growth = float(np.mean([o.mean() for o in offsets.values() if len(o)]))
    result = {"borders": float(len(every)), "growth, px": growth}
    result["wander, px"] = _TO_DEVIATION * float(np.median(np.abs(every - growth)))
    result["shift right, px"] = float(offsets["right"].mean() - offsets["left"].mean()) / 2
    behind = all_[:, REACH : REACH + HOLE]
    result["borders with a hole, %"] = 100 * float(np.isnan(behind).any(1).mean())
    for side, found in by_side.items():
        result[f"{side}, %"] = (
            100 * float(np.isnan(found[:, REACH : REACH + HOLE]).any(1).mean()) if len(found) else np.nan
        )
    band = all_[:, REACH - 3 : REACH + 3]
    with np.errstate(invalid="ignore"):
        mixed, beyond = (band > 0.15) & (band < 0.85), (band > 0.5) != (np.arange(6) >= 3)
    valid = np.isfinite(band)
    result["mixed borders, %"] = 100 * float(mixed.any(1).mean())
    result["flying pixels, %"] = 100 * float(mixed.sum() / valid.sum())
    result["wrong side, %"] = 100 * float((beyond & valid).sum() / valid.sum())
    return result


def _offset(found: np.ndarray) -> np.ndarray:
    """Pixels by which the near surface reaches over the border, of each profile."""
    with np.errstate(invalid="ignore"):
        on = found[:, 2:] < 0.5  # False where invalid
    return np.where(on.all(1), on.shape[1], (~on).argmax(1)) - float(REACH - 2)


def _local(error: np.ndarray) -> np.ndarray:
    """What is left of the errors of each whole tile without its plane."""
    height, width = (n - n % TILE for n in error.shape)
    tiles = (
        error[:height, :width].reshape(height // TILE, TILE, width // TILE, TILE).swapaxes(1, 2).reshape(-1, TILE**2)
    )
    tiles = tiles[np.isfinite(tiles).all(1)]
    y, x = np.mgrid[:TILE, :TILE].reshape(2, -1) - TILE // 2
    plane = np.stack([np.ones(TILE**2), x, y], axis=1)
    plane, _ = np.linalg.qr(plane)
    return (tiles - tiles @ plane @ plane.T).ravel()


def _without_outliers(error: np.ndarray) -> np.ndarray:
    valid = np.isfinite(error)
    if not valid.any():
        return error
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(error - np.median(error[valid])) < 5 * _deviation(error[valid]), error, np.nan)


def _deviation(values: np.ndarray) -> float:
    return _TO_DEVIATION * float(np.median(np.abs(values - np.median(values)))) if values.size else np.nan


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a Markdown table, a column for each recording and each simulated camera."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=PATH", help="docs/data.md")
    parser.add_argument("--sensor", nargs="+", choices=list(SENSORS), default=list(SENSORS))
    parser.add_argument(
        "--scale", type=int, default=1, help="size of the simulated camera's pixels, in pixels of colour"
    )
    parser.add_argument("--misregistered", type=float, default=0.0, help=f"how often; in training {MISREGISTERED}")
    parser.add_argument("--limit", type=int, default=20, help="frames of each")
    options = parser.parse_args(arguments)
    columns: dict[str, dict[str, float]] = {}
    for text in options.data:
        name, _, path = text.partition("=")
        if name not in DATASETS:
            parser.error(f"{text}: write NAME=PATH, NAME one of {', '.join(DATASETS)}")
        dataset = open_dataset(name, Path(path), "test")
        samples = [dataset[i] for i in spread(len(dataset), options.limit)]
        if samples[0].measured is not None:
            columns[Path(path).name] = statistics((s.source, full(s)) for s in samples)
        for sensor in options.sensor:
            pairs = simulated([(s.color, full(s)) for s in samples], sensor, options.scale, options.misregistered)
            columns[f"{sensor} on {Path(path).name}"] = statistics(pairs)
    rows = [
        [key, *(f"{column.get(key, np.nan):.3g}" for column in columns.values())]
        for key in next(iter(columns.values()))
    ]
    print(markdown(["", *columns], rows))


if __name__ == "__main__":
    main()
