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

"""The protocol: errors by hand, the bicubic row against PIL, and the table's form."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from PIL import Image
from samples import Samples

from dkn.data.nyu import NYU
from dkn.data.sample import Sample
from dkn.errors import ConfigError, DataError
from dkn.evaluation import bicubic, evaluate, rmse
from dkn.evaluation.baselines import BASELINES
from dkn.experiments.assessment import model_method
from dkn.utils.tables import write_json

NAN = math.nan


def pil_down_and_up(depth: np.ndarray, scale: int) -> np.ndarray:
    height, width = depth.shape
    low = Image.fromarray(depth).resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return np.asarray(low.resize((width, height), Image.Resampling.BICUBIC))


def pil_rmse_cm(depth: np.ndarray, scale: int, border: int = 6) -> float:
    error = (pil_down_and_up(depth, scale).astype(float) - depth)[border:-border, border:-border]
    return 100 * math.sqrt((error**2).mean())


# --- Root mean square error ---------------------------------------------------------------------------------------


def test_rmse_by_hand():
    truth = np.array([[1, 2], [3, 4]], np.float32)
    assert rmse(truth, truth) == 0
    assert rmse(truth + np.array([[3, 0], [0, 4]]), truth) == pytest.approx(2.5)


def test_rmse_leaves_out_the_border():
    truth = np.zeros((6, 8))
    result = np.full((6, 8), 50.0)
    result[2:4, 2:6] = 3
    assert rmse(result, truth, border=2) == pytest.approx(3)
    assert rmse(result, truth, border=1) == pytest.approx(math.sqrt((8 * 9 + 16 * 2500) / 24))


def test_rmse_counts_pixels_known_in_both():
    truth = np.array([[1, NAN, 3, 4]], np.float32)
    result = np.array([[2, 9, NAN, 6]], np.float32)
    assert rmse(result, truth) == pytest.approx(math.sqrt((1 + 4) / 2))
    assert math.isnan(rmse(np.full((2, 2), NAN), np.ones((2, 2))))
    assert math.isnan(rmse(np.ones((4, 4)), np.ones((4, 4)), border=2))


# --- Tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [4, 8])
def test_bicubic_row_equals_pil(make_scene, scale):
    data = Samples([Sample(*make_scene(64, 80, seed), str(seed)) for seed in range(3)])
    result = evaluate(data, {"bicubic": bicubic}, scale)
    expected = np.mean([pil_rmse_cm(sample.depth, scale) for sample in data.samples])
    assert expected > 1
    assert result.results[0].rmse == pytest.approx(expected, rel=1e-5)


def test_what_the_scale_does_not_divide_is_cut_off(make_scene):
    color, depth = make_scene(50, 67)
    seen = []

    def method(color, low):
        seen.append((color.shape, low.shape))
        return bicubic(color, low)

    result = evaluate(Samples([Sample(color, depth, "one")]), {"a": method}, 8)
    assert seen == [((48, 64, 3), (6, 8))]
    assert result.results[0].rmse == pytest.approx(pil_rmse_cm(depth[:48, :64], 8), rel=1e-5)


def test_bicubic_row_of_a_file_in_nyus_layout(tiny_nyu):
    data = NYU(tiny_nyu, "test")
    result = evaluate(data, {"bicubic": bicubic}, 4)
    assert result.results[0].rmse == pytest.approx(np.mean([pil_rmse_cm(s.depth, 4) for s in data]), rel=1e-5)


def test_bicubic_row_of_real_pictures(nyu_pairs):
    """Three pairs of NYU v2 at 8x (depth in 8 bits, 255 levels over 9.99547 m)."""
    samples = []
    for color_file in sorted(nyu_pairs.glob("*_rgb.jpg"))[:3]:
        levels = cv2.imread(str(color_file).replace("_rgb.jpg", "_depth_q8.png"), cv2.IMREAD_UNCHANGED)
        depth = ((levels + 0.5) * 9.99547 / 255).astype(np.float32)
        samples.append(Sample(cv2.imread(str(color_file))[..., ::-1], depth, color_file.stem))
    result = evaluate(Samples(samples), {"bicubic": bicubic}, 8)
    expected = np.mean([pil_rmse_cm(sample.depth, 8) for sample in samples])
    assert result.results[0].rmse == pytest.approx(expected, rel=1e-4)
    assert 1 < expected < 20


def test_every_method_gets_the_same_input_and_counts_in_the_sets_unit():
    truth = np.full((32, 32), 2.0, np.float32)
    data = Samples([Sample(np.zeros((32, 32, 3), np.uint8), truth + i, str(i)) for i in range(4)], unit="mm", border=0)
    data.unit_scale = 1000.0
    seen = []

    def method(color, depth):
        seen.append(depth.copy())
        return np.full((32, 32), 2.0, np.float32)

    result = evaluate(data, {"a": method, "b": method}, 4, degradation="noise", limit=3)
    assert result.count == 3
    assert result.unit == "mm"
    assert [r.rmse for r in result.results] == pytest.approx([1000 * (0 + 1 + 2) / 3] * 2)
    assert [depth.shape for depth in seen] == [(8, 8)] * 6
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert np.array_equal(first, second)
    again = len(seen)
    evaluate(data, {"a": method}, 4, degradation="noise", limit=3)
    assert all(np.array_equal(a, b) for a, b in zip(seen[again:], seen[:again:2], strict=True))
    evaluate(data, {"a": method}, 4, degradation="noise", limit=1, seed=1)
    assert not np.array_equal(seen[-1], seen[0])


def test_json(tmp_path, make_scene):
    data = Samples([Sample(*make_scene(32, 40), "one")])
    result = evaluate(data, {"bicubic": bicubic, **BASELINES}, 4)
    write_json(tmp_path / "new" / "o.json", result.to_json())
    table = json.loads((tmp_path / "new" / "o.json").read_text())
    assert list(table) == ["dataset", "scale", "degradation", "unit", "count", "results"]
    assert (table["dataset"], table["scale"], table["degradation"]) == ("made-up", 4, "bicubic")
    assert (table["unit"], table["count"]) == ("cm", 1)
    assert [row["method"] for row in table["results"]] == ["bicubic", *BASELINES]
    for row in table["results"]:
        assert list(row) == ["method", "rmse", "mean_seconds"]
        assert row["rmse"] > 0
        assert row["mean_seconds"] > 0
    text = result.table()
    assert all(name in text for name in BASELINES)
    assert "cm" in text


def test_models_give_every_pixel_a_depth(tmp_path, make_model, make_scene):
    method = model_method(make_model(tmp_path / "m.safetensors", scale=4))
    color, depth = make_scene(8, 8)
    color = np.repeat(np.repeat(color, 4, 0), 4, 1)
    depth[2:4, 3:6] = NAN
    assert np.isfinite(method(color, depth)).all()


def test_images_without_a_pixel_to_judge_count_nowhere(make_scene):
    color, depth = make_scene(48, 64)
    border = np.full_like(depth, NAN)
    border[:6] = depth[:6]
    one, blind = (Sample(color, truth, "", depth, truth) for truth in (depth, border))
    alone = evaluate(Samples([one]), {"bicubic": bicubic}, 4).results[0]
    found = evaluate(Samples([blind, one, blind]), {"bicubic": bicubic}, 4)
    result = found.results[0]
    assert (result.rmse, result.median_error) == (alone.rmse, alone.median_error)
    assert (alone.unjudged, result.unjudged) == (None, 2)
    assert found.table().splitlines()[1].strip() == "no pixel to judge in 2 of 3 images, which count nowhere"
    assert "nan" not in found.table()
    for name in ("rmse", "unjudged"):
        assert name in found.to_json()["results"][0]


def test_a_method_without_depth_is_told_of_and_comes_last(make_scene):
    blind = iter([True, False, True, True])

    def method(color, depth):
        return bicubic(color, depth) * (NAN if next(blind) else 1)

    samples = Samples([Sample(*make_scene(48, 64), "")] * 2)
    lines = evaluate(samples, {"at times": method, "bicubic": bicubic}, 4).table().splitlines()
    assert lines[1].strip() == "at times: no pixel to judge in 1 of 2 images, which count nowhere"
    lines = evaluate(samples, {"never": method, "bicubic": bicubic}, 4).table().splitlines()
    assert lines[2].split()[0] == "bicubic" and lines[3].split()[:2] == ["never", "nan"]


@pytest.mark.parametrize("size", [(48, 64), (12, 64), (1, 1)])
def test_nothing_to_judge(make_scene, size):
    color, depth = make_scene(48, 64)
    color, depth = color[: size[0], : size[1]], depth[: size[0], : size[1]]
    truth = np.full_like(depth, NAN) if size == (48, 64) else depth
    with pytest.raises(DataError, match="any of 2 images"):
        evaluate(Samples([Sample(color, truth, "", depth, truth)] * 2), {"bicubic": bicubic}, 4)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nothing(make_scene, limit):
    with pytest.raises(ConfigError, match="limit"):
        evaluate(Samples([Sample(*make_scene(48, 64), "")]), {"bicubic": bicubic}, 4, limit=limit)


def test_nothing_to_evaluate(make_scene):
    data = Samples([Sample(*make_scene(32, 40), "one")])
    for arguments in ((Samples([]), {"bicubic": bicubic}, 4), (data, {}, 4), (data, {"bicubic": bicubic}, 0)):
        with pytest.raises(ConfigError):
            evaluate(*arguments)
    with pytest.raises(ConfigError, match="blur"):
        evaluate(data, {"bicubic": bicubic}, 4, degradation="blur")
