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

"""What machine a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from dkn.utils.device import instruction_sets

# name → package, of which the first that is installed counts
LIBRARIES = {
    "dkn_ros": ("dkn_ros",),
    "torch": ("torch",),
    "OpenCV": ("opencv-contrib-python-headless", "opencv-contrib-python", "opencv-python-headless", "opencv-python"),
    "OpenVINO": ("openvino",),
    "ONNX Runtime": ("onnxruntime",),
    "Numba": ("numba",),
}


def processor() -> str:
    """Its name."""
    return _line("/proc/cpuinfo", "model name") or platform.machine()


def machine() -> dict[str, str]:
    """Processor, memory, system and Python, as text by name."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {"processor": f"{processor()}, {cores} cores ({instruction_sets()})"}
    if memory := _line("/proc/meminfo", "MemTotal"):
        found["memory"] = f"{int(memory.split()[0]) / 2**20:.0f} GiB"
    found["system"] = f"{_line('/etc/os-release', 'PRETTY_NAME', '=') or platform.system()}, {platform.release()}"
    found["Python"] = platform.python_version()
    return found


def libraries() -> dict[str, str]:
    """Versions of the libraries that matter here and that pip knows of."""
    found = {name: [v for v in map(_version, packages) if v] for name, packages in LIBRARIES.items()}
    return {name: versions[0] for name, versions in found.items() if versions}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _line(file: str, name: str, separator: str = ":") -> str:
    """The value after the first `name` in a system's file; empty if there is none."""
    try:
        lines = Path(file).read_text(errors="replace").splitlines()
    except OSError:
        return ""
    values = (line.partition(separator)[2] for line in lines if line.partition(separator)[0].strip() == name)
    return next(values, "").strip().strip('"')
