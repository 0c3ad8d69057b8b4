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

"""The replay and the demo as a user runs them: bag, node and DDS are real, only pictures and networks are small."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dkn.data.rendered.room import render_sequence
from dkn_ros import bags
from dkn_ros.bags.bag import _image
from dkn_ros.messages.calibration import scaled_camera_info
from dkn_ros.replay.command import _parameters
from dkn_ros.replay.playback import Playback
from dkn_ros.replay.player import Answers
from dkn_ros.replay.rendered_bag import record_synthetic
from dkn_ros.terminal import exit_status

pytest.importorskip("rclpy", reason="ROS 2 is not installed")

FRAMES = 8
KEYS = {"pairs_in", "pairs_out", "dropped", "rate_hz", "latency_ms", "rmse_cm", "rmse_cm_bicubic", "resets"}
TOPICS = ("--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TOPIC)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> Path:
    return record_synthetic(tmp_path_factory.mktemp("bag") / "room", FRAMES, (96, 72), rate_hz=5, progress=False)


@pytest.fixture(scope="module")
def environment(tmp_path_factory, make_bicubic_model) -> dict[str, str]:
    """With a network that adds nothing to its input."""
    folder = tmp_path_factory.mktemp("models")
    make_bicubic_model(folder / "fdkn_sensor.safetensors", 4)
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
        "--record",
        tmp_path / "answers",
        "--points",
        environment=environment,
    )
    assert result.returncode == 0, result.stderr
    outcome = json.loads((tmp_path / "o.json").read_text())
    assert set(outcome) >= KEYS
    assert outcome["pairs_in"] == 2 * FRAMES
    # A message whose partner was lost on the way is one of a pair that counts as not delivered.
    dropped = sum(n for reason, n in outcome["dropped"].items() if not reason.endswith("no_partner"))
    assert outcome["pairs_out"] + dropped == 2 * FRAMES
    assert outcome["pairs_out"] >= FRAMES  # a loaded machine may skip some, and says which
    assert outcome["resets"] == 1  # one way back in time, between the two passes
    assert 0 < outcome["latency_ms"]["p50"] <= outcome["latency_ms"]["p99"] <= outcome["latency_ms"]["max"]

    expected = [bicubic_error_cm(depth, 4) for depth in exact_depths(bag)]
    assert min(expected) - 0.01 <= outcome["rmse_cm_bicubic"] <= max(expected) + 0.01
    if outcome["pairs_out"] == 2 * FRAMES:
        assert outcome["rmse_cm_bicubic"] == pytest.approx(np.mean(expected), rel=1e-3)
    # The network adds nothing; what the node publishes is the input's own encoding, float metres.
    assert outcome["rmse_cm"] == pytest.approx(outcome["rmse_cm_bicubic"], rel=1e-3)
    assert outcome["run"]["node"]["model"] == "fdkn_sensor"
    assert outcome["run"]["parameters"]["diagnostics_period"] == 0.5
    assert outcome["points_ms"] > 0 and " ms each" in result.stdout
    assert 0 < outcome["confidence"] <= 1 and " on average" in result.stdout
    assert outcome["flying_percent"]["output"] == pytest.approx(outcome["flying_percent"]["bicubic"], abs=0.1)
    recorded(tmp_path / "answers", bag, outcome)


def recorded(path: Path, bag: Path, outcome: dict[str, Any]) -> None:
    """The bag of answers has each frame once, as rosbags and the convention of rosbag2 want it."""
    info = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["version"] == 8 and info["storage_identifier"] == "sqlite3"
    found: dict[str, list[Any]] = {}
    store = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(path) as reader:
        for connection, time, raw in reader.messages():
            message = store.deserialize_cdr(raw, connection.msgtype)
            assert time == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            found.setdefault(connection.topic, []).append(message)
    assert set(found) == {"/depth_upsampled/image_rect", "/depth_upsampled/camera_info"}
    images = found["/depth_upsampled/image_rect"]
    assert outcome["pairs_out"] / 2 <= len(images) <= FRAMES
    first = exact_depths(bag)[0]
    if len(images) == FRAMES:
        answer = images[0].data.view("<f4").reshape(images[0].height, images[0].width)
        error = 100 * float(np.sqrt(np.mean((answer.astype(float) - first) ** 2)))
        assert error == pytest.approx(bicubic_error_cm(first, 4), rel=1e-2)
    assert {(m.width, m.height) for m in found["/depth_upsampled/camera_info"]} == {(96, 72)}


@pytest.fixture(scope="module")
def strange_bag(tmp_path_factory) -> Path:
    """Compressed mcap, names that would be markup in the report, one depth image that lies, and colour after depth."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    path = tmp_path_factory.mktemp("bag") / HOSTILE
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for k, frame in enumerate(render_sequence(5, (48, 36), 5.0, 1)):
            stamp = 10**9 + k * 200_000_000
            depth = _image((1000 * frame.depth).astype("<u2"), "16UC1", stamp, HOSTILE)
            color = _image(frame.color, "rgb8", stamp + 2_000_000, HOSTILE)
            if k == 2:
                depth.height += 1
            for topic, message in ((f"/depth{HOSTILE}", depth), (f"/{HOSTILE}", color)):
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, bags.IMAGE, typestore=store)
                writer.write(connections[topic], stamp, store.serialize_cdr(message, bags.IMAGE))
    return path


def test_as_fast_as_the_node_answers_nothing_is_lost(strange_bag, environment, tmp_path):
    outputs = "--json", tmp_path / "o.json", "--report", tmp_path / "o.html"
    part = "--loop", "--rate", "max", "--to", "0.7", "--param", "slop=0.005"
    result = run("dkn_ros.replay", strange_bag, "--scale", 4, *part, *outputs, environment=environment)
    assert result.returncode == 0, result.stderr
    outcome = json.loads((tmp_path / "o.json").read_text())
    # Of the four frames before 0.7 s one lies; twice over.
    assert outcome["pairs_in"] == outcome["pairs_out"] == 6, outcome["dropped"]
    assert outcome["dropped"].pop("unreadable in the bag") == 2
    assert outcome["compared"] == 3 and outcome["rmse_cm_joint_bilateral"] > 0
    assert outcome["run"]["parameters"]["slop"] == 0.005
    page = (tmp_path / "o.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.search(r"<script|https?://", page)


def test_demo_draws_a_picture_and_fails_when_nothing_got_better(bag, environment, tmp_path):
    out = tmp_path / "out"
    topics = "--color", bags.COLOR_TOPIC, "--depth", bags.DEPTH_TRUTH_TOPIC
    result = run("dkn_ros.replay.demo", "--bag", bag, *topics, "--scale", 4, "--out", out, environment=environment)
    assert set(json.loads((out / "demo.json").read_text())) >= KEYS
    picture = cv2.imread(str(out / "demo.png"))
    assert picture.shape[1] > 4 * 96 and picture.std() > 20
    assert "than bicubic" in result.stdout
    outcome = json.loads((out / "demo.json").read_text())
    # A network that adds nothing is no better, up to rounding: whichever it is, the status tells. It knows more digits.
    ours, theirs = outcome["rmse_cm"], outcome["rmse_cm_bicubic"]
    assert result.returncode in ((0, 1) if ours == theirs else (int(ours > theirs),)), result.stderr
    assert ("FAILED" in result.stderr) == (result.returncode == 1)
    assert outcome["run"]["parameters"]["target_rate"] == pytest.approx(5, abs=0.1)  # the recording's
    assert f"model            {outcome['run']['node']['model']}, " in result.stdout


def test_a_node_that_does_not_start_is_one_line(bag, environment):
    result = run("dkn_ros.replay", bag, *TOPICS, "--mode", "nonesuch", environment=environment)
    assert result.returncode == 2
    assert "nonesuch" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_no_node_stays_behind_a_command_that_is_ended(bag, environment, number):
    command = [sys.executable, "-m", "dkn_ros.replay", bag, *TOPICS, "--rate", "0.01"]
    # A shell has what it starts in the background ignore SIGINT, the tests too, and so what they start.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=heed) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 60
        while not (nodes := children.read_text().split()):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)  # until the command knows of it
        process.send_signal(number)
        assert process.wait(60) == 130
    assert not any(Path("/proc", node).exists() for node in nodes)


FULL_DISK = """
import resource, signal, sys
from dkn_ros import replay
from dkn_ros.replay import player, recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

class Recorder(recorder.Recorder):
    def flush(self):  # only now: the node has started, and has files of its own
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        super().flush()

player.Recorder = Recorder
sys.exit(replay.main())
"""


def test_a_disk_that_fills_while_answers_are_recorded_is_one_line(bag, environment, tmp_path):
    """No file of the command may grow any more, which the system reports as it does a full disk."""
    command = [sys.executable, "-c", FULL_DISK, bag, *TOPICS, "--scale", "4", "--record", tmp_path / "answers"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert result.returncode == 2
    assert f"dkn-replay: cannot write the bag {tmp_path / 'answers'}" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "answers").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing", *TOPICS], "does not exist"),
        (["BAG", "--color", "/camera/colour", "--depth", bags.DEPTH_TOPIC], "/camera/color/image_raw"),
        (["BAG", "--color", bags.COLOR_INFO_TOPIC, "--depth", bags.DEPTH_TOPIC], "not an image"),
        (["BAG", "--rate", "0"], "rate"),
        (["BAG", "--truth", "/none"], "/none"),
        (["BAG", "--record", "BAG"], "exists already"),
        (["BAG", "--json", "BAG"], "cannot write"),
        (["BAG", "--param", "slup=1"], "slop"),
        (["BAG", "--param", "slop=wide"], "float"),
        (["BAG", "--from", "60"], "no message"),
        (["BAG", "--compare", "1"], "compare"),
        (["missing\x1b[2J"], r"missing\x1b[2J"),  # nothing that a terminal obeys
    ],
)
def test_mistakes_are_one_line(bag, arguments, complaint, capsys):
    replay = importlib.import_module("dkn_ros.replay.command")
    assert replay.main([str(bag) if a == "BAG" else a for a in arguments]) == 2
    printed = capsys.readouterr().err
    assert complaint in printed.splitlines()[-1] and printed.splitlines()[-1].startswith("dkn-replay: ")
    assert "\x1b" not in printed


def test_parameters_have_the_types_of_the_node_s():
    texts = ["fill_holes=true", "pointcloud=False", "slop=1", "mode=true", "queue_size=3"]
    given = _parameters(texts)
    assert given == {"fill_holes": True, "pointcloud": False, "slop": 1.0, "mode": "true", "queue_size": 3}
    assert _parameters(["fill_holes=small"]) == {"fill_holes": "small"}


def test_what_launch_adds_is_passed_over(monkeypatch):
    replay = importlib.import_module("dkn_ros.replay.command")
    found = []
    monkeypatch.setattr(replay, "_run", found.append)
    replay.main(["bag:=1", "--ros-args", "-r", "__node:=x", "--params-file", "f", "--", "--scale=4", "--ros-args"])
    assert [(options.bag, options.scale) for options in found] == [(Path("bag:=1"), 4)]


def test_what_the_system_refuses_is_one_line(capsys):
    def work() -> int:
        raise PermissionError(13, "Permission denied", "/proc/out")

    assert exit_status("demo", work) == 2
    assert capsys.readouterr().err == "demo: [Errno 13] Permission denied: '/proc/out'\n"


def test_whatever_ends_the_making_of_messages_ends_the_replay(tmp_path, monkeypatch):
    from dkn_ros.replay import player

    def messages():
        yield "/c", 0, None
        raise OSError("the disk is gone")

    play = player._Player(Playback(tmp_path, "/c", "/d"), {"/c": bags.IMAGE}, "/n", None, Answers(tmp_path), None)
    monkeypatch.setattr(play, "_messages", messages)
    with pytest.raises(OSError, match="the disk is gone"):
        list(play._prepared())


def test_region_of_interest_and_binning_survive(tmp_path):
    from dkn_ros.replay import player

    """A picture of 160×120 cut out of one of 320×240: what the node makes of it has the principal point of the cut."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    with bags.BagWriter(tmp_path / "bag") as writer:
        writer.write_camera_info("/i", (320, 240), (280, 280, 160, 120), 5, "lens")
    (_, _, info) = next(iter(bags.read(tmp_path / "bag", ["/i"])))
    info.roi = store.types["sensor_msgs/msg/RegionOfInterest"](100, 50, 120, 160, False)
    info.binning_x = info.binning_y = 1
    found = player.camera_info(info)
    assert (found.binning_x, found.roi.x_offset, found.roi.y_offset, found.roi.width, found.roi.height) == (
        1,
        100,
        50,
        160,
        120,
    )
    output = scaled_camera_info(found, 160, 120, "lens", found.header.stamp)
    assert (output.k[0], output.k[2], output.k[5]) == (280, 60, 70)


def test_a_run_that_pairs_nothing_says_so_and_fails(environment, tmp_path):
    """Depth stamped by another clock."""
    with bags.BagWriter(tmp_path / "bag") as writer:
        for k in range(4):
            now = 10**18 + k * 10**8
            writer.write_color("/c", np.zeros((24, 32, 3), np.uint8), now)
            writer.write("/d", _image(np.ones((24, 32), "<f4"), "32FC1", 10**9 + k * 10**8, "lens"), now)
    result = run("dkn_ros.replay", tmp_path / "bag", "--scale", 4, environment=environment)
    assert result.returncode == 1
    assert "no pair: no stamps of /c and /d lie within the slop" in result.stderr
