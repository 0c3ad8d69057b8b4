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

"""Compiles every Triton kernel that a small run of the host code launches for GPUs that are not here, and prints it.

    python test/helpers/triton_compiler.py

The interpreter forgives what the compiler refuses. Triton brings NVIDIA's assembler with it, so this needs no GPU.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from dkn.engines import triton_heads
from dkn.networks import NetworkConfig, build
from dkn.ops import triton_sampling
from dkn.ops.sampling import regular_taps

TARGETS = {"Orin": 87, "H100": 90}
TYPES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}


def compile_launch(function: JITFunction, *arguments: Any, grid: Any, warmup: bool, **named: Any) -> None:
    """In the place of JITFunction.run: compile for what the arguments are, as a launch would, and launch nothing."""
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
        elif parameters[name].annotation != inspect.Parameter.empty or value in (1, None):
            signature[name], constants[name] = "constexpr", value
        else:
            signature[name] = "i32"
    for machine, capability in TARGETS.items():
        source = ASTSource(function, signature, constants, aligned)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert compiled.asm["cubin"]
        product = "wgmma" if "wgmma.mma" in compiled.asm["ptx"] else "mma" if "mma.sync" in compiled.asm["ptx"] else "-"
        print(machine, function.fn.__name__, *sorted(set(signature.values())), product)


def main() -> None:
    JITFunction.run = compile_launch
    image, weights, offsets = (torch.zeros(2, n, 48, 64, requires_grad=True) for n in (1, 9, 18))
    for shifts in (offsets, offsets.detach()):
        triton_sampling.weighted_average(image, weights.bfloat16(), shifts, regular_taps(3), 15).sum().backward()
    for dtype in (torch.float16, torch.float32):
        network = build(NetworkConfig(n1=8))
        features = [torch.zeros(2, 128, 12, 16, dtype=dtype)] * 2
        triton_heads.upsample(triton_heads.pack(network, dtype), features, torch.zeros(2, 1, 48, 64))


if __name__ == "__main__":
    main()
