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

"""A command that is refused."""

from __future__ import annotations


def refused(capfd, status, *words):
    """Status 2, and one line on stderr that says what is wrong."""
    assert status == 2
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if line and "%|" not in line]  # progress bars aside
    assert len(lines) == 1, error
    assert lines[0].startswith("dkn: ")
    for word in words:
        assert str(word) in lines[0]
