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

"""What stands in the synthetic room: furniture built of boxes, spheres and frusta, laid out at random."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dkn.data.rendered.raycast import Array, Box, Color, Frustum, Solid, Sphere, Surface, turn
from dkn.data.rendered.textures import f32, palette


class _Builder:
    """Collects solids; every position is given in the frame of the piece of furniture being built."""

    def __init__(self) -> None:
        self.solids: list[Solid] = []
        self.place((0, 0, 0))

    def place(self, at: Sequence[float], yaw: float = 0.0) -> None:
        """Start a piece of furniture at ``at``, turned by ``yaw``."""
        self.origin, self.turn = np.array(at, float), turn(yaw)

    def _frame(self, at: Sequence[float], rotation: Array | None) -> tuple[Array, Array]:
        turned = self.turn if rotation is None else self.turn @ rotation
        return self.origin + self.turn @ np.array(at, float), turned

    def box(self, at: Sequence[float], size: Sequence[float], surface: Surface, rotation: Array | None = None) -> None:
        """A box with its centre at ``at`` and edge lengths ``size``."""
        self.solids.append(Box(*self._frame(at, rotation), surface, np.array(size, float) / 2))

    def ball(self, at: Sequence[float], radius: float, surface: Surface) -> None:
        """A sphere with its centre at ``at``."""
        self.solids.append(Sphere(*self._frame(at, None), surface, radius))

    def cone(
        self,
        foot: Sequence[float],
        bottom: float,
        top: float,
        height: float,
        surface: Surface,
        tilt: float = 0,
    ) -> None:
        """A frustum whose axis starts at ``foot``, tilted about y."""
        rotation = turn(roll=tilt)
        middle = np.array(foot, float) + rotation @ np.array([0, 0, height / 2])
        self.solids.append(Frustum(*self._frame(middle, rotation), surface, bottom, top, height / 2))


def _rgb(color: NDArray[np.float32]) -> Color:
    return float(color[0]), float(color[1]), float(color[2])


def _table(build: _Builder, rng: np.random.Generator, wood: Surface) -> float:
    """A table 1.3 x 0.75 m; returns the height of its top."""
    height = float(rng.uniform(0.70, 0.78))
    build.box((0, 0, height - 0.018), (1.3, 0.75, 0.036), wood)
    for x in (-0.59, 0.59):
        for y in (-0.315, 0.315):
            build.box((x, y, height / 2 - 0.018), (0.055, 0.055, height - 0.036), wood)
    for y in (-0.315, 0.315):
        build.box((0, y, height - 0.075), (1.13, 0.02, 0.08), wood)
    return height


def _table_top(build: _Builder, rng: np.random.Generator, z: float, colors: NDArray[np.float32]) -> None:
    """Boxes, a ball, a bottle, a mug, a pile of books and a desk lamp on a table top at height ``z``."""
    glaze = Surface("plain", _rgb(colors[0]), 0.3)
    build.cone((-0.10, 0.12, z), 0.036, 0.040, 0.17, glaze)  # bottle: body, shoulder, neck
    build.cone((-0.10, 0.12, z + 0.17), 0.040, 0.013, 0.05, glaze)
    build.cone((-0.10, 0.12, z + 0.22), 0.013, 0.013, 0.06, glaze)
    mug = Surface("stripes", _rgb(0.4 + 0.6 * colors[1]), 0.25)
    build.cone((0.12, -0.22, z), 0.036, 0.042, 0.095, mug)
    build.ball((-0.30, -0.18, z + 0.055), 0.055, Surface("checker", _rgb(0.3 + 0.7 * colors[2]), 0.25))
    build.box(
        (0.32, 0.02, z + 0.11),
        (0.22, 0.15, 0.22),
        Surface("cardboard", tile=0.3),
        turn(rng.uniform(-0.8, 0.8)),
    )
    build.box(
        (0.31, 0.03, z + 0.26),
        (0.13, 0.10, 0.08),
        Surface("plain", _rgb(colors[3])),
        turn(rng.uniform(0, 1.5)),
    )
    lift = z
    for k in range(3):
        thick = float(rng.uniform(0.018, 0.04))
        cover = Surface("book", _rgb(colors[(k + 4) % len(colors)]), 0.28)
        turned = turn(rng.uniform(-0.5, 0.5))
        build.box((-0.42, 0.12, lift + thick / 2), (0.26 - 0.03 * k, 0.18 - 0.02 * k, thick), cover, turned)
        lift += thick
    metal = Surface("plain", (0.35, 0.36, 0.38))
    build.cone((0.52, 0.22, z), 0.07, 0.07, 0.015, metal)
    build.cone((0.52, 0.22, z), 0.007, 0.007, 0.38, metal)
    build.cone((0.52, 0.22, z + 0.38), 0.007, 0.007, 0.22, metal, tilt=-1.0)
    build.cone((0.335, 0.22, z + 0.42), 0.075, 0.03, 0.10, Surface("plain", _rgb(colors[5])))


def _chair(build: _Builder, seat: Surface, wood: Surface) -> None:
    """A chair that looks along its -y, with a back of thin slats."""
    build.box((0, 0, 0.45), (0.42, 0.42, 0.04), seat)
    for x in (-0.19, 0.19):
        build.box((x, -0.19, 0.215), (0.034, 0.034, 0.43), wood)
        build.box((x, 0.19, 0.46), (0.034, 0.034, 0.92), wood)
        build.box((x, 0, 0.22), (0.018, 0.36, 0.022), wood)
    build.box((0, 0.19, 0.89), (0.38, 0.024, 0.07), wood)
    build.box((0, 0.19, 0.60), (0.38, 0.022, 0.04), wood)
    for x in (-0.12, -0.04, 0.04, 0.12):
        build.box((x, 0.19, 0.74), (0.018, 0.014, 0.26), wood)


def _shelf(build: _Builder, rng: np.random.Generator, wood: Surface, colors: NDArray[np.float32]) -> None:
    """A bookshelf 0.95 x 0.30 x 1.9 m with its back at y = 0.15; books of many sizes, some leaning."""
    build.box((0, 0.14, 0.95), (0.95, 0.02, 1.9), wood)
    for x in (-0.465, 0.465):
        build.box((x, 0, 0.95), (0.025, 0.30, 1.9), wood)
    floors = np.linspace(0.06, 1.8875, 6)
    for z in floors:
        build.box((0, 0, z), (0.93, 0.29, 0.025), wood)
    for level, z in enumerate(floors[:-1] + 0.0125):
        x, stop = -0.44, float(rng.uniform(0.0, 0.42))
        while x < stop:
            thick, tall, deep = rng.uniform([0.018, 0.19, 0.15], [0.05, 0.30, 0.23])
            cover = Surface("book", _rgb(colors[rng.integers(len(colors))]), 0.30)
            build.box((x + thick / 2, 0.12 - deep / 2, z + tall / 2), (thick, deep, tall), cover)
            x += thick + 0.002
        if stop < 0.25:
            surface = Surface("plain", _rgb(colors[level]))
            if rng.random() < 0.5:
                build.ball((stop + 0.12, -0.02, z + 0.07), 0.07, surface)
            else:
                build.cone((stop + 0.12, -0.02, z), 0.05, 0.07, 0.18, surface)


def _floor_lamp(build: _Builder, colors: NDArray[np.float32]) -> None:
    metal = Surface("plain", (0.30, 0.30, 0.32))
    build.cone((0, 0, 0), 0.14, 0.13, 0.025, metal)
    build.cone((0, 0, 0.025), 0.011, 0.011, 1.5, metal)
    build.cone((0, 0, 1.42), 0.21, 0.13, 0.27, Surface("fabric", (1.0, 0.93, 0.78), 0.25, glow=0.55))


def _plant(build: _Builder, rng: np.random.Generator, scale: float = 1.0) -> None:
    """A pot with long pointed leaves, 1.1 m tall at ``scale`` 1."""
    build.cone((0, 0, 0), 0.12 * scale, 0.16 * scale, 0.30 * scale, Surface("plain", (0.78, 0.45, 0.32)))
    upright = build.turn
    for _ in range(14):
        build.turn = upright @ turn(rng.uniform(0, 2 * math.pi))
        leaf = Surface("stripes", _rgb(f32([0.30, 0.52, 0.24]) * np.float32(rng.uniform(0.8, 1.5))), 0.3)
        root, length = scale * rng.uniform([0.016, 0.45], [0.028, 0.85])
        build.cone((0.05 * scale, 0, 0.27 * scale), root, 0.001, length, leaf, float(rng.uniform(0.05, 0.55)))
    build.turn = upright


def _ladder(build: _Builder, wood: Surface) -> None:
    """A ladder 1.9 m long that leans towards +y."""
    lean = turn(pitch=-0.26)
    for x in (-0.2, 0.2):
        build.box((x, 0.25, 0.92), (0.03, 0.05, 1.9), wood, lean)
    for along in np.arange(-0.75, 0.8, 0.28):
        at = np.array([0, 0.25, 0.92]) + lean @ np.array([0, 0, along])
        build.box(at.tolist(), (0.37, 0.035, 0.022), wood, lean)


def furnish(rng: np.random.Generator) -> tuple[list[Solid], Array]:
    """All solids of a room, the room itself first, and its half extents (3,)."""
    build = _Builder()
    width, depth, height = rng.uniform([4.3, 5.2, 2.5], [4.9, 5.7, 2.7])
    half = np.array([width, depth, height]) / 2
    wall = Surface("plaster", _rgb(rng.uniform([0.86, 0.86, 0.80], [1.0, 1.0, 1.0]).astype(np.float32)), 1.6)
    shell = Box(np.array([0, depth / 2, height / 2]), np.eye(3), wall, half, inside=True)
    build.solids.append(shell)
    colors = np.concatenate([palette(rng, 6), palette(rng, 4)])
    rng.shuffle(colors)
    wood = Surface(
        "wood",
        _rgb((rng.uniform(0.72, 1.15) * rng.uniform([1, 0.94, 0.85], [1.08, 1, 1])).astype(np.float32)),
        1.1,
    )
    side = float(rng.choice([-1, 1]))  # mirrors the layout
    right, far = width / 2, depth

    # The floor is a thin box of its own, so that the room can have another floor than walls.
    cover = Surface("boards", tile=1.3) if rng.random() < 0.65 else Surface("checker", tile=1.5)
    build.box((0, depth / 2, -0.005), (width, depth, 0.012), cover)
    white = Surface("plain", (0.95, 0.94, 0.92))
    for x in (-1.0, 1.0):
        build.box((x * (right - 0.009), depth / 2, 0.045), (0.018, depth, 0.09), white)
    build.box((0, far - 0.009, 0.045), (width, 0.018, 0.09), white)

    # A pillar of the wall's own plaster: a depth edge with hardly any colour edge.
    build.box((side * rng.uniform(0.0, 0.25), far - 0.09, height / 2), (0.36, 0.18, height), wall)

    build.place((side * (right - rng.uniform(0.75, 1.0)), far - 0.19, 0))
    _shelf(build, rng, wood, colors)

    build.place((-side * (right - rng.uniform(0.42, 0.5)), far - rng.uniform(0.4, 0.5), 0))
    _floor_lamp(build, colors)

    # A sideboard along the wall opposite to the shelf, with a plant at its end.
    build.place((-side * (right - 0.23), far - 1.75, 0), side * math.pi / 2)
    build.box((0, 0, 0.40), (1.35, 0.42, 0.64), wood)
    for x in (-0.6, 0.6):
        build.box((x, 0, 0.04), (0.05, 0.36, 0.08), wood)
    for x in (-0.335, 0.335):
        build.box((x, 0.212, 0.40), (0.64, 0.012, 0.58), Surface("wood", wood.tint, 0.9))
        build.ball((x * 0.25, 0.228, 0.45), 0.013, Surface("plain", (0.3, 0.3, 0.3)))
    build.ball((0.35, 0.02, 0.72 + 0.11), 0.11, Surface("plain", _rgb(colors[6])))
    build.cone((-0.1, 0, 0.72), 0.05, 0.09, 0.28, Surface("stripes", _rgb(colors[7]), 0.5))
    build.box((-0.45, 0, 0.72 + 0.07), (0.2, 0.14, 0.14), Surface("cardboard", tile=0.22), turn(0.5))
    build.place((-side * (right - 0.35), far - 2.95, 0))
    _plant(build, rng)

    # The near side below the shelf: a ladder or a slanted board against the side wall.
    build.place((side * (right - 0.52), far - 1.55, 0), -side * math.pi / 2)
    if rng.random() < 0.5:
        _ladder(build, wood)
    else:
        leaning = turn(pitch=-0.22)
        build.box((0, 0.32, 0.66), (0.75, 0.025, 1.36), Surface("picture3", tile=1.4), leaning)

    at = np.array([side * rng.uniform(0.05, 0.3), rng.uniform(2.35, 2.6)])
    yaw = float(rng.uniform(-0.35, 0.35))
    # The pattern of the rug covers it once, hence its square shape.
    build.place((at[0], at[1] + 0.25, 0), yaw * 0.5)
    build.box((0, 0, 0.004), (2.1, 2.1, 0.009), Surface("rug", tile=2.1))
    build.place((at[0], at[1], 0), yaw)
    top = _table(build, rng, wood)
    _table_top(build, rng, top, colors)
    beside = np.array([at[0] - side * rng.uniform(0.95, 1.1), at[1] - rng.uniform(-0.15, 0.15)])
    build.place((beside[0], beside[1], 0), side * (math.pi / 2 + rng.uniform(-0.5, 0.3)))
    seat = Surface("fabric", _rgb(colors[8]), 0.5)
    _chair(build, seat, wood)
    build.place((at[0] + rng.uniform(-0.2, 0.3), at[1] + 0.75, 0), rng.uniform(-0.4, 0.4))
    _chair(build, seat, wood)

    # Close to the camera: a stool with a plant.
    build.place((side * 0.58, 1.62, 0), rng.uniform(0, 1.5))
    build.cone((0, 0, 0.55), 0.17, 0.17, 0.03, wood)
    for x, y in ((-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)):
        build.box((x * 0.1, y * 0.1, 0.275), (0.03, 0.03, 0.55), wood)
    build.place((side * 0.58, 1.62, 0.58), rng.uniform(0, 1.5))
    _plant(build, rng, 0.5)

    # On the floor: cartons at odd angles and a ball.
    build.place((side * (right - 0.75), 2.55 + rng.uniform(-0.15, 0.2), 0), rng.uniform(0, 1.5))
    build.box((0, 0, 0.17), (0.46, 0.36, 0.34), Surface("cardboard", tile=0.46))
    build.box((0.02, 0.01, 0.45), (0.30, 0.26, 0.22), Surface("cardboard", (0.9, 0.95, 1), 0.30), turn(0.6))
    build.place((-side * rng.uniform(0.55, 0.8), rng.uniform(3.5, 3.9), 0))
    build.ball((0, 0, 0.13), 0.13, Surface("checker", _rgb(0.3 + 0.7 * colors[9]), 0.4))

    # On the walls: posters, a framed painting, a window. A millimetre of paper is texture without depth.
    build.place((0, 0, 0))
    frame = Surface("plain", (0.22, 0.17, 0.13))
    paper = rng.permutation(3)
    x, z = -side * rng.uniform(0.75, 0.95), rng.uniform(1.5, 1.65)
    build.box((x, far - 0.012, z), (0.86, 0.024, 0.86), frame)
    build.box((x, far - 0.0125, z), (0.80, 0.026, 0.80), Surface(f"picture{paper[0]}", tile=0.80))
    build.box((side * 0.52, far - 0.0005, z), (0.46, 0.001, 0.46), Surface(f"picture{paper[1]}", tile=0.46))
    build.box(
        (side * (right - 0.0005), far - 0.85, 1.62),
        (0.001, 0.62, 0.62),
        Surface(f"picture{paper[2]}", tile=0.62),
    )
    build.place((-side * right, far - 1.75, 1.55))
    build.box((0, 0, 0), (0.05, 1.15, 1.15), white)
    build.box((0, 0, 0), (0.052, 1.06, 1.06), Surface("outside", tile=1.06, glow=0.75))
    build.box((0, 0, 0), (0.07, 0.04, 1.1), white)
    build.box((0, 0, 0), (0.07, 1.1, 0.04), white)
    return build.solids, half
