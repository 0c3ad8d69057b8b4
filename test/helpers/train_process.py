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

"""One of several processes that train together, for test_processes.py: a few steps, a second sitting, `dkn train`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from dkn.cli import main
from dkn.data.nyu import NYU
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, Trainer
from dkn.training.distributed import join

CONFIG = TrainConfig(
    NetworkConfig(n1=8, n2=8), 4, steps=4, batch_size=4, crop=16, warmup_steps=2, bf16=False, learning_rate=1e-3
)


def run(data: Path, out: Path) -> None:
    processes = join("cpu")
    assert processes.count == 2
    with processes.first_alone():
        dataset = NYU(data, "train")
    first = Trainer(dataset, CONFIG, out / "run", processes=processes)
    losses = [float(first.train_step()) for _ in range(2)]
    first.save()
    second = Trainer(dataset, CONFIG, out / "run", processes=processes, resume=True)
    assert second.step == 2
    losses += [float(second.train_step()) for _ in range(2)]
    state = {"network": second.network.state_dict(), "ema": second.ema.state_dict(), "losses": losses}
    torch.save(state, out / f"rank{processes.rank}.pt")
    options = ["--steps=2", "--scale=4", "--batch-size=2", "--crop=16", "--n1=8", "--n2=8", "--device=cpu"]
    status = main(["train", f"--data={data}", f"--out={out / 'command'}", *options])
    (out / f"status{processes.rank}").write_text(str(status))
    assert main(["train", f"--data={data}", f"--out={out / 'odd'}", *options, "--batch-size=3"]) == 2


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(*map(Path, sys.argv[1:]))
