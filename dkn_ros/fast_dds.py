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

"""How Fast DDS is told of the profiles that come with the package, and what to do where images are lost even so."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from dkn.utils.paths import share_folder

# Fast DDS 2 knows only the old name, Fast DDS 3 warns of it.
PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
TRANSPORTS_VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
FASTDDS_2 = ("humble", "iron", "jazzy")

SHARED_PROFILE = "fastdds.xml"  # for all processes that exchange images
NODE_PROFILE = "fastdds_node.xml"  # for the node alone
NO_PROFILE = {TRANSPORTS_VARIABLE: "DEFAULT"}
"""Variables that make Fast DDS do as it does by itself, and the node, too."""

RECEIVE_BUFFER = 4 * 2**20  # bytes that NODE_PROFILE asks for
_RECEIVE_LIMIT = Path("/proc/sys/net/core/rmem_max")


def fast_dds_environment(profile: str = SHARED_PROFILE) -> dict[str, str]:
    """Variables that make Fast DDS load a profile of ours; none if another middleware runs or the user has chosen."""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return {}
    if any(os.environ.get(n) for n in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, TRANSPORTS_VARIABLE)):
        return {}
    return {_variable(): str(share_folder() / "config" / profile)}


def transport_advice() -> str:
    """What to do where images are lost between the camera's process and the node."""
    profile = shlex.quote(str(share_folder() / "config" / SHARED_PROFILE))
    advice = f"start the camera's process and the node with {_variable()}={profile}"
    return f"{advice}, or sudo sysctl -w net.core.rmem_max={RECEIVE_BUFFER}" if _receive_limit() else advice


def receive_buffer_problem() -> str | None:
    """What is to be said where the system does not grant the buffer that NODE_PROFILE asks for."""
    if not (limit := _receive_limit()):
        return None
    return (
        f"This system gives a socket {limit // 1024} kB of buffer at most (net.core.rmem_max): images that a camera "
        f"sends best-effort will be lost, and others come late. To mend it, {transport_advice()}"
    )


def _variable() -> str:
    return OLD_PROFILE_VARIABLE if os.environ.get("ROS_DISTRO") in FASTDDS_2 else PROFILE_VARIABLE


def _receive_limit() -> int | None:
    """Bytes that a socket may buffer, where that is less than wanted."""
    try:
        limit = int(_RECEIVE_LIMIT.read_text())
    except (OSError, ValueError):  # no Linux
        return None
    return limit if limit < RECEIVE_BUFFER else None
