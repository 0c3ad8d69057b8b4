"""A ray-cast indoor scene with exact depth, for demonstrations, tests and as extra training pictures.

The room holds what makes guided depth upsampling hard: thin structures (chair legs, lamp pole, ladder,
leaves), slanted planes, strong texture without depth edges (posters, rug, floor) and depth edges without
a strong colour edge (a plaster pillar before a plaster wall, wood before wood).

World frame: x right, y into the room, z up, metres, origin on the floor below the middle of the wall behind
the camera. Camera frame: x right, y down, z forward (the optical frame of ROS). A ray is written
``o + t d`` with ``d`` scaled to one unit along the optical axis, so that ``t`` is the z-depth itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[float, float, float]
Intrinsics = tuple[float, float, float, float]

KINECT_FOCAL = 525.0  # pixels at 640 x 480, the nominal value of the Kinect v1
KINECT_SIZE = (640, 480)
START_NS = 1_700_000_000_000_000_000  # ROS reads a zero stamp as "no time", hence a date

_TEXTURE = 512  # texels along a tile's edge
_LEVELS = 8  # of the mip pyramid: 512 ... 4 texels
_SHADOW_MAP = 384  # texels along a shadow map's edge
_SHADOW_TAN = 2.4  # tangent of a shadow map's half angle
_NEAR = 1e-3  # metres; what is closer lies behind the camera


@dataclass(frozen=True)
class Frame:
    """One registered RGB-D frame.

    Attributes:
        color: (H, W, 3) uint8, RGB.
        depth: (H, W) float32, metres, z-depth (not ray length) along the ray of the pixel's centre, exact.
        stamp_ns: time of the frame in nanoseconds.
        intrinsics: (fx, fy, cx, cy) in pixels; the centre of the first pixel has coordinates (0, 0).
        pose: (4, 4) float64, camera to world.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    stamp_ns: int
    intrinsics: Intrinsics
    pose: Array


def intrinsics(size: tuple[int, int]) -> Intrinsics:
    """Pinhole (fx, fy, cx, cy) in pixels of a Kinect v1 scaled to ``size`` = (width, height)."""
    width, height = size
    focal = KINECT_FOCAL * width / KINECT_SIZE[0]
    return focal, focal, (width - 1) / 2, (height - 1) / 2


# --- Geometry ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surface:
    """What a solid looks like: a texture of the scene times a tint, plus light that it gives off itself."""

    texture: str = "plain"
    tint: Color = (1.0, 1.0, 1.0)
    tile: float = 1.0  # metres that one tile of the texture covers
    glow: float = 0.0


@dataclass(frozen=True)
class Solid:
    """A solid in its own frame: ``rotation`` (3, 3) turns the own frame into the world's, ``centre`` (3,)."""

    centre: Array
    rotation: Array
    surface: Surface

    def bounds(self) -> Array:
        """Half extents (3,) in metres of a box around the solid, in its own frame."""
        raise NotImplementedError

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        """The smallest t > 0 where ``o + t d`` meets the surface, inf for a miss; all in the own frame."""
        raise NotImplementedError

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        """Normal (3, N) and texture coordinates u, v (N,) in metres at surface points p (3, N)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Box(Solid):
    """A box with half extents ``half`` (3,) in metres; seen from within if ``inside`` (the room)."""

    half: Array
    inside: bool = False

    def bounds(self) -> Array:
        return self.half

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        # The slab method: the ray is inside the box while it is between all three pairs of planes.
        near: Array | float = -np.inf
        far: Array | float = np.inf
        with np.errstate(divide="ignore", invalid="ignore"):
            for k in range(3):
                # A ray along the planes divides by zero: infinities of the right signs.
                one, two = (-self.half[k] - o[k]) / d[k], (self.half[k] - o[k]) / d[k]
                near = np.fmax(near, np.fmin(one, two))
                far = np.fmin(far, np.fmax(one, two))
        if self.inside:
            return np.asarray(far)
        return np.where((near <= far) & (near > _NEAR), near, np.inf)

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        face = np.argmax(np.abs(p) / self.half[:, None], axis=0)
        each = np.arange(p.shape[1])
        normal = np.zeros_like(p)
        normal[face, each] = np.sign(p[face, each]) * (-1 if self.inside else 1)
        # Pictures are counted from an upper corner, so that one tile can fit its face. v runs along the
        # longer edge of a face, as the grain of wood does.
        q = np.stack([p[0] + self.half[0], p[1] + self.half[1], self.half[2] - p[2]])
        axes = np.array([sorted({0, 1, 2} - {k}, key=lambda m: float(self.half[m])) for k in range(3)])
        u, v = q[axes[face, 0], each], q[axes[face, 1], each]
        return normal, u, v


@dataclass(frozen=True)
class Sphere(Solid):
    """A sphere of ``radius`` metres."""

    radius: float

    def bounds(self) -> Array:
        return np.full(3, self.radius)

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        a = d[0] ** 2 + d[1] ** 2 + d[2] ** 2
        b = o[0] * d[0] + o[1] * d[1] + o[2] * d[2]
        root = b**2 - a * (o @ o - self.radius**2)
        t = (-b - np.sqrt(np.maximum(root, 0))) / a
        return np.where((root >= 0) & (t > _NEAR), t, np.inf)

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        n = p / self.radius
        return n, np.arctan2(n[1], n[0]) * self.radius, np.arccos(np.clip(n[2], -1, 1)) * self.radius


@dataclass(frozen=True)
class Frustum(Solid):
    """A capped cone frustum along its own z axis: radius ``bottom`` at -half, ``top`` at +half (metres)."""

    bottom: float
    top: float
    half: float

    def bounds(self) -> Array:
        radius = max(self.bottom, self.top)
        return np.array([radius, radius, self.half])

    def hit(self, o: Array, d: Sequence[Array]) -> Array:
        slope = (self.top - self.bottom) / (2 * self.half)
        radius = (self.top + self.bottom) / 2 + slope * o[2]  # of the cone at the height of the origin
        # x^2 + y^2 = (radius + slope z)^2 along the ray
        a = d[0] ** 2 + d[1] ** 2 - (slope * d[2]) ** 2
        b = o[0] * d[0] + o[1] * d[1] - radius * slope * d[2]
        c = o[0] ** 2 + o[1] ** 2 - radius**2
        root = b**2 - a * c
        best = np.full(root.shape, np.inf)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.sqrt(np.maximum(root, 0))
            for sign in (-1, 1):
                t = (-b + sign * spread) / a
                # The height bound also drops the mirror cone, which lies beyond the tip.
                good = (root >= 0) & (np.abs(o[2] + t * d[2]) <= self.half) & (t > _NEAR)
                best = np.where(good & (t < best), t, best)
            for end, r in ((-self.half, self.bottom), (self.half, self.top)):
                t = (end - o[2]) / d[2]
                good = (o[0] + t * d[0]) ** 2 + (o[1] + t * d[1]) ** 2 <= r**2
                best = np.where(good & (t > _NEAR) & (t < best), t, best)
        return best

    def detail(self, p: Array) -> tuple[Array, Array, Array]:
        slope = (self.top - self.bottom) / (2 * self.half)
        around = np.hypot(p[0], p[1])
        radius = (self.top + self.bottom) / 2 + slope * p[2]
        cap = (np.abs(p[2]) > self.half - 1e-6) & (around < radius - 1e-6)
        length = math.hypot(1, slope)
        n = np.stack([p[0], p[1], -slope * around]) / (np.maximum(around, 1e-9) * length)
        n[:, cap] = 0
        n[2, cap] = np.sign(p[2, cap])
        u = np.where(cap, p[0], np.arctan2(p[1], p[0]) * max(self.bottom, self.top))
        return n, u, np.where(cap, p[1], p[2])


@dataclass(frozen=True)
class Hits:
    """What each pixel of a view sees: ``t`` (H, W) z-depth in metres, ``index`` (H, W) of the solid."""

    t: Array
    index: NDArray[np.int16]


def trace(solids: Sequence[Solid], pose: Array, x: Array, y: Array) -> Hits:
    """Nearest surface along the rays ``(x[j], y[i], 1)`` of the camera frame.

    Args:
        solids: the scene; a pixel that sees none keeps t = inf, index = -1.
        pose: (4, 4) camera to world.
        x: (W,) ascending, normalised image coordinates (u - cx) / fx of the columns.
        y: (H,) ascending, likewise of the rows.
    """
    t = np.full((len(y), len(x)), np.inf)
    index = np.full(t.shape, -1, np.int16)
    for k, solid in enumerate(solids):
        window = _window(solid, pose, x, y)
        if window is None:
            continue
        o, d = _own_rays(solid, pose, x[window[1]], y[window[0]])
        new, old = solid.hit(o, d), t[window]
        nearer = new < old
        old[nearer] = new[nearer]
        index[window][nearer] = k
    return Hits(t, index)


def _own_rays(solid: Solid, pose: Array, x: Array, y: Array) -> tuple[Array, list[Array]]:
    """Origin (3,) and directions 3 x (H, W) of a view's rays in the frame of a solid."""
    o = solid.rotation.T @ (pose[:3, 3] - solid.centre)
    a = solid.rotation.T @ pose[:3, :3]
    return o, [(a[k, 0] * x + a[k, 2]) + (a[k, 1] * y)[:, None] for k in range(3)]


def _window(solid: Solid, pose: Array, x: Array, y: Array) -> tuple[slice, slice] | None:
    """The rows and columns in which a solid can appear, None if there are none."""
    whole = slice(0, len(y)), slice(0, len(x))
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8)
    corners = solid.centre[:, None] + solid.rotation @ (signs * solid.bounds()[:, None])
    seen = pose[:3, :3].T @ (corners - pose[:3, 3:])
    if np.all(seen[2] < _NEAR):
        return None
    if np.any(seen[2] < 0.05):  # too close to project its corners safely
        return whole
    u, v = seen[0] / seen[2], seen[1] / seen[2]
    rows = slice(int(np.searchsorted(y, v.min())), int(np.searchsorted(y, v.max(), "right")))
    columns = slice(int(np.searchsorted(x, u.min())), int(np.searchsorted(x, u.max(), "right")))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _turn(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Array:
    """Rotation (3, 3): roll about y, then pitch about x, then yaw about z (radians)."""
    (cy, cp, cr), (sy, sp, sr) = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    return np.asarray(about_z @ about_x @ about_y)


# --- Textures ---------------------------------------------------------------------------------------------


def _noise(rng: np.random.Generator, power: float, stretch: float = 1.0) -> NDArray[np.float32]:
    """Tileable noise (S, S), mean 0, deviation 1, spectrum 1/f^power, drawn out along v by ``stretch``."""
    f = np.fft.fftfreq(_TEXTURE)
    radius = np.hypot(f[:, None] * stretch, f[None, : _TEXTURE // 2 + 1])
    radius[0, 0] = np.inf
    spectrum = np.fft.rfft2(rng.standard_normal((_TEXTURE, _TEXTURE))) * radius**-power
    field = np.fft.irfft2(spectrum, s=(_TEXTURE, _TEXTURE))
    return (field / field.std()).astype(np.float32)


def _f32(values: Iterable[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def _mix(a: Color, b: Color, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours (S, S, 3) between a (weight 0) and b (weight 1)."""
    low, high = _f32(a), _f32(b)
    return low + (high - low) * weight[..., None]


def _textures(rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """The scene's tileable textures, each (S, S, 3) in [0, 1], display-referred (gamma 2)."""
    n = _TEXTURE
    v, u = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    step = _f32([1, 1, 1])
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
    made["cardboard"][tape] = made["cardboard"][tape] * 0.4 + _f32([0.50, 0.46, 0.40])

    # A rug: borders, rows of diamonds, woollen noise. It covers one tile exactly.
    palette = _palette(rng, 4)
    edge = np.minimum(np.minimum(u, n - 1 - u), np.minimum(v, n - 1 - v))
    diamond = (np.abs(u % 128 - 64) + np.abs(v % 128 - 64)) // 22 % 3
    rug = palette[diamond]
    rug = np.where((edge < 56)[..., None], palette[3], rug)
    rug = np.where(((edge > 18) & (edge < 30))[..., None], palette[1], rug)
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


def _palette(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """``count`` colours (count, 3) in [0, 1] whose hues are spread around the circle."""
    hue = (rng.uniform(0, 180) + np.arange(count) * 180 / count * rng.uniform(0.6, 1)) % 180
    hsv = np.stack([hue, rng.uniform(50, 150, count), rng.uniform(90, 230, count)], 1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32) / 255


def _picture(rng: np.random.Generator, style: int) -> NDArray[np.float32]:
    """A painting (S, S, 3): hills, circles, colour fields or a contour map."""
    n = _TEXTURE
    colors = _palette(rng, 6)
    image = np.broadcast_to(_f32([0.93, 0.90, 0.84]), (n, n, 3)).copy()
    v, u = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
    if style == 0:
        image[:] = _mix((0.98, 0.85, 0.65), (0.55, 0.72, 0.92), (1 - v / n).astype(np.float32))
        cv2.circle(image, (int(rng.integers(100, 400)), 140), 46, (1.0, 0.95, 0.75), -1, cv2.LINE_AA)
        for k in range(4):
            ridge = 230 + 70 * k + 45 * np.sin(u[0] / n * rng.uniform(4, 11) + rng.uniform(0, 6))
            image[v > ridge] = _f32([0.42, 0.52, 0.58]) * (1 - 0.2 * k) * (0.7 + 0.5 * colors[0])
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


class _Atlas:
    """All textures and their mip levels in one picture, so that one look-up serves every pixel."""

    def __init__(self, textures: dict[str, NDArray[np.float32]]) -> None:
        self.row = {name: k * (_TEXTURE + 2) + 1 for k, name in enumerate(textures)}
        sizes = _TEXTURE >> np.arange(_LEVELS)
        self.column = np.concatenate([[0], np.cumsum(sizes + 2)[:-1]]).astype(np.float32) + 1
        self.pixels = np.zeros((len(textures) * (_TEXTURE + 2), int((sizes + 2).sum()), 3), np.uint8)
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
        level = np.clip(level, 0, _LEVELS - 1.001)
        lower = level.astype(np.int32)
        found = []
        for k in (lower, lower + 1):
            size = np.float32(_TEXTURE) / (1 << k).astype(np.float32)
            at = self.column[k] + u * size - 0.5, row + v * size - 0.5
            found.append(cv2.remap(self.pixels, *at, cv2.INTER_LINEAR).astype(np.float32))
        return np.asarray(found[0] + (found[1] - found[0]) * (level - lower)[..., None])


# --- Furniture --------------------------------------------------------------------------------------------


class _Builder:
    """Collects solids; every position is given in the frame of the piece of furniture being built."""

    def __init__(self) -> None:
        self.solids: list[Solid] = []
        self.place((0, 0, 0))

    def place(self, at: Sequence[float], yaw: float = 0.0) -> None:
        """Start a piece of furniture at ``at``, turned by ``yaw``."""
        self.origin, self.turn = np.array(at, float), _turn(yaw)

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
        rotation = _turn(roll=tilt)
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
        _turn(rng.uniform(-0.8, 0.8)),
    )
    build.box(
        (0.31, 0.03, z + 0.26),
        (0.13, 0.10, 0.08),
        Surface("plain", _rgb(colors[3])),
        _turn(rng.uniform(0, 1.5)),
    )
    lift = z
    for k in range(3):
        thick = float(rng.uniform(0.018, 0.04))
        cover = Surface("book", _rgb(colors[(k + 4) % len(colors)]), 0.28)
        turned = _turn(rng.uniform(-0.5, 0.5))
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
    turn = build.turn
    for _ in range(14):
        build.turn = turn @ _turn(rng.uniform(0, 2 * math.pi))
        leaf = Surface("stripes", _rgb(_f32([0.30, 0.52, 0.24]) * np.float32(rng.uniform(0.8, 1.5))), 0.3)
        root, length = scale * rng.uniform([0.016, 0.45], [0.028, 0.85])
        build.cone((0.05 * scale, 0, 0.27 * scale), root, 0.001, length, leaf, float(rng.uniform(0.05, 0.55)))
    build.turn = turn


def _ladder(build: _Builder, wood: Surface) -> None:
    """A ladder 1.9 m long that leans towards +y."""
    lean = _turn(pitch=-0.26)
    for x in (-0.2, 0.2):
        build.box((x, 0.25, 0.92), (0.03, 0.05, 1.9), wood, lean)
    for along in np.arange(-0.75, 0.8, 0.28):
        at = np.array([0, 0.25, 0.92]) + lean @ np.array([0, 0, along])
        build.box(at.tolist(), (0.37, 0.035, 0.022), wood, lean)


def _furnish(rng: np.random.Generator) -> tuple[list[Solid], Array]:
    """All solids of a room, the room itself first, and its half extents (3,)."""
    build = _Builder()
    width, depth, height = rng.uniform([4.3, 5.2, 2.5], [4.9, 5.7, 2.7])
    half = np.array([width, depth, height]) / 2
    wall = Surface("plaster", _rgb(rng.uniform([0.86, 0.86, 0.80], [1.0, 1.0, 1.0]).astype(np.float32)), 1.6)
    shell = Box(np.array([0, depth / 2, height / 2]), np.eye(3), wall, half, inside=True)
    build.solids.append(shell)
    colors = np.concatenate([_palette(rng, 6), _palette(rng, 4)])
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
    build.box((-0.45, 0, 0.72 + 0.07), (0.2, 0.14, 0.14), Surface("cardboard", tile=0.22), _turn(0.5))
    build.place((-side * (right - 0.35), far - 2.95, 0))
    _plant(build, rng)

    # The near side below the shelf: a ladder or a slanted board against the side wall.
    build.place((side * (right - 0.52), far - 1.55, 0), -side * math.pi / 2)
    if rng.random() < 0.5:
        _ladder(build, wood)
    else:
        leaning = _turn(pitch=-0.22)
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
    build.box((0.02, 0.01, 0.45), (0.30, 0.26, 0.22), Surface("cardboard", (0.9, 0.95, 1), 0.30), _turn(0.6))
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


# --- Rendering --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Light:
    """A point light below the ceiling and the first two moments of the depth of what it sees below it."""

    at: Array
    power: NDArray[np.float32]
    moments: NDArray[np.float32]


class Scene:
    """A furnished room. The same seed gives the same layout, textures, light and camera path.

    Attributes:
        solids: all the geometry; the first one is the room, a box seen from within.
    """

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, 0])
        self.solids, self._half = _furnish(rng)
        self._atlas = _Atlas(_textures(rng))
        self._path = rng.uniform(0, 2 * math.pi, (6, 3))  # phases of the camera's sway
        self._lights = self._make_lights(rng)
        self._ambient = _f32([0.32, 0.335, 0.37])

    def camera_pose(self, seconds: float) -> Array:
        """(4, 4) camera to world at a time of a hand-held camera's smooth path."""
        rates = np.array([0.11, 0.29, 0.9])[None] * 2 * math.pi
        sway = np.sin(rates * seconds + self._path)  # (6, 3)
        reach = np.array(
            [
                [0.32, 0.06, 0.006],  # position x, y, z
                [0.16, 0.05, 0.005],
                [0.07, 0.04, 0.008],
                [0.16, 0.06, 0.012],  # target x, z
                [0.10, 0.04, 0.012],
                [0.015, 0.010, 0.005],  # roll
            ]
        )
        dx, dy, dz, tx, tz, roll = (reach * sway).sum(axis=1)
        eye = np.array([dx, 0.60 + dy, 1.42 + dz])
        forward = np.array([tx, 3.2, 0.86 + tz]) - eye
        forward /= np.linalg.norm(forward)
        level = np.cross(forward, [0, 0, 1])
        level /= np.linalg.norm(level)
        down = np.cross(forward, level)
        right = math.cos(roll) * level + math.sin(roll) * down
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
        pose[:3, 3] = eye
        return pose

    def depth(self, pose: Array, size: tuple[int, int]) -> NDArray[np.float32]:
        """Exact z-depth (H, W) float32 in metres at the pixel centres of a view of ``size`` = (W, H)."""
        return trace(self.solids, pose, *self._rays(size)).t.astype(np.float32)

    def render(self, pose: Array, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Colour (H, W, 3) uint8 and exact z-depth (H, W) float32 in metres of a view of ``size`` = (W, H).

        A pixel's colour is half of what its centre sees plus an eighth of each of its corners (the quincunx
        pattern), which smooths edges and keeps them centred on those of the depth.
        """
        x, y = self._rays(size)
        centre = trace(self.solids, pose, x, y)
        colors = self._shade(centre, pose, x, y)
        x, y = self._rays(size, corners=True)
        corner = self._shade(trace(self.solids, pose, x, y), pose, x, y)
        colors = 0.5 * colors + 0.125 * (corner[1:, 1:] + corner[1:, :-1] + corner[:-1, 1:] + corner[:-1, :-1])
        return (colors.clip(0, 255) + 0.5).astype(np.uint8), centre.t.astype(np.float32)

    @staticmethod
    def _rays(size: tuple[int, int], corners: bool = False) -> tuple[Array, Array]:
        fx, fy, cx, cy = intrinsics(size)
        shift, extra = (0.5, 1) if corners else (0.0, 0)
        x: Array = (np.arange(size[0] + extra, dtype=np.float64) - shift - cx) / fx
        y: Array = (np.arange(size[1] + extra, dtype=np.float64) - shift - cy) / fy
        return x, y

    def _make_lights(self, rng: np.random.Generator) -> list[_Light]:
        """A square ceiling lamp as four points, and one weak light of the sky near each of two walls."""
        width, _, height = 2 * self._half
        middle = np.array([rng.uniform(-0.5, 0.5), rng.uniform(2.0, 2.8), height - 0.15])
        offsets = [np.array([sx * 0.3, sy * 0.3, 0]) for sx in (-1, 1) for sy in (-1, 1)]
        places = [(middle + offset, 0.62) for offset in offsets]
        places += [(np.array([s * 0.3 * width, 1.2, height - 0.2]), 0.5) for s in (-1, 1)]
        warm = np.array([1.0, 0.95, 0.87]) * rng.uniform([0.95, 0.97, 0.97], [1.05, 1.03, 1.03])
        ray = np.linspace(-_SHADOW_TAN, _SHADOW_TAN, _SHADOW_MAP)
        lights = []
        for at, power in places:
            view = np.eye(4)
            view[:3, :3] = np.diag([1, -1, -1])  # straight down
            view[:3, 3] = at
            # The room is convex and shades nothing; without it the background is the floor.
            below = np.minimum(trace(self.solids[1:], view, ray, ray).t, at[2]).astype(np.float32)
            moments = np.stack([below, below**2], axis=-1)
            moments = np.asarray(cv2.GaussianBlur(moments, (0, 0), 1.2), np.float32)
            lights.append(_Light(at, _f32(power * warm), moments))
        return lights

    def _shade(self, hits: Hits, pose: Array, x: Array, y: Array) -> NDArray[np.float32]:
        """Colours (H, W, 3), 0 ... 255, of the traced pixels."""
        shape = hits.t.shape
        # Pixels are put in order of the solid they see, so that each solid fills one contiguous run.
        order = np.argsort(hits.index, axis=None, kind="stable")
        stops = np.cumsum(np.bincount(hits.index.ravel() + 1, minlength=len(self.solids) + 1))
        i, j = np.divmod(order, shape[1])
        t = hits.t.ravel()[order].astype(np.float32)
        ray = np.stack([x.astype(np.float32)[j], y.astype(np.float32)[i], np.ones_like(t)])
        pixel = np.float32(x[1] - x[0])

        normal = np.zeros((3, t.size), np.float32)
        row, u, v, level, glow = np.zeros((5, t.size), np.float32)
        tint = np.zeros((t.size, 3), np.float32)
        for k, solid in enumerate(self.solids):
            run = slice(stops[k], stops[k + 1])
            if run.start == run.stop:
                continue
            a = (solid.rotation.T @ pose[:3, :3]).astype(np.float32)
            o = (solid.rotation.T @ (pose[:3, 3] - solid.centre)).astype(np.float32)
            d = a @ ray[:, run]
            n, pu, pv = solid.detail(o[:, None] + t[run] * d)
            normal[:, run] = solid.rotation.astype(np.float32) @ n
            surface = solid.surface
            tiles = np.float32(1 / surface.tile)
            u[run], v[run] = pu * tiles, pv * tiles
            # The footprint of a pixel on the surface, between its short and its long side.
            facing = np.abs((n * d).sum(0)) / np.sqrt((d * d).sum(0))
            level[run] = t[run] * (pixel * _TEXTURE * tiles) / np.sqrt(np.maximum(facing, 0.02))
            row[run], tint[run], glow[run] = self._atlas.row[surface.texture], surface.tint, surface.glow
        level = np.log2(np.maximum(level, np.float32(1e-3))) - np.float32(0.3)
        # cv2.remap takes pictures, not long rows.
        row, u, v, level = (each.reshape(shape) for each in (row, u, v, level))
        albedo = self._atlas.sample(row, u, v, level).reshape(-1, 3) * tint / np.float32(255)
        albedo *= albedo  # gamma 2

        point = pose[:3, :3].astype(np.float32) @ ray * t + pose[:3, 3:].astype(np.float32)
        light = self._irradiance(point.reshape(3, *shape), normal.reshape(3, *shape)).reshape(-1, 3)
        light += np.float32(2.2) * glow[:, None]
        # A soft shoulder keeps bright walls from clipping: 1 - exp(-x), then gamma 2.
        image = np.empty((t.size, 3), np.float32)
        image[order] = np.float32(255) * np.sqrt(1 - np.exp(np.float32(-1.35) * albedo * light))
        return image.reshape(*shape, 3)

    def _irradiance(self, point: NDArray[np.float32], normal: NDArray[np.float32]) -> NDArray[np.float32]:
        """Light (H, W, 3) on surface points (3, H, W): lamps with soft shadows, and ambient light."""
        # Corners of the room see less of it: an exponential stand-in for ambient occlusion.
        width, depth = self._half[:2].astype(np.float32)
        open_ = np.ones_like(point[0])
        for k, gap in ((0, width - np.abs(point[0])), (1, depth - np.abs(point[1] - depth)), (2, point[2])):
            open_ *= 1 - np.float32(0.42) * (1 - np.abs(normal[k])) * np.exp(gap / np.float32(-0.28))
        # More of it comes from above, but the ceiling gets what the floor throws back.
        bounce = np.maximum(-normal[2], 0) * point[2] * np.float32(0.5)
        total = (open_ * (1 + np.float32(0.25) * normal[2] + bounce))[..., None] * self._ambient
        # Looked up a little off the surface, so that a surface does not shade itself.
        start = point + np.float32(0.025) * normal
        scale = np.float32((_SHADOW_MAP - 1) / (2 * _SHADOW_TAN))
        middle = np.float32((_SHADOW_MAP - 1) / 2)
        for light in self._lights:
            dx, dy, dz = (np.float32(light.at[k]) - start[k] for k in range(3))
            square = dx * dx + dy * dy + dz * dz
            cosine = (dx * normal[0] + dy * normal[1] + dz * normal[2]) / np.sqrt(square)
            per_metre = scale / np.maximum(dz, np.float32(0.05))
            moments = cv2.remap(
                light.moments,
                middle - dx * per_metre,
                middle + dy * per_metre,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            # Variance shadow map (Donnelly and Lauritzen 2006): Chebyshev's bound on the visible share.
            mean = moments[..., 0]
            behind = np.maximum(dz - mean, 0)
            spread = np.maximum(moments[..., 1] - mean * mean, np.float32(2e-4))
            seen = spread / (spread + behind * behind)
            strength = np.maximum(cosine, 0) * seen * open_ / (square * np.float32(0.25) + np.float32(0.6))
            for k in range(3):
                total[..., k] += strength * light.power[k]
        return np.asarray(total, np.float32)


def render_frame(scene: Scene, index: int, size: tuple[int, int], rate_hz: float, seed: int) -> Frame:
    """Frame ``index`` of a sequence: the camera's view at index / rate_hz seconds with mild colour noise."""
    pose = scene.camera_pose(index / rate_hz)
    color, depth = scene.render(pose, size)
    rng = np.random.default_rng([seed, 1, index])
    noisy = color + rng.standard_normal(color.shape, np.float32) * np.float32(1.6)
    stamp_ns = START_NS + round(index * 1e9 / rate_hz)
    return Frame((noisy.clip(0, 255) + 0.5).astype(np.uint8), depth, stamp_ns, intrinsics(size), pose)


def render_sequence(
    frames: int = 90, size: tuple[int, int] = KINECT_SIZE, rate_hz: float = 30.0, seed: int = 0
) -> Iterator[Frame]:
    """Frames of a hand-held camera in a room, rendered one at a time.

    Args:
        frames: their number.
        size: (width, height) in pixels.
        rate_hz: frames per second.
        seed: chooses layout, textures, light, camera path and noise; the same seed gives the same frames.
    """
    scene = Scene(seed)
    for index in range(frames):
        yield render_frame(scene, index, size, rate_hz, seed)
