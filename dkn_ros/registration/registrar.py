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

"""Decides for each frame whether depth is registered here, and does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dkn.errors import ConfigError
from dkn.geometry import CameraModel, Registration
from dkn_ros.messages.camera_info import camera_model
from dkn_ros.messages.limits import short

MODES = ("auto", "off", "internal")

_STILL = 1e-5  # metres, and parts of a unit vector, by which a transform may change and count as the same


class View(NamedTuple):
    """One of the two images of a frame: where it was taken, and the camera_info that came with it."""

    frame_id: str
    info: Any
    """sensor_msgs/CameraInfo, or None where none came."""
    width: int
    height: int
    rectified: bool


class Registrar:
    """Registers depth, with what was computed for a calibration kept until that changes.

    Args:
        lookup: (target frame, source frame) → (4, 4), or None where no transform is known.
        on_change: called with a sentence when it begins, ends, or goes on in another way.
        device: where depth is registered (`dkn.geometry.Registration`).
    """

    def __init__(
        self,
        lookup: Callable[[str, str], np.ndarray | None],
        on_change: Callable[[str], None],
        device: str = "cpu",
    ):
        self._lookup, self._on_change, self._device = lookup, on_change, device
        self._registration: Registration | None = None
        self._said = ""
        self.reason = ""
        """Why depth in a frame of its own is not registered here; empty if it is, or need not be."""

    def __call__(
        self, depth: np.ndarray, color_view: View, depth_view: View, mode: str = "auto", given: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Depth on a grid of colour's view, or None where it is taken as it is.

        Args:
            depth: (h, w) float32 metres, NaN where unknown.
            mode: auto: where the two frame_ids differ and both the transform between them and both camera_infos are
                known; off: never; internal: always.
            given: (4, 4), a point of the depth camera's frame to colour's, in the place of what `lookup` finds.

        Raises:
            ConfigError: mode is internal, and something is missing or cannot be used.
        """
        self.reason, found = "", None
        try:
            if mode != "off":
                found = self._prepare(color_view, depth_view, mode, given)
        except ConfigError as error:
            if mode == "internal":
                raise
            self.reason = str(error)
        self._registration = found
        sentence = _described(found, color_view, depth_view)
        if sentence != self._said:
            self._said = sentence
            self._on_change(sentence)
        return None if found is None else found(depth)

    def _prepare(self, color: View, depth: View, mode: str, given: np.ndarray | None) -> Registration | None:
        if mode == "auto" and (color.frame_id == depth.frame_id or not (color.frame_id and depth.frame_id)):
            return None
        missing = [name for name, view in (("colour", color), ("depth", depth)) if view.info is None]
        if missing:
            raise ConfigError(f"registration needs the camera_info of {' and '.join(missing)}, and none has come")
        matrix = given
        if matrix is None:
            same = color.frame_id == depth.frame_id
            matrix = np.eye(4) if same else self._lookup(color.frame_id, depth.frame_id)
        if matrix is None:
            raise ConfigError(
                f"registration needs the transform from {short(depth.frame_id)} to {short(color.frame_id)}: publish it "
                "on /tf_static, or set depth_to_color"
            )
        from_camera, to_camera = _camera(depth), _camera(color)
        before = self._registration
        if before and (before.depth_camera, before.color_camera) == (from_camera, to_camera):
            if np.allclose(before.depth_to_color, matrix, rtol=0, atol=_STILL):
                return before
            from_camera, to_camera = before.depth_camera, before.color_camera  # with the rays that they know by now
        return Registration(from_camera, to_camera, matrix, self._device)


def _camera(view: View) -> CameraModel:
    return camera_model(view.info, view.width, view.height, view.rectified)


def _described(registration: Registration | None, color: View, depth: View) -> str:
    if registration is None:
        return "depth is taken as registered to colour"
    grid, distance = registration.grid, 100 * np.linalg.norm(registration.depth_to_color[:3, 3])
    return (
        f"depth is registered here, from {short(depth.frame_id)} to {short(color.frame_id)}, {distance:.1f} cm apart, "
        f"on a grid of {grid.width}x{grid.height}"
    )
