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

"""Where the files that come with the project lie."""

from __future__ import annotations

from pathlib import Path

from dkn.errors import CheckpointError


def share_folder() -> Path:
    """The folder that holds `models/`, `config/` and `launch/`: a source tree, or share/dkn_ros of an installation.

    Raises:
        CheckpointError: it is not where any way of installing puts it.
    """
    package = Path(__file__).resolve().parents[1]
    if (package.parent / "package.xml").is_file():  # a source tree, or an installation that points back to it
        return package.parent
    for parent in package.parents:
        if (folder := parent / "share" / "dkn_ros").is_dir():
            return folder
    raise CheckpointError("no models folder beside the installed package; set DKN_MODELS to one")
