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

"""`python -m dkn_ros.benchmark.pass_through`: the node without a network, for measuring all that is not the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from dkn import Upsampler
from dkn_ros.__main__ import run
from dkn_ros.parameters import Options

if TYPE_CHECKING:
    from dkn_ros.node import UpsampleNode


class PassThrough(Upsampler):
    """Gives back the depth that comes in, each pixel repeated where colour has more of them."""

    def __init__(self) -> None:
        super().__init__(device="cpu")

    @property
    def engine_name(self) -> str:
        return "none"

    def warm_up(self, scale: float) -> None:
        """There is no network to load."""

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        height, width = color.shape[:2]
        if depth.shape == (height, width):
            return depth
        return np.asarray(cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def make_node() -> UpsampleNode:
    from dkn_ros.node import UpsampleNode  # as late as in `main`, which takes signals first

    class PassThroughNode(UpsampleNode):
        def _make_upsampler(self, model: str, p: Options) -> Upsampler:
            return PassThrough()

    return PassThroughNode()


if __name__ == "__main__":
    run(make_node)
