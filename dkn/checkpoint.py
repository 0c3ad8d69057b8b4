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

"""Model files: safetensors with metadata, and the authors' released checkpoints.

A file holds the weights of one network and, as metadata, all it takes to run it: no pickle, no code. The authors'
`.pth` files are read too, through torch's weights-only reader; nothing else here needs PyTorch.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from dkn.errors import CheckpointError, ConfigError
from dkn.networks.config import NetworkConfig
from dkn.networks.weights import Weights
from dkn.utils.paths import share_folder

if TYPE_CHECKING:
    from dkn.networks.dkn import KernelNetwork

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
        if any(value is not None and not 1e-3 < value < 1e6 for value in (self.scale, self.depth_range)):
            raise ConfigError(
                f"scale={self.scale}, depth_range={self.depth_range}: numbers between 0.001 and 1,000,000 are needed"
            )

    @property
    def is_for_sensors(self) -> bool:
        """Whether the network is told what is known and how it was measured: such models are made for real cameras."""
        return self.network.depth_channels > 1


def save(path: Path, network: KernelNetwork | Weights, info: ModelInfo) -> None:
    """Write `network`, or its weights, and its `info` to `path` (.safetensors).

    Raises:
        CheckpointError: weights that are not finite, which nobody can use; otherwise as `writing`.
    """
    weights = network if isinstance(network, Weights) else Weights.of(network)
    if name := not_finite(weights.arrays):
        raise CheckpointError(f"{path}: not written, for {name} is not finite; what was there before is kept")
    arrays = {name: np.asarray(array, order="C") for name, array in weights.arrays.items()}
    metadata = {"format": FORMAT} | {f.name: json.dumps(_plain(getattr(info, f.name))) for f in fields(info)}
    with writing(path) as partial:
        partial.write_bytes(serialise(arrays, metadata))


def joined_terms(*terms: str) -> str:
    """What the licences of several parts allow, as a model's card has it; nothing is said twice."""
    return "; ".join(dict.fromkeys(part for text in terms for part in text.split("; ") if part))


def not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of an array that has a value which is no number, or infinite; None if there is none."""
    return next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives a file to write that takes its place under `path` when it is whole; of one that is not, nothing stays.

    Raises:
        CheckpointError: it cannot be written: a full disk, say.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError where the disk is full
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: cannot be written ({reason}); what was there before is kept") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def load(path: Path, to_train: bool = False) -> tuple[KernelNetwork, ModelInfo]:
    """The network of a model file, in evaluation mode.

    Args:
        to_train: also one that is there to be trained only.

    Raises:
        CheckpointError: as `read`.
    """
    weights, info = read(path, to_train)
    return weights.network(), info


def read(path: Path, to_train: bool = False) -> tuple[Weights, ModelInfo]:
    """Read a model file: ours (.safetensors) or the authors' (.pth).

    Args:
        to_train: also a network on cells, which is there to be trained only.

    Raises:
        CheckpointError: no such file, damaged, or not a network of this project.
    """
    path = Path(path)
    if not _is_there(path):
        raise CheckpointError(f"{path.absolute()}: no such model file")
    with _saying_why(path):
        path.open("rb").close()  # safetensors takes a file without permission for one that is not there
    arrays, info = _read_released(path) if path.suffix in (".pth", ".pt") else _read_safetensors(path)
    if info.network.architecture == "cells" and not to_train:
        raise CheckpointError(
            f"{path}: a network on cells, for a DKN to begin with: dkn train --model dkn --init {path}"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite then
        floats = {
            name: array if array.dtype.kind in "iu" else array.astype(np.float32) for name, array in arrays.items()
        }
    try:
        weights = Weights(info.network, floats)
    except ValueError as error:
        raise CheckpointError(f"{path}: the weights do not fit its {info.network.architecture}: {error}") from None
    if name := not_finite(weights.arrays):
        raise CheckpointError(f"{path}: damaged: {name} is not finite")
    if name := next((n for n, a in weights.arrays.items() if n.endswith("running_var") and (a < 0).any()), None):
        raise CheckpointError(f"{path}: damaged: {name} is negative, which no variance is")
    return weights, info


def _is_there(path: Path) -> bool:
    """Whether it is a file.

    Raises:
        CheckpointError: nobody can tell: a folder without permission, a name that is too long.
    """
    with _saying_why(path):
        return path.is_file()


@contextmanager
def _saying_why(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path.absolute()}: cannot be read ({error.strerror})") from None


def _plain(value: Any) -> Any:
    return asdict(value) if isinstance(value, NetworkConfig) else value


Arrays = dict[str, np.ndarray]


def _read_safetensors(path: Path) -> tuple[Arrays, ModelInfo]:
    try:
        arrays, metadata = _contents(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, or not a safetensors file ({error})") from None
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a model of this project (metadata has no format = {FORMAT})")
    try:
        values = {f.name: json.loads(metadata[f.name]) for f in fields(ModelInfo)}
        network = NetworkConfig(**values.pop("network"))
        info = ModelInfo(network, **values)
        if not isinstance(info.scale, int | None) or not isinstance(info.training, dict):
            raise TypeError("scale or training of another type")
    except (KeyError, ValueError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path}: unreadable metadata ({error})") from None
    return arrays, info


def _contents(path: Path) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file of safetensors, and its metadata."""
    try:
        return _opened(path, "np")
    except (TypeError, AttributeError) as unknown:  # numbers that NumPy does not know, such as bfloat16
        try:
            tensors, metadata = _opened(path, "pt")
        except ImportError:
            raise CheckpointError(f"{path}: to read its numbers takes PyTorch ({unknown})") from None
    return {name: _array(path, name, tensor) for name, tensor in tensors.items()}, metadata


def _opened(path: Path, framework: str) -> tuple[dict[str, Any], dict[str, str]]:
    with safe_open(path, framework=framework) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (no iterator)


def _read_released(path: Path) -> tuple[Arrays, ModelInfo]:
    """The authors' checkpoints, with taps by their own rule (`NetworkConfig.taps`)."""
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(f"{path}: to read it takes PyTorch, which cannot be imported ({error})") from None
    try:
        released = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, KeyError … for a bad file
        raise CheckpointError(f"{path}: damaged, or more than plain weights ({type(error).__name__})") from None
    needed = {"DepthKernel.conv6.weight", "DepthKernel.conv_weight.weight"}
    if not isinstance(released, dict) or not needed <= released.keys():
        raise CheckpointError(f"{path}: not one of the authors' checkpoints")
    architecture: Literal["fdkn", "dkn"] = "dkn" if "DepthKernel.conv7.weight" in released else "fdkn"
    names = _RELEASED_NAMES[architecture]
    arrays: Arrays = {}
    for name, tensor in released.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise CheckpointError(f"{path}: damaged: {name!r} is no array of weights")
        stream, _, rest = name.partition(".")
        module, _, leaf = rest.partition(".")
        if stream not in _RELEASED_STREAMS or module not in names:
            raise CheckpointError(f"{path}: unknown weights {name}")
        arrays[f"{_RELEASED_STREAMS[stream]}.{names[module]}.{leaf}"] = _array(path, name, tensor)
    phases = 16 if architecture == "fdkn" else 1
    scale = re.search(r"(\d+)x", path.stem)
    try:
        channels = len(released["ImageKernel.conv1.weight"][0]) if "ImageKernel.conv1.weight" in released else 0
        config = NetworkConfig(
            architecture,
            kernel_size=math.isqrt(len(released["DepthKernel.conv_weight.weight"]) // phases),
            guidance=_GUIDANCE_OF_CHANNELS.get(channels // phases, "none"),
            released_sampling=True,
        )
        info = ModelInfo(config, int(scale[1]) if scale else 8, None, {"data": "released by the paper's authors"})
    except (TypeError, IndexError, ConfigError) as error:  # the first two: arrays without an axis, or of no length
        raise CheckpointError(f"{path}: weights of no network of the authors' ({error})") from None
    return arrays, info


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    try:
        whole = tensor.detach().resolve_conj().resolve_neg()
        found: np.ndarray = (whole.float() if whole.is_floating_point() else whole).numpy()
    except (RuntimeError, TypeError) as error:  # sparse, quantised, on no device
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path}: {name} is no plain array of weights ({reason})") from None
    return found


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


DEFAULT_MODEL = "fdkn_sensor"
"""For what cameras deliver, at any ratio."""
FAMILIES = ("fdkn", "dkn", "fdkn_sensor", "dkn_sensor")
"""Short names that pick the file whose scale is nearest to the one at hand."""


SIZES = ("", "_medium", "_small", "_tiny")
"""What follows the name of a model that there is in several sizes, the largest first."""


def models_folder() -> Path:
    """Folder of the models that come with the project; the environment variable DKN_MODELS overrides it.

    Raises:
        CheckpointError: as `share_folder`.
    """
    chosen = os.environ.get("DKN_MODELS")
    return Path(chosen) if chosen else share_folder() / "models"


def find_model(name: str | Path, scale: float) -> Path:
    """The model file that `name` means: a path, a file's short name (fdkn_x8), or one of `FAMILIES`.

    Args:
        scale: upsampling factor at hand; a family's file for the nearest factor (as a ratio) is taken.

    Raises:
        CheckpointError: nothing of that name, or a folder that cannot be read.
    """
    path = Path(name)
    if _is_path(path):
        if not _is_there(path):
            raise CheckpointError(f"{path.absolute()}: no such model file")
        return path
    folder = models_folder()
    if _is_there(exact := folder / f"{name}.safetensors"):
        return exact
    scales = {
        int(match[1]): file
        for file in sorted(folder.glob("*_x*.safetensors"))  # of the name nothing is a pattern
        if (match := re.fullmatch(rf"{re.escape(str(name))}_x(\d+)", file.stem))
    }
    if not scales:
        known = sorted(file.stem for file in folder.glob("*.safetensors"))
        raise CheckpointError(f"no model {name!r} in {folder}; there are {', '.join(known) or 'none'}")
    nearest = min(scales, key=lambda s: abs(math.log(s / max(scale, 1e-6))))
    return scales[nearest]


def _is_path(name: Path) -> bool:
    return bool(name.suffix) or len(name.parts) > 1


def family(name: str | Path) -> list[str]:
    """Names of `name` and of its smaller ones (`SIZES`) that are there, the largest first; a file has none.

    Raises:
        CheckpointError: a folder that cannot be read.
    """
    if _is_path(Path(name)):
        return [str(name)]
    folder, name = models_folder(), str(name)
    return [name, *(name + size for size in SIZES[1:] if _is_there(folder / f"{name}{size}.safetensors"))]
