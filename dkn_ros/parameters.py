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

"""The node's parameters: one place for default, description, range, what may change at run time, and who applies it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dkn.depth.holes.small import FILLS, WIDTH
from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn_ros.messages import MAX_PIXELS
from dkn_ros.messages.limits import short
from dkn_ros.pipeline.sync import MAX_WAIT, SLOP
from dkn_ros.registration.registrar import MODES
from dkn_ros.registration.transforms import parse_transform

MAX_DEPTH = 65.535  # metres, the most that 16UC1 can say


def _parameter(
    default: Any,
    description: str,
    *,
    choices: tuple[str, ...] = (),
    booleans: tuple[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    live: bool = False,
    applied_by: Literal["node", "upsampler"] = "node",
) -> Any:
    """A field of `Options`.

    Args:
        booleans: which of the choices false and true stand for.
        live: it may change while the node runs.
        applied_by: "upsampler": it is an argument of `dkn.Upsampler`, and if live one of its `options`.
    """
    metadata = {
        "description": description,
        "choices": choices,
        "booleans": booleans,
        "limits": limits,
        "live": live,
        "applied_by": applied_by,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """The values of the node's parameters. Times are seconds, depths metres. A new parameter is one more field.

    Raises:
        ConfigError: a value of another type, or outside its choices or limits.
    """

    mode: str = _parameter(
        "fdkn_sensor",
        "network: fdkn_sensor (any scale), fdkn, dkn (the model for the scale at hand), a model's name, or a file",
        live=True,
    )
    scale: int = _parameter(0, "upsampling factor to choose the model by; 0: from the two image sizes", limits=(0, 64))
    device: str = _parameter(
        "auto", "auto (cuda where there is one), cpu, cuda, or cuda:1 and the like", applied_by="upsampler"
    )
    engine: str = _parameter(
        "auto",
        "what runs the network; auto: the fastest that works",
        choices=("auto", *ENGINES),
        applied_by="upsampler",
    )
    precision: str = _parameter("auto", "of the convolutions", choices=("auto", *PRECISIONS), applied_by="upsampler")
    target_rate: float = _parameter(
        0.0,
        "output rate to keep: by the largest model of mode's family that does [Hz]; 0: mode itself",
        limits=(0.0, 1000.0),
        live=True,
    )
    decimation: int = _parameter(
        1, "colour, and so the output, is reduced by this; 0: as target_rate needs it", limits=(0, 16), live=True
    )
    synchronizer: str = _parameter(
        "nearest", "nearest (our own), or the message_filters package", choices=("nearest", "message_filters")
    )
    slop: float = _parameter(
        SLOP, "largest difference between the stamps of a pair, inclusive [s]", limits=(0.0, 1.0), live=True
    )
    max_wait: float = _parameter(
        MAX_WAIT, "longest wait of a pair of unequal stamps for a nearer partner [s]", limits=(0.001, 1.0)
    )
    queue_size: int = _parameter(10, "messages of each stream that may wait for a partner", limits=(1, 1000))
    reliability: str = _parameter(
        "auto", "of the subscriptions; auto: as the publishers offer", choices=("auto", "reliable", "best_effort")
    )
    color_transport: str = _parameter("raw", "how colour arrives", choices=("raw", "compressed"))
    depth_transport: str = _parameter("raw", "how depth arrives", choices=("raw", "compressed", "compressedDepth"))
    output_encoding: str = _parameter("auto", "auto: the input's", choices=("auto", "16UC1", "32FC1"))
    depth_unit: float = _parameter(
        0.001, "metres per count of 16-bit input depth; output is always millimetres", limits=(1e-6, 1.0), live=True
    )
    min_depth: float = _parameter(
        0.0, "nearer input counts as invalid [m]", limits=(0.0, MAX_DEPTH), live=True, applied_by="upsampler"
    )
    max_depth: float = _parameter(
        MAX_DEPTH, "farther input counts as invalid [m]", limits=(0.0, MAX_DEPTH), live=True, applied_by="upsampler"
    )
    fill_holes: str = _parameter(
        "none",
        "which pixels that the input knows nothing about get a depth too; false is none, true is all",
        choices=FILLS,
        booleans=("none", "all"),
        live=True,
        applied_by="upsampler",
    )
    hole_width: float = _parameter(
        WIDTH,
        "widest hole that fill_holes: small fills [pixels of the result]",
        limits=(1.0, 1000.0),
        live=True,
        applied_by="upsampler",
    )
    min_confidence: float = _parameter(
        0.0,
        "depth that is less likely than this to be right becomes unknown; 0: none does",
        limits=(0.0, 1.0),
        live=True,
        applied_by="upsampler",
    )
    align_color: bool = _parameter(
        True, "colour whose edges stand beside those of depth, as while the camera turns, is moved onto them", live=True
    )
    temporal: float = _parameter(
        0.0,
        "weight of the past in an average over time, which holds where nothing moves; 0: off",
        limits=(0.0, 0.99),
        live=True,
    )
    registration: str = _parameter(
        "auto",
        "of depth to colour inside the node; auto: where their frames differ and the transform is known",
        choices=MODES,
        live=True,
    )
    depth_to_color: str = _parameter(
        "",
        "where the depth camera is in the colour camera's frame, 'x y z qx qy qz qw'; empty: as /tf says",
        live=True,
    )
    pointcloud: bool = _parameter(True, "offer points, made only while somebody listens")
    points_decimation: int = _parameter(
        1, "a point of every so many-th pixel of every so many-th row", limits=(1, 64), live=True
    )
    points_voxel_size: float = _parameter(
        0.0,
        "edge length of cubes of which one point each is given, a cloud that is not organised; 0: off [m]",
        limits=(0.0, 10.0),
        live=True,
    )
    max_pixels: int = _parameter(
        MAX_PIXELS, "images that say they are larger are refused before memory is taken for them", limits=(1, 2**28)
    )
    diagnostics_period: float = _parameter(1.0, "between messages on /diagnostics [s]", limits=(0.1, 60.0))

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, choices, limits = getattr(self, f.name), f.metadata["choices"], f.metadata["limits"]
            if isinstance(f.default, float) and type(value) is int:
                value = float(value)  # 5 for 5.0
                object.__setattr__(self, f.name, value)
            if isinstance(value, bool) and f.metadata["booleans"]:
                value = f.metadata["booleans"][value]
                object.__setattr__(self, f.name, value)
            if type(value) is not type(f.default):
                raise ConfigError(f"{f.name}={value!r}: a {_TYPE_NAMES[type(f.default)]} is needed")
            if choices and value not in choices:
                raise ConfigError(f"{f.name}={value!r}: choose one of {', '.join(choices)}")
            # Written so that NaN fails too.
            if limits and not limits[0] <= value <= limits[1]:
                raise ConfigError(f"{f.name}={value}: outside {limits[0]} to {limits[1]}")
        if self.min_depth >= self.max_depth:
            raise ConfigError(f"min_depth={self.min_depth} is not below max_depth={self.max_depth}")
        if self.depth_to_color:
            parse_transform(self.depth_to_color)

    def changed(self, parameters: Iterable[Parameter]) -> Options:
        """These options with some set anew; names of other parts of the node are passed over.

        Raises:
            ConfigError: as at construction.
        """
        names = {f.name for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{p.name: p.value for p in parameters if p.name in names})

    def of_upsampler(self, live: bool = False) -> dict[str, Any]:
        """Arguments for `dkn.Upsampler` by name; only those that may change at run time if `live`."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.metadata["applied_by"] == "upsampler" and (f.metadata["live"] or not live)
        }


_TYPE_NAMES = {str: "text", bool: "truth value, true or false,", int: "whole number", float: "number"}


def declare(node: Node) -> Options:
    """Declare all parameters on `node` and read what it was started with.

    Raises:
        ConfigError: a value of another type, or outside its choices or limits.
    """
    values = {}
    for f in dataclasses.fields(Options):
        try:
            values[f.name] = node.declare_parameter(f.name, f.default, _descriptor(f)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"parameter {f.name}: {' '.join(str(error).split())}") from None
    return Options(**values)


def unknown(node: Node) -> list[str]:
    """What is wrong with the names of parameters that `node` was given and has not declared, a sentence each.

    No errors, since a file or launch's SetParameter may well hold what is meant for other nodes.
    """
    given = getattr(node, "_parameter_overrides", {})  # rclpy has no public name for them
    known = [f.name for f in dataclasses.fields(Options)]
    sentences = []
    for name in given:
        if not node.has_parameter(name):
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            sentences.append(f"parameter {short(name)} is unknown and does nothing: {hint}")
    return sentences


def _descriptor(f: dataclasses.Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=f.metadata["description"], read_only=not f.metadata["live"])
    if f.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(f.metadata["choices"])
        descriptor.dynamic_typing = f.metadata["booleans"] is not None
    if limits := f.metadata["limits"]:
        if isinstance(f.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
            descriptor.dynamic_typing = True  # an integer will do
        else:
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=1)]
    return descriptor
