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

"""Pictures rendered by code, with what is true about them: shapes before a background, textured, lit, photographed."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

KINDS = ("background", "disc", "box", "star")
_FINE = 4  # samples a pixel, along each axis


class Scene(NamedTuple):
    """Shapes in front of a background."""

    color: np.ndarray
    """(H, W, 3) uint8 RGB; edges are antialiased."""
    labels: np.ndarray
    """(H, W) uint8, index into `KINDS`: what fills most of the pixel."""
    plain: np.ndarray
    """(H, W, 3) uint8 RGB: the same without texture."""


def render(
    rng: np.random.Generator,
    size: tuple[int, int] = (192, 256),
    shapes: int = 5,
    texture: float = 1,
    painted: bool = False,
) -> Scene:
    """A scene of `size` (H, W). Colours say little about kinds; each kind has its texture (rings, stripes, dots).

    Args:
        texture: strength of the texture; 1 is as strong as the colours' own differences.
        painted: as photographs have it, edges of colour that are no edges of things: background and shapes are painted
            in patches of three colours each, every shape throws a shadow, and the light fades across the picture.
    """
    height, width = (n * _FINE for n in size)
    labels = np.zeros((height, width), np.uint8)
    plain = np.empty((height, width, 3), np.float32)
    everywhere = np.ones(labels.shape, bool)
    if painted:
        plain[everywhere] = _patches(rng, everywhere)
        shadow = np.rint(rng.uniform(-6, 6, 2) * _FINE).astype(int)
    else:
        plain[:] = rng.uniform(60, 200, 3)
        plain += np.linspace(-25, 25, width, dtype=np.float32)[:, None] * np.float32(rng.choice([-1, 1]))
    pattern = np.empty(labels.shape, np.float32)
    pattern[everywhere] = _pattern(0, rng, everywhere)
    for _ in range(shapes):
        kind = int(rng.integers(1, len(KINDS)))
        outline = _outline(kind, rng, (height, width))
        inside = cv2.fillPoly(np.zeros_like(labels), [np.rint(outline * 16).astype(np.int32)], 1, shift=4) > 0
        if painted:
            plain[_shifted(inside, shadow)] *= 0.6
            plain[inside] = _patches(rng, inside)
        else:
            color = rng.uniform(30, 225, 3)
            while np.abs(color - plain[inside].mean(axis=0)).max() < 40:
                color = rng.uniform(30, 225, 3)
            plain[inside] = color
        labels[inside] = kind
        pattern[inside] = _pattern(kind, rng, inside)
    if painted:
        plain *= np.linspace(0.7, 1.3, width, dtype=np.float32)[:: rng.choice([-1, 1]), None]
    textured = plain + np.float32(22 * texture) * pattern[..., None]
    pictures = [cv2.resize(p, size[::-1], interpolation=cv2.INTER_AREA) for p in (textured, plain)]
    share = [cv2.resize((labels == k).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) for k in range(4)]
    picture, flat = (np.rint(p).clip(0, 255).astype(np.uint8) for p in pictures)
    return Scene(picture, np.argmax(share, axis=0).astype(np.uint8), flat)


def flash_pair(rng: np.random.Generator, size: tuple[int, int] = (192, 256)) -> tuple[np.ndarray, ...]:
    """A photograph with flash, the same in dim warm light without noise, and with: each (H, W, 3) float32, 0..1.

    The flash falls off from the middle and throws a shadow at the right of things that the dim light does not.
    """
    scene = render(rng, size, shapes=7, texture=0.5)
    albedo = (scene.color.astype(np.float32) / 255) ** 2
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    fall_off = 1 / (1 + 0.5 * (x**2 + y[:, None] ** 2))
    shadow = np.roll(scene.labels > 0, 3, axis=1) & (scene.labels == 0)
    lit = np.where(shadow, 0.35, 1.0).astype(np.float32) * fall_off
    flash = np.sqrt(albedo * lit[..., None])
    ambient = 0.6 + 0.4 * x[None, :] * np.ones_like(y)[:, None]
    dim = np.sqrt(albedo * ambient[..., None] * np.array([0.95, 0.75, 0.5], np.float32))
    noisy = dim + rng.normal(0, 0.07, dim.shape)
    return flash, dim, noisy.astype(np.float32)


def infrared(rng: np.random.Generator, size: tuple[int, int] = (192, 256)) -> tuple[np.ndarray, ...]:
    """Near infrared (H, W), colour without noise and with (H, W, 3): float32, 0..1.

    Infrared brightness has little to do with colour: some edges vanish, others turn round.
    """
    scene = render(rng, size, shapes=7, texture=0.5)
    color = scene.color.astype(np.float32) / 255
    mixture = rng.dirichlet((1, 1, 1)).astype(np.float32)
    nir = np.clip(0.25 + 0.6 * np.abs(color @ mixture - 0.45) * 2, 0, 1)
    dark = 0.7 * color
    return nir.astype(np.float32), dark, (dark + rng.normal(0, 0.07, dark.shape)).astype(np.float32)


def _shifted(inside: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(H, W) bool, moved by so many columns and rows; False comes in."""
    move = np.array([[1, 0, by[0]], [0, 1, by[1]]], np.float32)
    return cv2.warpAffine(inside.astype(np.uint8), move, inside.shape[::-1], flags=cv2.INTER_NEAREST) > 0


def _outline(kind: int, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(N, 2) corners as (x, y)."""
    middle = rng.uniform(0.1, 0.9, 2) * size[::-1]
    radius = rng.uniform(0.13, 0.3) * min(size)
    turn = rng.uniform(0, 2 * np.pi)
    count = {1: 90, 2: 4, 3: 10}[kind]
    angles = turn + 2 * np.pi * np.arange(count) / count
    reach = np.where(np.arange(count) % 2, 0.45, 1.0) if kind == 3 else np.ones(count)
    squeeze = np.array([1.0, rng.uniform(0.6, 1.0)])
    return middle + radius * reach[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1) * squeeze


def _patches(rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """(N, 3) float32, of the N pixels inside: three colours, each where one of its points is the nearest of 24."""
    size = inside.shape
    elsewhere = np.ones(size, np.uint8)
    elsewhere[rng.integers(size[0], size=24), rng.integers(size[1], size=24)] = 0
    _, nearest = cv2.distanceTransformWithLabels(elsewhere, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return rng.uniform(30, 225, (3, 3)).astype(np.float32)[nearest[inside] % 3]


def _pattern(kind: int, rng: np.random.Generator, inside: np.ndarray) -> np.ndarray:
    """(N,) float32 in -1..1, of the N pixels inside: a woven background, rings, stripes or dots, some pixels wide."""
    size = inside.shape
    y, x = (index.astype(np.float32) for index in np.nonzero(inside))
    turn, period = rng.uniform(0, np.pi), rng.uniform(4, 6) * _FINE
    wave = np.float32(2 * np.pi / period)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    if kind == 0:
        return np.asarray(0.6 * np.sign(np.sin(wave * u)) * np.sign(np.sin(wave * v)), np.float32)
    if kind == 1:
        return np.asarray(np.sin(wave * np.hypot(x - size[1] * rng.random(), y - size[0] * rng.random())), np.float32)
    if kind == 2:
        return np.asarray(np.sign(np.sin(wave * u)), np.float32)
    return np.asarray(2.0 * (np.sin(wave * u) * np.sin(wave * v) > 0.3) - 1, np.float32)
