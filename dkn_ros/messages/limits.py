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

"""What is refused of messages from outside, and how they are quoted."""

from __future__ import annotations

from dkn.errors import ImageError

MAX_PIXELS = 4096 * 4096
"""The largest image that is read, unless the caller says otherwise. A few hundred bytes of a compressed picture can
claim, and fill, any memory; and the network needs some kilobytes for each pixel of colour."""


def check_size(width: int, height: int, kind: str, max_pixels: int) -> None:
    if width == 0 or height == 0:
        raise ImageError(f"a {kind} picture of {width}x{height} pixels is empty")
    if width * height > max_pixels:
        limit = f"more than the {max_pixels} pixels accepted (max_pixels)"
        raise ImageError(f"a {kind} picture claims {width}x{height} = {width * height} pixels, {limit}")


def short(text: object) -> str:
    """A text from outside, quoted on one line and cut to a readable length."""
    text = str(text)
    return repr(text if len(text) <= 80 else text[:77] + "...")
