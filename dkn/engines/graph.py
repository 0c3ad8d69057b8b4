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

"""Runtimes that read ONNX run the convolutions on the CPU; Numba the rest."""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from queue import SimpleQueue
from typing import Any, Protocol

import numpy as np

from dkn.engines.base import BySize, Engine
from dkn.engines.folding import fold
from dkn.engines.onnx_graph import bytes_of_a_pixel, engine_graphs
from dkn.engines.quantisation import quantise
from dkn.networks.weights import Weights
from dkn.ops.numba_average import Average
from dkn.ops.numba_cells import color_cells, depth_cells
from dkn.ops.rows import in_rows, stacked, thread_count
from dkn.utils.device import Device, has_native_bf16
from dkn.utils.signals import keep_signal_stack

Arrays = Mapping[str, np.ndarray]
BAND = 6_000_000
"""Bytes of what heads give that are in work on each core. They should still be in a cache when they are read; fewer
would let threads change hands more often, which takes long on a machine that is busy."""


class Runtime(Protocol):
    """Two graphs, compiled for one size of image."""

    def features(self, cells: Arrays) -> Arrays:
        """Run the first graph of `dkn.engines.onnx_graph.engine_graphs`, on all threads."""

    def heads(self, features: Arrays) -> AbstractContextManager[Arrays]:
        """Run the second on as many rows as it was compiled for, on one thread; several may call at the same time. What
        it gives holds within the context."""


class GraphEngine(Engine):
    """Cells of the images in, features out, in one graph; then heads in another one and the average, band by band."""

    def __init__(self, weights: Weights, device: Device, precision: str, half: bool = False):
        """`half`: what is not done in eight bits is done in bfloat16."""
        super().__init__(weights, device, precision)
        self._threads = thread_count()  # what is compiled is for so many, whatever they become later
        self._parts = 2 if half else 1
        streams = fold(weights)
        if precision == "int8":
            streams = quantise(streams, self.config)
        graphs = engine_graphs(streams, self.config, self._parts)
        self.graphs = tuple(graph.SerializeToString() for graph in graphs)
        """The two, as ONNX."""
        self._inputs = [value.name for value in graphs[0].graph.input]
        self._pixel_bytes = sum(bytes_of_a_pixel(value) for value in graphs[1].graph.output)
        self._taps = self.config.taps()
        of_bytes = [s.offsets.output_range / 127 for s in streams if s.offsets and s.offsets.output_range]
        self._offset_unit = self.config.offset_unit * math.prod(of_bytes)

    def __call__(self, color: np.ndarray, depth: np.ndarray) -> np.ndarray:
        return self.average(depth, self.features(self.images(color, depth)))

    def images(self, color: np.ndarray, depth: np.ndarray) -> Arrays:
        """What goes into the first graph."""
        phases = self.config.phases
        cells = {
            "color": lambda: [color_cells(image, phases) for image in color],
            "depth": lambda: [depth_cells(image, phases, self._parts) for image in depth],
        }
        return {name: stacked(cells[name]()) for name in self._inputs}

    def features(self, cells: Arrays) -> Arrays:
        """What comes out of it."""
        return self.runtime(*self._size(cells)).features(cells)

    def average(self, depth: np.ndarray, features: Arrays) -> np.ndarray:
        """Heads and eq. (3) or (7), as `__call__`."""
        runtime = self.runtime(*self._size(features))
        results = [
            self._average(sample[0], {name: f[i : i + 1] for name, f in features.items()}, runtime)
            for i, sample in enumerate(depth)
        ]
        return stacked(results)[:, None]

    def _average(self, depth: np.ndarray, features: Arrays, runtime: Runtime) -> np.ndarray:
        """(H, W), features of one image → (H, W)."""
        config = self.config
        _, rows, columns, _ = next(iter(features.values())).shape
        height = self.band(rows, columns)
        average = Average(
            depth,
            self._taps,
            config.window,
            config.phases,
            residual=config.residual,
            offset_unit=self._offset_unit,
        )

        def bands(first: int, last: int) -> None:
            for top in range(first, last, height):
                # The last band begins earlier, so that all have one height; what is done already is left out.
                start = min(top, rows - height)
                some = slice(top - start, min(top + height, last) - start)
                with runtime.heads({name: f[:, start : start + height] for name, f in features.items()}) as kernels:
                    weights, offsets = (
                        [factor[0, some] for name, factor in kernels.items() if name.startswith(kind)]
                        for kind in ("weights", "offsets")
                    )
                    average.band(top, weights, offsets)

        in_rows(bands, rows)
        return average.output

    def _size(self, arrays: Arrays) -> tuple[int, int, int]:
        """Images at once, height and width in whole cells."""
        batch, rows, columns, _ = next(iter(arrays.values())).shape
        return batch, rows * self.config.phases, columns * self.config.phases

    def band(self, rows: int, columns: int) -> int:
        """Rows of the features that are done at once: as many in each band, so that few are done twice."""
        share = -(-rows // self._threads)
        most = max(1, BAND // (self._pixel_bytes * columns))
        return -(-share // -(-share // most))

    @abstractmethod
    def runtime(self, batch: int, height: int, width: int) -> Runtime:
        """The graphs for some images of this size in whole cells; the second for `band` rows of one."""


class OpenVINOEngine(GraphEngine):
    """OpenVINO, compiled for each size.

    In int8 the wide convolutions take eight bits, and the others what bf16 or fp32 would have been.
    """

    name = "openvino"

    def __init__(self, weights: Weights, device: Device, precision: str):
        self._core = _openvino()
        half = precision in ("bf16", "int8") and has_native_bf16()  # OpenVINO does not emulate it
        super().__init__(weights, device, precision, half)
        self._hints = {"INFERENCE_PRECISION_HINT": "bf16" if half else "f32", "PERFORMANCE_HINT": "LATENCY"}
        self._runtimes = BySize(self, self._compile)

    def runtime(self, batch: int, height: int, width: int) -> Runtime:
        return self._runtimes[batch, height, width]

    def forget_sizes(self) -> None:
        self._runtimes.clear()

    def _compile(self, size: tuple[int, ...]) -> Runtime:
        batch, *image = size
        rows, columns = (n // self.config.phases for n in image)
        band = 1, self.band(rows, columns), columns
        features = self._request(self.graphs[0], (batch, rows, columns), self._threads)
        # One model a thread: streams of one model, started at the same time, have given wrong numbers (2026.4).
        return OpenVINORuntime(features, [self._request(self.graphs[1], band, 1) for _ in range(self._threads)])

    def _request(self, graph: bytes, shape: tuple[int, ...], threads: int) -> Any:
        model = self._core.read_model(graph)
        model.reshape({port.any_name: [*shape, port.get_partial_shape()[3].get_length()] for port in model.inputs})
        hints = self._hints | {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        if threads == 1:
            hints["ENABLE_CPU_PINNING"] = False  # all would sit on the first core
        request = self._core.compile_model(model, "CPU", hints).create_infer_request()
        request.infer()  # what is still to be prepared, before several of them run at once
        return request


@cache
def _openvino() -> Any:
    """Its core, with the plugin for CPUs loaded."""
    with _no_telemetry():
        import openvino

    core = openvino.Core()
    with keep_signal_stack():
        core.get_property("CPU", "FULL_DEVICE_NAME")
    return core


@contextmanager
def _no_telemetry() -> Iterator[None]:
    """OpenVINO (2026.4) tells its makers over the network that it is imported, from a process that it forks. The fork
    waits for the end of NumPy's matrix products, which may wait for the interpreter, which the fork holds: then all
    stands still. Without the package that sends it, it goes on."""
    name = "openvino_telemetry"
    is_there = name in sys.modules
    if not is_there:
        sys.modules[name] = None  # type: ignore[assignment]  # as if it could not be imported
    try:
        yield
    finally:
        if not is_there:
            del sys.modules[name]


class OpenVINORuntime:
    """Requests whose inputs and outputs stay where they are."""

    def __init__(self, features: Any, heads: list[Any]):
        from openvino import Tensor

        self._tensor = Tensor
        self._features = features
        self._names, self._head_names = ([p.any_name for p in r.model_outputs] for r in (features, heads[0]))
        self._heads: SimpleQueue[Any] = SimpleQueue()
        for request in heads:
            self._heads.put(request)

    def features(self, cells: Arrays) -> Arrays:
        self._features.infer(dict(cells), share_inputs=True)
        return {name: self._features.get_output_tensor(i).data for i, name in enumerate(self._names)}

    @contextmanager
    def heads(self, features: Arrays) -> Iterator[Arrays]:
        request = self._heads.get()
        try:
            for name, array in features.items():
                request.set_tensor(name, self._tensor(array, shared_memory=True))
            request.infer()
            yield {name: request.get_output_tensor(i).data for i, name in enumerate(self._head_names)}
        finally:
            self._heads.put(request)


class OnnxEngine(GraphEngine):
    """ONNX Runtime, which is there on more processors."""

    name = "onnx"

    def __init__(self, weights: Weights, device: Device, precision: str):
        super().__init__(weights, device, precision)
        self._runtime = OnnxRuntime(_session(self.graphs[0], self._threads), _session(self.graphs[1], 1))

    def runtime(self, batch: int, height: int, width: int) -> Runtime:
        return self._runtime


class OnnxRuntime:
    """Sessions that take any size."""

    def __init__(self, features: Any, heads: Any):
        self._features, self._heads = features, heads

    def features(self, cells: Arrays) -> Arrays:
        return _run(self._features, cells)

    @contextmanager
    def heads(self, features: Arrays) -> Iterator[Arrays]:
        yield _run(self._heads, features)


def _session(graph: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of constants that it has no more use for
    options.intra_op_num_threads = threads
    # Threads that spin between two frames would take the cores from whatever runs there.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _run(session: Any, inputs: Arrays) -> Arrays:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
