"""The replay and the demo as a user runs them: bag, node and DDS are real, only pictures and networks are small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from dkn_ros import bags

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

FRAMES = 8
KEYS = {"pairs_in", "pairs_out", "dropped", "rate_hz", "latency_ms", "rmse_cm", "rmse_cm_bicubic", "resets"}


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return bags.record_synthetic(tmp_path_factory.mktemp("bag") / "room", FRAMES, (96, 72), rate_hz=5, progress=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory, make_bicubic_model) -> dict[str, str]:
    """With a network that adds nothing to its input."""
    folder = tmp_path_factory.mktemp("models")
    make_bicubic_model(folder / "fdkn_x4.safetensors", 4)
    return {**os.environ, "DKN_MODELS": str(folder), "ROS_DOMAIN_ID": str(1 + os.getpid() % 100)}


def run(module: str, *arguments: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def exact_depths(path: Path) -> list[np.ndarray]:
    """The truth topic, read without our reader."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(path) as reader:
        connections = [c for c in reader.connections if c.topic == bags.DEPTH_TRUTH_TOPIC]
        messages = [store.deserialize_cdr(raw, c.msgtype) for c, _, raw in reader.messages(connections)]
    return [m.data.view("<f4").reshape(m.height, m.width) for m in messages]


def bicubic_error_cm(depth: np.ndarray, scale: int) -> float:
    """Down and up again by PIL."""
    size = depth.shape[1], depth.shape[0]
    low = Image.fromarray(depth).resize((size[0] // scale, size[1] // scale), Image.Resampling.BICUBIC)
    up = np.asarray(low.resize(size, Image.Resampling.BICUBIC))
    return 100 * float(np.sqrt(np.mean((up.astype(float) - depth) ** 2)))


def test_every_pair_comes_back_and_errors_are_those_of_bicubic(bag, environment, tmp_path):
    topics = "--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TRUTH_TOPIC
    result = run(
        "dkn_ros.replay",
        bag,
        *topics,
        "--scale",
        4,
        "--loop",
        2,
        "--json",
        tmp_path / "o.json",
        environment=environment,
    )
    assert result.returncode == 0, result.stderr
    outcome = json.loads((tmp_path / "o.json").read_text())
    assert set(outcome) == KEYS
    assert outcome["pairs_in"] == 2 * FRAMES
    assert outcome["pairs_out"] + sum(outcome["dropped"].values()) == 2 * FRAMES
    assert outcome["pairs_out"] >= FRAMES  # a loaded machine may skip some, and says which
    assert outcome["resets"] == 1  # one way back in time, between the two passes
    assert 0 < outcome["latency_ms"]["p50"] <= outcome["latency_ms"]["p99"] <= outcome["latency_ms"]["max"]

    expected = [bicubic_error_cm(depth, 4) for depth in exact_depths(bag)]
    assert min(expected) - 0.01 <= outcome["rmse_cm_bicubic"] <= max(expected) + 0.01
    if outcome["pairs_out"] == 2 * FRAMES:
        assert outcome["rmse_cm_bicubic"] == pytest.approx(np.mean(expected), rel=1e-3)
    # The network adds nothing; what the node publishes is the input's own encoding, float metres.
    assert outcome["rmse_cm"] == pytest.approx(outcome["rmse_cm_bicubic"], rel=1e-3)


def test_demo_draws_a_picture_and_fails_when_nothing_got_better(bag, environment, tmp_path):
    out = tmp_path / "out"
    topics = "--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TRUTH_TOPIC
    result = run("dkn_ros.demo", "--bag", bag, *topics, "--scale", 4, "--out", out, environment=environment)
    assert set(json.loads((out / "demo.json").read_text())) == KEYS
    picture = cv2.imread(str(out / "demo.png"))
    assert picture.shape[1] > 4 * 96 and picture.std() > 20
    assert "RMSE, bicubic" in result.stdout
    outcome = json.loads((out / "demo.json").read_text())
    # A network that adds nothing is no better, up to rounding: whichever it is, the status tells.
    assert result.returncode == int(not outcome["rmse_cm"] < outcome["rmse_cm_bicubic"])
    assert ("FAILED" in result.stderr) == (result.returncode == 1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing", "--color", "/a", "--depth", "/b"], "does not exist"),
        (["BAG", "--color", "/camera/colour", "--depth", bags.DEPTH_TOPIC], "/camera/color/image_raw"),
        (["BAG", "--color", bags.COLOR_INFO_TOPIC, "--depth", bags.DEPTH_TOPIC], "not an image"),
        (["BAG", "--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TOPIC, "--rate", "0"], "rate"),
        (["BAG", "--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TOPIC, "--mode", "nonesuch"], "nonesuch"),
    ],
)
def test_mistakes_are_one_line(bag, environment, arguments, complaint):
    arguments = [str(bag) if a == "BAG" else a for a in arguments]
    result = run("dkn_ros.replay", *arguments, environment=environment)
    assert result.returncode == 2
    assert complaint in result.stderr and "Traceback" not in result.stderr
