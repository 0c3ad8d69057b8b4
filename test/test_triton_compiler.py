"""The Triton kernels compile for the GPUs that the project is for, here where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is not installed")

ROOT = Path(__file__).resolve().parents[1]


def test_every_kernel_compiles_for_each_gpu(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    compiler = [sys.executable, str(ROOT / "test" / "triton_compiler.py")]
    run = subprocess.run(compiler, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 0, run.stderr
    compiled = [tuple(line.split()[:2]) for line in run.stdout.splitlines()]
    kernels = ("_average", "_differentiate", "_scatter", "_upsample")
    assert set(compiled) == {(gpu, kernel) for gpu in ("Orin", "H100") for kernel in kernels}
    # The products of the heads run on tensor cores in float16.
    assert [line.split()[-1] for line in run.stdout.splitlines() if "*fp16" in line] == ["mma", "wgmma"]
