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

"""How threads share the interpreter."""

from __future__ import annotations

import sys

from dkn.utils.threads import take_short_turns


def test_turns_become_short():
    before = sys.getswitchinterval()
    try:
        sys.setswitchinterval(0.005)  # Python's default, whatever ran here earlier
        take_short_turns()
        assert 0 < sys.getswitchinterval() < 0.005
    finally:
        sys.setswitchinterval(before)
