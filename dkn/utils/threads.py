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

"""How the threads of several libraries share the cores. Imports nothing: it has to come before PyTorch."""

import os
import sys


def sleep_between_work() -> None:
    """Make OpenMP's threads sleep when they have nothing to do, unless the user has decided that already.

    They would spin for some milliseconds after each of PyTorch's operations, on cores that OpenVINO's threads want
    by then: a seventh of the frame rate on two cores. To be called before PyTorch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def take_short_turns() -> None:
    """Let a Python thread that waits for the interpreter have it after half a millisecond, in place of five.

    A frame is worked on in many short calls that leave the interpreter to other threads and want it back. Beside a
    thread that takes messages half of the time, a frame of a small network took more than twice as long as alone; with
    this, hardly longer.
    """
    sys.setswitchinterval(0.0005)
