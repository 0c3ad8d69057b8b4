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

"""The folders: what each is for, and that imports go down only.

A folder imports from folders on lower floors, never from one on its own; between the files of a folder there is no
circle. An import inside a function counts like any other, and so does one for the type checker alone. What a name is
imported from is the file that defines it, also where it comes through a folder's face (`__init__.py`).
"""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES_AT_MOST = 14  # in a folder, at one level


class Place(NamedTuple):
    """A folder with what lies at its level, or a single file."""

    floor: int
    about: str


PLACES = {
    "dkn/ops": Place(1, "sampling, eq. (4) to (6), and its compiled forms"),
    "dkn/errors.py": Place(1, "what users can do wrong"),
    "dkn/sensors": Place(1, "depth cameras simulated as they work: exact depth and colour in, measured depth out"),
    "dkn/networks": Place(2, "DKN and FDKN, and FDKN as a layer of other networks"),
    "dkn/depth": Place(2, "depth maps: units, resampling, a network's input, degradations, a sensor's noise, edges"),
    "dkn/geometry": Place(2, "camera models, depth from one camera's view to another's, points"),
    "dkn/utils": Place(2, "what knows nothing of networks: device, files, pictures, tables"),
    "dkn/data/rendered": Place(2, "scenes rendered by code, with what is true about them"),
    "dkn/data": Place(3, "data sets, one reader each"),
    "dkn/checkpoint.py": Place(3, "model files: finding, reading and writing them"),
    "dkn/engines": Place(3, "how a network is run: one file an engine, and the choice between them"),
    "dkn/upsampler.py": Place(4, "colour and depth in, depth out"),
    "dkn/ensemble.py": Place(1, "the mean over mirror images"),
    "dkn/filter.py": Place(4, "any picture in, filtered picture out"),
    "dkn/export.py": Place(4, "models for other runtimes"),
    "dkn/training": Place(4, "trains, never judges"),
    "dkn/evaluation": Place(4, "judges any function, knows no network"),
    "dkn/__init__.py": Place(5, "the public names"),
    "dkn/benchmark": Place(5, "time and memory, of engines and of a training step"),
    "dkn/experiments": Place(5, "the paper's and others: train, then judge"),
    "dkn/cli": Place(6, "the `dkn` command: one file a command"),
    "dkn": Place(7, "the command's door"),
    "dkn_ros/terminal.py": Place(2, "what commands say, and their exit status"),
    "dkn_ros/messages": Place(3, "messages to arrays and back, and what camera_info tells"),
    "dkn_ros/bags": Place(4, "ROS 2 bags: reading and writing them, their topics"),
    "dkn_ros/registration": Place(4, "depth registered to colour in the node: whether, and by which transform"),
    "dkn_ros/pipeline": Place(4, "what a pair of messages passes through in the node"),
    "dkn_ros": Place(5, "the node, its parameters, its process and what it needs of DDS"),
    "dkn_ros/benchmark": Place(6, "the node under load: transport, overload, endurance"),
    "dkn_ros/replay": Place(7, "a bag through the node, and the report on it"),
    "launch": Place(7, "launch files"),
}

Graph = dict[Path, set[Path]]


def place_of(file: Path) -> str:
    """The entry of `PLACES` that a file belongs to."""
    return next(str(path) for path in (file, *file.parents) if str(path) in PLACES)


def files(*folders: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def file_of(module: str) -> Path | None:
    base = Path(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if (ROOT / path).is_file()), None)


@cache
def imports(file: Path) -> dict[str, tuple[str, str]]:
    """Local name → (module, name in it or nothing), of every import anywhere in a file."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: write imports from the top"
            found |= {f"{alias.asname or alias.name}:{node.lineno}": (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {f"{alias.asname or alias.name}:{node.lineno}": (alias.name, "") for alias in node.names}
    return found


def source(module: str, name: str) -> Path | None:
    """The file of ours that an import takes `name` from, or nothing."""
    if name and (file := file_of(f"{module}.{name}")):
        return file
    file = file_of(module)
    if file is not None and file.name == "__init__.py":
        for local, (inner, inner_name) in imports(file).items():
            if local.partition(":")[0] == name:
                return source(inner, inner_name)
    return file


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Each file of ours, and the files it imports from."""
    return {
        file: {found for module, name in imports(file).values() if (found := source(module, name))} - {file}
        for file in files("dkn", "dkn_ros", "launch")
    }


def test_imports_go_down(graph: Graph) -> None:
    upwards = []
    for file, imported in graph.items():
        place = place_of(file)
        for other in imported:
            below = place_of(other)
            if below != place and PLACES[below].floor >= PLACES[place].floor:
                upwards.append(f"{file} ({PLACES[place].floor}) imports {other} ({PLACES[below].floor})")
    assert not upwards, "\n".join(sorted(upwards))


def test_there_are_no_circles(graph: Graph) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(map(str, error.args[1])))


def test_files_of_a_folder_do_not_go_through_its_face() -> None:
    for file in files("dkn", "dkn_ros"):
        face = file.parent / "__init__.py"
        for module, name in imports(file).values():
            through = file_of(module) == face and not file_of(f"{module}.{name}")
            assert file == face or not through, f"{file}: {name} through {face}"


def test_every_place_is_there_and_there_are_seven_floors() -> None:
    assert all((ROOT / place).exists() for place in PLACES)
    assert {place.floor for place in PLACES.values()} == set(range(1, 8))


def test_the_readme_names_every_folder() -> None:
    text = (ROOT / "README.md").read_text()
    folders = [place for place in PLACES if not place.endswith(".py") and place.count("/") < 2]
    assert not [folder for folder in folders if f"\n    {folder}/" not in text]


def test_no_folder_is_crowded() -> None:
    counts = Counter(str(file.parent) for file in files("dkn", "dkn_ros", "launch", "test"))
    assert not {folder: count for folder, count in counts.items() if count > FILES_AT_MOST}


def test_the_node_imports_neither_commands_nor_experiments(graph: Graph) -> None:
    for file in files("dkn_ros"):
        places = {place_of(other) for other in graph[file]}
        assert not places & {"dkn/cli", "dkn/experiments", "dkn"}, file


def test_dkn_imports_no_ros(graph: Graph) -> None:
    ros = {"dkn_ros", "rclpy", "launch", "launch_ros", "sensor_msgs", "std_msgs", "cv_bridge", "rosbags"}
    for file in files("dkn"):
        assert not {module.partition(".")[0] for module, _ in imports(file).values()} & ros, file


@pytest.mark.parametrize(
    "code, expected",
    [
        ("from dkn import Upsampler", "dkn/upsampler.py"),
        ("from dkn.engines import plan", "dkn/engines/registry.py"),
        ("from dkn.data import nyu", "dkn/data/nyu.py"),
        ("import dkn.depth.units", "dkn/depth/units.py"),
        ("import numpy", None),
    ],
)
def test_where_a_name_comes_from(code: str, expected: str | None) -> None:
    node = ast.parse(code).body[0]
    module, name = (node.module, node.names[0].name) if isinstance(node, ast.ImportFrom) else (node.names[0].name, "")
    assert source(module, name) == (expected and Path(expected))
