"""How a network is run: several engines that give the same depth, and the choice between them.

reference   the paper's own formulation, float32; the yardstick, never chosen by itself
torch       PyTorch alone; always there
onnx        ONNX Runtime for the convolutions, Numba for the average; CPU
openvino    OpenVINO for the convolutions, Numba for the average; CPU
cuda        PyTorch for the convolutions, Triton for the heads and the average; CUDA
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dkn.depth import with_knowledge
from dkn.device import has_native_bf16, has_native_int8
from dkn.engines.base import PRECISIONS, Engine, log
from dkn.engines.reference import ReferenceEngine
from dkn.errors import ConfigError, DknError
from dkn.networks import KernelNetwork

__all__ = ["ENGINES", "PRECISIONS", "Choice", "Engine", "Runner", "difference_from_reference", "plan"]


@dataclass(frozen=True)
class Entry:
    """An engine that there is, described without importing what it needs."""

    place: str
    """module:class"""
    packages: tuple[str, ...]
    precisions: Mapping[str, tuple[str, ...]]
    """What its convolutions can be computed in, by type of device; the fastest first."""


ENGINES = {
    "cuda": Entry("dkn.engines.cuda:CudaEngine", ("triton",), {"cuda": ("fp16",)}),
    "openvino": Entry(
        "dkn.engines.graph:OpenVINOEngine", ("openvino", "onnx", "numba"), {"cpu": ("int8", "bf16", "fp32")}
    ),
    "onnx": Entry("dkn.engines.graph:OnnxEngine", ("onnxruntime", "onnx", "numba"), {"cpu": ("fp32",)}),
    "torch": Entry("dkn.engines.pytorch:TorchEngine", (), {"cuda": ("fp16", "bf16", "fp32"), "cpu": ("bf16", "fp32")}),
    "reference": Entry("dkn.engines.reference:ReferenceEngine", (), {"cuda": ("fp32",), "cpu": ("fp32",)}),
}
"""The fastest first."""

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-3, "bf16": 3e-2, "int8": 0.1}
"""Largest difference from the reference in units of the depth range: 0.1 mm, 1 cm, 30 cm and 1 m of 10 m. All but the
first are for single pixels beside an edge of 3 m; on whole images float16 costs less than 0.1 mm on average, bfloat16
and int8 some per mille of the RMSE."""


@dataclass(frozen=True)
class Choice:
    """An engine that could serve, not yet made."""

    name: str
    device: torch.device
    precision: str

    def __str__(self) -> str:
        return f"{self.name} ({self.device.type}, {self.precision})"

    def make(self, network: KernelNetwork) -> Engine:
        module, _, name = ENGINES[self.name].place.partition(":")
        return getattr(importlib.import_module(module), name)(network, self.device, self.precision)


def plan(device: torch.device, engine: str = "auto", precision: str = "auto") -> list[Choice]:
    """What to try, best first; on CUDA the CPU comes last.

    Args:
        engine: one of `ENGINES`, or auto.
        precision: of the convolutions: fp32, bf16, fp16, or auto (what the engine is fastest in here).

    Raises:
        ConfigError: an unknown name, a missing package, or nothing that can do this on this device.
    """
    if engine not in ("auto", *ENGINES):
        raise ConfigError(f"engine={engine!r}: choose auto, {', '.join(ENGINES)}")
    if precision not in ("auto", *PRECISIONS):
        raise ConfigError(f"precision={precision!r}: choose auto, {', '.join(PRECISIONS)}")
    choices = []
    for name, entry in ENGINES.items():
        if (engine == "auto" and name == "reference") or engine not in ("auto", name):
            continue
        missing = [package for package in entry.packages if importlib.util.find_spec(package) is None]
        if missing and engine != "auto":
            raise ConfigError(f"engine={engine!r} needs what is not installed: pip install {' '.join(missing)}")
        offered = entry.precisions.get(device.type, ())
        wanted = _fastest(offered, device) if precision == "auto" else precision
        if wanted in offered and not missing:
            choices.append(Choice(name, device, wanted))
    if not choices:
        raise ConfigError(f"engine={engine!r} with precision={precision!r} is not to be had on {device.type}")
    if device.type == "cuda" and engine == "auto":
        choices += plan(torch.device("cpu"))
    return choices


def _fastest(offered: Sequence[str], device: torch.device) -> str:
    """Emulated, bfloat16 and int8 are slower than float32."""
    native = {"bf16": has_native_bf16, "int8": has_native_int8}
    return next((p for p in offered if device.type != "cpu" or p not in native or native[p]()), "")


class Runner:
    """A network on the first engine of a plan that works here; on the next, should that one fail in mid-run.

    Args:
        network: in evaluation mode, on the CPU.
        choices: from `plan`.

    Raises:
        DknError: none of them works.
    """

    def __init__(self, network: KernelNetwork, choices: list[Choice]):
        self.network = network
        self.failure = ""
        """What failed in mid-run, and what runs instead; empty while nothing has."""
        self._engines = self._working(choices)
        self.engine = next(self._engines)

    def __call__(self, color: Tensor, depth: Tensor) -> Tensor:
        """As `Engine.__call__`; the result lies where `depth` does.

        Raises:
            DknError: the last engine of the plan failed.
        """
        while True:
            device = self.engine.device
            try:
                return self.engine(color.to(device), depth.to(device)).to(depth.device)
            except Exception as error:  # of whatever runtime it is
                self._next(error)

    def _next(self, error: Exception) -> None:
        failed = self.engine
        reason = str(error).partition("\n")[0] or type(error).__name__
        out_of_memory = isinstance(error, torch.cuda.OutOfMemoryError)
        for engine in self._engines:
            # What ran out of memory on a device leaves none there for another engine either.
            if not (out_of_memory and engine.device == failed.device):
                self.failure = f"engine {failed} failed, going on with {engine}: {reason}"
                log.warning(self.failure)
                self.engine = engine
                return
        raise DknError(f"engine {failed} failed, and there is no other: {reason}") from error

    def _working(self, choices: list[Choice]) -> Iterator[Engine]:
        """Engines that were made and checked, one by one as they are needed."""
        problem = "no engine to choose from"
        for choice in choices:
            try:
                engine = choice.make(self.network)
                difference = difference_from_reference(engine, self.network)
            except Exception as error:  # a runtime that cannot be used here says so in its own way
                problem = f"engine {choice} cannot be used here: {error}".partition("\n")[0]
            else:
                if difference <= TOLERANCE[choice.precision]:
                    yield engine
                    continue
                problem = f"engine {choice} is off by {difference:.2g} of the depth range: not used"
            log.warning(problem)
        if not hasattr(self, "engine"):
            raise DknError(problem)


def difference_from_reference(engine: Engine, network: KernelNetwork) -> float:
    """Largest difference from the reference on a small made-up scene, in units of the depth range."""
    height, width = 37, 50  # no multiples of anything
    random = torch.Generator().manual_seed(0)
    color = torch.randint(0, 256, (1, height, width, 3), dtype=torch.uint8, generator=random)
    depth = 0.1 + 0.005 * torch.rand(1, 1, height, width, generator=random)  # noise of 5 cm, and a step of 3 m
    depth[..., width // 3 :] += 0.3
    low = torch.ones(1, 1, height // 8, width // 8)
    depth = with_knowledge(depth, low, low > 0, network.config.depth_channels)
    expected = ReferenceEngine(network, torch.device("cpu"))(color, depth)
    result = engine(color.to(engine.device), depth.to(engine.device)).cpu()
    return float((result - expected).abs().max().nan_to_num(torch.inf))
