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

"""How the commands end, and how they print what may come from a bag."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TextIO

from dkn.errors import DknError


def say(text: str, file: TextIO | None = None) -> None:
    """Print; what a name in a bag might tell the terminal to do is printed as an escape sequence instead."""
    safe = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    print(safe, file=file or sys.stdout)


def exit_status(command: str, work: Callable[[], int | None]) -> int:
    """Do the work of a command, and return what it returns, None for 0; 2 after a line on a mistake of the user's, or
    on what the system refuses.

    SIGTERM ends it as Ctrl-C does, so that the node that it started does not stay behind.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return work() or 0
    except (DknError, OSError) as error:  # OSError: a folder that cannot be made, a full disk
        say(f"{command}: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
