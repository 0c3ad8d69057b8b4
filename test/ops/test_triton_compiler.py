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

"""The Triton kernels compile for the GPUs that the project is for, here where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

ROOT = Path(__file__).resolve().parents[2]


def test_every_kernel_compiles_for_each_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    compiler = [sys.executable, str(ROOT / "test" / "helpers" / "triton_compiler.py")]
    run = subprocess.run(compiler, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr
    compiled = [tuple(line.split()[:2]) for line in run.stdout.splitlines()]
    kernels = ("_average", "_differentiate", "_scatter", "_upsample")
    assert set(compiled) == {(gpu, kernel) for gpu in ("Orin", "H100") for kernel in kernels}
    # The products of the heads run on tensor cores in float16.
    assert [line.split()[-1] for line in run.stdout.splitlines() if "*fp16" in line] == ["mma", "wgmma"]
