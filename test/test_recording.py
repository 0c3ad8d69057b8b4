"""Recordings: which pixels are judged, what the input is made from, and what is refused."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from dkn.data.recording import Recording, near_edges
from dkn.errors import DataError
from dkn.evaluation import bicubic, evaluate

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
    assert list(result.to_json()) == ["method", "rmse", "mean_seconds", "median_error"]


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
