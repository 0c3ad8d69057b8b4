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

"""The rendered scene against formulas that are coded here a second time."""

import numpy as np
import pytest

from dkn.data.rendered import raycast
from dkn.data.rendered import room as synthetic
from dkn.data.rendered.raycast import Box, Frustum, Sphere, Surface
from dkn.data.rendered.room import Scene

SIZE = (160, 120)


@pytest.fixture(scope="module")
def frames():
    return list(synthetic.render_sequence(3, SIZE, rate_hz=5.0, seed=0))


def back_project(frame):
    """(H, W, 3) points in the world, from depth, intrinsics and pose alone."""
    fx, fy, cx, cy = frame.intrinsics
    v, u = np.indices(frame.depth.shape)
    z = frame.depth.astype(float)
    points = np.stack([(u - cx) / fx * z, (v - cy) / fy * z, z], axis=-1)
    return points @ frame.pose[:3, :3].T + frame.pose[:3, 3]


def rotation(yaw, tilt):
    """Rotation about z, then about the new x, written with complex numbers."""
    c, s = np.exp(1j * yaw), np.exp(1j * tilt)
    about_z = np.array([[c.real, -c.imag, 0], [c.imag, c.real, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, s.real, -s.imag], [0, s.imag, s.real]])
    return about_z @ about_x


# --- Geometry: the analytic intersection against marching along the ray with an inside test ---------------

CENTRE, TURN = np.array([0.05, -0.02, 2.0]), rotation(0.5, 0.9)
FORMS = {
    "box": (
        Box(CENTRE, TURN, Surface(), np.array([0.4, 0.25, 0.3])),
        lambda p: np.all(np.abs(p) <= [0.4, 0.25, 0.3], axis=-1),
    ),
    "sphere": (Sphere(CENTRE, TURN, Surface(), 0.45), lambda p: (p**2).sum(-1) <= 0.45**2),
    "cylinder": (
        Frustum(CENTRE, TURN, Surface(), 0.3, 0.3, 0.4),
        lambda p: (np.hypot(p[..., 0], p[..., 1]) <= 0.3) & (np.abs(p[..., 2]) <= 0.4),
    ),
    "frustum": (
        Frustum(CENTRE, TURN, Surface(), 0.4, 0.1, 0.5),
        lambda p: (np.hypot(p[..., 0], p[..., 1]) <= 0.25 - 0.3 * p[..., 2]) & (np.abs(p[..., 2]) <= 0.5),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_depth_of_a_solid_equals_marching_along_the_ray(name):
    solid, inside = FORMS[name]
    x, y = np.linspace(-0.3, 0.3, 33), np.linspace(-0.25, 0.25, 27)
    hits = raycast.trace([solid], np.eye(4), x, y)

    gx, gy = np.meshgrid(x, y)
    rays = np.stack([gx, gy, np.ones_like(gx)], axis=-1)

    def within(t):
        return inside((rays * t[..., None] - CENTRE) @ TURN)

    march = np.stack([within(np.full(gx.shape, t)) for t in np.arange(1.0, 3.0, 0.004)])
    hit = march.any(axis=0)
    after = 1.0 + 0.004 * march.argmax(axis=0)
    before = after - 0.004
    for _ in range(40):
        middle = (before + after) / 2
        now = within(middle)
        before, after = np.where(now, before, middle), np.where(now, middle, after)

    assert 0.1 < hit.mean() < 0.95
    assert np.all(np.isfinite(hits.t[hit]))
    assert np.mean(np.isfinite(hits.t) != hit) < 0.01  # the march may step over a grazed corner
    np.testing.assert_allclose(hits.t[hit], after[hit], atol=1e-9)
    assert np.all(hits.index[hit] == 0) and np.all(hits.index[~np.isfinite(hits.t)] == -1)


def test_depth_of_a_sphere_is_z_not_ray_length():
    hits = raycast.trace(
        [Sphere(np.array([0.0, 0.0, 3.0]), np.eye(3), Surface(), 1.0)],
        np.eye(4),
        np.array([0.0, 0.2]),
        np.array([0.0]),
    )
    # Unit ray through (0.2, 0, 1): its length to the sphere from the law of cosines, times the cosine.
    cosine = 1 / np.sqrt(1.04)
    length = 3 * cosine - np.sqrt(9 * cosine**2 - 8)
    np.testing.assert_allclose(hits.t, [[2.0, length * cosine]], rtol=1e-12)


def test_nearer_solid_hides_the_one_behind_whatever_their_order():
    near = Sphere(np.array([0.0, 0, 2]), np.eye(3), Surface(), 0.3)
    far = Box(np.array([0.0, 0, 4]), np.eye(3), Surface(), np.array([3.0, 3, 0.1]))
    x = np.linspace(-0.4, 0.4, 21)
    one, two = (raycast.trace(order, np.eye(4), x, x) for order in ([near, far], [far, near]))
    np.testing.assert_array_equal(one.t, two.t)
    assert one.t[10, 10] == pytest.approx(1.7) and one.t[0, 0] == pytest.approx(3.9)


def test_a_room_is_seen_from_within():
    room = Box(np.array([0.0, 0, 1]), np.eye(3), Surface(), np.array([2.0, 1.5, 4]), inside=True)
    hits = raycast.trace([room], np.eye(4), np.array([-1.0, 0, 1]), np.array([0.0]))
    np.testing.assert_allclose(hits.t, [[2, 5, 2]])


# --- The whole scene --------------------------------------------------------------------------------------


def test_frames_have_the_documented_form(frames):
    for k, frame in enumerate(frames):
        assert frame.color.shape == (120, 160, 3) and frame.color.dtype == np.uint8
        assert frame.depth.shape == (120, 160) and frame.depth.dtype == np.float32
        assert frame.stamp_ns - frames[0].stamp_ns == 200_000_000 * k
        assert frame.intrinsics == (131.25, 131.25, 79.5, 59.5)
        assert np.all(np.isfinite(frame.depth)) and frame.depth.min() > 0.5 and frame.depth.max() < 6.5
        assert 60 < frame.color.mean() < 220 and frame.color.std() > 25
        turn = frame.pose[:3, :3]
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) == pytest.approx(1)


def test_every_point_lies_in_the_room_and_many_on_its_floor(frames):
    points = back_project(frames[0])
    assert points[..., 2].min() > -1e-3 and points[..., 2].max() < 2.7 + 1e-3
    assert np.abs(points[..., 0]).max() < 2.45 + 1e-3 and points[..., 1].max() < 5.7 + 1e-3
    assert np.mean(points[..., 2] < 0.02) > 0.05


def test_points_of_the_far_wall_are_coplanar(frames):
    patch = back_project(frames[0])[15:26, 50:62].reshape(-1, 3)
    centred = patch - patch.mean(axis=0)
    _, spread, axes = np.linalg.svd(centred)
    assert spread[2] / np.sqrt(len(patch)) < 2e-6  # float32 at 5 m
    assert abs(axes[2, 1]) > 1 - 1e-5  # faces along y
    assert spread[1] > 0.3


def test_two_views_agree_on_what_both_see(frames):
    first, second = frames[0], frames[2]
    fx, fy, cx, cy = second.intrinsics
    inverse = np.linalg.inv(second.pose)
    points = back_project(first) @ inverse[:3, :3].T + inverse[:3, 3]
    z = points[..., 2]
    u = np.rint(points[..., 0] / z * fx + cx).astype(int)
    v = np.rint(points[..., 1] / z * fy + cy).astype(int)
    seen = (z > 0.1) & (u >= 1) & (u < SIZE[0] - 1) & (v >= 1) & (v < SIZE[1] - 1)
    assert np.linalg.norm(first.pose[:3, 3] - second.pose[:3, 3]) > 0.02 and seen.mean() > 0.7
    # A projected point falls between pixels: it must lie within the depths around.
    around = np.stack([second.depth[v[seen] + i, u[seen] + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    low, high, z = around.min(0) * 0.995, around.max(0) * 1.005, z[seen]
    assert np.mean((z >= low) & (z <= high)) > 0.93
    assert np.mean(z < low) < 0.01  # hidden in the second view is possible, in front of it is not


def test_scene_holds_depth_edges_and_texture_without_them(frames):
    depth, gray = frames[0].depth, frames[0].color.mean(axis=2)
    step = np.abs(np.diff(depth, axis=1)) / depth[:, 1:]
    contrast = np.abs(np.diff(gray, axis=1))
    assert np.mean(step > 0.05) > 0.01
    assert np.mean((contrast > 20) & (step < 0.01)) > 0.01
    assert np.mean((contrast < 10) & (step > 0.02)) > 0.001


def test_same_seed_same_frames_another_seed_another_scene(frames):
    again = next(synthetic.render_sequence(1, SIZE, seed=0))
    np.testing.assert_array_equal(again.color, frames[0].color)
    np.testing.assert_array_equal(again.depth, frames[0].depth)
    other = next(synthetic.render_sequence(1, SIZE, seed=1))
    assert np.mean(np.abs(other.depth - again.depth) > 0.05) > 0.3


def test_depth_alone_equals_the_rendered_depth(frames):
    scene = Scene(0)
    np.testing.assert_array_equal(scene.depth(frames[1].pose, SIZE), frames[1].depth)


def test_depth_does_not_depend_on_the_resolution():
    scene = Scene(2)
    pose = scene.camera_pose(0.4)
    # With an odd factor every centre of a small picture is also the centre of a large picture's pixel.
    small, large = scene.depth(pose, (48, 36)), scene.depth(pose, (144, 108))
    np.testing.assert_allclose(small, large[1::3, 1::3], rtol=1e-5)


def test_camera_moves_smoothly():
    scene = Scene(0)
    places = np.array([scene.camera_pose(k / 30)[:3, 3] for k in range(90)])
    speed = np.linalg.norm(np.diff(places, axis=0), axis=1) * 30
    assert speed.max() < 1.0 and np.ptp(places, axis=0).max() > 0.1
