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

"""The node's command line: help, what it does not know, and files of parameters that are for other nodes."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from dkn.errors import ConfigError
from dkn_ros.messages.limits import short
from dkn_ros.parameters import Options

_USAGE = """\
usage: ros2 run dkn_ros upsample [--help] [--ros-args -p PARAMETER:=VALUE --params-file FILE -r FROM:=TO ...]
       python -m dkn_ros, likewise

Upsamples the depth of an RGB-D camera to the size of its colour images.
Takes color/image_raw, depth/image_raw (registered to colour) and camera_info beside each;
gives depth_upsampled/image_rect with camera_info beside it, depth_upsampled/image_rect/compressedDepth,
depth_upsampled/confidence and points to whoever listens, and /diagnostics. All but the last can be remapped.
The service ~/enable (std_srvs/SetBool) pauses it.

parameters (* = changes at run time):
"""


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What of a command line is ours, and what is ROS's: from --ros-args to -- or the end.

    (rclpy's function also takes away whatever has a := in it, and a path may.)
    """
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for argument in arguments:
        if argument == "--ros-args" or (inside and argument == "--"):
            inside = argument == "--ros-args"
        else:
            (ros if inside else own).append(argument)
    return own, ros


def help_text() -> str:
    """What --help says: how to start the node, and its parameters."""
    lines = []
    for f in dataclasses.fields(Options):
        values = f.metadata["choices"] or f.metadata["limits"] or ()
        between = ", ".join(values) if f.metadata["choices"] else " to ".join(f"{value:g}" for value in values)
        default = str(f.default).lower() if isinstance(f.default, bool) else f.default
        about = f"{f.metadata['description']} [{default}{'; ' if between else ''}{between}]"
        name = f"{f.name}{' *' if f.metadata['live'] else ''}"
        lines += textwrap.wrap(about, 110, initial_indent=f"  {name:22}", subsequent_indent=" " * 24)
    return _USAGE + "\n".join(lines)


def refuse_unknown(own: Sequence[str]) -> None:
    """Refuse arguments that are not ROS's, for the node has none but --help.

    Raises:
        ConfigError: there is one.
    """
    if not own:
        return
    name, given, value = own[0].lstrip("-").replace(":=", "=", 1).partition("=")
    if name not in [f.name for f in dataclasses.fields(Options)]:
        raise ConfigError(f"unknown argument {short(own[0])}: --help says what there is")
    value = value if given else next(iter(own[1:]), "VALUE")
    raise ConfigError(
        f"unknown argument {short(own[0])}: {name} is a parameter, to be given as --ros-args -p {name}:={value}"
    )


def files_for_others(ros: Sequence[str], node_name: str) -> list[str]:
    """A sentence on each file of parameters that has none for the node.

    Args:
        ros: arguments for ROS.
        node_name: with its namespace.
    """
    sentences = []
    for before, file in pairwise(ros):
        if before != "--params-file":
            continue
        names = _nodes_in(Path(file))
        if names and not any(_matches(name, node_name) for name in names):
            found = ", ".join(short(name) for name in names[:5])
            sentences.append(f"{file} has parameters for {found}, none for {node_name}: name that there, or /**")
    return sentences


def _nodes_in(file: Path) -> list[str]:
    try:
        return list(_nodes(yaml.safe_load(file.read_text())))
    except (OSError, ValueError, yaml.YAMLError):  # ROS says so itself
        return []


def _nodes(content: Any, path: str = "") -> Iterator[str]:
    """Names of nodes in a file of parameters: keys on the way to ros__parameters, which may be nested."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "ros__parameters":
                yield path
            else:
                yield from _nodes(value, f"{path}/{str(key).strip('/')}")


def _matches(pattern: str, node_name: str) -> bool:
    """Whether a name in a file, where * stands for one word and ** for any number of them, is the node's."""
    words = {"*": r"/[^/]+", "**": r"(?:/[^/]+)*"}
    expression = "".join(words.get(word, "/" + re.escape(word)) for word in pattern.split("/")[1:])
    return re.fullmatch(expression, node_name) is not None
