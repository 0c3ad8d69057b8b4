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

"""A step of training as one CUDA graph: a step launches a thousand small kernels, and launching them one by one takes a
CPU several times longer than a GPU needs for them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dkn.training.batches import Batch

WARM_UP = 3  # steps before recording: compilers, choice of algorithms, the optimiser's state


class CapturedStep:
    """A step on a CUDA device: the first few as they are, then recorded, then replayed.

    Args:
        learn: takes one step with a batch and gives the loss, a scalar. Always the same operations on the same memory,
            but for the batch; none of them asks the device for a value.
    """

    def __init__(self, learn: Callable[[Batch], Tensor]):
        self._learn = learn
        self._taken = 0
        self._stream = torch.cuda.Stream()
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """Take a step; batches have to be of one shape."""
        if self._taken < WARM_UP:
            self._taken += 1
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                loss = self._learn(batch)
            torch.cuda.current_stream().wait_stream(self._stream)
            return loss
        if self._graph is None:
            self._batch = Batch(*(part.clone() for part in batch))
            self._graph = torch.cuda.CUDAGraph()
            # Threads that pin memory for the next batches may use the device meanwhile.
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                self._loss = self._learn(self._batch)
        for into, part in zip(self._batch, batch, strict=True):
            into.copy_(part, non_blocking=True)
        self._graph.replay()
        return self._loss.clone()
