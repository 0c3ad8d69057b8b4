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

"""Compiles every Triton kernel that the host code launches for GPUs that are not here, and prints what came of it.

    python test/helpers/triton_compiler.py [--all] 80 87 89 90 120

The interpreter forgives what the compiler refuses. Triton brings NVIDIA's assembler with it, so this needs no GPU. One
line of JSON for each launch and compute capability: registers of a thread, bytes of its stack (spilled registers are
there), bytes of shared memory, warps, and the kind of matrix product.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, KernelParam

from dkn.depth.stages import fused
from dkn.engines import triton_heads
from dkn.geometry import CameraModel, Registration, triton_registration
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import build
from dkn.ops import triton_sampling
from dkn.ops.sampling import regular_taps

TYPES = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.uint8: "*u8",
    torch.int64: "*i64",
}
ASSEMBLERS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
NEW = 100  # the first capability that needs the newer of them
COMMON = [{}, {"architecture": "dkn"}]
NETWORKS = [
    *COMMON,
    {"kernel_size": 5},
    {"kernel_size": 7},
    {"guidance": "none"},
    {"weights_from": "rgb", "offsets_from": "depth"},
    {"residual": False},
    {"n2": 128},
    {"architecture": "dkn", "kernel_size": 5, "residual": False},
]


class Compiler:
    """Stands in the place of JITFunction.run: compiles for what the arguments are, as a launch would, and launches
    nothing."""

    def __init__(self, capabilities: list[int]) -> None:
        self.capabilities = capabilities
        self.case = ""
        self.done: set[str] = set()

    def __call__(self, function: JITFunction, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
        parameters = inspect.signature(function.fn).parameters
        options = {name: named.pop(name) for name in list(named) if name not in parameters}
        bound = inspect.signature(function.fn).bind(*arguments, **named).arguments
        signature, constants, aligned = {}, {}, {}
        for i, (name, value) in enumerate(bound.items()):
            if isinstance(value, torch.Tensor):
                signature[name] = TYPES[value.dtype]
                aligned[(i,)] = [["tt.divisibility", 16]]
            elif isinstance(value, float):
                signature[name] = "fp32"
            elif is_constant(function.params[i], value):
                signature[name], constants[name] = "constexpr", value
            else:
                signature[name] = "i32"
        launch = f"{function.fn.__name__} {signature} {constants} {options}"
        if launch in self.done:
            return
        self.done.add(launch)
        for capability in self.capabilities:
            compiled = triton.compile(
                _source(function, signature, constants, aligned),
                target=GPUTarget("cuda", capability, 32),
                options=options,
            )
            ptx = compiled.asm["ptx"]
            found = {
                "capability": capability,
                "kernel": function.fn.__name__,
                "case": self.case,
                "types": sorted({t for t in signature.values() if t.startswith("*")}),
                "warps": compiled.metadata.num_warps,
                "shared": compiled.metadata.shared,
                "product": "wgmma" if "wgmma.mma" in ptx else "mma" if "mma.sync" in ptx else "none",
                **assembled(ptx, capability),
            }
            print(json.dumps(found), flush=True)


def _source(function: JITFunction, signature: dict[str, str], constants: dict[str, Any], aligned: Any) -> ASTSource:
    try:
        from triton.backends.compiler import AttrsDescriptor
    except ImportError:
        return ASTSource(function, signature, constants, aligned)
    # Triton 3.2: constants are no part of the signature, and what is aligned has a class.
    typed = {name: kind for name, kind in signature.items() if kind != "constexpr"}
    return ASTSource(function, typed, constants, AttrsDescriptor.from_hints({place: 16 for (place,) in aligned}))


def is_constant(parameter: KernelParam, value: Any) -> bool:
    return parameter.is_constexpr or value is None or (value == 1 and not parameter.do_not_specialize)


def assembled(ptx: str, capability: int) -> dict[str, int]:
    """Registers and stack of a thread, as NVIDIA's assembler says."""
    assembler = ASSEMBLERS / ("ptxas-blackwell" if capability >= NEW else "ptxas")
    if not assembler.exists():
        assembler = ASSEMBLERS / "ptxas"
    kind = re.search(r"\.target (\w+)", ptx)
    assert kind
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(assembler), "-v", f"--gpu-name={kind[1]}", file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    registers, stack = re.search(r"Used (\d+) registers", said), re.search(r"(\d+) bytes stack frame", said)
    assert registers and stack, said
    return {"registers": int(registers[1]), "stack": int(stack[1])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("capabilities", type=int, nargs="+", help="compute capabilities, times ten")
    parser.add_argument("--all", action="store_true", help="every kind of network, not the two common ones")
    options = parser.parse_args()
    compiler = Compiler(options.capabilities)
    JITFunction.run = lambda function, *arguments, **named: compiler(function, *arguments, **named)
    for size in (3, 5, 7) if options.all else (3,):
        image, weights, offsets = (torch.zeros(2, n, 48, 64, requires_grad=True) for n in (1, size**2, 2 * size**2))
        for shifts in (offsets, offsets.detach()):
            compiler.case = f"k = {size}, offsets {'learned' if shifts.requires_grad else 'fixed'}"
            result = triton_sampling.weighted_average(image, weights.bfloat16(), shifts, regular_taps(size), 15)
            result.sum().backward()
    for fields in NETWORKS if options.all else COMMON:
        network = build(NetworkConfig(**{"n1": 8, **fields}))
        size = (48, 64) if network.config.architecture == "dkn" else (12, 16)
        for dtype in (torch.float16, torch.float32):
            compiler.case = f"{fields}"
            streams = sum(stream is not None for stream in (network.guidance_stream, network.depth_stream))
            for batch in (1, 2) if options.all else (1,):
                features = [torch.zeros(batch, network.config.n2, *size, dtype=dtype)] * streams
                triton_heads.upsample(triton_heads.pack(network, dtype), features, torch.zeros(batch, 1, 48, 64))
    # A frame: small maps, then such as take several launches; with and without a vote, and one or four channels.
    frames = [((60, 80), 4, True), ((480, 640), 1, True), ((1024, 1280), 1, False)]
    for size, channels, cut in frames:
        compiler.case = f"{size[1]}x{size[0]}, {channels} channels, {'cut' if cut else 'filled'}"
        compile_frame(size, (480, 640) if size == (60, 80) else size, channels, cut)
    compile_registration(compiler)


def compile_registration(compiler: Compiler) -> None:
    """Of cameras without distortion and with it."""
    for coefficients in ((), (0.1, -0.2, 0.0, 0.0, 0.1)):
        compiler.case = f"registration, distortion {coefficients}"
        color = CameraModel(80, 60, 70.0, 70.0, 40.0, 30.0, "plumb_bob", coefficients)
        known = Registration(CameraModel(64, 48, 50.0, 50.0, 32.0, 24.0), color, np.eye(4))._on_cpu.keywords
        triton_registration.Register(**known, device="cpu").on_device(torch.zeros(48, 64))


def compile_frame(small: tuple[int, int], size: tuple[int, int], channels: int, cut: bool) -> None:
    low, color = torch.zeros(1, 1, *small), torch.zeros(*size, 3, dtype=torch.uint8)
    valid = fused.validity(low, 0.0, 10.0)
    prepared = fused.prepare(low, valid, size, 10.0, channels)
    bounds = fused.local_range(prepared.filled, valid, size, 7)
    fused.finish(prepared.shown[:, :1], prepared, bounds, low, valid, color, cut)


if __name__ == "__main__":
    main()
