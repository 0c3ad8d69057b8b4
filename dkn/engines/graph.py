"""Runtimes that read ONNX run the convolutions on the CPU; Numba the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dkn.device import has_native_bf16
from dkn.engines.base import BySize, Engine
from dkn.engines.onnx_graph import kernels_graph
from dkn.kernels.numba_average import average_kernels
from dkn.networks import KernelNetwork

Arrays = Mapping[str, np.ndarray]


class GraphEngine(Engine):
    """From the bytes of the colour image to kernels in one graph; sampling outside of it."""

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        super().__init__(network, device, precision)
        graph = kernels_graph(network, for_engine=True, int8=precision == "int8")
        self._inputs, self._outputs = (
            [value.name for value in ends] for ends in (graph.graph.input, graph.graph.output)
        )
        self._graph = graph.SerializeToString()
        self._taps = network.taps.cpu().numpy()

    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        return self.average(depth, self.kernels(self.images(color, depth)))

    def images(self, color: Tensor, depth: Tensor) -> Arrays:
        """What goes into the graph."""
        padded = {
            "color": self._whole_phases(color.numpy(), rows=1),
            "depth": self._whole_phases(_two_parts(depth.numpy()), rows=2),
        }
        return {name: padded[name] for name in self._inputs}

    @abstractmethod
    def kernels(self, images: Arrays) -> Arrays:
        """Run the graph (`dkn.engines.onnx_graph.kernels_graph`)."""

    def average(self, depth: Tensor, kernels: Arrays) -> Tensor:
        """Eq. (3) or (7), as `__call__`."""
        config, weights = self.config, kernels["weights"]
        offsets = kernels.get("offsets")
        if offsets is None:
            offsets = np.zeros((*weights.shape[:3], 2 * weights.shape[3]), np.float32)
        elif config.offset_unit != 1:
            offsets = offsets * np.float32(config.offset_unit)
        average = partial(
            average_kernels, taps=self._taps, window=config.window, phases=config.phases, residual=config.residual
        )
        samples = zip(depth[:, 0].numpy(), weights, offsets, strict=True)
        return torch.from_numpy(np.stack([average(*sample) for sample in samples])[:, None])

    def _whole_phases(self, image: np.ndarray, rows: int) -> np.ndarray:
        """The image with its last row and column repeated until the phases divide its size; `rows`: the axis of rows,
        before that of columns."""
        padding = [(0, -n % self.config.phases if rows <= i <= rows + 1 else 0) for i, n in enumerate(image.shape)]
        return np.pad(image, padding, mode="edge") if any(after for _, after in padding) else image


def _two_parts(depth: np.ndarray) -> np.ndarray:
    """(N, C, H, W) float32 → (N, 1 + C, H, W): of the first channel the leading bits, exact in bfloat16, and what
    remains of each number; then the other channels."""
    count, channels, height, width = depth.shape
    parts = np.empty((count, 1 + channels, height, width), np.float32)
    np.bitwise_and(depth[:, 0].view(np.uint32), np.uint32(0xFFFF0000), out=parts[:, 0].view(np.uint32))
    np.subtract(depth[:, 0], parts[:, 0], out=parts[:, 1])
    parts[:, 2:] = depth[:, 1:]
    return parts


class OpenVINOEngine(GraphEngine):
    """OpenVINO, compiled for each size.

    In int8 the wide convolutions take eight bits, and the others what bf16 or fp32 would have been.
    """

    name = "openvino"

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        import openvino

        super().__init__(network, device, precision)
        self._core = openvino.Core()
        half = precision == "bf16" or (precision == "int8" and has_native_bf16())
        self._hints = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._requests = BySize(self, self._compile)

    def kernels(self, images: Arrays) -> Arrays:
        if "color" in images:
            batch, height, width, _ = images["color"].shape
        else:
            batch, _, height, width = images["depth"].shape
        request = self._requests[batch, height, width]
        request.infer(dict(images), share_inputs=True)
        return {name: request.get_output_tensor(i).data for i, name in enumerate(self._outputs)}

    def _compile(self, shape: tuple[int, ...]) -> Any:
        batch, height, width = shape
        model = self._core.read_model(self._graph)
        shapes = {"color": [batch, height, width, 3], "depth": [batch, 1 + self.config.depth_channels, height, width]}
        model.reshape({name: shapes[name] for name in self._inputs})
        return self._core.compile_model(model, "CPU", self._hints).create_infer_request()


class OnnxEngine(GraphEngine):
    """ONNX Runtime, which needs no compilation and is there on more processors."""

    name = "onnx"

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        import onnxruntime

        super().__init__(network, device, precision)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin between two frames would take the cores from whatever runs there.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(self._graph, options, providers=["CPUExecutionProvider"])

    def kernels(self, images: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(images)), strict=True))
