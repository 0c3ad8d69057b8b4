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

"""`dkn upsample`: either usable depth comes out, or a sentence that names the cause."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dkn.cli import main


@pytest.fixture
def pair(tmp_path, make_scene, make_model, monkeypatch):
    """A colour picture and a model in the default's place; returns a function that runs the command on some depth."""
    models = tmp_path / "models"
    make_model(models / "fdkn_sensor.safetensors", None)
    monkeypatch.setenv("DKN_MODELS", str(models))
    color, depth = make_scene(48, 64)
    cv2.imwrite(str(tmp_path / "c.png"), color[..., ::-1])

    def run(array, *more, name="d.npy", out="o.npy"):
        np.save(tmp_path / name, array) if name.endswith(".npy") else cv2.imwrite(str(tmp_path / name), array)
        (tmp_path / out).unlink(missing_ok=True)
        status = main(
            [
                "upsample",
                f"--color={tmp_path / 'c.png'}",
                f"--depth={tmp_path / name}",
                f"--out={tmp_path / out}",
                "--engine=torch",
                "--precision=fp32",
                *more,
            ]
        )
        return status, np.load(tmp_path / out) if status == 0 and out.endswith(".npy") else None

    return run, depth[::8, ::8]


def test_metres_in_and_out(pair):
    run, depth = pair
    status, result = run(depth)
    assert status == 0 and result.shape == (48, 64) and 0.5 < np.nanmedian(result) < 4


def test_float_millimetres(pair, capfd):
    run, depth = pair
    assert run(1000 * depth)[0] == 2
    assert "are these millimetres? --unit 0.001" in capfd.readouterr().err
    status, result = run(1000 * depth, "--unit=0.001")
    np.testing.assert_allclose(result, run(depth)[1], rtol=1e-3)
    assert status == 0


def test_a_camera_of_tenths_of_millimetres(pair):
    run, depth = pair
    counts = np.rint(10_000 * depth).astype(np.uint16)
    np.testing.assert_allclose(run(counts, "--unit=0.0001", name="d.png")[1], run(depth)[1], atol=2e-3)


def test_which_holes_are_filled(pair, capfd):
    run, depth = pair
    depth = np.full_like(depth, 2)
    depth[2:4, 3:5] = np.nan  # 16 pixels of the result
    unknown = {
        words: np.isnan(run(depth, *words)[1]).any()
        for words in [
            (),
            ("--fill-holes=none",),
            ("--fill-holes=false",),
            ("--fill-holes=small", "--hole-width=15"),
            ("--fill-holes=small",),
            ("--fill-holes=all",),
            ("--fill-holes=true",),
            ("--fill-holes",),
        ]
    }
    assert list(unknown.values()) == [True, True, True, True, False, False, False, False]
    assert run(depth, "--fill-holes=small", "--hole-width=0")[0] == 2
    assert "hole_width=0" in capfd.readouterr().err


def test_depth_that_a_png_cannot_hold(pair, capfd, tmp_path):
    run, depth = pair
    assert run(40 * depth, out="o.png")[0] == 2
    error = capfd.readouterr().err
    assert "65.534 m" in error and ".npy" in error and not (tmp_path / "o.png").exists()
    assert np.isfinite(run(40 * depth)[1]).all()


def test_pixels_of_65535_are_unknown(pair):
    run, depth = pair
    counts = np.rint(1000 * depth).astype(np.uint16)
    spoilt, zero = counts.copy(), counts.copy()
    spoilt[2:4, 2:4], zero[2:4, 2:4] = 65535, 0
    np.testing.assert_array_equal(run(spoilt, name="d.png")[1], run(zero, name="d.png")[1])


def test_limits(pair, capfd):
    run, depth = pair
    assert run(depth, "--min-depth=50", "--max-depth=60")[0] == 2
    assert "no pixel has a depth between 50 and 60 m" in capfd.readouterr().err


def test_nothing_there(pair, capfd):
    run, depth = pair
    assert run(np.zeros_like(depth))[0] == 2
    assert "no pixel has a depth" in capfd.readouterr().err


@pytest.mark.parametrize(("turn", "guess"), [(np.transpose, "EXIF"), (lambda d: d[:, :5], "cropped")])
def test_depth_of_another_shape(pair, capfd, turn, guess):
    run, depth = pair
    assert run(turn(depth))[0] == 0
    assert guess in capfd.readouterr().err


def test_ten_bits_in_sixteen_are_not_black(pair, tmp_path, capfd):
    run, depth = pair
    eight = cv2.imread(str(tmp_path / "c.png"))
    expected = run(depth)[1]
    ten = eight.astype(np.uint16) * 4
    ten[0, 0] = 1023
    cv2.imwrite(str(tmp_path / "c.png"), ten)
    np.testing.assert_allclose(run(depth)[1], expected, atol=0.3)
    assert np.abs(run(depth)[1] - expected).mean() < 0.01


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scale=st.sampled_from([1e-4, 1e-3, 0.1, 1, 10, 1e3, 1e4, 1e30, -1, 0, np.nan, np.inf]),
    kind=st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.uint16, np.int32, np.bool_, np.complex64]),
    shape=st.sampled_from([(6, 8), (1, 1), (8, 6), (48, 64), (0, 3), (6, 8, 3), (5,)]),
    unit=st.sampled_from([None, 0.001, 1.0, -1.0, 1e-30]),
)
def test_usable_depth_or_a_sentence(pair, capfd, scale, kind, shape, unit):
    run, _ = pair
    with np.errstate(all="ignore"):
        array = (np.full(shape, 2.0) * scale).astype(kind)
    capfd.readouterr()
    status, result = run(array, *([] if unit is None else [f"--unit={unit}"]))
    error = capfd.readouterr().err
    if status == 0:
        assert np.isfinite(result).any() and (result[np.isfinite(result)] > 0).all()
        assert np.nanmedian(result) <= 200 or unit is not None
    else:
        assert status == 2 and error.startswith("dkn: ") and error.count("\n") == 1 and len(error) > 20
