"""How Fast DDS is told of the profile that comes with the package."""

from __future__ import annotations

import os

from dkn.models import share_folder

# Fast DDS 2 knows only the old name, Fast DDS 3 warns of it.
PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"
FASTDDS_2 = ("humble", "iron", "jazzy")


def fast_dds_environment() -> dict[str, str]:
    """Variables that make Fast DDS load our profile; none where another middleware runs or the user has chosen."""
    if not os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp").startswith("rmw_fastrtps"):
        return {}
    if any(os.environ.get(n) for n in (PROFILE_VARIABLE, OLD_PROFILE_VARIABLE, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    name = OLD_PROFILE_VARIABLE if os.environ.get("ROS_DISTRO") in FASTDDS_2 else PROFILE_VARIABLE
    return {name: str(share_folder() / "config" / "fastdds.xml")}
