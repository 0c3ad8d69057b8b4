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

"""The packaging: what colcon, rosdep, pip and make read agrees with the code and with each other."""

from __future__ import annotations

import ast
import configparser
import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import setuptools

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()

# Where the name to install differs from the name to import. rosdep has no key for safetensors, nor for
# what the fast engines and training on several GPUs need: they are left out where it is missing.
ROSDEP_KEYS = {
    "cv2": "python3-opencv",
    "h5py": "python3-h5py",
    "jinja2": "python3-jinja2",
    "backports": None,  # comes with rosbags, like lz4
    "lightning_fabric": None,
    "lz4": None,
    "matplotlib": "python3-matplotlib",
    "numba": None,
    "numpy": "python3-numpy",
    "rosbags": "python3-rosbags-pip",
    "onnx": None,
    "onnxruntime": None,
    "openvino": None,
    "safetensors": None,
    "torch": "python3-pytorch-pip",
    "tqdm": "python3-tqdm",
    "triton": None,
    "yaml": "python3-yaml",
}
PYPI_NAMES = {
    "cv2": "opencv-contrib-python-headless",
    "lightning_fabric": "lightning-fabric",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
# No PyPI package has these: used where a ROS 2 is sourced, and only there.
ROS_ONLY = {"cv_bridge", "launch", "launch_ros", "message_filters", "tf2_msgs", "tf2_ros"}
ROS_PACKAGES = {"tf2_ros": "tf2_ros_py"}  # that are not called like their modules
# Not asked for by name: parts of another requirement.
BROUGHT_ALONG = {
    "rcl_interfaces": "ros-kilted-rclpy",
    "builtin_interfaces": "ros-kilted-rclpy",
    "lz4": "rosbags",
    "backports": "rosbags",
}
OURS = {"dkn", "dkn_ros"}


def imported(*folders: str) -> set[str]:
    """Top-level names that any module in these folders imports, at its top or within a function."""
    names = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names.add(node.module.split(".")[0])
    later = {"compression"}  # of Python's own library from 3.14 on
    return names - OURS - set(sys.stdlib_module_names) - later


def requirements(*files: str) -> dict[str, str]:
    """Canonical name → version condition, of the lines of requirement files."""
    result = {}
    for line in (line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()):
        if match := re.match(r"([A-Za-z0-9._-]+)(.*)", line.split(";")[0].strip()):
            result[re.sub(r"[-_.]+", "-", match[1]).lower()] = match[2].strip()
    return result


def is_ros(module: str) -> bool:
    prefixes, suffixes = ("rcl", "ros2", "rosidl", "ament", "tf2"), ("_msgs", "_srvs", "_interfaces")
    return module in ROS_ONLY or module.startswith(prefixes) or module.endswith(suffixes)


@pytest.fixture
def setup_arguments(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: found.update(arguments))
    runpy.run_path("setup.py")
    return found


# An invalid package.xml is no error to colcon: it builds a plain Python package, and launch then finds nothing.
def test_package_xml_is_a_valid_ament_python_package() -> None:
    assert PACKAGE.tag == "package"
    assert PACKAGE.get("format") == "3"
    assert PACKAGE.findtext("name") == "dkn_ros"
    assert re.fullmatch(r"\d+\.\d+\.\d+", PACKAGE.findtext("version", ""))
    assert PACKAGE.findtext("description", "").strip()
    assert PACKAGE.findtext("license") == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").strip().startswith("Apache License")


def test_every_file_names_its_copyright_and_licence():
    """As ament_copyright wants it: the notice of LICENSE's appendix, at the top."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    start, end = text.index("Licensed under the Apache"), text.index("limitations under the License.", 1)
    notice = (text[start:end] + "limitations under the License.").split()
    folders = ("dkn", "dkn_ros", "launch", "test", "examples")
    files = [ROOT / "setup.py", *(file for folder in folders for file in (ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        head = [line.lstrip("# ") for line in lines[1 if lines and lines[0].startswith("#!") else 0 :][:14]]
        if lines:  # nothing is claimed of an empty file
            assert re.match(r"Copyright \d{4} ", head[0]), file
            assert " ".join(head[1:]).split()[: len(notice)] == notice, file
    assert all(re.fullmatch(r"[^@\s]+@[^@\s]+\.\w+", m.get("email", "")) for m in PACKAGE.findall("maintainer"))
    assert PACKAGE.find("maintainer") is not None
    assert PACKAGE.findtext("export/build_type") == "ament_python"


def test_package_xml_passes_catkin_pkg() -> None:
    catkin_package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg is not installed")
    warnings: list[str] = []
    catkin_package.parse_package(str(ROOT), warnings=warnings)
    assert not warnings


def test_every_import_is_a_dependency_of_the_ros_package() -> None:
    declared = {dependency.text for dependency in PACKAGE.findall("exec_depend")}
    needed = {
        ROS_PACKAGES.get(name, name) if is_ros(name) else ROSDEP_KEYS[name]
        for name in imported("dkn", "dkn_ros", "launch")
    }
    assert needed - {None} <= declared


def test_every_import_is_a_requirement_of_pip() -> None:
    required = requirements("requirements.txt", "requirements-ros.txt")
    for name in imported("dkn", "dkn_ros") - ROS_ONLY:
        pypi = BROUGHT_ALONG.get(name) or PYPI_NAMES.get(name, name)
        assert {pypi, f"ros-kilted-{name}".replace("_", "-")} & set(required), name


def test_library_imports_no_ros() -> None:
    assert not {name for name in imported("dkn") if is_ros(name)}


def test_setup_and_package_xml_agree(setup_arguments: dict[str, Any]) -> None:
    for field in ("name", "version", "license", "maintainer"):
        assert setup_arguments[field] == PACKAGE.findtext(field)
    assert setup_arguments["maintainer_email"] == PACKAGE.find("maintainer").get("email")


def test_setup_and_requirements_agree(setup_arguments: dict[str, Any]) -> None:
    required = requirements("requirements.txt", "requirements-ros.txt")
    extras = [line for lines in setup_arguments["extras_require"].values() for line in lines]
    for line in setup_arguments["install_requires"] + extras:
        name, condition = re.match(r"([\w-]+)(.*)", line).groups()
        assert required[name] == condition
    # Their .pth re-executes Python, and an OpenCV from pip hides the one that a sourced ROS 2 was linked against.
    assert not [line for line in setup_arguments["install_requires"] if line.startswith(("ros-", "opencv"))]


def test_every_requirement_is_pinned() -> None:
    pins = requirements("constraints.txt")
    assert all(re.fullmatch(r"==[\w.]+", version) for version in pins.values())
    assert set(requirements("requirements.txt", "requirements-ros.txt")) <= set(pins)


def test_every_file_to_install_is_listed(setup_arguments: dict[str, Any]) -> None:
    installed = {target: set(files) for target, files in setup_arguments["data_files"]}
    assert installed["share/ament_index/resource_index/packages"] == {"resource/dkn_ros"}
    assert installed["share/dkn_ros"] == {"package.xml"}
    for folder in ("launch", "config"):
        files = {f"{folder}/{path.name}" for path in (ROOT / folder).iterdir() if path.is_file()}
        assert files
        assert installed[f"share/dkn_ros/{folder}"] == files
    models = {f"models/{path.name}" for path in (ROOT / "models").glob("*.safetensors")}
    assert models <= installed["share/dkn_ros/models"]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert set(setup_arguments["packages"]) == packages
    files = [path for name in OURS for path in (ROOT / name).rglob("*") if path.is_file()]
    others = {path for path in files if path.suffix != ".py" and "__pycache__" not in path.parts}
    data = setup_arguments["package_data"].items()
    assert others == {
        path for package, globs in data for glob in globs for path in (ROOT / package.replace(".", "/")).glob(glob)
    }


def test_entry_points_can_be_called(setup_arguments: dict[str, Any]) -> None:
    scripts = dict(line.split(" = ") for line in setup_arguments["entry_points"]["console_scripts"])
    assert set(scripts) == {"upsample", "replay", "dkn-replay", "frames_to_bag", "dkn-bag", "dkn"}
    for target in scripts.values():
        module, function = target.split(":")
        if module.startswith("dkn_ros"):
            pytest.importorskip("rclpy", reason="rclpy is not installed")
        assert callable(getattr(importlib.import_module(module), function))


def test_scripts_are_where_ros_looks_and_use_the_environments_python() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["develop"]["script_dir"] == "$base/lib/dkn_ros"
    assert config["install"]["install_scripts"] == "$base/lib/dkn_ros"
    assert config["build_scripts"]["executable"] == "/usr/bin/env python3"


def dry_run(*arguments: str, **variables: str) -> str:
    """What make would do, in an environment without ROS 2 except for these variables."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {k: v for k, v in os.environ.items() if k not in ("ROS_DISTRO", "AMENT_PREFIX_PATH", "MAKEFLAGS")}
    command = ["make", "-C", str(ROOT), "--no-print-directory", "-n", *arguments]
    return subprocess.run(
        command, env=environment | variables, check=True, stdout=subprocess.PIPE, text=True, timeout=60
    ).stdout


def test_make_installs_the_tested_versions_without_ros() -> None:
    plan = dry_run("-B", "venv")
    assert "-c constraints.txt -r requirements.txt -r requirements-ros.txt" in plan
    assert "--system-site-packages" not in plan


def test_make_leaves_a_sourced_ros_as_it_is() -> None:
    plan = dry_run("-B", "venv", ROS_DISTRO="jazzy")
    assert "--system-site-packages" in plan
    assert "requirements-ros.txt" not in plan
    assert "-c constraints.txt" not in plan


def test_make_passes_the_recording_on() -> None:
    plan = " ".join(dry_run("demo", "BAG=my bag", "COLOR=/rgb", "DEPTH=/d", "SCALE=4").replace("\\\n", " ").split())
    assert "-m dkn_ros.replay.demo --bag 'my bag' --color '/rgb' --depth '/d' --scale '4'" in plan
    assert "--bag" not in dry_run("demo")
