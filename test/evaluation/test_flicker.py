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

"""Flicker by hand and on noise of a known size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from samples import Samples

from dkn.data.sample import Sample
from dkn.evaluation import bicubic
from dkn.evaluation.flicker import change_over_time, deviation_over_time, flicker, static_crop

NAN = math.nan


def test_deviation_by_hand():
    frames = np.array([[[1, 5, NAN, 0]], [[3, 5, 2, 9]]])
    known = np.array([[True, True, True, False]])
    assert deviation_over_time(frames, known) == pytest.approx(1.0)  # variances 2 and 0, mean 1
    assert math.isnan(deviation_over_time(frames, np.zeros((1, 4), bool)))


def test_change_by_hand():
    before, after = np.array([[0, 0, 0, NAN, 1]]), np.array([[0.1, -0.2, 50, 3, NAN]])
    assert change_over_time(before, after) == pytest.approx(1.4826 * 0.2 / math.sqrt(2))
    assert math.isnan(change_over_time(before[:, 3:], after[:, 3:]))


def test_the_crop_is_the_middle():
    y, x = np.indices((480, 640), np.float32)
    crop = static_crop(Sample(np.zeros((480, 640, 3), np.uint8), 1000 * y + x, "", y))
    assert crop.depth.shape == crop.color.shape[:2] == crop.measured.shape == (192, 192)
    assert crop.depth[0, 0] == 1000 * 144 + 224
    assert static_crop(Sample(np.zeros((48, 64, 3), np.uint8), x[:48, :64], "")).depth.shape == (48, 64)


def test_independent_noise_passed_on_counts_with_its_deviation():
    data = Samples([Sample(np.zeros((96, 96, 3), np.uint8), np.full((96, 96), 2.0, np.float32), "flat")])
    methods = {"bicubic": bicubic, "deaf": lambda color, low: np.full(color.shape[:2], 2.0, np.float32)}
    found = flicker(data, methods, 1, "noise")
    assert found["bicubic"] == pytest.approx(100 * 0.01 * 2, rel=0.02)  # 1 % of 2 m, in cm
    assert found["deaf"] == 0
    assert flicker(data, methods, 4, "bicubic")["bicubic"] == 0


def test_a_recording_counts_the_change_of_the_error():
    rng = np.random.default_rng(0)
    samples = []
    for i in range(4):  # a wall that the camera walks away from, seen with noise
        truth = np.full((96, 96), 2 + 0.1 * i, np.float32)
        measured = truth + np.float32(0.03) * rng.standard_normal(truth.shape, np.float32)
        samples.append(Sample(np.zeros((96, 96, 3), np.uint8), truth, str(i), measured))
    data = Samples(samples)
    data.sequential = True
    assert flicker(data, {"bicubic": bicubic}, 1, "nearest")["bicubic"] == pytest.approx(3, rel=0.03)
    assert math.isnan(flicker(data, {"bicubic": bicubic}, 1, "nearest", limit=1)["bicubic"])
