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

"""`dkn export`: a network as ONNX, for runtimes of the user's own; run once, and compared, before it is handed over."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch

from dkn import checkpoint
from dkn.checkpoint import ModelInfo
from dkn.engines.folding import fold
from dkn.engines.onnx_graph import kernels_graph
from dkn.errors import CheckpointError, ConfigError
from dkn.networks.dkn import KernelNetwork

TOLERANCE = 1e-5  # of kernel weights, and of offsets relative to the largest


def export_onnx(model: Path, out: Path) -> str:
    """Write the convolutions of a model as ONNX, and check them in ONNX Runtime against the network itself.

    The graph gives kernel weights and offsets (`dkn.engines.onnx_graph.kernels_graph` says how they are laid out); the
    average over the taps is left to `dkn.ops`, because runtimes do GridSample slowly or not alike. What the sampler
    needs to know is in the file's metadata.

    Args:
        model: model file.
        out: .onnx file.

    Returns:
        What was written, and how far it is from the network, in words.

    Raises:
        CheckpointError: no such model, or the file written does not give what the network gives.
        ConfigError: `out` is not called .onnx.
    """
    if out.suffix != ".onnx":
        raise ConfigError(f"{out}: a file of format onnx is called .onnx")
    weights, info = checkpoint.read(model)
    network = weights.network()
    graph = kernels_graph(fold(weights), weights.config)
    onnx.helper.set_model_props(graph, metadata(network, info))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")  # nobody finds a file under its name that was not checked
    onnx.save(graph, partial)
    try:
        difference = check(partial, network)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return f"{out}: opset {graph.opset_import[0].version}, {out.stat().st_size / 1e6:.1f} MB, off by {difference:.1e}"


def metadata(network: KernelNetwork, info: ModelInfo) -> dict[str, str]:
    """What a sampler has to know, as JSON values: taps (x, y) in pixels, window, phases, residual, unit of depth; what
    the width and height of its inputs have to be multiples of, and how to make them so: by repeating the last row and
    column (NumPy's padding "edge"), whose kernels are then of no use."""
    config = network.config
    values = {
        "architecture": config.architecture,
        "taps": network.taps.tolist(),
        "window": config.window,
        "phases": config.phases,
        "residual": config.residual,
        "depth_channels": config.depth_channels,
        "offset_unit": config.offset_unit,
        "depth_range": info.depth_range,
        "multiple_of": config.phases,
        "padding": "edge",
        "scale": info.scale,
    }
    return {f"dkn.{name}": json.dumps(value) for name, value in values.items()}


def check(path: Path, network: KernelNetwork) -> float:
    """Run an exported file in ONNX Runtime on images of two sizes. Returns the largest difference from the network.

    Raises:
        CheckpointError: larger than `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    worst = 0.0
    for batch, height, width in ((1, 32, 48), (2, 24, 20)):
        random = torch.Generator().manual_seed(height)
        color = torch.rand(batch, 3, height, width, generator=random)
        channels = network.config.depth_channels
        depth = 0.1 + 0.4 * torch.rand(batch, channels, height, width, generator=random)
        given = {"color": color.numpy(), "depth": depth.numpy()}
        outputs = session.run(None, {name: given[name] for name in names})
        with torch.inference_mode():
            expected = _kernels(network, color, depth)
        for output, wanted in zip(outputs, expected, strict=True):
            worst = max(worst, float(np.abs(output - wanted).max() / max(1.0, np.abs(wanted).max())))
    if not worst <= TOLERANCE:
        raise CheckpointError(f"{path}: gives kernels that differ from the network's by {worst:.1e}; not kept")
    return worst


def _kernels(network: KernelNetwork, color: torch.Tensor, depth: torch.Tensor) -> list[np.ndarray]:
    """The network's kernels before normalisation, laid out as `kernels_graph` lays them out."""
    weights, offsets = network.raw_kernels(color, depth)
    phases = network.config.phases

    def by_pixel(heads: torch.Tensor) -> np.ndarray:
        return torch.nn.functional.pixel_unshuffle(heads, phases).permute(0, 2, 3, 1).numpy()

    laid_out = [by_pixel(weights)]
    if offsets is not None:
        x_then_y = offsets.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1, 2)
        laid_out.append(by_pixel(x_then_y))
    return laid_out
