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

"""RVL, one of the two codecs of the compressedDepth transport."""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from dkn.errors import ImageError
from dkn_ros.messages.limits import check_size
from dkn_ros.messages.raw import UInt8Array


def decode_rvl(data: UInt8Array, max_pixels: int) -> npt.NDArray[np.uint16]:
    """(rows, cols) of compressedDepth's RVL: uint32 cols, uint32 rows, then the stream.

    RVL (Wilson, "Fast Lossless Depth Image Compression", 2017) is a row of numbers: how many zeros, how many
    non-zeros, then each non-zero as its zigzag-coded difference from the one before, and so on. A number is
    written as nibbles of three bits, low bits first, with the top bit where more follow, and the nibbles fill
    32-bit words from the top. All numbers are decoded at once; only the walk from run to run is a loop.
    """
    if data.size < 8:
        raise ImageError(f"an RVL image of {data.size} bytes is too short for its size, 8 bytes")
    cols, rows = struct.unpack("<II", data[:8].tobytes())
    check_size(cols, rows, "RVL", max_pixels)
    pixels = rows * cols
    # Three bytes for each pixel are the most that RVL needs; beyond, the time spent here would have no bound.
    stream = data[8:][: 4 * pixels + 8]
    words = stream[: stream.size // 4 * 4].reshape(-1, 4)[:, ::-1].reshape(-1)
    nibbles = np.empty(2 * words.size, np.uint8)
    np.right_shift(words, 4, out=nibbles[0::2])
    np.bitwise_and(words, 15, out=nibbles[1::2])

    last = np.flatnonzero(nibbles < 8)
    first = np.zeros_like(last)
    first[1:] = last[:-1] + 1
    nibbles &= 7
    numbers = nibbles[first].astype(np.int32)
    longer, shift = np.flatnonzero(last > first), 0
    while longer.size:
        shift += 1
        if shift > 9:
            raise ImageError("an RVL image is damaged: it has a number of more than 30 bits")
        at = first[longer] + shift
        numbers[longer] |= nibbles[at].astype(np.int32) << 3 * shift
        longer = longer[at < last[longer]]

    runs: list[int] = []  # zeros, non-zeros, zeros, non-zeros, ...
    index = pixel = 0
    while pixel < pixels:
        zeros, count = (numbers.item(index), numbers.item(index + 1)) if index + 2 <= numbers.size else (0, 0)
        index += 2 + count
        pixel += zeros + count
        if pixel > pixels or index > numbers.size:
            raise ImageError(f"an RVL image of {cols}x{rows} is damaged or cut off near pixel {pixel}")
        runs += (zeros, count)

    counts = np.array(runs).reshape(-1, 2)
    nonzero = np.repeat(np.tile([False, True], len(counts)), counts.reshape(-1))
    counts[:, 0] = 2  # in the stream, two numbers come before each run of differences
    coded = numbers[:index][np.repeat(np.tile([False, True], len(counts)), counts.reshape(-1))]
    differences = (coded >> 1) ^ -(coded & 1)
    depth = np.zeros(pixels, np.uint16)
    depth[nonzero] = np.cumsum(differences.astype(np.uint16), dtype=np.uint16)  # modulo 2**16, as in C
    return depth.reshape(rows, cols)
