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

"""The stack that signals are handled on: as it was, after what changes it."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from dkn.utils import signals

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux's stacks")


def stack() -> tuple[int | None, int, int]:
    """Address, flags and size, by a structure of this test's own."""
    words = (ctypes.c_size_t * 3)()
    assert ctypes.CDLL(None).sigaltstack(None, words) == 0
    return words[0] or None, words[1] & 0xFFFFFFFF, words[2]


def test_another_stack_is_taken_back():
    before = stack()
    memory = ctypes.create_string_buffer(1 << 17)
    with signals.keep_signal_stack():
        ctypes.CDLL(None).sigaltstack((ctypes.c_size_t * 3)(ctypes.addressof(memory), 0, len(memory)), None)
        assert stack()[0] == ctypes.addressof(memory)
    assert stack() == before
    with pytest.raises(KeyError), signals.keep_signal_stack():
        ctypes.CDLL(None).sigaltstack((ctypes.c_size_t * 3)(ctypes.addressof(memory), 0, len(memory)), None)
        raise KeyError
    assert stack() == before


PROGRAM = """
import ctypes
import numpy as np
from dkn import Upsampler

words = (ctypes.c_size_t * 3)()
ctypes.CDLL(None).sigaltstack(None, words)
before = list(words)
upsampler = Upsampler("fdkn_sensor_tiny", engine="openvino")
for scale in (8, 4):
    upsampler(np.zeros((48, 64, 3), np.uint8), np.ones((48 // scale, 64 // scale), np.float32))
ctypes.CDLL(None).sigaltstack(None, words)
assert list(words) == before, (before, list(words))
"""


def test_openvino_leaves_the_stack_as_it_was():
    """In a process of its own: the plugin is loaded once."""
    pytest.importorskip("openvino")
    pytest.importorskip("numba")
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=300)
