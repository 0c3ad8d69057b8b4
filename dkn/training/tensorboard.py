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

"""TensorBoard: how a run goes, as curves and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from dkn.errors import ConfigError
from dkn.networks.config import STRIDE
from dkn.training import surroundings
from dkn.training.trainer import MODEL, Trainer

FOLDER = "tensorboard"
CURVES_EVERY = 20  # steps
PICTURES_EVERY = 500
SHOWN = 4  # crops of the batch


class Board:
    """Writes loss and learning rate, crops as the averaged network sees them, and how good the model is by then.

    Args:
        trainer: the run; everything goes to `tensorboard` in its folder. Its `run` is given `after_step`.
        test: a model file → RMSE by name; None: no such curve.
        test_every: steps from one test to the next.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(
        self, trainer: Trainer, test: Callable[[Path], Mapping[str, float]] | None = None, test_every: int = 1000
    ):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ConfigError("TensorBoard is not installed: pip install tensorboard pillow") from None
        self._trainer, self._test, self._test_every = trainer, test, max(test_every, 1)
        self._writer = SummaryWriter(str(trainer.out / FOLDER), purge_step=trainer.step + 1)

    def after_step(self, loss: Tensor) -> None:
        """What there is to write after a step with this mean loss (in units of the depth range)."""
        trainer, step = self._trainer, self._trainer.step
        if step % CURVES_EVERY == 0:
            self._writer.add_scalar("loss, cm", 100 * trainer.config.depth_range * float(loss), step)
            self._writer.add_scalar("learning rate", trainer.learning_rate, step)
        if step % PICTURES_EVERY == 0:
            self._writer.add_image("colour, input, output, truth", self._pictures(), step)
        if self._test is not None and step % self._test_every == 0:
            trainer.save()
            for name, rmse in self._test(trainer.out / MODEL).items():
                self._writer.add_scalar(f"test RMSE, {name}", rmse, step)

    def __enter__(self) -> Board:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    @torch.no_grad()
    def _pictures(self) -> Tensor:
        """(3, h, w), 0 to 1: a row for each crop; depth from black to white over the span of its truth."""
        batch = self._trainer.batch(self._trainer.step)
        output = self._trainer.output(self._trainer.ema, batch)
        if self._trainer.config.surrounded:
            margin = surroundings.margin(self._trainer.config.network.window)
            around = slice(margin, -margin, STRIDE if self._trainer.config.at_one_phase else 1)
            batch = batch._replace(guidance=batch.guidance[..., around, around], depth=batch.depth[..., around, around])
        rows = []
        for parts in zip(batch.guidance, batch.depth[:, :1], output, batch.target, batch.known, strict=True):
            color, *depths, known = parts
            truth = depths[-1][known]
            low, high = (truth.min(), truth.max()) if known.any() else (0, 1)
            grey = [((d - low) / (high - low + 1e-6)).clamp(0, 1).expand(3, -1, -1) for d in depths]
            rows.append(torch.cat((color, *grey), dim=2))
        return torch.cat(rows[:SHOWN], dim=1).cpu()
