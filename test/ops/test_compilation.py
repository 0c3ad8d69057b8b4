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

"""Numba's kernels where nothing can be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dkn.ops.compilation import compiled

ROOT = Path(__file__).resolve().parents[2]
UPSAMPLE = """
from numba.core import caching

def refuse(self):
    raise OSError(30, "Read-only file system")

caching._CacheLocator.ensure_cache_path = refuse  # as in a container in which nothing can be written

import numpy as np
from dkn import Upsampler
from dkn.ops import numba_average, numba_sampling
depth = Upsampler(MODEL, engine=ENGINE)(np.zeros((32, 48, 3), np.uint8), np.full((4, 6), 2, np.float32))
assert np.isfinite(depth).all()
"""


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_no_place_for_a_cache(make_model, tmp_path, engine):
    model = make_model(tmp_path / "m.safetensors", 8)
    code = UPSAMPLE.replace("MODEL", repr(str(model))).replace("ENGINE", repr(engine))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_cache_that_cannot_be_written_after_all(monkeypatch):
    def add(a: np.ndarray) -> float:
        return float(a.sum())

    kernel = compiled(nogil=True)(add)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert kernel(np.ones(3)) == 3
