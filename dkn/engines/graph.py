"""Runtimes that read ONNX run the convolutions on the CPU; Numba the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dkn.engines.base import BySize, Engine
from dkn.kernels.numba_average import average_kernels
from dkn.networks import KernelNetwork
from dkn.onnx_graph import kernels_graph

Arrays = Mapping[str, np.ndarray]


class GraphEngine(Engine):
    """From the bytes of the colour image to kernels in one graph; sampling outside of it."""

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        super().__init__(network, device, precision)
        graph = kernels_graph(network, from_bytes=True)
        self._inputs, self._outputs = (
            [value.name for value in ends] for ends in (graph.graph.input, graph.graph.output)
        )
        self._graph = graph.SerializeToString()
        self._taps = network.taps.cpu().numpy()

    @abstractmethod
    def _kernels(self, images: Arrays) -> Arrays:
        """Run the graph."""

    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        images = {"color": color.numpy(), "depth": depth.numpy()}
        kernels = self._kernels({name: self._whole_phases(images[name]) for name in self._inputs})
        config, weights = self.config, kernels["weights"]
        offsets = kernels.get("offsets")
        if offsets is None:
            offsets = np.zeros((*weights.shape[:3], 2 * weights.shape[3]), np.float32)
        elif config.offset_unit != 1:
            offsets = offsets * np.float32(config.offset_unit)
        average = partial(
            average_kernels, taps=self._taps, window=config.window, phases=config.phases, residual=config.residual
        )
        samples = zip(images["depth"][:, 0], weights, offsets, strict=True)
        return torch.from_numpy(np.stack([average(*sample) for sample in samples])[:, None])

    def _whole_phases(self, image: np.ndarray) -> np.ndarray:
        """The image with its last row and column repeated until the phases divide its size; depth (N, 1, H, W) or
        colour (N, H, W, 3)."""
        first = 2 if image.dtype == np.float32 else 1
        beyond = [-n % self.config.phases for n in image.shape[first : first + 2]]
        if not any(beyond):
            return image
        widths = [(0, 0)] * first + [(0, n) for n in beyond]
        return np.pad(image, widths + [(0, 0)] * (image.ndim - len(widths)), mode="edge")


class OpenVINOEngine(GraphEngine):
    """OpenVINO, compiled for each size; in bfloat16 where the CPU multiplies it natively."""

    name = "openvino"

    def __init__(self, network: KernelNetwork, device: torch.device, precision: str):
        import openvino

        super().__init__(network, device, precision)
        self._core = openvino.Core()
        self._hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._requests = BySize(self, self._compile)

    def _kernels(self, images: Arrays) -> Arrays:
        batch, _, height, width = images["depth"].shape
        request = self._requests[batch, height, width]
        request.infer(dict(images), share_inputs=True)
        return {name: request.get_output_tensor(i).data for i, name in enumerate(self._outputs)}

    def _compile(self, shape: tuple[int, ...]) -> Any:
        batch, height, width = shape
        model = self._core.read_model(self._graph)
        shapes = {"color": [batch, height, width, 3], "depth": [batch, 1, height, width]}
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

    def _kernels(self, images: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(images)), strict=True))
