"""The node's parameters: one place for default, description, range, and what may change at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dkn.engines import ENGINES, PRECISIONS
from dkn.errors import ConfigError
from dkn_ros.images import MAX_PIXELS
from dkn_ros.sync import MAX_WAIT, SLOP

MAX_DEPTH = 65.535  # metres, the most that 16UC1 can say


def _parameter(
    default: Any,
    description: str,
    *,
    choices: tuple[str, ...] = (),
    limits: tuple[float, float] | None = None,
    live: bool = False,
) -> Any:
    """A field of `Parameters`; `live` = may change while the node runs."""
    metadata = {"description": description, "choices": choices, "limits": limits, "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Parameters:
    """What the node was told. Times are seconds, depths metres.

    Raises:
        ConfigError: a value outside its choices or limits.
    """

    mode: str = _parameter(
        "fdkn_sensor",
        "network: fdkn_sensor (any scale), fdkn, dkn (the model for the scale at hand), a model's name, or a file",
        live=True,
    )
    scale: int = _parameter(0, "upsampling factor to choose the model by; 0: from the two image sizes", limits=(0, 64))
    device: str = _parameter("auto", "auto (cuda where there is one), cpu, or cuda")
    engine: str = _parameter("auto", "what runs the network; auto: the fastest that works", choices=("auto", *ENGINES))
    precision: str = _parameter("auto", "of the convolutions", choices=("auto", *PRECISIONS))
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
    min_depth: float = _parameter(0.0, "nearer input counts as invalid [m]", limits=(0.0, MAX_DEPTH), live=True)
    max_depth: float = _parameter(MAX_DEPTH, "farther input counts as invalid [m]", limits=(0.0, MAX_DEPTH), live=True)
    fill_holes: bool = _parameter(False, "give a depth also to pixels that the input knows nothing about", live=True)
    max_pixels: int = _parameter(
        MAX_PIXELS, "images that say they are larger are refused before memory is taken for them", limits=(1, 2**28)
    )
    diagnostics_period: float = _parameter(1.0, "between messages on /diagnostics [s]", limits=(0.1, 60.0))

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value, choices, limits = getattr(self, f.name), f.metadata["choices"], f.metadata["limits"]
            if choices and value not in choices:
                raise ConfigError(f"{f.name}={value!r}: choose one of {', '.join(choices)}")
            # Written so that NaN fails too.
            if limits and not limits[0] <= value <= limits[1]:
                raise ConfigError(f"{f.name}={value}: outside {limits[0]} to {limits[1]}")
        if self.min_depth >= self.max_depth:
            raise ConfigError(f"min_depth={self.min_depth} is not below max_depth={self.max_depth}")

    def changed(self, parameters: Iterable[Parameter]) -> Parameters:
        """These parameters with some set anew; names of other parts of the node are passed over.

        Raises:
            ConfigError: as at construction.
        """
        names = {f.name for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **{p.name: p.value for p in parameters if p.name in names})


def declare(node: Node) -> Parameters:
    """Declare all parameters on `node` and read what it was started with.

    Raises:
        ConfigError: a value of another type, or outside its choices or limits.
    """
    values = {}
    for f in dataclasses.fields(Parameters):
        try:
            values[f.name] = node.declare_parameter(f.name, f.default, _descriptor(f)).value
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            raise ConfigError(f"parameter {f.name}: {' '.join(str(error).split())}") from None
    return Parameters(**values)


def _descriptor(f: dataclasses.Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=f.metadata["description"], read_only=not f.metadata["live"])
    if f.metadata["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(f.metadata["choices"])
    if limits := f.metadata["limits"]:
        if isinstance(f.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=limits[0], to_value=limits[1])]
        else:
            descriptor.integer_range = [IntegerRange(from_value=limits[0], to_value=limits[1], step=1)]
    return descriptor
