"""Where the files lie that come with the package: config and launch."""

from __future__ import annotations

import os
from pathlib import Path

PROFILE_VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE_VARIABLE = "FASTRTPS_DEFAULT_PROFILES_FILE"  # Humble knows only this one, newer ones warn of it


def share_folder() -> Path:
    """The folder that holds `config/`: the source tree, or share/dkn_ros of the installation."""
    package = Path(__file__).resolve().parent
    for parent in package.parents:
        for folder in (parent, parent / "share" / "dkn_ros"):
            if (folder / "config" / "fastdds.xml").is_file():
                return folder
    raise FileNotFoundError(f"no config/fastdds.xml in any folder above {package}")


def fast_dds_environment() -> dict[str, str]:
    """Environment variables that give Fast DDS our profile; none if the user has chosen one."""
    if os.environ.get(PROFILE_VARIABLE) or os.environ.get(OLD_PROFILE_VARIABLE):
        return {}
    name = OLD_PROFILE_VARIABLE if os.environ.get("ROS_DISTRO") == "humble" else PROFILE_VARIABLE
    return {name: str(share_folder() / "config" / "fastdds.xml")}
