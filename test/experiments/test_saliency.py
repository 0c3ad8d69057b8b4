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

"""The weighted F-measure against its definition written out pixel by pixel, and by hand; folders, methods, command."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest

from dkn.cli import main
from dkn.data.rendered.shapes import render
from dkn.errors import ConfigError, DataError, ImageError
from dkn.evaluation.weighted_f_measure import weighted_f_measure
from dkn.experiments import saliency


def by_the_definition(foreground, truth, beta_squared=1.0):
    """Margolin et al., eq. 5 to 15, pixel by pixel: E, A, B, and the weighted counts."""
    height, width = truth.shape
    places = [(y, x) for y in range(height) for x in range(width)]
    ones = [p for p in places if truth[p]]
    kernel = {
        (dy, dx): math.exp(-(dy * dy + dx * dx) / (2 * 25)) for dy in range(-3, 4) for dx in range(-3, 4)
    }  # 7×7, σ² = 25
    total = sum(kernel.values())

    def error(p):
        return abs(float(truth[p]) - foreground[p])

    def reflected(p):
        """The error that A sees at p: of the nearest foreground pixel."""
        if truth[p]:
            return error(p)
        return error(min(ones, key=lambda q: (q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2))

    weighted = {}
    for y, x in places:
        plain = error((y, x))
        if truth[y, x]:
            spread = sum(
                k / total * reflected((y + dy, x + dx))
                for (dy, dx), k in kernel.items()
                if 0 <= y + dy < height and 0 <= x + dx < width
            )
            weighted[y, x] = min(plain, spread)
        else:
            nearest = min(math.dist((y, x), q) for q in ones)
            weighted[y, x] = plain * (2 - math.exp(math.log(0.5) / 5 * nearest))
    tp = sum(1 - weighted[p] for p in ones)
    fn = sum(weighted[p] for p in ones)
    fp = sum(weighted[p] for p in places if not truth[p])
    precision, recall = tp / (tp + fp), tp / (tp + fn)
    return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_definition(seed):
    """Blobs, each with one error all over: which of its pixels is the nearest then makes no difference."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((21, 26), bool)
    truth[3:9, 4:11] = truth[13:18, 15:20] = True
    foreground = rng.random(truth.shape)
    foreground[truth] = 0.35
    foreground[13:18, 15:20] = 0.85
    for beta in (1.0, 0.3):
        assert weighted_f_measure(foreground, truth, beta) == pytest.approx(
            by_the_definition(foreground, truth, beta), rel=1e-5
        )


def test_errors_inside_the_foreground():
    """Errors that vary inside one convex blob: A takes the smaller of the spread and the plain error."""
    rng = np.random.default_rng(5)
    truth = np.zeros((30, 30), bool)
    truth[:, :] = True
    foreground = rng.random(truth.shape)
    value = weighted_f_measure(foreground, truth)
    assert value == pytest.approx(by_the_definition(foreground, truth), rel=1e-5)
    recall_unweighted = foreground.mean()
    assert value > 2 * recall_unweighted / (1 + recall_unweighted)


def test_by_hand():
    truth = np.zeros((16, 46), bool)
    truth[4:13, 4:24] = True  # 180 pixels, none within A's reach of the image's border
    assert weighted_f_measure(truth.astype(float), truth) == pytest.approx(1)
    assert weighted_f_measure(1.0 - truth, truth) == pytest.approx(0, abs=1e-6)
    # One false pixel, 5 columns from the foreground: weight 1.5. Precision 180 / 181.5, recall 1.
    near = truth.astype(float)
    near[8, 28] = 1
    precision = 180 / 181.5
    assert weighted_f_measure(near, truth) == pytest.approx(2 * precision / (1 + precision), rel=1e-6)
    # Half as sure everywhere: in the middle the spread is 1/2 too; precision 1.
    wide = np.ones((60, 60), bool)
    half = weighted_f_measure(np.full(wide.shape, 0.5), wide)
    assert 2 / 3 < half < 0.7  # A's zeros beyond the image make its border a little surer
    # A false pixel far away weighs more than one nearby.
    far = truth.astype(float)
    far[8, 45] = 1
    assert weighted_f_measure(far, truth) < weighted_f_measure(near, truth)


# What pysodmetrics 1.6.2 (an implementation by others, WeightedFmeasure.cal_wfm) gives for `published_case`. In these
# masks every pixel within A's reach has one nearest foreground pixel: that is where implementations may differ.
PUBLISHED = {
    ("half", "grid"): 0.573145846935742,
    ("half", "soft"): 0.9045640491738164,
    ("bars", "grid"): 0.4573528273475324,
    ("bars", "soft"): 0.8470826044752495,
    ("whole", "grid"): 0.8227791050460518,
    ("whole", "soft"): 0.9716255787203191,
}


def published_case(mask, map_):
    """12×16 pixels."""
    y, x = np.mgrid[:12, :16]
    truth = {"half": x < 8, "bars": (x < 2) | (x >= 13), "whole": x >= 0}[mask]
    soft = np.clip(0.8 * truth + 0.1 + 0.1 * np.sin(y + 2 * x), 0, 1)
    return {"grid": (7 * y + 13 * x) % 17 / 16, "soft": soft}[map_], truth


@pytest.mark.parametrize("case", PUBLISHED, ids="-".join)
def test_it_is_what_others_compute(case):
    assert weighted_f_measure(*published_case(*case)) == pytest.approx(PUBLISHED[case], abs=1e-9)


def test_random_cases_against_others():
    """Which of several equally near foreground pixels counts is left open: the rest of the difference."""
    others = pytest.importorskip("py_sod_metrics", reason="pysodmetrics is not installed")
    rng = np.random.default_rng(0)
    for _ in range(100):
        size = rng.integers(8, 120, 2)
        field = cv2.GaussianBlur(rng.standard_normal(size), (0, 0), rng.uniform(1, 8))
        truth = field > np.quantile(field, rng.uniform(0.1, 0.95))
        for map_, tolerance in ((cv2.GaussianBlur(truth.astype(float), (0, 0), 3), 1e-3), (rng.random(size), 2e-3)):
            theirs = others.WeightedFmeasure().cal_wfm(map_, truth)
            assert weighted_f_measure(map_, truth) == pytest.approx(theirs, abs=tolerance)


def test_mistakes_in_maps():
    truth = np.zeros((4, 5), bool)
    assert math.isnan(weighted_f_measure(np.zeros((4, 5)), truth))
    for foreground, mask in ((np.zeros((5, 4)), truth), (np.zeros((4, 5)), truth.astype(float))):
        with pytest.raises(ImageError):
            weighted_f_measure(foreground, mask)


def test_scenes():
    scene = render(np.random.default_rng(0), (64, 80))
    assert scene.color.shape == scene.plain.shape == (64, 80, 3) and scene.labels.shape == (64, 80)
    assert set(np.unique(scene.labels)) <= {0, 1, 2, 3} and len(np.unique(scene.labels)) > 2
    again = render(np.random.default_rng(0), (64, 80))
    assert all(np.array_equal(a, b) for a, b in zip(scene, again, strict=True))
    # The texture averages out, and stays below its strength.
    difference = scene.color.astype(int) - scene.plain
    assert np.abs(difference).max() <= 23 and abs(difference.mean()) < 4


def test_painted_scenes():
    """Edges of colour that are no edges of things, inside the background; flat scenes have none there."""
    painted, flat = (render(np.random.default_rng(3), (64, 80), shapes=1, painted=p, texture=0) for p in (True, False))
    for scene, steps in ((painted, True), (flat, False)):
        background = cv2.erode((scene.labels == 0).astype(np.uint8), np.ones((9, 9))) > 0
        jump = np.abs(np.diff(scene.color.astype(int), axis=0)).max(axis=2) > 30
        assert jump[background[1:]].any() == steps
    assert len(np.unique(painted.labels)) == 2


@pytest.fixture
def folder(tmp_path):
    """Two scenes as DUT-OMRON has them, and a picture without a mask."""
    images, masks = tmp_path / "DUT-OMRON-image", tmp_path / "pixelwiseGT-new-PNG"
    images.mkdir()
    masks.mkdir()
    for i in range(2):
        scene = render(np.random.default_rng(i), (83, 101), texture=0)
        cv2.imwrite(str(images / f"im{i}.jpg"), scene.color[..., ::-1])
        cv2.imwrite(str(masks / f"im{i}.png"), 255 * (scene.labels > 0).astype(np.uint8))
    cv2.imwrite(str(images / "im9.jpg"), scene.color)
    return tmp_path


def test_a_folder_in_the_layout_of_dut_omron(folder):
    cases = list(saliency.Omron(folder))
    assert len(cases) == len(saliency.Omron(folder)) == 2
    color, truth = cases[0]
    assert color.shape == (83, 101, 3) and truth.shape == (83, 101) and set(np.unique(truth)) == {0, 1}
    given = {"all": lambda low, color: np.ones(color.shape[:2], np.float32)}
    # Rows and columns that 8 does not divide are left out: 80 × 96.
    expected = np.mean([by_hand_all(t[:80, :96] > 0.5) for _, t in cases])
    assert saliency.evaluate(saliency.Omron(folder), given)["all"] == pytest.approx(expected, rel=1e-5)


def by_hand_all(truth):
    """The measure of a map that is 1 everywhere: its errors are outside, each weighed by how far away it is."""
    ones, outside = np.argwhere(truth), np.argwhere(~truth)
    distance = np.array([np.hypot(*(ones - place).T).min() for place in outside])
    false = (2 - np.exp(math.log(0.5) / 5 * distance)).sum()
    precision = truth.sum() / (truth.sum() + false)
    return 2 * precision / (1 + precision)


def test_order_of_methods_and_command(folder, tmp_path, capfd):
    """What the network learnt on depth serves saliency: better than both others, also in the rendered scenes."""
    files = [f"--json={tmp_path / 'o.json'}", f"--figure={tmp_path / 'o.png'}"]
    assert main(["saliency", f"--data={folder}", "--model=fdkn_x8", *files]) == 0
    facts = json.loads((tmp_path / "o.json").read_text())
    scores = facts["weighted_f_measure"]
    assert scores["fdkn_x8"] > scores["guided filter"] > scores["bicubic"]
    assert (facts["count"], facts["quoted_from_the_paper"]["FDKN"]) == (2, 0.9606)
    assert cv2.imread(str(tmp_path / "o.png")).shape[1] > 6 * 96
    assert main(["saliency", "--limit=1"]) == 0
    assert "| saliency, synthetic, 8x, 1 pictures |" in capfd.readouterr().out


def test_mistakes(tmp_path, folder):
    with pytest.raises(DataError, match="expected DUT-OMRON-image"):
        saliency.Omron(tmp_path / "none")
    with pytest.raises(ConfigError, match="scale=0"):
        saliency.evaluate(saliency.Omron(folder), {}, scale=0)
    with pytest.raises(ConfigError, match="limit=0"):
        saliency.evaluate(saliency.Omron(folder), {}, limit=0)
    with pytest.raises(ConfigError, match="nothing"):
        saliency.evaluate(saliency.Omron(folder), {})
    cv2.imwrite(str(folder / "pixelwiseGT-new-PNG" / "im0.png"), np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match="another size"):
        list(saliency.Omron(folder))
    for mask in (folder / "pixelwiseGT-new-PNG").iterdir():
        mask.unlink()
    with pytest.raises(DataError, match="no mask"):
        saliency.Omron(folder)
