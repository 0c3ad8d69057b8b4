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

"""Frames that come before all is compiled that they pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from dkn import Upsampler
from dkn.depth import kernels
from dkn.depth.stages import choice
from dkn.depth.stages.host import BY_NUMPY
from dkn.errors import CheckpointError

numba_validity = pytest.importorskip("dkn.depth.holes.numba_validity")


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def nothing_compiled(monkeypatch):
    """As when a process begins; what is compiled waits until the event that this gives is set."""
    go = threading.Event()
    choice._compiled.cache_clear()
    monkeypatch.setattr(kernels, "awaited", False)
    monkeypatch.setattr(choice, "compile_search", lambda: go.wait(60))
    yield go
    go.set()
    wait_for(lambda: not choice.is_compiling())


def test_a_frame_need_not_wait_for_what_is_compiled(nothing_compiled, make_model, tmp_path, monkeypatch):
    votes = []
    compiled = numba_validity.upsample_validity
    monkeypatch.setattr(numba_validity, "upsample_validity", lambda *of: votes.append(of) or compiled(*of))
    upsampler = Upsampler(make_model(tmp_path / "m_x8.safetensors", 8), device="cpu", compile_first=False)
    color = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    depth = np.full((6, 8), 2, np.float32)
    depth[2, 3:6] = np.nan
    early = upsampler(color, depth)
    assert upsampler.is_measuring
    assert not votes
    nothing_compiled.set()
    wait_for(lambda: not choice.is_compiling())
    assert not upsampler.is_measuring
    votes.clear()  # what was compiled was tried
    late = upsampler(color, depth)
    assert votes
    np.testing.assert_allclose(early, late, atol=1e-5)


def test_a_compiler_that_fails_leaves_numpy_at_work(nothing_compiled, make_model, tmp_path, monkeypatch, caplog):
    def fail() -> None:
        raise OSError("no compiler")

    monkeypatch.setattr(choice, "compile_search", fail)
    upsampler = Upsampler(make_model(tmp_path / "m_x8.safetensors", 8), device="cpu", compile_first=False)
    upsampler.load(8)
    wait_for(lambda: not choice.is_compiling())
    assert "no compiler" in caplog.text
    assert choice.stages("cpu") is BY_NUMPY
    assert kernels.awaited
    assert not upsampler.is_measuring
    assert np.isfinite(upsampler(np.zeros((48, 64, 3), np.uint8), np.full((6, 8), 2, np.float32))).all()


def test_after_a_model_that_cannot_be_used_the_next_one_is_compiled_for(nothing_compiled, make_model, tmp_path):
    nothing_compiled.set()
    (tmp_path / "bad_x8.safetensors").write_bytes(b"no model")
    with pytest.raises(CheckpointError):
        Upsampler(tmp_path / "bad_x8.safetensors", device="cpu", compile_first=False).load(8)
    assert not kernels.awaited
    Upsampler(make_model(tmp_path / "m_x8.safetensors", 8), device="cpu", compile_first=False).load(8)
    wait_for(lambda: choice._compiled.cache_info().currsize == 1)
    wait_for(lambda: not kernels.awaited)


def test_a_first_frame_waits_for_it_where_that_is_wanted(nothing_compiled, make_model, tmp_path):
    upsampler = Upsampler(make_model(tmp_path / "m_x8.safetensors", 8), device="cpu")
    loading = threading.Thread(target=upsampler.load, args=(8,))
    loading.start()
    loading.join(0.5)
    assert loading.is_alive()
    nothing_compiled.set()
    loading.join(60)
    assert not loading.is_alive() and not choice.is_compiling()
    assert choice.stages("cpu") is not BY_NUMPY
