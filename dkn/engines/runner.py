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

"""A network on the first engine of a plan that works here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dkn.engines import numpy_network
from dkn.engines.base import Array, Engine, log, on_host, placed
from dkn.engines.registry import Choice
from dkn.engines.selection.autotuning import Autotuner, fastest
from dkn.engines.selection.memory import last_size
from dkn.errors import DknError
from dkn.networks.weights import Weights
from dkn.utils.device import Device
from dkn.utils.memory import give_back

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-3, "bf16": 3e-2, "int8": 0.1}
"""Largest difference from the network in NumPy (`difference_from_numpy`), in units of the depth range: 0.1 mm, 1 cm,
30 cm and 1 m of 10 m. All but the first are for single pixels beside an edge of 3 m; on whole images float16 costs less
than 0.1 mm on average, bfloat16 and int8 some per mille of the RMSE."""


class DeviceChanged(Exception):
    """The next engine computes on another device: its arguments have to be taken there from where they came. From a
    device that is lost, nothing can be copied."""


class Runner:
    """A network on the first engine of a plan that works here; on the next, should that one fail in mid-run. One that
    has failed is not used again.

    Args:
        weights: of the network.
        choices: from `plan`.
        candidates: from `candidates`: which are to be timed once frames flow, so that the fastest takes over.

    Raises:
        DknError: none of them works.
    """

    def __init__(self, weights: Weights, choices: list[Choice], candidates: Sequence[Choice] = ()):
        self.weights = weights
        self.autotuner = Autotuner(weights, candidates, self._make, self._use)
        if self.autotuner.times:
            first = fastest(self.autotuner.times)
            choices = [*(c for c in candidates if str(c) == first), *(c for c in choices if str(c) != first)]
        self._lost: Device | None = None
        self.failure = ""
        """What failed in mid-run, and what runs instead; empty while nothing has."""
        self._choices = choices
        self.engine = self._working()

    def __call__(self, color: Array, depth: Array) -> Array:
        """As `Engine.__call__`.

        Raises:
            DeviceChanged: the engine failed, and the next one is on another device than the arguments.
            DknError: the last engine of the plan failed.
        """
        while True:
            engine = self.engine
            try:
                with self.autotuner.turn:
                    result: Array = engine(color, depth)
            except Exception as error:  # of whatever runtime it is
                self._next(engine, error)
                if self.engine.device != engine.device:
                    raise DeviceChanged from error
            else:
                self.autotuner.frame(engine, color, depth)
                return result

    def warm_up(self) -> None:
        """Have ready what the engine builds for a size of images: the one that came last here, if that is known."""
        if self.autotuner.times and (size := last_size(self.autotuner.subject)):
            channels = self.weights.config.depth_channels
            self(np.zeros((1, *size, 3), np.uint8), np.zeros((1, channels, *size), np.float32))

    def _use(self, engine: Engine) -> None:
        if str(engine) in self.autotuner.out:
            return  # it failed while others were timed
        log.info("engine %s takes over from %s", engine, self.engine)
        self.engine = engine

    def give_up(self, device: Device, error: Exception) -> None:
        """Go on without any engine on a device that work outside of an engine failed on.

        Raises:
            DknError: there is none elsewhere.
        """
        self._lost = device
        self._next(self.engine, error)

    def _next(self, failed: Engine, error: Exception) -> None:
        reason = str(error).partition("\n")[0] or type(error).__name__
        self.autotuner.out.add(str(failed))
        if type(error).__name__ == "OutOfMemoryError":  # of PyTorch, which need not be there
            self._lost = failed.device  # no memory is left there for another engine either
        try:
            engine = self._working()
        except DknError:
            raise DknError(f"engine {failed} failed, and there is no other: {reason}") from error
        self.failure = f"engine {failed} failed, going on with {engine}: {reason}"
        log.warning(self.failure)
        self.engine = engine

    def _working(self) -> Engine:
        """The first engine of the plan that can be made, agrees with the reference and has not failed.

        Raises:
            DknError: there is none.
        """
        problem = "no engine to choose from"
        for choice in self._choices:
            if str(choice) in self.autotuner.out or choice.device == self._lost:
                continue
            try:
                return self._make(choice)
            except DknError as error:
                problem = str(error)
            except Exception as error:  # a runtime that cannot be used here says so in its own way
                problem = f"engine {choice} cannot be used here: {error}".partition("\n")[0]
            self.autotuner.out.add(str(choice))
            log.warning(problem)
        raise DknError(problem)

    def _make(self, choice: Choice) -> Engine:
        """An engine that agrees with the network in NumPy.

        Raises:
            DknError: it does not.
        """
        engine = choice.make(self.weights)
        difference = difference_from_numpy(engine, self.weights)
        if not difference <= TOLERANCE[choice.precision]:
            raise DknError(f"engine {choice} is off by {difference:.2g} of the depth range: not used")
        engine.forget_sizes()  # the scene of the check does not come again
        give_back()
        return engine


def difference_from_numpy(engine: Engine, weights: Weights) -> float:
    """Largest difference from the network in NumPy on a small made-up scene, in units of the depth range."""
    height, width = 37, 50  # no multiples of anything
    random = np.random.default_rng(0)
    color = random.integers(0, 256, (1, height, width, 3), np.uint8)
    depth = np.empty((1, weights.config.depth_channels, height, width), np.float32)
    depth[:, 1:] = np.array([1, 0.75, 0.6])[: len(depth[0]) - 1, None, None]  # measured, at 8×, and somewhat mixed
    depth[:, 0] = 0.1 + 0.005 * random.random((height, width))  # noise of 5 cm, and a step of 3 m
    depth[:, 0, :, width // 3 :] += 0.3
    expected = numpy_network.run(weights, color, depth)
    result = on_host(engine(*(placed(array, engine.device) for array in (color, depth))))
    return float(np.nan_to_num(np.abs(result - expected), nan=np.inf).max())
