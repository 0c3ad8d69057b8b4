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

"""Work on a GPU as CUDA graphs: recorded once for the shapes that come, then started with one call for each frame.

A graph holds everything from pinned host memory to pinned host memory. The addresses in it are fixed, so arrays are
copied into its buffers and its result out of them; one frame is on its way at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dkn.engines.base import Upload, log

Function = Callable[..., Tensor]
"""From one `Upload` for each array to a tensor on the device. Always the same operations, none of which waits for the
device or asks it for a value."""

WARM_UP = 2  # calls before recording: compilers, choice of algorithms, workspaces


_CAPTURING = threading.Lock()


class CaptureError(RuntimeError):
    """A graph could not be recorded to its end. PyTorch up to 2.12 is then in no state to record another one."""


class Captured:
    """A function of host arrays as one CUDA graph. Not for several threads at once.

    Args:
        function: runs under `torch.inference_mode`, on streams of its own.
        arrays: examples, for their shapes and types; those to come can have any memory layout.
        device: of CUDA.
        pool: of device memory, shared by graphs that never run at the same time.

    Raises:
        CaptureError: the function cannot be recorded.
        RuntimeError: it cannot be run, or there is no memory for it (torch.cuda.OutOfMemoryError).
    """

    def __init__(self, function: Function, arrays: tuple[np.ndarray, ...], device: torch.device, pool: Any = None):
        self._device = device
        self._inputs = [_pinned(torch.from_numpy(np.empty_like(array, order="C"))) for array in arrays]
        self._result: Tensor | None = None
        self._stream, self._upload_stream = torch.cuda.Stream(device), torch.cuda.Stream(device)
        # Blocking: a thread that waits sleeps. By default it would keep a core of the CPU busy.
        self._graph, self._done = torch.cuda.CUDAGraph(), torch.cuda.Event(blocking=True)
        with torch.cuda.device(device), torch.inference_mode():
            for host, array in zip(self._inputs, arrays, strict=True):
                np.copyto(host.numpy(), array)
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UP):
                    self._round_trip(function)
            self._stream.synchronize()
            self._capture(function, pool)

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        """The function's result for arrays like the examples, in memory of its own."""
        for host, array in zip(self._inputs, arrays, strict=True):
            np.copyto(host.numpy(), array)
        # In inference mode, as it was captured: PyTorch 2.1 to 2.6 fill the random generators' tensors at each replay.
        with torch.inference_mode(), torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            self._graph.replay()
            self._done.record()
        self._done.synchronize()
        assert self._result is not None
        return self._result.numpy().copy()

    def _capture(self, function: Function, pool: Any) -> None:
        before = torch.cuda.current_stream(self._device)
        try:
            # Other threads may use the device meanwhile: only this one must not wait for it. But one graph at a time.
            with _CAPTURING, torch.cuda.graph(self._graph, pool, self._stream, capture_error_mode="thread_local"):
                self._round_trip(function)
        except Exception as error:
            torch.cuda.set_stream(before)  # PyTorch up to 2.12 leaves this thread on the graph's stream
            raise CaptureError(str(error).partition("\n")[0] or type(error).__name__) from error

    def _round_trip(self, function: Function) -> None:
        """From pinned memory to pinned memory, on the current stream and, for uploads, on one beside it."""
        main, beside = torch.cuda.current_stream(self._device), self._upload_stream
        beside.wait_stream(main)
        uploads = [self._upload(host) for host in self._inputs]
        result = function(*uploads)
        main.wait_stream(beside)  # even if the function had no use for some array, whose memory is held until here
        if self._result is None:
            self._result = _pinned(torch.empty(result.shape, dtype=result.dtype))
        self._result.copy_(result, non_blocking=True)

    def _upload(self, host: Tensor) -> Upload:
        main, beside = torch.cuda.current_stream(self._device), self._upload_stream
        image = torch.empty(host.shape, dtype=host.dtype, device=self._device)
        with torch.cuda.stream(beside):
            image.copy_(host, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()

        def wait() -> Tensor:
            main.wait_event(arrived)
            return image

        return wait


class Graphs:
    """Functions on one device, captured for each key and shape of arrays that comes; the last few are kept.

    Can be called by several threads, which take turns.
    """

    KEPT = 4
    possible: ClassVar[bool] = True
    """Whether graphs can be recorded in this process: until one could not."""

    def __init__(self, device: torch.device):
        self._device = device
        self._kept: dict[Hashable, Captured | None] = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._turn = threading.Lock()

    def __call__(self, name: str, key: Hashable, function: Function, *arrays: np.ndarray) -> np.ndarray | None:
        """The function's result for these arrays; None where it cannot be captured, which is logged once.

        Args:
            name: what it is called in the log.
            key: of all that the function depends on beside the arrays and their shapes.
        """
        key = key, *((array.shape, array.dtype) for array in arrays)
        with self._turn:
            if not Graphs.possible and key not in self._kept:
                return None
            try:
                if key not in self._kept:
                    self._capture(name, key, function, arrays)
                captured = self._kept[key]
                return None if captured is None else captured(*arrays)
            except Exception as error:  # whatever it is, the function can be run without a graph
                if isinstance(error, CaptureError):
                    Graphs.possible = False
                reason = str(error).partition("\n")[0] or type(error).__name__
                log.warning("%s: goes on without a CUDA graph: %s", name, reason)
            # Only now is nothing left of what failed; the others go too, to leave it all the memory.
            self._kept = {key: None}
            return None

    def _capture(self, name: str, key: Hashable, function: Function, arrays: tuple[np.ndarray, ...]) -> None:
        if self._kept:  # not at the first, which is no change
            sizes = " and ".join(f"{array.shape[1]}x{array.shape[0]}" for array in arrays)
            log.info("%s: built anew for %s", name, sizes)
        if len(self._kept) == self.KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = Captured(function, arrays, self._device, self._pool)


def _pinned(tensor: Tensor) -> Tensor:
    """The tensor in memory that a GPU copies from and to without the CPU."""
    return tensor.pin_memory()
