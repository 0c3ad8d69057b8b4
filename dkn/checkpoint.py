"""Model files: safetensors with metadata, and the authors' released checkpoints.

A file holds the weights of one network and, as metadata, all it takes to run it: no pickle, no code. The authors'
`.pth` files are read too, through torch's weights-only reader.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dkn.errors import CheckpointError, ConfigError
from dkn.networks import KernelNetwork, NetworkConfig, build

FORMAT = "dkn-1"


@dataclass(frozen=True)
class ModelInfo:
    """The metadata of a model file."""

    network: NetworkConfig
    scale: int | None
    """The upsampling factor it was trained for; None: for many (the recipe in `training` names them)."""
    depth_range: float | None
    """Depth in metres that the network sees as 1; None: the span of each frame (the authors' checkpoints)."""
    training: dict[str, Any] = field(default_factory=dict)
    """What is known of its making: data, steps, test_rmse_cm …"""

    def __post_init__(self) -> None:
        if any(value is not None and not value > 0 for value in (self.scale, self.depth_range)):
            raise ConfigError(f"scale={self.scale}, depth_range={self.depth_range}: positive numbers are needed")


def save(path: Path, network: KernelNetwork, info: ModelInfo) -> None:
    """Write `network` and its `info` to `path` (.safetensors)."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    metadata = {"format": FORMAT} | {f.name: json.dumps(_plain(getattr(info, f.name))) for f in fields(info)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)


def load(path: Path) -> tuple[KernelNetwork, ModelInfo]:
    """Read a model file: ours (.safetensors) or the authors' (.pth). The network comes in evaluation mode.

    Raises:
        CheckpointError: no such file, damaged, or not a network of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such model file")
    state, info = _read_released(path) if path.suffix in (".pth", ".pt") else _read_safetensors(path)
    network = build(info.network)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{path}: the weights do not fit its {info.network.architecture}: {problem}") from None
    return network.eval(), info


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, NetworkConfig) else value


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], ModelInfo]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a model of this project (metadata has no format = {FORMAT})")
    try:
        values = {f.name: json.loads(metadata[f.name]) for f in fields(ModelInfo)}
        network = NetworkConfig(**values.pop("network"))
        info = ModelInfo(network, **values)
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: unreadable metadata ({error})") from None
    return state, info


def _read_released(path: Path) -> tuple[dict[str, torch.Tensor], ModelInfo]:
    """The authors' checkpoints, with taps by their own rule (`NetworkConfig.taps`)."""
    try:
        released = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, KeyError … for a bad file
        raise CheckpointError(f"{path}: damaged, or more than plain weights ({type(error).__name__})") from None
    needed = {"DepthKernel.conv6.weight", "DepthKernel.conv_weight.weight"}
    if not isinstance(released, dict) or not needed <= released.keys():
        raise CheckpointError(f"{path}: not one of the authors' checkpoints")
    architecture: Literal["fdkn", "dkn"] = "dkn" if "DepthKernel.conv7.weight" in released else "fdkn"
    names = _RELEASED_NAMES[architecture]
    state = {}
    for name, tensor in released.items():
        stream, _, rest = name.partition(".")
        module, _, leaf = rest.partition(".")
        if stream not in _RELEASED_STREAMS or module not in names:
            raise CheckpointError(f"{path}: unknown weights {name}")
        state[f"{_RELEASED_STREAMS[stream]}.{names[module]}.{leaf}"] = tensor
    phases = 16 if architecture == "fdkn" else 1
    channels = len(released["ImageKernel.conv1.weight"][0]) if "ImageKernel.conv1.weight" in released else 0
    config = NetworkConfig(
        architecture,
        kernel_size=math.isqrt(len(released["DepthKernel.conv_weight.weight"]) // phases),
        guidance=_GUIDANCE_OF_CHANNELS.get(channels // phases, "none"),
        released_sampling=True,
    )
    scale = re.search(r"(\d+)x", path.stem)
    return state, ModelInfo(config, int(scale[1]) if scale else 8, None, {"data": "released by the paper's authors"})


_GUIDANCE_OF_CHANNELS: dict[int, Literal["rgb", "grey", "none"]] = {3: "rgb", 1: "grey"}
_RELEASED_STREAMS = {"ImageKernel": "guidance_stream", "DepthKernel": "depth_stream"}
_RELEASED_HEADS = {"conv_weight": "heads.weights", "conv_offset": "heads.offsets"}
_RELEASED_NAMES = {
    "dkn": _RELEASED_HEADS
    | {f"conv{i}": f"convs.{i - 1}" for i in range(1, 8)}
    | {f"conv{i}_bn": f"norms.{i - 1}" for i in (1, 3, 5)},
    # Places in a Sequential of conv, BN, ReLU, conv, ReLU, three times over.
    "fdkn": _RELEASED_HEADS
    | {f"conv{i}": f"features.{p}" for i, p in enumerate((0, 3, 5, 8, 10, 13), start=1)}
    | {f"conv{i}_bn": f"features.{p}" for i, p in ((1, 1), (3, 6), (5, 11))},
}
