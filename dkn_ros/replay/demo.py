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

"""`make demo`: a recording, replayed into the node over DDS; a table and a picture come out.

Without a recording of the user's, one is made: a rendered room with exact depth, seen by a Kinect-like sensor.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from dkn import Upsampler
from dkn.depth.confidence import confidence
from dkn.engines.selection.autotuning import in_words
from dkn.evaluation.metrics import flying_pixels
from dkn.sensors import kinect
from dkn.utils import tables, visualize
from dkn.utils.image_io import write_image
from dkn_ros import bags
from dkn_ros.bags import topic_choice
from dkn_ros.parameters import Options
from dkn_ros.replay import command
from dkn_ros.replay.accuracy import BICUBIC, OUTPUT, Example
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import play
from dkn_ros.replay.rendered_bag import record_synthetic
from dkn_ros.terminal import exit_status, say

FRAMES = 90
SETTLING_S = 15.0  # that the node is given to find its model, on a computer that is new to it
OUT = Path("out")
_RED = 255, 0, 0
_MIN_CONFIDENCE = 0.7  # the example of docs/confidence.md


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 1 if the output is not better than bicubic interpolation of the input."""
    parser = argparse.ArgumentParser(prog="python -m dkn_ros.replay.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--bag", type=Path, help="a ROS 2 bag of yours, instead of the rendered room")
    parser.add_argument("--color", help="its topic of colour images; found by its type if there is one choice")
    parser.add_argument("--depth", help="its topic of depth images, registered to colour; likewise")
    parser.add_argument("--scale", type=int, default=8, help="reduce depth by this factor before it is sent")
    parser.add_argument("--mode", default=Options.mode, help="the node's parameter mode [%(default)s]")
    parser.add_argument(
        "--rate", type=float, help="the node's parameter target_rate [Hz]; default: the recording's; 0: --mode alone"
    )
    parser.add_argument("--decimation", type=int, default=Options.decimation, help="the node's parameter decimation")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for demo.png and demo.json")
    options = parser.parse_args(arguments)
    return exit_status("demo", partial(_run, options))


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    bag = options.bag or _recording(options.out / "recording")
    choice = topic_choice.choose(bag, options.color, options.depth)
    rate = options.rate if options.rate is not None else _rate(bag, choice.color)
    playback = Playback(
        bag,
        choice.color,
        choice.depth,
        truth=None if options.bag else bags.DEPTH_TRUTH_TOPIC,
        scale=options.scale,
        parameters={"mode": options.mode, "target_rate": rate, "decimation": options.decimation},
    )
    _time_engines(playback, options.mode)
    if rate:
        _find_model(playback)
    outcome = command.run(playback)
    say(f"\n{bag}: depth reduced {options.scale}x, upsampled by the node to the colour images' size")
    say(outcome.table())
    print(f"  {'processor':<16} {outcome.machine['processor']}")
    tables.write_json(options.out / "demo.json", outcome.to_json())
    if outcome.accuracy:
        picture = options.out / "demo.png"
        example = next(e for e in outcome.accuracy.examples if e.title == "median")
        write_image(picture, demo_picture(example))
        print(f"  {'picture':<16} {picture}")
    print(f"  {'time':<16} {time.monotonic() - started:.0f} s")
    if reason := outcome.nothing_to_show:
        print(f"demo: FAILED, {reason}", file=sys.stderr)
        return 1
    if not playback.has_truth:
        print("with depth as it is, and no other, there is nothing to compare with")
        return 0
    if not (outcome.accuracy and outcome.rmse_cm[OUTPUT] < outcome.rmse_cm[BICUBIC]):
        print("demo: FAILED, the output is not better than bicubic interpolation", file=sys.stderr)
        return 1
    return 0


def _time_engines(playback: Playback, mode: str) -> None:
    """What the node does beside its first frames on a computer that is new to it. This recording would be over by
    then."""
    playback.check()
    (color, depth), begun = playback.first_pair(), time.monotonic()
    times = Upsampler(mode).time_engines(color, depth)
    if times:
        print(f"engines at {_size(color)}: {in_words(times)} ({time.monotonic() - begun:.0f} s)")


def _rate(bag: Path, topic: str) -> float:
    """Messages a second of a recording."""
    begin, end = bags.span_ns(bag)
    return round(1e9 * (bags.count(bag, [topic]) - 1) / (end - begin), 1) if end > begin else 0.0


def _find_model(playback: Playback) -> None:
    """Let a node find what keeps `target_rate` on this computer, which the next one will remember: it takes longer than
    the recording. Points of it will do: means would take the processor from the node."""
    begin, end = bags.span_ns(playback.bag)
    loops = math.ceil(SETTLING_S / max(1e-9 * (end - begin), 0.1))
    with tempfile.TemporaryDirectory() as folder:
        play(dataclasses.replace(playback, loops=loops, stop_s=SETTLING_S, degradation="nearest"), Path(folder))


def demo_picture(example: Example) -> np.ndarray:
    """Three rows, (H, W, 3) uint8 RGB: colour | input | output | truth; the errors of bicubic and output; the points of
    bicubic, output, output above a confidence, and truth from the side."""
    low, high = visualize.depth_span(example.truth)
    shown = (example.low, example.output, example.truth)
    names = ("input", "output", "ground truth")
    panels = {"color": example.color}
    panels |= {f"{name} {_size(m)}": visualize.colorize(m, low, high) for name, m in zip(names, shown, strict=True)}
    errors = {
        "bicubic": example.bicubic,
        "bicubic, error 0 to 20 cm": np.abs(example.bicubic - example.truth),
        "output, error 0 to 20 cm": np.abs(example.output - example.truth),
    }
    second = {
        name: visualize.colorize_error(m, 0.2) if "error" in name else visualize.colorize(m, low, high)
        for name, m in errors.items()
    }
    top, bottom = visualize.figure(panels), visualize.figure({**second, **_closeup(example, low, high)})
    return np.concatenate((top, bottom, visualize.figure(_clouds(example))))


def _clouds(example: Example) -> dict[str, np.ndarray]:
    """Points from the side, with a Kinect's focal length."""
    focal = kinect.COLOR_FOCAL * example.color.shape[1] / kinect.SIZE[0]
    likely = np.where(confidence(example.output, example.low) >= _MIN_CONFIDENCE, example.output, np.nan)
    left = np.isfinite(likely).sum() / max(1, np.isfinite(example.output).sum())
    maps = {
        "bicubic": example.bicubic,
        "output": example.output,
        f"min_confidence {_MIN_CONFIDENCE}, {100 * left:.0f} % left": likely,
        "ground truth": example.truth,
    }
    panels = {}
    for name, depth in maps.items():
        flying = flying_pixels(depth, example.truth)
        share = flying.sum() / max(1, np.isfinite(depth).sum())
        color = np.where(flying[..., None], _RED, example.color).astype(np.uint8)
        panels[f"{name}; red: flying pixels, {100 * share:.1f} %"] = visualize.from_the_side(depth, color, focal)
    return panels


def _closeup(example: Example, low: float, high: float) -> dict[str, np.ndarray]:
    """Where the two differ most in error: bicubic over output, enlarged."""
    bicubic, output = (np.minimum(np.abs(m - example.truth), 0.5) for m in (example.bicubic, example.output))
    gain = np.nan_to_num(bicubic - output)
    height, width = gain.shape
    h, w = height // 4, width // 4
    inner = cv2.boxFilter(gain, -1, (w, h), normalize=True)[h // 2 : -h // 2, w // 2 : -w // 2]
    y, x = np.unravel_index(int(np.argmax(inner)), inner.shape)
    halves = [
        cv2.resize(visualize.colorize(m, low, high)[y : y + h // 2, x : x + w], (width, height // 2), interpolation=0)
        for m in (example.bicubic, example.output)
    ]
    return {"detail: bicubic (top), output (bottom)": np.concatenate(halves)}


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def _recording(path: Path) -> Path:
    """The rendered room; made once."""
    if not (path / "metadata.yaml").is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        record_synthetic(path, FRAMES)
    return path


if __name__ == "__main__":
    sys.exit(main())
