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

"""What is played of a recording, and how: the messages for the node, and the truth for afterwards."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dkn.depth.degradation import degrade
from dkn.depth.units import to_metres
from dkn.errors import ConfigError, DataError, ImageError
from dkn_ros import bags, messages
from dkn_ros.bags.topic_choice import require_image
from dkn_ros.messages import stamp_ns
from dkn_ros.pipeline.sync import MAX_WAIT, SLOP, PairSynchronizer

PAUSE_NS = 100_000_000  # between two passes


class RecordedFrame(NamedTuple):
    """What the recording holds for one depth stamp (ns): `color` (H, W, 3) uint8 RGB, depths in metres with NaN."""

    stamp: int
    color: np.ndarray
    low: np.ndarray
    """(h, w): what the node was given."""
    truth: np.ndarray
    """(H, W): what it is judged by."""


@dataclass
class Playback:
    """What to play, and how.

    Args:
        bag: folder of a ROS 2 bag.
        color, depth: topics of Image or CompressedImage; depth registered to colour.
        truth: topic of the true depth; default: `depth` itself before it is reduced.
        scale: reduce depth by this factor before it is sent; 1 with the default degradation leaves it as it is.
        degradation: how (see `dkn.depth.degradation`).
        rate: speed, 1 = as recorded; infinite = each pair when the answer to the one before has come.
        loops: how often to play.
        start_s, stop_s: the part to play, in seconds from the bag's beginning.
        parameters: of the node, by name.
        record: bag to write the node's answers to.
        points: listen to the node's points too.

    Raises:
        ConfigError: a number that makes no sense, or a bag to be written that is there already.
    """

    bag: Path
    color: str
    depth: str
    truth: str | None = None
    scale: int = 8
    degradation: str = "bicubic"
    rate: float = 1.0
    loops: int = 1
    start_s: float = 0.0
    stop_s: float = math.inf
    parameters: dict[str, Any] = field(default_factory=dict)
    record: Path | None = None
    points: bool = False

    def __post_init__(self) -> None:
        if not self.rate > 0 or self.loops < 1 or self.scale < 1:
            raise ConfigError("rate must be positive, loop and scale at least 1")
        if not 0 <= self.start_s < self.stop_s:
            raise ConfigError(f"from {self.start_s:g} s to {self.stop_s:g} s is no part of a recording")
        if self.record is not None and self.record.exists():
            raise ConfigError(f"{self.record} exists already; choose another path to record to")

    @property
    def paced(self) -> bool:
        """Whether the recording decides when a message is sent, and not the node."""
        return math.isfinite(self.rate)

    @property
    def has_truth(self) -> bool:
        """Whether answers can be judged: not if the depth is sent as it is and there is no other."""
        return self.truth is not None or not self._as_it_is

    @property
    def _as_it_is(self) -> bool:
        return self.scale == 1 and self.degradation == "bicubic"

    @property
    def _whole(self) -> bool:
        return (self.start_s, self.stop_s) == (0, math.inf)

    @property
    def slop(self) -> float:
        """Seconds between the stamps of a pair at most, as the node has it."""
        return float(self.parameters.get("slop", SLOP))

    @property
    def depth_unit(self) -> float:
        """Metres per count of 16 bits, as the node has it."""
        return float(self.parameters.get("depth_unit", 1e-3))

    def metres(self, message: Any) -> np.ndarray:
        """(H, W) float32 metres, NaN = unknown, of an Image or a CompressedImage of the recording."""
        compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
        depth = messages.depth_from_compressed(message) if compressed else messages.depth_from_image(message)
        return to_metres(depth, self.depth_unit)

    def check(self) -> None:
        """Look at the first messages, so that what cannot be compared is told before anything starts.

        Raises:
            DataError: a topic that is missing, empty or no image, or a truth of another size than colour.
            ImageError: a first message that cannot be decoded.
        """
        kinds = bags.topics(self.bag)
        wanted = [self.color, self.depth, *([self.truth] if self.truth else [])]
        for topic in wanted:
            require_image(self.bag, topic, kinds)
        found = {topic: self._first(topic) for topic in wanted}
        if empty := [topic for topic in wanted if found[topic] is None]:
            part = "" if self._whole else f" between {self.start_s:g} s and {self.stop_s:g} s"
            raise DataError(f"bag {self.bag} has no message on {' and '.join(empty)}{part}")
        color, depth, *truth = (found[topic] for topic in wanted)
        for topic, message in zip((self.color, self.depth), (color, depth), strict=True):
            if stamp_ns(message) == 0:
                raise DataError(f"{topic} of bag {self.bag} has stamps of zero: its driver does not fill header.stamp")
        size, true_size = color_of(color).shape[:2], self.metres(*(truth or [depth])).shape
        if self.has_truth and size != true_size:
            raise DataError(
                f"the truth on {self.truth or self.depth} is {true_size[1]}x{true_size[0]}, but colour is "
                f"{size[1]}x{size[0]}: name one of that size by --truth, or give --scale 1 to play without comparing"
            )

    def messages(self, topics: list[str]) -> Iterator[tuple[str, int, Any]]:
        """(topic, ns when it is due at the recorded speed, message) of all passes, in order."""
        offset = 0
        for _ in range(self.loops):
            first = last = None
            for topic, time_ns, message in bags.read(self.bag, topics, *self._range_ns()):
                first = time_ns if first is None else first
                last = time_ns
                yield topic, time_ns + offset, message
            if first is not None and last is not None:
                offset += last - first + PAUSE_NS

    def count(self, topics: list[str]) -> int | None:
        """How many messages that is; None if it is not known beforehand."""
        return self.loops * bags.count(self.bag, topics) if self._whole else None

    def reduced(self, message: Any) -> np.ndarray:
        """The depth (h, w) that the node is given for a message of `depth`, the same at every call."""
        depth = self.metres(message)
        if self._as_it_is:
            return depth
        return degrade(depth, self.scale, self.degradation, np.random.default_rng(abs(stamp_ns(message))))

    def first_pair(self) -> tuple[np.ndarray, np.ndarray]:
        """The first colour image (H, W, 3) uint8 RGB and the first depth (h, w) that the node will be given; of a
        recording that `check` has found good."""
        color, depth = (self._first(topic) for topic in (self.color, self.depth))
        return color_of(color), self.reduced(depth)

    def synchronizer(self) -> PairSynchronizer[Any, Any]:
        """Pairs messages as the node does."""
        wait_s = float(self.parameters.get("max_wait", MAX_WAIT))
        return PairSynchronizer(round(1e9 * self.slop), max_wait_ns=round(1e9 * wait_s))

    def frames(self, stamps: set[int]) -> Iterator[RecordedFrame]:
        """The frames with these depth stamps that have colour and truth and can be read, each once, in order."""
        missing = set(stamps)
        for color, depth, truth in self._triples():
            stamp = stamp_ns(depth)
            if stamp in missing:
                missing.remove(stamp)
                with contextlib.suppress(ImageError):
                    yield RecordedFrame(stamp, color_of(color), self.reduced(depth), self.metres(truth))
            if not missing:
                return

    def _triples(self) -> Iterator[tuple[Any, Any, Any]]:
        """Messages of colour, depth and truth that belong together."""
        pairs, triples = self.synchronizer(), self.synchronizer()
        topics = list({self.color, self.depth, self.truth or self.depth})
        end = "", 2**62, None  # no wait lasts that long
        for topic, now, message in chain(bags.read(self.bag, topics, *self._range_ns()), [end]):
            matched = pairs.poll(now)
            if topic == self.color:
                matched += pairs.add_color(stamp_ns(message), message, now)
            if topic == self.depth:
                matched += pairs.add_depth(stamp_ns(message), message, now)
            if self.truth is None:
                yield from ((pair.color, pair.depth, pair.depth) for pair in matched)
                continue
            complete = triples.poll(now)
            if topic == self.truth:
                complete += triples.add_color(stamp_ns(message), message, now)
            for pair in matched:
                complete += triples.add_depth(pair.depth_stamp_ns, pair, now)
            complete += triples.poll(now)
            yield from ((both.depth.color, both.depth.depth, both.color) for both in complete)

    def _first(self, topic: str) -> Any:
        """Its first message in the part to play; None if there is none."""
        return next((message for *_, message in bags.read(self.bag, [topic], *self._range_ns())), None)

    def _range_ns(self) -> tuple[int | None, int | None]:
        """Bag times of the part to play."""
        begin, _ = bags.span_ns(self.bag)
        start = begin + round(1e9 * self.start_s) if self.start_s else None
        stop = begin + round(1e9 * self.stop_s) if math.isfinite(self.stop_s) else None
        return start, stop


def color_of(message: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an Image or a CompressedImage."""
    compressed = message.__msgtype__ == bags.COMPRESSED_IMAGE
    return messages.color_from_compressed(message) if compressed else messages.color_from_image(message)
