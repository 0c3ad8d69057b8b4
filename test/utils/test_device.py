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

"""What a CPU can do, and what libraries are kept from."""

from __future__ import annotations

import pytest

from dkn.utils import device

EXTENDED = "avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8"
ALL = frozenset(
    [
        "sse4_1",
        "avx",
        "avx2",
        "avx_vnni",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "avx512_fp16",
        "amx_tile",
        "amx_bf16",
        "amx_int8",
    ]
)


@pytest.mark.parametrize(
    ("cap", "bf16", "int8", "avx512"),
    [
        ("", True, True, True),
        ("ALL", True, True, True),
        ("avx2", False, False, False),
        ("AVX2", False, False, False),
        ("AVX2_VNNI", False, True, False),
        ("AVX512_CORE", False, False, True),
        ("AVX512_CORE_VNNI", False, True, True),
        ("AVX512_CORE_BF16", True, True, True),
    ],
)
def test_a_cap_is_followed(monkeypatch, cap, bf16, int8, avx512):
    """oneDNN's names (its documentation, "CPU Dispatcher Control")."""
    monkeypatch.setattr(device, "_cpuinfo", lambda: ALL)
    monkeypatch.setenv(device.CAP, cap)
    assert (device.has_native_bf16(), device.has_native_int8()) == (bf16, int8)
    assert ("avx512f" in device.cpu_flags()) == avx512
