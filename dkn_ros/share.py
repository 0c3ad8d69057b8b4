"""Where the files lie that come with the package, and how Fast DDS is told of its profile."""

from __future__ import annotations

import os
from pathlib import Path

# Fast DDS 2 knows only the old name, Fast DDS 3 warns of it.
PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
FASTDDS_2 = ("humble", "iron", "jazzy")


def share_folder() -> Path:
    """The folder that holds `config/` and `launch/`: the source tree, or share/dkn_ros of an installation."""
    package = Path(__file__).resolve().parent
    if (package.parent / "package.xml").is_file():
        return package.parent
    for parent in package.parents:
        if (folder := parent / "share" / "dkn_ros").is_dir():
            return folder
    raise FileNotFoundError(f"no share/dkn_ros in any folder above {package}")


def fast_dds_environment() -> dict[str, str]:
    """Variables that make Fast DDS load our profile; none where another middleware runs or the user has chosen."""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return {}
    if any(os.environ.get(n) for n in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    name = OLD_PROFILE_VARIABLE if os.environ.get("ROS_DISTRO") in FASTDDS_2 else PROFILE_VARIABLE
    return {name: str(share_folder() / "config" / "fastdds.xml")}
