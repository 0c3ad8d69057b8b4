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

"""Procedural textures of the synthetic room, and the atlas that they are looked up in."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from dkn.data.rendered.raycast import Color

SIZE = 512  # texels along a tile's edge
LEVELS = 8  # of the mip pyramid: 512 ... 4 texels


def _noise(rng: np.random.Generator, power: float, stretch: float = 1.0) -> NDArray[np.float32]:
    """Tileable noise (S, S), mean 0, deviation 1, spectrum 1/f^power, drawn out along v by ``stretch``."""
    f = np.fft.fftfreq(SIZE)
    radius = np.hypot(f[:, None] * stretch, f[None, : SIZE // 2 + 1])
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * radius**-power
    field = np.fft.irfft2(spectrum, s=(SIZE, SIZE))
    return (field / field.std()).astype(np.float32)


def f32(values: Iterable[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _mix(a: Color, b: Color, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (S, S, 3) between a (weight 0) and b (weight 1)."""
    low, high = f32(a), f32(b)
    return low + (high - low) * weight[..., None]


def make_textures(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """The scene's tileable textures, each (S, S, 3) in [0, 1], display-referred (gamma 2)."""
    n = SIZE
    v, u = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    step = f32([1, 1, 1])
    made: dict[str, NDArray[np.float32]] = {}

    made["plain"] = (0.97 + 0.008 * _noise(rng, 0.5))[..., None] * step
    made["plaster"] = (0.93 + 0.018 * _noise(rng, 1.2) + 0.012 * _noise(rng, 0.3))[..., None] * step

    grain = 0.5 + 0.17 * _noise(rng, 1.3, 14) + 0.06 * _noise(rng, 0.4, 20)
    rings = np.sin(12 * _noise(rng, 2.2, 6)).astype(np.float32)
    wood = _mix((0.52, 0.36, 0.22), (0.80, 0.62, 0.42), np.clip(grain + 0.10 * rings, 0, 1))
    made["wood"] = wood
    # Floor boards: 8 along u, each with a shade of its own and its own joints along v.
    board, shade = u * 8 // n, rng.uniform(0.78, 1.08, (8, 2)).astype(np.float32)
    joint = (v + rng.integers(0, n, 8)[board]) % n
    floor = np.roll(wood, n // 3, axis=0) * shade[board, joint * 2 // n, None]
    gap = (u % (n // 8) < 2) | (joint % (n // 2) < 2)
    made["boards"] = np.where(gap[..., None], floor * 0.45, floor)

    tone = ((u * 4 // n + v * 4 // n) % 2).astype(np.float32)
    marble = 0.06 * _noise(rng, 1.5)
    made["checker"] = _mix((0.38, 0.40, 0.43), (0.90, 0.88, 0.84), np.clip(tone + marble * (1 - 2 * tone), 0, 1))
    made["checker"][(u % (n // 4) < 3) | (v % (n // 4) < 3)] *= 0.75

    weave = (np.sin(u * (2 * np.pi * 64 / n)) * np.sin(v * (2 * np.pi * 64 / n))).astype(np.float32)
    made["fabric"] = (0.80 + 0.10 * weave + 0.04 * _noise(rng, 0.5))[..., None] * step

    made["cardboard"] = _mix(
        (0.58, 0.44, 0.30),
        (0.74, 0.58, 0.42),
        np.clip(0.5 + 0.16 * _noise(rng, 1) + 0.1 * np.sin(u * 0.8), 0, 1),
    )
    tape = np.abs(u - n / 2) < n // 24
    made["cardboard"][tape] = made["cardboard"][tape] * 0.4 + f32([0.50, 0.46, 0.40])

    # A rug: borders, rows of diamonds, woollen noise. It covers one tile exactly.
    shades = palette(rng, 4)
    edge = np.minimum(np.minimum(u, n - 1 - u), np.minimum(v, n - 1 - v))
    diamond = (np.abs(u % 128 - 64) + np.abs(v % 128 - 64)) // 22 % 3
    rug = shades[diamond]
    rug = np.where((edge < 56)[..., None], shades[3], rug)
    rug = np.where(((edge > 18) & (edge < 30))[..., None], shades[1], rug)
    made["rug"] = rug * (0.92 + 0.07 * _noise(rng, 0.3))[..., None]

    stripes = rng.choice(4, 16)[u * 16 // n]
    made["stripes"] = (0.55 + 0.15 * stripes + 0.02 * _noise(rng, 0.5))[..., None] * step
    made["book"] = made["plain"].copy()
    made["book"][(v > n * 0.14) & (v < n * 0.19) | (v > n * 0.62) & (v < n * 0.66)] = (0.92, 0.82, 0.55)
    title = (v > n * 0.30) & (v < n * 0.52) & (u % (n // 2) > n // 8) & (u % (n // 2) < n * 3 // 8)
    made["book"][title] *= 0.55

    for k in range(4):
        made[f"picture{k}"] = _picture(rng, k)

    sky = _mix((0.62, 0.80, 1.0), (1.0, 1.0, 1.0), np.clip(0.45 + 0.35 * _noise(rng, 1.8), 0, 1))
    hill = n * 0.72 + 20 * np.sin(u * (2 * np.pi / n) + rng.uniform(0, 6)) > n - v + n * 0.45
    made["outside"] = np.where(hill[..., None], _mix((0.25, 0.42, 0.2), (0.5, 0.65, 0.35), tone * 0), sky)
    return made


def palette(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """``count`` colours (count, 3) in [0, 1] whose hues are spread around the circle."""
    hue = (rng.uniform(0, 180) + np.arange(count) * 180 / count * rng.uniform(0.6, 1)) % 180
    hsv = np.stack([hue, rng.uniform(50, 150, count), rng.uniform(90, 230, count)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32) / 255


def _picture(rng: np.random.Generator, style: int) -> NDArray[np.float32]:
    """A painting (S, S, 3): hills, circles, colour fields or a contour map."""
    n = SIZE
    colors = palette(rng, 6)
    image = np.broadcast_to(f32([0.93, 0.90, 0.84]), (n, n, 3)).copy()
    v, u = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    if style == 0:
        image[:] = _mix((0.98, 0.85, 0.65), (0.55, 0.72, 0.92), (1 - v / n).astype(np.float32))
        cv2.circle(image, (int(rng.integers(100, 400)), 140), 46, (1.0, 0.95, 0.75), -1, cv2.LINE_AA)
        for k in range(4):
            ridge = 230 + 70 * k + 45 * np.sin(u[0] / n * rng.uniform(4, 11) + rng.uniform(0, 6))
            image[v > ridge] = f32([0.42, 0.52, 0.58]) * (1 - 0.2 * k) * (0.7 + 0.5 * colors[0])
    elif style == 1:
        for _ in range(16):
            at = tuple(int(c) for c in rng.integers(40, n - 40, 2))
            ink = tuple(float(c) for c in colors[rng.integers(6)])
            thickness = int(rng.choice([-1, 8, 14]))
            cv2.circle(image, at, int(rng.integers(18, 90)), ink, thickness, cv2.LINE_AA)
    elif style == 2:
        for _ in range(9):
            x0, y0 = rng.integers(0, n - 80, 2)
            image[y0 : y0 + rng.integers(60, 240), x0 : x0 + rng.integers(60, 240)] = colors[rng.integers(6)]
        for at in rng.integers(0, n, 5):
            image[at : at + 9], image[:, n - at : n - at + 9] = 0.08, 0.08
    else:
        height = _noise(rng, 2.2)
        band = np.floor(np.clip(height * 1.2 + 3, 0, 5.99))
        image = colors[band.astype(int)] * (0.85 + 0.15 * (height * 1.2 + 3 - band))[..., None]
    image *= (1 + 0.03 * _noise(rng, 0.6))[..., None]
    image[:24], image[-24:], image[:, :24], image[:, -24:] = 0.95, 0.95, 0.95, 0.95  # mount
    return image


class Atlas:
    """All textures and their mip levels in one picture, so that one look-up serves every pixel."""

    def __init__(self, textures: dict[str, NDArray[np.float32]]) -> None:
        self.row = {name: k * (SIZE + 2) + 1 for k, name in enumerate(textures)}
        sizes = SIZE >> np.arange(LEVELS)
        self.column = np.concatenate([[0], np.cumsum(sizes + 2)[:-1]]).astype(np.float32) + 1
        self.pixels = np.zeros((len(textures) * (SIZE + 2), int((sizes + 2).sum()), 3), np.uint8)
        for name, texture in textures.items():
            for level, size in enumerate(sizes):
                small = cv2.resize(texture, (int(size), int(size)), interpolation=cv2.INTER_AREA)
                tile = np.pad((small * 255).clip(0, 255) + 0.5, ((1, 1), (1, 1), (0, 0)), mode="wrap")
                top, left = self.row[name] - 1, int(self.column[level]) - 1
                self.pixels[top : top + size + 2, left : left + size + 2] = tile

    def sample(
        self,
        row: NDArray[np.float32],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        level: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Trilinear colours (H, W, 3), 0 ... 255; u and v in tiles, ``level`` in octaves above the finest."""
        u, v = u - np.floor(u), v - np.floor(v)
        level = np.clip(level, 0, LEVELS - 1.001)
        lower = level.astype(np.int32)
        found = []
        for k in (lower, lower + 1):
            size = np.float32(SIZE) / (1 << k).astype(np.float32)
            at = self.column[k] + u * size - 0.5, row + v * size - 0.5
            found.append(cv2.remap(self.pixels, *at, cv2.INTER_LINEAR).astype(np.float32))
        return np.asarray(found[0] + (found[1] - found[0]) * (level - lower)[..., None])
