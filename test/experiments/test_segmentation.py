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

"""FDKNLayer against an average written out per pixel, IoU by hand, and that the layer beats bilinear upsampling."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import dkn
from dkn.cli import main
from dkn.errors import ConfigError, ImageError
from dkn.evaluation.iou import mean_iou
from dkn.experiments import segmentation
from dkn.networks.config import NetworkConfig
from dkn.networks.fdkn_layer import FDKNLayer

SMALL = NetworkConfig(n1=8, n2=8)


def bilinear_at(channel, y, x):
    """The value between pixels, zero outside the image."""
    height, width = channel.shape
    total = 0.0
    for j in (int(np.floor(y)), int(np.floor(y)) + 1):
        for i in (int(np.floor(x)), int(np.floor(x)) + 1):
            if 0 <= j < height and 0 <= i < width:
                total += max(0, 1 - abs(y - j)) * max(0, 1 - abs(x - i)) * channel[j, i]
    return total


@pytest.mark.parametrize("residual", [True, False])
def test_every_channel_by_the_same_kernels(residual):
    config = NetworkConfig(n1=8, n2=8, residual=residual)
    layer = FDKNLayer(5, config).eval()
    scores, image = torch.randn(1, 5, 3, 4), torch.rand(1, 3, 24, 32)
    result = layer(scores, image)
    assert result.shape == (1, 5, 24, 32)
    up = F.interpolate(scores, size=(24, 32), mode="bilinear")
    weights, offsets = (k.detach().numpy() for k in layer.network.kernels(image, up.softmax(dim=1)))
    for y, x in ((12, 15), (8, 20), (11, 11)):
        for c in (0, 4):
            channel = up[0, c].numpy()
            expected = channel[y, x] if residual else 0
            for t in range(9):
                dx, dy = t % 3 - 1 + offsets[0, 2 * t, y, x], t // 3 - 1 + offsets[0, 2 * t + 1, y, x]
                expected += weights[0, t, y, x] * bilinear_at(channel, y + dy, x + dx)
            assert result[0, c, y, x].item() == pytest.approx(expected, abs=1e-4)


def test_the_cost_of_kernels_does_not_grow_with_the_classes():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    few, many = FDKNLayer(2), FDKNLayer(21)
    # Only the first convolution on the scores sees how many there are: 16 phases × 3×3 × 32 outputs a class.
    assert count(many) - count(few) == 19 * 16 * 9 * 32
    weights, offsets = many.network.kernels(torch.rand(1, 3, 16, 16), torch.rand(1, 21, 16, 16))
    assert weights.shape == (1, 9, 16, 16) and offsets.shape == (1, 18, 16, 16)


def test_it_learns_with_the_network():
    """End to end: gradients reach both, and those of the scores are what differences say."""
    torch.manual_seed(3)
    network = nn.Conv2d(3, 4, 3, stride=8, padding=1)
    layer = FDKNLayer(4, SMALL).train()
    image = torch.rand(2, 3, 24, 24)
    loss = F.cross_entropy(layer(network(image), image), torch.randint(0, 4, (2, 24, 24)))
    loss.backward()
    for part in (network, layer):
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())
        assert any(p.grad.abs().max() > 0 for p in part.parameters())
    layer.eval()
    scores = torch.randn(1, 4, 3, 3, requires_grad=True)
    layer(scores, image[:1]).square().mean().backward()
    direction = scores.grad / scores.grad.norm()
    with torch.no_grad():
        step = 1e-2 * direction
        ends = [layer(scores + s, image[:1]).square().mean() for s in (step, -step)]
    assert (ends[0] - ends[1]).item() / 2e-2 == pytest.approx(scores.grad.norm().item(), rel=0.05)


def test_sources_of_weights_and_offsets():
    for fields in ({"offsets_from": "none"}, {"weights_from": "rgb", "offsets_from": "rgb"}, {"guidance": "none"}):
        layer = FDKNLayer(3, NetworkConfig(n1=8, n2=8, **fields)).eval()
        assert layer(torch.rand(2, 3, 2, 3), torch.rand(2, 3, 17, 22)).shape == (2, 3, 17, 22)


def test_what_the_docs_print_for_torchvision():
    """Run as it stands there: scores of full size, and gradients in DeepLab and in the layer."""
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:  # RuntimeError: one that was built for another torch
        pytest.skip(f"torchvision: {error}")
    text = (Path(__file__).parents[2] / "docs" / "beyond_depth.md").read_text()
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "torchvision" in block)
    found: dict = {}
    exec(code, found)
    assert found["scores"].shape == (2, 21, 128, 160)
    for part in (found["deeplab"].backbone, found["deeplab"].classifier, found["layer"]):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())


def test_mistakes():
    assert dkn.FDKNLayer is FDKNLayer
    for channels, config in ((0, SMALL), (3, NetworkConfig("dkn"))):
        with pytest.raises(ConfigError):
            FDKNLayer(channels, config)
    layer = FDKNLayer(3, SMALL)
    for scores in (torch.rand(1, 4, 2, 2), torch.rand(3, 2, 2), torch.rand(2, 3, 2, 2)):
        with pytest.raises(ImageError, match="expected"):
            layer(scores, torch.rand(1, 3, 16, 16))
    with pytest.raises(ConfigError, match="steps=0"):
        segmentation.compare(0)


def test_iou_by_hand():
    truth = np.zeros((4, 6), int)
    truth[:, 3:] = 1
    found = truth.copy()
    found[:, 3] = 0
    # Class 0: 12 of 16. Class 1: 8 of 12.
    assert mean_iou([found], [truth], 2) == pytest.approx((12 / 16 + 8 / 12) / 2)
    # Over images, not the mean of images; a class that is nowhere does not count.
    assert mean_iou([found, truth], [truth, truth], 3) == pytest.approx((24 / 28 + 20 / 24) / 2)


def test_boundary_iou_by_hand():
    truth, found = np.zeros((2, 20, 30), int)
    truth[5:15, 5:15] = 1
    found[5:15, 5:16] = 1  # a column too wide
    # Rims of one pixel: 36 pixels of 10×10, 38 of 10×11; both have the left column and the two rows: 28.
    box = 28 / (36 + 38 - 28)
    assert mean_iou([found == 1], [truth == 1], 2, reach=1) == pytest.approx((box + rim_of_the_rest(found, truth)) / 2)
    assert mean_iou([truth], [truth], 2, reach=2) == 1


def rim_of_the_rest(*maps):
    """The same for the background, by distances (its rim: pixels beside another class or the image's edge)."""
    rims = []
    for map_ in maps:
        padded = np.pad((map_ == 0).astype(np.uint8), 1)
        distance = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
        rims.append((distance > 0) & (distance <= 1))
    return (rims[0] & rims[1]).sum() / (rims[0] | rims[1]).sum()


def test_command(tmp_path, monkeypatch, capfd):
    """A budget of seconds, on two scenes: the whole way, not the order of the methods."""
    whole = segmentation.compare
    monkeypatch.setattr(segmentation, "compare", lambda steps, **options: whole(steps, 3, 3, **options))
    monkeypatch.setattr(segmentation, "SIZE", (32, 48))
    files = [f"--json={tmp_path / 'o.json'}", f"--figure={tmp_path / 'o.png'}"]
    assert main(["segment", "--steps=2", "--scenes=flat", *files]) == 0
    facts = json.loads((tmp_path / "o.json").read_text())
    assert [row["method"] for row in facts["results"]] == ["bilinear", "guided filter", "FDKNLayer"]
    assert all(0 <= row["boundary_iou"] <= row["mean_iou"] + 0.5 <= 1.5 for row in facts["results"])
    assert facts["scenes"] == "flat"
    assert facts["quoted_from_the_paper"]["FDKN"] == 73.60
    assert cv2.imread(str(tmp_path / "o.png")).shape[1] >= 5 * 96
    assert "| FDKNLayer |" in capfd.readouterr().out


def test_the_layer_finds_borders_that_bilinear_upsampling_loses(monkeypatch):
    """Perfect scores at an eighth of the size: all that is left to learn is where the image has its borders."""
    monkeypatch.setattr(segmentation, "SIZE", (64, 64))
    (scene,) = segmentation.scenes(1, 5, painted=False)
    truth = torch.from_numpy(scene.labels).long()[None]
    image = torch.from_numpy(scene.color).permute(2, 0, 1)[None].float() / 255
    scores = 6 * F.avg_pool2d(F.one_hot(truth, 4).permute(0, 3, 1, 2).float(), 8)
    layer = FDKNLayer(4, NetworkConfig(n1=32, n2=32))
    optimiser = torch.optim.Adam(layer.parameters(), 3e-3)
    for _ in range(40):
        loss = F.cross_entropy(layer(scores, image), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        ours, plain = (up(scores, image)[0].argmax(0).numpy() for up in (layer, segmentation.Bilinear()))
    found = [mean_iou([labels], [scene.labels], 4, reach=2) for labels in (ours, plain)]
    assert found[0] > found[1] + 0.1
