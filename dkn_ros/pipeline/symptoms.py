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

"""From what the node has seen to what is wrong: each function gives a sentence, cause first, or None."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np

LOSS = 0.1  # share of images missing that is worth a warning
OTHER_CLOCK = 1_000_000_000  # nanoseconds between stamps that no slop makes up for
PAIRED = 0.5  # share of the slower stream that should find a partner
IN_RANGE = 0.01  # share of the known depth that should lie between min_depth and max_depth
_METRES_AT_MOST = 100.0  # larger floats are hardly metres


def pairing_problem(color_ns: Sequence[int], depth_ns: Sequence[int], matched: int, slop_ns: int) -> str | None:
    """Why few or no pairs are found, if that is for their stamps.

    Args:
        color_ns, depth_ns: stamps that came in a while.
        matched: pairs found in it.
        slop_ns: largest difference allowed.
    """
    fewer, more = sorted((sorted(set(color_ns)), sorted(set(depth_ns))), key=len)
    if not fewer or matched >= PAIRED * len(fewer):
        return None
    differences = [_nearest(stamp, more) for stamp in fewer]
    difference = statistics.median_low(differences) if matched else min(differences)
    if difference <= slop_ns or (matched and difference > OTHER_CLOCK):  # the latter is a pause
        return None
    found = f"{matched} pairs of {len(color_ns)} colour and {len(depth_ns)} depth images"
    if difference > OTHER_CLOCK:
        cause = f"colour and depth are stamped by different clocks, {difference / 1e9:.3g} s apart"
        return f"{cause}: let one driver stamp both, or set both clocks by the same time ({found})"
    return f"stamps differ by {difference / 1e6:.3g} ms, slop is {slop_ns / 1e6:.3g} ms: set slop ({found})"


def _nearest(stamp: int, ordered: Sequence[int]) -> int:
    """How far the nearest of some stamps is."""
    at = bisect_left(ordered, stamp)
    return min(abs(stamp - other) for other in ordered[max(0, at - 1) : at + 1])


def loss_problem(
    topic: str, depth: np.ndarray, registered: np.ndarray | None, result: np.ndarray, min_confidence: float
) -> str | None:
    """Where all of a frame's depth was lost, if it was: on `topic`, or on the way from there to the result.

    Args:
        topic: that depth came from.
        depth: (h, w), as it came.
        registered: (h', w') float32 metres, or None where depth was taken as it is.
        result: (H, W) float32 metres.
    """
    if np.isfinite(result).any():
        return None
    if not (np.isfinite(depth) & (depth > 0)).any():
        return f"no pixel on {topic} has a depth"
    if registered is not None and not np.isfinite(registered).any():
        return "no depth is left after registration: is the transform that of these cameras, in metres?"
    if min_confidence > 0:
        return f"no depth is as likely as min_confidence, {min_confidence:g}: set less"
    return f"no depth comes out, though {topic} has some: do min_depth and max_depth leave any?"


def displacement_problem(x: int, y: int) -> str | None:
    """That colour is moved onto depth by these pixels, worth saying where it lasts."""
    if x == y == 0:
        return None
    remedy = "register or calibrate the cameras if they stand still, trigger or stamp both at once if they move"
    return f"colour stands {math.hypot(x, y):.0f} pixels beside depth, and is moved onto it: {remedy}"


def transport_loss(info_ns: Iterable[int], image_ns: Iterable[int]) -> float | None:
    """The share of images that were lost on the way, if it is worth a word.

    A driver sends each image with a camera_info of the same stamp. The small one always arrives, so that it tells which
    images there were. Where no two stamps agree, it tells nothing.

    Args:
        info_ns: stamps of camera_info, from a while ago.
        image_ns: stamps of images, from before then until now.
    """
    sent, arrived = set(info_ns), set(image_ns)
    missing = len(sent - arrived)
    if sent.isdisjoint(arrived) or missing <= 2 or missing < LOSS * len(sent):
        return None
    return missing / len(sent)


def range_problem(metres: np.ndarray, encoding: str, min_depth: float, max_depth: float) -> str | None:
    """Whether next to all that is known of a depth image lies outside the range that counts.

    Args:
        metres: (h, w) float32, NaN where unknown.
        encoding: of the message.
        min_depth, max_depth: metres.
    """
    known = np.isfinite(metres)
    count = np.count_nonzero(known)
    inside = np.count_nonzero((metres >= min_depth) & (metres <= max_depth))
    if not count or inside >= IN_RANGE * count:
        return None
    median = float(np.median(metres[known]))
    share = "no depth" if not inside else f"only {100 * inside / count:.2g} % of the depth lies"
    limits = f"set min_depth and max_depth, now {min_depth:g} and {max_depth:g} m"
    if encoding == "32FC1":
        remedy = "are these millimetres?" if median > _METRES_AT_MOST else limits
    else:
        remedy = f"set depth_unit, or {limits}"
    return f"{share} between min_depth and max_depth (median {median:.4g}): {remedy}"
