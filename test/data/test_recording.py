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

"""Recordings: which pixels are judged, what the input is made from, and what is refused."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from dkn.data.recording import Recording
from dkn.data.sample import Sample
from dkn.depth.edges import near_edges
from dkn.errors import DataError
from dkn.evaluation import bicubic, evaluate
from dkn.evaluation.recorded import FIGURES, RecordedErrors, mean_figures
from dkn.networks.config import NetworkConfig
from dkn.training import TrainConfig, draw_batch

NAN = math.nan


@pytest.fixture
def folder(tmp_path):
    """Three frames of 40×48: a wall at 2 m, a box at 1 m from column 24 on, raw depth 10 mm too far, one hole."""
    for name in ("rgb", "depth_raw", "depth_gt_tsdf"):
        (tmp_path / name).mkdir()
    truth = np.full((40, 48), 2000, np.uint16)
    truth[:, 24:] = 1000
    raw = truth + np.uint16(10)
    raw[10, 12] = 0
    truth[20, 14] = 0
    for i in range(3):
        color = np.full((40, 48, 3), (10, 20, 200), np.uint8)  # BGR
        cv2.imwrite(str(tmp_path / "rgb" / f"{i:04d}.png"), color)
        cv2.imwrite(str(tmp_path / "depth_raw" / f"{i:04d}.png"), raw)
        cv2.imwrite(str(tmp_path / "depth_gt_tsdf" / f"{i:04d}.png"), truth)
    return tmp_path


def test_edges_by_hand():
    row = np.array([[2.0, 2.0, 2.09, 2.2, 2.2, NAN, 9.0, 9.0, 4.0, 4.0]])
    # 2.09/2.0 is 4.5 %, 2.2/2.09 is 5.3 %, 9/4 is a step; what is unknown makes none.
    assert near_edges(row, 0.05, 0)[0].tolist() == [0, 0, 1, 1, 0, 0, 0, 1, 1, 0]
    assert near_edges(row, 0.05, 1)[0].tolist() == [0, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert near_edges(row.T, 0.05, 0)[:, 0].tolist() == near_edges(row, 0.05, 0)[0].tolist()


def test_the_margin_is_three_pixels_on_each_side():
    depth = np.full((9, 20), 1.0)
    depth[:, 10:] = 2.0
    columns = near_edges(depth).any(axis=0)
    assert columns.nonzero()[0].tolist() == [6, 7, 8, 9, 10, 11, 12, 13]  # the pair 9, 10 and three more


def test_samples(folder):
    data = Recording(folder)
    assert len(data) == 3
    sample = data[1]
    assert sample.name == "0001"
    assert sample.color[0, 0].tolist() == [200, 20, 10]
    assert sample.source is sample.measured
    assert math.isnan(sample.measured[10, 12])
    judged = np.ones((40, 48), bool)
    judged[:, 20:28] = False
    judged[10, 12] = judged[20, 14] = False
    assert np.array_equal(np.isfinite(sample.depth), judged)
    np.testing.assert_allclose((sample.measured - sample.depth)[judged], 0.01, atol=1e-6)


def test_input_comes_from_the_sensor_and_errors_from_the_truth(folder):
    result = evaluate(Recording(folder), {"bicubic": bicubic}, 2, "area").results[0]
    # 10 mm everywhere: the step at the box, where the interpolation is off by far more, is masked.
    assert result.median_error == pytest.approx(1.0, abs=1e-3)
    assert result.rmse == pytest.approx(1.0, abs=1e-3)
    assert list(result.to_json()) == ["method", "rmse", "mean_seconds", "median_error", *FIGURES]


def test_colour_may_be_jpeg_and_hidden_files_are_no_frames(folder):
    color = cv2.imread(str(folder / "rgb" / "0001.png"))
    (folder / "rgb" / "0001.png").unlink()
    cv2.imwrite(str(folder / "rgb" / "0001.jpg"), color)
    (folder / "depth_raw" / "._0001.png").touch()
    recording = Recording(folder)
    assert [recording[i].name for i in range(len(recording))] == ["0000", "0001", "0002"]
    assert recording[1].color.shape == color.shape


def test_refusals(folder):
    with pytest.raises(DataError, match="depth_gt_tsdf"):
        Recording(folder / "rgb")
    (folder / "depth_gt_tsdf" / "0001.png").unlink()
    with pytest.raises(DataError, match=r"depth_gt_tsdf.0001\.png: no such file"):
        Recording(folder)[1]
    cv2.imwrite(str(folder / "depth_gt_tsdf" / "0001.png"), np.ones((8, 8), np.uint16))
    with pytest.raises(DataError, match="0001"):
        Recording(folder)[1]
    for file in (folder / "depth_raw").glob("*"):
        file.unlink()
    with pytest.raises(DataError, match="depth_raw"):
        Recording(folder)


# --- Where errors lie ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["depth_raw", "depth_gt_tsdf"])
def test_depth_of_eight_bits_is_refused_by_its_name(folder, name):
    cv2.imwrite(str(folder / name / "0001.png"), np.full((40, 48), 200, np.uint8))
    with pytest.raises(DataError, match=rf"{name}/0001\.png: depth is uint8"):
        Recording(folder)[1]


def wall_and_box(**changes) -> Sample:
    """40×48: a wall at 2 m, a box at 1 m from column 24 on; the sensor sees nothing in rows 0 to 3 of the wall."""
    truth = np.full((40, 48), 2, np.float32)
    truth[:, 24:] = 1
    measured = truth.copy()
    measured[:4, :20] = np.nan
    depth = np.where(near_edges(truth) | np.isnan(measured), np.float32(np.nan), truth)
    return Sample(np.zeros((40, 48, 3), np.uint8), depth, "one", measured, truth, np.isfinite(measured), **changes)


def test_figures_by_hand():
    sample = wall_and_box()
    errors = RecordedErrors(sample, 0, 100.0)
    assert set(errors.of(sample.full_depth)) == set(FIGURES)
    assert not any(v for key, v in errors.of(sample.full_depth).items() if key != "completeness")
    result = sample.full_depth.copy()
    result[:4, :20] += 0.05  # in the hole
    result[10:12, 22] += 0.30  # two pixels beside the edge, where the protocol does not look
    result[20, 2] = np.nan
    found = errors.of(result)
    assert found["mean_error"] == 0
    assert found["mean_error_holes"] == pytest.approx(5, rel=1e-5)
    assert found["median_error_holes"] == pytest.approx(5, rel=1e-5)
    judged = 40 * 48 - 80 - 1
    assert found["mean_error_all"] == pytest.approx(2 * 30 / judged, rel=1e-5)
    assert found["rmse_all"] == pytest.approx(30 * math.sqrt(2 / judged), rel=1e-5)
    beside = 40 * 10  # columns 19 to 28: four on either side of the two that are the edge
    beside -= 4  # of these the sensor did not see
    assert found["mean_error_edges"] == pytest.approx(2 * 30 / beside, rel=1e-5)
    assert found["completeness"] == pytest.approx(100 * (1 - 1 / (40 * 48)))


def test_the_border_counts_nowhere():
    sample = wall_and_box()
    result = sample.full_depth + 1
    result[6:-6, 6:-6] -= 1
    found = RecordedErrors(sample, 6, 100.0).of(result)
    assert [found[key] for key in ("mean_error", "mean_error_all", "mean_error_edges")] == [0, 0, 0]
    assert math.isnan(found["mean_error_holes"])  # they lie in it


def test_figures_that_no_pixel_tells():
    sample = wall_and_box()
    nothing = RecordedErrors(sample, 0, 1.0).of(np.full((40, 48), np.nan))
    assert nothing.pop("completeness") == 0
    assert all(math.isnan(v) for v in nothing.values())
    assert mean_figures([{"a": 1.0, "b": NAN}, {"a": 3.0, "b": NAN}])["a"] == 2
    assert math.isnan(mean_figures([{"a": 1.0, "b": NAN}])["b"])


def test_inside_masks_alone(folder):
    """Of transparent things: also where the sensor saw nothing."""
    (folder / "mask").mkdir()
    mask = np.zeros((40, 48), np.uint8)
    mask[5:25, 5:15] = 255
    for i in range(3):
        cv2.imwrite(str(folder / "mask" / f"{i:04d}.png"), mask)
    data = Recording(folder)
    sample = data[0]
    inside = mask > 0
    inside[20, 14] = False  # truth unknown
    assert np.array_equal(np.isfinite(sample.depth), inside)
    assert math.isnan(sample.measured[10, 12])
    assert np.isfinite(sample.depth[10, 12])
    result = evaluate(data, {"bicubic": bicubic}, 1, "nearest").results[0]
    assert result.rmse == pytest.approx(1, abs=0.01)
    assert result.recorded["completeness"] == 100
    (folder / "mask" / "0001.png").unlink()
    with pytest.raises(DataError, match=r"mask.0001\.png"):
        data[1]


def test_a_sensor_with_fewer_pixels_than_colour(folder):
    for i in range(3):
        raw = np.full((20, 24), 2010, np.uint16)
        raw[:, 12:] = 1010
        raw[3, 4] = 0
        cv2.imwrite(str(folder / "depth_raw" / f"{i:04d}.png"), raw)
    sample = Recording(folder)[0]
    assert sample.measured.shape == (20, 24)
    assert np.isnan(sample.depth[6:8, 8:10]).all()
    assert np.isfinite(sample.depth[5, 8])
    assert sample.cropped(16) is sample
    result = evaluate(Recording(folder), {"bicubic": bicubic}, 1, "nearest").results[0]
    assert result.median_error == pytest.approx(1.0, abs=1e-3)


def test_training_takes_edges_too_and_reads_each_frame_once(folder):
    data = Recording(folder, edge_margin=None, keep=True)
    judged = np.ones((40, 48), bool)
    judged[10, 12] = judged[20, 14] = False
    assert np.array_equal(np.isfinite(data[0].depth), judged)
    for file in (folder / "rgb").glob("*"):
        file.unlink()
    assert data[0] is data[0]
    with pytest.raises(DataError):
        data[1]


def test_training_on_a_sensor_with_fewer_pixels_than_colour(folder):
    """What is shown of a crop is the sensor's view of it, wherever it lies: 10 mm beside the truth, as all over."""
    for file in (folder / "depth_raw").glob("*"):
        raw = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(file), raw[1::2, 1::2])
    assert Recording(folder)[0].part(slice(4, 20), slice(30, 46)).measured.shape == (16, 16)
    config = TrainConfig(NetworkConfig(), 1, "nearest", steps=1, batch_size=16, crop=16)
    batch = draw_batch(Recording(folder), config, 0)
    apart = (batch.depth - batch.target)[batch.known].abs() * config.depth_range
    assert apart.median() == pytest.approx(0.01, abs=1e-4)
