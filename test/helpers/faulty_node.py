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

"""The node with two faults, each of which a colour image calls for by its first pixel, and beside a library whose
thread never ends."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
from torch import Tensor

from dkn import Upsampler, upsampler
from dkn.engines import ENGINES
from dkn.engines.pytorch import TorchEngine
from dkn.engines.registry import Entry
from dkn_ros.__main__ import run

END_OF_THREAD = 250, 1, 2
END_OF_ENGINE = 250, 1, 3


class GlassEngine(TorchEngine):
    """The fastest of all, until it breaks."""

    name = "glass"

    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        if tuple(color[0, 0, 0].tolist()) == END_OF_ENGINE:
            raise RuntimeError("broken glass")
        return super().__call__(color, depth)


def _leave_if_asked(color: np.ndarray) -> None:
    if tuple(color[0, 0].tolist()) == END_OF_THREAD:
        sys.exit("a library that ends the program")


if __name__ == "__main__":
    others = dict(ENGINES)
    ENGINES.clear()
    ENGINES["glass"] = Entry("__main__:GlassEngine", (), {"cpu": ("fp32",)})
    ENGINES.update(others)
    upsampler.candidates = lambda *_: []  # whatever others would take less time here
    call = Upsampler.__call__

    def faulty_call(self: Upsampler, color: np.ndarray, depth: np.ndarray) -> Any:
        _leave_if_asked(color)
        return call(self, color, depth)

    Upsampler.__call__ = faulty_call
    threading.Thread(target=time.sleep, args=(3600,)).start()
    run()
