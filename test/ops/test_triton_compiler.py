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

"""The Triton kernels compile for the GPUs that the project is for, here where there is none, and stay within limits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from dkn.ops.triton_version import OLDEST

pytest.importorskip("triton", reason="Triton is not installed")

ROOT = Path(__file__).resolve().parents[2]

# Registers of a thread, bytes of its stack, bytes of shared memory, at most; as Triton 3.7 makes them, and a little
# more. The heads take all registers that there are, and spill ten of them at k = 7, two at k = 3 on Hopper.
LIMITS = {
    "_average": (48, 0, 0),
    "_differentiate": (48, 0, 1024),
    "_scatter": (48, 0, 0),
    "_upsample": (255, 40, 56 * 1024),
    "_validity": (16, 0, 0),
    "_down": (48, 0, 4096),
    "_down_and_up": (64, 0, 8192),  # 16 warps of 128 registers would be all that a multiprocessor has
    "_up": (48, 0, 0),
    "_mixed_edges": (56, 0, 1024),
    "_network_input": (96, 0, 2048),
    "_range_in_rows": (48, 0, 2048),
    "_local_range": (48, 0, 2048),
    "_middle_colors": (48, 0, 0),
    "_finish": (128, 0, 2048),
    "_project": (72, 0, 2048),
    "_read": (48, 0, 0),
}
WARPS = {"_down_and_up": 16, "_middle_colors": 2}  # of the others, 4
PRODUCTS = {80: "mma", 87: "mma", 89: "mma", 90: "wgmma", 120: "mma"}
"""Of float16, by compute capability: Hopper alone multiplies by groups of warps, blocks of 64 rows or more."""
FEW_ROWS = "'kernel_size': 7"  # 49 taps leave room for 32


OLD = {80: "mma", 87: "mma", 89: "mma", 90: "wgmma"}
"""What the oldest Triton that is allowed knows."""
OLD_STACK = 136  # bytes, of the heads on Hopper


def compiled(folder: Path, *arguments: str, limit: float = 240, packages: Path | None = None) -> list[dict]:
    """`packages`: a folder whose packages come before those that are installed."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = os.pathsep.join(map(str, (*([packages] if packages else []), ROOT)))
    environment |= {"TRITON_CACHE_DIR": str(folder), "PYTHONPATH": path}
    compiler = [sys.executable, str(ROOT / "test" / "helpers" / "triton_compiler.py"), *arguments]
    run = subprocess.run(compiler, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    assert run.returncode == 0, run.stderr
    return list(map(json.loads, run.stdout.splitlines()))


def assert_within_limits(launches: list[dict], capabilities: Iterable[int]) -> None:
    found = {(launch["capability"], launch["kernel"]) for launch in launches}
    assert found == {(capability, kernel) for capability in capabilities for kernel in LIMITS}
    beyond = []
    for launch in launches:
        registers, stack, shared = LIMITS[launch["kernel"]]
        if launch["registers"] > registers or launch["stack"] > stack or launch["shared"] > shared:
            beyond.append(launch)
        if launch["warps"] != WARPS.get(launch["kernel"], 4):
            beyond.append(launch)
        expected = "mma" if FEW_ROWS in launch["case"] else PRODUCTS[launch["capability"]]
        if "*fp16" in launch["types"] and launch["product"] != expected:
            beyond.append(launch)
    assert not beyond


def test_kernels_for_orin_and_hopper(tmp_path):
    assert_within_limits(compiled(tmp_path, "87", "90"), (87, 90))


@pytest.mark.slow
def test_the_oldest_triton_that_is_allowed_compiles_all_of_it(tmp_path):
    """In a process of its own, with its own wheel, if that is to be had (250 MB)."""
    oldest = ".".join(map(str, OLDEST))
    packages, pip = tmp_path / "packages", [sys.executable, "-m", "pip", "install", "--no-deps", "--only-binary=:all:"]
    had = subprocess.run(
        [*pip, "-t", str(packages), f"triton=={oldest}.*"], capture_output=True, text=True, check=False
    )
    if had.returncode:
        pytest.skip(f"Triton {oldest} is not to be had for this Python: {had.stderr.splitlines()[-1]}")
    launches = compiled(tmp_path, *map(str, OLD), limit=1800, packages=packages)
    assert {(launch["capability"], launch["kernel"]) for launch in launches} == set(product(OLD, LIMITS))
    assert max(launch["stack"] for launch in launches) <= OLD_STACK
    half = [launch for launch in launches if "*fp16" in launch["types"]]
    assert half and all(launch["product"] == OLD[launch["capability"]] for launch in half)


@pytest.mark.slow
def test_every_launch_for_every_gpu(tmp_path):
    assert_within_limits(compiled(tmp_path, "--all", *map(str, PRODUCTS), limit=1800), PRODUCTS)
