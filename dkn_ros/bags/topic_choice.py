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

"""Which topics of a bag are meant, where the user has not named them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dkn.errors import DataError
from dkn_ros import messages
from dkn_ros.bags.bag import COMPRESSED_IMAGE, IMAGE, IMAGES, first, info_topic, topics

_REGISTERED = ("aligned", "registered", "to_rgb", "to_color")
_INFRARED = ("infra", "/ir/")
_COLORED = ("rgb", "bgr", "bayer", "yuv", "yuyv", "uyvy", "8UC3", "8UC4")


@dataclass(frozen=True)
class Choice:
    """Topics of colour and depth images, and a line about each that was chosen among several."""

    color: str
    depth: str
    notes: tuple[str, ...] = ()


def choose(bag: Path, color: str | None = None, depth: str | None = None) -> Choice:
    """Find the topics that are not given, by their types, first messages and names.

    Colour: what is raw, is not infrared, has colours rather than grey levels, and its camera_info beside it.
    Depth: what is called registered or aligned, has the colour image's size and frame_id, and is raw.

    Raises:
        DataError: a topic that is missing or no image, none that fits, or several that fit equally well.
    """
    kinds = topics(bag)
    for topic in filter(None, (color, depth)):
        require_image(bag, topic, kinds)
    pictures = first(bag, [topic for topic, kind in kinds.items() if kind in IMAGES])
    notes: list[str] = []
    if color is None:
        fitting = {topic: m for topic, m in pictures.items() if topic != depth and _is_color(topic, m)}
        color = _best(bag, "color", fitting, lambda topic, m: _color_rank(topic, m, kinds), notes)
    if depth is None:
        guide = pictures.get(color)
        fitting = {topic: m for topic, m in pictures.items() if topic != color and _is_depth(topic, m)}
        depth = _best(bag, "depth", fitting, lambda topic, m: _depth_rank(topic, m, guide), notes)
    return Choice(color, depth, tuple(notes))


def require_image(bag: Path, topic: str, kinds: Mapping[str, str]) -> None:
    """Raises DataError if a bag with topics of these types has no images on this one."""
    if topic not in kinds:
        raise DataError(f"no topic {topic} in bag {bag}; it has {', '.join(sorted(kinds)) or 'none'}")
    if kinds[topic] not in IMAGES:
        raise DataError(f"topic {topic} of bag {bag} is {kinds[topic]}, not an image")


def _best(
    bag: Path, what: str, fitting: Mapping[str, Any], rank: Callable[[str, Any], tuple[bool, ...]], notes: list[str]
) -> str:
    if not fitting:
        raise DataError(f"bag {bag} has no topic of {what} images; its topics: {', '.join(sorted(topics(bag)))}")
    ranks = {topic: rank(topic, message) for topic, message in fitting.items()}
    best = [topic for topic in ranks if ranks[topic] == max(ranks.values())]
    if len(best) > 1:
        raise DataError(f"several topics of bag {bag} may be the {what} images: {', '.join(best)}; choose by --{what}")
    if others := sorted(fitting.keys() - set(best)):
        notes.append(f"--{what} {best[0]} (not {', '.join(others)})")
    return best[0]


def _is_color(topic: str, message: Any) -> bool:
    if message.__msgtype__ == COMPRESSED_IMAGE:
        return not _is_depth(topic, message)
    # Grey images of 16 bits are depth or infrared rather than colour.
    return message.encoding not in messages.DEPTH_ENCODINGS


def _is_depth(topic: str, message: Any) -> bool:
    if message.__msgtype__ == COMPRESSED_IMAGE:
        return "compressedDepth" in message.format or "depth" in topic
    return message.encoding in messages.DEPTH_ENCODINGS and not any(word in topic for word in _INFRARED)


def _color_rank(topic: str, message: Any, kinds: Mapping[str, str]) -> tuple[bool, ...]:
    raw = message.__msgtype__ == IMAGE
    colors = message.encoding.startswith(_COLORED) if raw else "mono" not in message.format
    infrared = any(word in topic for word in _INFRARED)
    return not infrared, colors, info_topic(topic, kinds) is not None, raw, topic.endswith("/image_raw")


def _depth_rank(topic: str, message: Any, color: Any) -> tuple[bool, ...]:
    raw = message.__msgtype__ == IMAGE
    sizes = [(m.width, m.height) if m is not None and hasattr(m, "width") else None for m in (message, color)]
    return (
        any(word in topic for word in _REGISTERED),
        color is not None and message.header.frame_id == color.header.frame_id,
        sizes[0] is not None and sizes[0] == sizes[1],
        raw,
        topic.endswith(("/image_raw", "/image_raw/compressedDepth")),
        topic.split("/")[-2:-1] in (["depth"], ["image_raw"]),  # not depth_truth and the like
    )
