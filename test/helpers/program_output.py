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

"""The program's `main` for a process that serves one start after the other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from dkn_ros.__main__ import main


def status_of(arguments: list[str], output: Path) -> int:
    """The exit status; what the program says goes to a file."""
    with output.open("wb") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    status = main(arguments)
    sys.stdout.flush()
    return status
