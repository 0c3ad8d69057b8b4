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

"""The node in a process of its own, as `ros2 run` would start it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dkn.errors import ConfigError

PROGRAM = ("-m", "dkn_ros")  # arguments for Python that start the node
END_TIMEOUT = 20.0  # seconds that it may take to end, of which a frame in work may need some


@contextlib.contextmanager
def node_process(
    folder: Path,
    namespace: str,
    parameters: Mapping[str, Any],
    environment: Mapping[str, str],
    program: Sequence[str] = PROGRAM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs while the context lasts, then is ended with SIGINT; `folder` takes its file of parameters.

    Raises:
        ConfigError: (on leaving) it did not end well; what it says itself is on stderr.
    """
    # A file, not arguments: those are read as YAML, and a model called 8 would be a number.
    file = folder / "parameters.yaml"
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": dict(parameters)}}))
    command = [sys.executable, *program, "--ros-args", "-r", f"__ns:={namespace}", "--params-file", str(file)]
    process = subprocess.Popen(command, env=dict(environment))
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
    if status != 0:
        raise ended(process)


def ended(process: subprocess.Popen[bytes]) -> ConfigError:
    """The error for a node that has ended by itself."""
    return ConfigError(f"the node ended with status {process.returncode}; its own message is above")
