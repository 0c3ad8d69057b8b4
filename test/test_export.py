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

"""`dkn export`: the file runs in ONNX Runtime and, with the sampler of the user's own, gives the network's depth."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dkn import checkpoint
from dkn.cli import main
from dkn.errors import CheckpointError, ConfigError
from dkn.networks.config import NetworkConfig

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
export = pytest.importorskip("dkn.export")

CONFIGS = {
    "fdkn": NetworkConfig(),
    "fdkn grey, eq. (7)": NetworkConfig(guidance="grey", residual=False),
    "dkn, k = 5": NetworkConfig("dkn", kernel_size=5),
    "fdkn, kernels by colour alone": NetworkConfig(weights_from="rgb", offsets_from="none"),
    "fdkn, told what was measured": NetworkConfig(depth_channels=4),
    "fdkn depth alone, regular grid": NetworkConfig(guidance="none", offsets_from="none"),
}


def bilinear(image: np.ndarray, x: float, y: float, radius: int, centre: tuple[int, int]) -> float:
    """Eq. (5) and (6): zero outside the image and outside the window around `centre`."""
    total = 0.0
    for row in (int(np.floor(y)), int(np.floor(y)) + 1):
        for column in (int(np.floor(x)), int(np.floor(x)) + 1):
            near = max(abs(row - centre[0]), abs(column - centre[1])) <= radius
            if near and 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column)) * image[row, column]
    return total


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_sampler_written_from_the_metadata_gives_the_depth(config, make_model, tmp_path):
    """As a user would do it, with nothing but the file: one pixel after another."""
    path = make_model(tmp_path / "m_x8.safetensors", 8, config)
    text = export.export_onnx(path, tmp_path / "sub" / "m.onnx")
    assert "m.onnx" in text and [f.name for f in (tmp_path / "sub").iterdir()] == ["m.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "sub" / "m.onnx"), providers=["CPUExecutionProvider"])
    facts = {k.removeprefix("dkn."): json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert (facts["scale"], facts["depth_range"], facts["architecture"]) == (8, 10.0, config.architecture)

    rng = np.random.default_rng(0)
    color = rng.random((1, 3, 12, 16), np.float32)
    depth = 0.2 + 0.1 * rng.random((1, facts["depth_channels"], 12, 16), np.float32)
    names = [value.name for value in session.get_inputs()]
    absent = {"color"} if config.guidance == "none" else {"depth"} if config.weights_from == "rgb" else set()
    assert set(names) == {"color", "depth"} - absent
    outputs = session.run(None, {name: {"color": color, "depth": depth}[name] for name in names})
    kernels = dict(zip((value.name for value in session.get_outputs()), outputs, strict=True))

    p, taps = facts["phases"], facts["taps"]
    result = np.zeros((12, 16))
    for y, x in np.ndindex(12, 16):
        phase = y % p * p + x % p
        weights = kernels["weights"][0, y // p, x // p].astype(float).reshape(len(taps), p * p)[:, phase]
        shift = np.zeros((2, len(taps)))
        if "offsets" in kernels:
            shift = kernels["offsets"][0, y // p, x // p].reshape(2, len(taps), p * p)[..., phase]
        values = [
            bilinear(
                depth[0, 0],
                x + tap_x + shift[0, t] * facts["offset_unit"],
                y + tap_y + shift[1, t] * facts["offset_unit"],
                facts["window"] // 2,
                (y, x),
            )
            for t, (tap_x, tap_y) in enumerate(taps)
        ]
        if facts["residual"]:
            result[y, x] = depth[0, 0, y, x] + (weights - weights.mean()) @ values
        else:
            result[y, x] = weights @ values / weights.sum()
    network = checkpoint.load(path)[0]
    with torch.inference_mode():
        expected = network(torch.from_numpy(color), torch.from_numpy(depth))[0, 0].numpy()
    assert np.abs(expected - depth[0, 0]).max() > 1e-3
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_file_that_is_wrong_is_not_kept(make_model, tmp_path, monkeypatch):
    path = make_model(tmp_path / "m_x8.safetensors")
    raw = export._kernels
    monkeypatch.setattr(export, "_kernels", lambda *a: [1.01 * kernels for kernels in raw(*a)])
    with pytest.raises(CheckpointError, match="differ from the network's"):
        export.export_onnx(path, tmp_path / "m.onnx")
    assert not list(tmp_path.glob("m.*onnx*")) and not list(tmp_path.glob("*.partial"))


def test_another_suffix_is_refused(make_model, tmp_path):
    with pytest.raises(ConfigError, match=r"\.onnx"):
        export.export_onnx(make_model(tmp_path / "m_x8.safetensors"), tmp_path / "m.engine")


def test_the_command(make_model, tmp_path, capsys):
    path = make_model(tmp_path / "m_x8.safetensors")
    out = tmp_path / "m.onnx"
    assert main(["export", "--model", str(path), "--format", "onnx", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    onnx.checker.check_model(onnx.load(out), full_check=True)
    assert main(["export", "--model", str(tmp_path / "none.safetensors"), "--out", str(out)]) == 2


@pytest.mark.parametrize("architecture", ["fdkn", "dkn"])
def test_a_size_that_phases_do_not_divide(tmp_path, make_model, architecture):
    """What the metadata says is enough to get the kernels of every pixel."""
    config = NetworkConfig(architecture, n1=8, n2=8)
    model = make_model(tmp_path / "m.safetensors", 8, config)
    export.export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    facts = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    multiple, kind = facts["dkn.multiple_of"], facts["dkn.padding"]
    color, depth = np.random.default_rng(0).random((1, 3, 21, 31), np.float32), np.full((1, 1, 21, 31), 0.2, np.float32)
    more = [(0, 0), (0, 0), (0, -21 % multiple), (0, -31 % multiple)]
    weights, _ = session.run(None, {"color": np.pad(color, more, kind), "depth": np.pad(depth, more, kind)})
    network, _ = checkpoint.load(model)
    with torch.inference_mode():
        expected, _ = network.raw_kernels(torch.from_numpy(color), torch.from_numpy(depth))
    by_pixel = torch.from_numpy(weights).permute(0, 3, 1, 2)
    found = torch.nn.functional.pixel_shuffle(by_pixel, multiple)[:, :, :21, :31]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
