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

"""Bags written here and read by rosbags itself, and the reverse."""

import shutil
import sqlite3
import subprocess
import sys
import tracemalloc

import lz4.frame
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dkn.errors import DataError
from dkn_ros import bags
from dkn_ros.bags import decompression_limits
from dkn_ros.replay.rendered_bag import record_synthetic

JAZZY = get_typestore(Stores.ROS2_JAZZY)
STAMP = 1_700_000_000_123_456_789


def color(height=4, width=6):
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def message(kind, **fields):
    stamp = JAZZY.types["builtin_interfaces/msg/Time"](sec=7, nanosec=8)
    header = JAZZY.types["std_msgs/msg/Header"](stamp=stamp, frame_id="lens")
    return JAZZY.types[kind](header=header, **fields)


def jpeg(payload=b"\xff\xd8abc"):
    return message(bags.COMPRESSED_IMAGE, format="jpeg", data=np.frombuffer(payload, np.uint8))


def read_raw(path):
    with AnyReader([path], default_typestore=JAZZY) as reader:
        return [
            (connection.topic, time, reader.deserialize(raw, connection.msgtype))
            for connection, time, raw in reader.messages()
        ]


@pytest.fixture
def bag(tmp_path):
    path = tmp_path / "one"
    with bags.BagWriter(path) as writer:
        writer.write_color("/c", color(), STAMP)
    return path


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_what_is_written_is_read_by_rosbags(tmp_path, storage):
    depth = np.float32([[0.5, np.nan, 1.2345], [70, -1, 8]])
    with bags.BagWriter(tmp_path / "bag", storage) as writer:
        writer.write_color("/c", color(), STAMP, "lens")
        writer.write_depth("/mm", depth, STAMP + 1, "lens")
        writer.write_depth("/m", depth, STAMP + 2, "lens", encoding="32FC1")
        writer.write_camera_info("/i", (6, 4), (5, 5.5, 2.5, 1.5), STAMP + 3, "lens")

    found = read_raw(tmp_path / "bag")
    assert [(topic, time - STAMP) for topic, time, _ in found] == [
        ("/c", 0),
        ("/mm", 1),
        ("/m", 2),
        ("/i", 3),
    ]
    image, mm, metres, info = (entry[2] for entry in found)
    for each in (image, mm, metres, info):
        assert each.header.frame_id == "lens" and each.header.stamp.sec == 1_700_000_000
    assert image.header.stamp.nanosec == 123_456_789
    assert (image.encoding, image.height, image.width, image.step) == ("rgb8", 4, 6, 18)
    assert not image.is_bigendian
    np.testing.assert_array_equal(image.data, np.arange(72))
    assert (mm.encoding, mm.height, mm.width, mm.step) == ("16UC1", 2, 3, 6)
    np.testing.assert_array_equal(mm.data.view("<u2"), [500, 0, 1234, 0, 0, 8000])
    assert (metres.encoding, metres.step) == ("32FC1", 12)
    np.testing.assert_array_equal(metres.data.view("<f4"), depth.ravel())
    assert (info.distortion_model, info.width, info.height) == ("plumb_bob", 6, 4)
    np.testing.assert_array_equal(info.d, np.zeros(5))
    np.testing.assert_array_equal(info.k.reshape(3, 3), [[5, 0, 2.5], [0, 5.5, 1.5], [0, 0, 1]])
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], info.k.reshape(3, 3))
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, 3], 0)


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize(
    ("plugin", "mode"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
    ],
)
def test_what_rosbags_writes_is_read(tmp_path, version, plugin, mode):
    path = tmp_path / "bag"
    writer = Writer(path, version=version, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        a = writer.add_connection("/a", bags.COMPRESSED_IMAGE, typestore=JAZZY)
        b = writer.add_connection("/b", bags.COMPRESSED_IMAGE, typestore=JAZZY)
        for k, connection in enumerate([a, b, a]):
            writer.write(connection, 10 * k, JAZZY.serialize_cdr(jpeg(bytes([k])), bags.COMPRESSED_IMAGE))
    assert bags.topics(path) == {"/a": bags.COMPRESSED_IMAGE, "/b": bags.COMPRESSED_IMAGE}
    found = list(bags.read(path, ["/a"]))
    assert [(topic, time, bytes(m.data)) for topic, time, m in found] == [("/a", 0, b"\0"), ("/a", 20, b"\2")]
    assert found[0][2].header.stamp.nanosec == 8 and found[0][2].format == "jpeg"
    assert [time for _, time, _ in bags.read(path, ["/b", "/a"])] == [0, 10, 20]
    assert list(bags.read(path, [])) == []


def test_a_bag_of_version_4_without_type_definitions_is_read(tmp_path):
    path = tmp_path / "old"
    path.mkdir()
    raw = bytes(JAZZY.serialize_cdr(jpeg(b"old"), bags.COMPRESSED_IMAGE))
    with sqlite3.connect(path / "old_0.db3") as base:
        base.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,"
            " serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL)"
        )
        base.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL,"
            " timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        base.execute("INSERT INTO topics VALUES(1, '/a', ?, 'cdr', '')", (bags.COMPRESSED_IMAGE,))
        base.execute("INSERT INTO messages VALUES(1, 1, 42, ?)", (raw,))
    base.close()
    (path / "metadata.yaml").write_text(
        f"""rosbag2_bagfile_information:
  version: 4
  storage_identifier: sqlite3
  relative_file_paths: [old_0.db3]
  duration: {{nanoseconds: 0}}
  starting_time: {{nanoseconds_since_epoch: 42}}
  message_count: 1
  topics_with_message_count:
    - topic_metadata: {{name: /a, type: {bags.COMPRESSED_IMAGE}, serialization_format: cdr,
                        offered_qos_profiles: ""}}
      message_count: 1
  compression_format: ""
  compression_mode: ""
"""
    )
    ((topic, time, found),) = bags.read(path, ["/a"])
    assert (topic, time, bytes(found.data)) == ("/a", 42, b"old")


def test_synthetic_recording(tmp_path):
    path = record_synthetic(tmp_path / "demo", frames=3, size=(64, 48), seed=4, progress=False)
    found = read_raw(path)
    assert {topic for topic, _, _ in found} == {
        "/camera/color/image_raw",
        "/camera/color/camera_info",
        "/camera/depth/image_raw",
        "/camera/depth_truth/image_raw",
    }
    assert len(found) == 12 and {m.header.frame_id for _, _, m in found} == {bags.FRAME_ID}
    for topic, time, m in found:
        assert time == m.header.stamp.sec * 10**9 + m.header.stamp.nanosec, topic
    times = sorted({time for _, time, _ in found})
    np.testing.assert_allclose(np.diff(times), 1e9 / 30, atol=1)
    sensed = next(m for topic, _, m in found if topic == bags.DEPTH_TOPIC).data.view("<u2") / 1000
    truth = next(m for topic, _, m in found if topic == bags.DEPTH_TRUTH_TOPIC).data.view("<f4")
    assert np.isfinite(truth).all() and 0.02 < np.mean(sensed == 0) < 0.5
    error = np.abs(sensed - truth)[sensed > 0]
    assert 0.001 < np.median(error) < 0.03 and np.mean(error > 0.2) < 0.1

    again = record_synthetic(tmp_path / "again", frames=3, size=(64, 48), seed=4, progress=False)
    for (_, _, one), (_, _, two) in zip(found, read_raw(again), strict=True):
        if hasattr(one, "data"):
            np.testing.assert_array_equal(one.data, two.data)


# --- Overwriting ------------------------------------------------------------------------------------------


def test_a_bag_is_replaced(bag):
    with bags.BagWriter(bag) as writer:
        writer.write_color("/new", color(), STAMP)
    assert bags.topics(bag) == {"/new": bags.IMAGE}


def test_other_folders_and_files_are_left_alone(tmp_path, bag):
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    file.write_text("precious")
    (bag / "notes.txt").write_text("precious")
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "metadata.yaml").write_text("something: else")
    for path in (folder, file, bag, strange):
        with pytest.raises(DataError, match=path.name):
            record_synthetic(path, frames=1, size=(16, 12), progress=False)
    assert (folder / "thesis.txt").exists() and file.exists() and (strange / "metadata.yaml").exists()
    assert (bag / "notes.txt").exists() and (bag / "metadata.yaml").exists()


def test_an_aborted_recording_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), bags.BagWriter(tmp_path / "bag") as writer:
        writer.write_color("/c", color(), STAMP)
        raise KeyboardInterrupt
    assert not (tmp_path / "bag").exists()


def test_unknown_depth_encoding(tmp_path):
    with pytest.raises(ValueError, match="8UC1"), bags.BagWriter(tmp_path / "bag") as writer:
        writer.write_depth("/d", np.ones((2, 2), np.float32), STAMP, encoding="8UC1")


# --- Errors of reading ------------------------------------------------------------------------------------


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_topic_lists_those_that_exist(bag):
    with pytest.raises(DataError) as error:
        bags.read(bag, ["/c", "/nowhere"])
    assert "/nowhere" in one_line(error) and "it has /c" in one_line(error)


def test_missing_bag(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(DataError, match="no bag at"):
            bags.topics(path)
        with pytest.raises(DataError, match="no bag at"):
            bags.read(path, ["/c"])


def test_broken_bags(tmp_path, bag):
    base = next(bag.glob("*.db3")).name

    def damaged(name, change):
        path = tmp_path / name
        shutil.copytree(bag, path)
        change(path)
        with pytest.raises(DataError, match=name) as error:
            list(bags.read(path, ["/c"]))
        one_line(error)

    damaged("no-database", lambda p: (p / base).unlink())
    damaged("empty-metadata", lambda p: (p / "metadata.yaml").write_text(""))
    damaged("no-yaml", lambda p: (p / "metadata.yaml").write_text("a: [b\n: c: }"))
    damaged("no-sql", lambda p: (p / base).write_bytes(b"nothing like a database" * 400))
    damaged("cut", lambda p: (p / base).write_bytes((p / base).read_bytes()[:5000]))


@pytest.mark.parametrize(
    ("plugin", "mode", "form", "limit"),
    [
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE, "zstd", "IN_MEMORY"),
        (StoragePlugin.SQLITE3, CompressionMode.FILE, "zstd", "ON_DISK"),
        (StoragePlugin.MCAP, CompressionMode.STORAGE, "zstd", "IN_MEMORY"),
        (StoragePlugin.MCAP, CompressionMode.STORAGE, "lz4", "IN_MEMORY"),
    ],
)
def test_a_bag_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch, plugin, mode, form, limit):
    path = tmp_path / "bomb"
    writer = Writer(path, version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        if form == "lz4":  # which rosbags reads, but does not write
            writer.storage.compression, writer.storage.compressor = "lz4", lz4.frame.compress
        a = writer.add_connection("/a", bags.COMPRESSED_IMAGE, typestore=JAZZY)
        writer.write(a, 0, JAZZY.serialize_cdr(jpeg(bytes(16 * 2**20)), bags.COMPRESSED_IMAGE))
    assert sum(file.stat().st_size for file in path.iterdir()) < 2**20  # it is one
    monkeypatch.setattr(decompression_limits, "RATIO", 4)
    monkeypatch.setattr(decompression_limits, limit, 17 * 2**20)
    assert [len(message.data) for _, _, message in bags.read(path, ["/a"])] == [16 * 2**20]
    monkeypatch.setattr(decompression_limits, limit, 2**20)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"cannot read bag .*bomb: .* unpacks to more than 1 MiB; not read$"):
        list(bags.read(path, ["/a"]))
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_broken_message(tmp_path):
    path = tmp_path / "bag"
    with Writer(path, version=8) as writer:
        connection = writer.add_connection("/a", bags.COMPRESSED_IMAGE, typestore=JAZZY)
        writer.write(connection, 1, b"\0\1\0\0abc")
    messages = bags.read(path, ["/a"])
    with pytest.raises(DataError, match="cannot read bag"):
        list(messages)


def test_unknown_message_type(tmp_path):
    path = tmp_path / "bag"
    with Writer(path, version=8) as writer:
        writer.add_connection("/a", "acme_msgs/msg/Thing", msgdef="int32 x\n", rihs01="RIHS01_" + "0" * 64)
        b = writer.add_connection("/b", bags.COMPRESSED_IMAGE, typestore=JAZZY)
        writer.write(b, 1, JAZZY.serialize_cdr(jpeg(), bags.COMPRESSED_IMAGE))
    with pytest.raises(DataError, match="acme_msgs/msg/Thing"):
        bags.read(path, ["/a"])
    assert len(list(bags.read(path, ["/b"]))) == 1  # does not get in the way of the others


# --- Parts, and what is written as it came ------------------------------------------------------------------


def test_a_part_of_a_bag(tmp_path):
    with bags.BagWriter(tmp_path / "bag") as writer:
        for k in range(5):
            writer.write_depth("/d" if k % 2 else "/e", np.float32([[k + 1]]), STAMP + k)
    path = tmp_path / "bag"
    assert bags.span_ns(path) == (STAMP, STAMP + 5)
    assert [time - STAMP for _, time, _ in bags.read(path, ["/d", "/e"], STAMP + 1, STAMP + 4)] == [1, 2, 3]
    assert {topic: int(m.data.view("<u2")[0]) for topic, m in bags.first(path, ["/d", "/e"]).items()} == {
        "/d": 2000,
        "/e": 1000,
    }


def test_the_file_of_a_bag_is_a_bag(tmp_path):
    with bags.BagWriter(tmp_path / "bag", "mcap") as writer:
        writer.write_color("/c", color(), STAMP)
    (file,) = (tmp_path / "bag").glob("*.mcap")
    assert bags.topics(file) == {"/c": bags.IMAGE}


def test_camera_info_beside_an_image():
    kinds = {"/a/camera_info": bags.CAMERA_INFO, "/b/camera_info": bags.IMAGE}
    assert bags.info_topic("/a/image_raw", kinds) == "/a/camera_info"
    assert bags.info_topic("/a/image_raw/compressed", kinds) == "/a/camera_info"
    assert bags.info_topic("/b/image_raw", kinds) is None


def test_serialized_messages_are_written_as_they_are(tmp_path):
    raw = bytes(JAZZY.serialize_cdr(jpeg(b"as it is"), bags.COMPRESSED_IMAGE))
    with bags.BagWriter(tmp_path / "bag") as writer:
        writer.write_serialized("/j", bags.COMPRESSED_IMAGE, raw, STAMP)
    ((topic, time, found),) = read_raw(tmp_path / "bag")
    assert (topic, time, bytes(found.data)) == ("/j", STAMP, b"as it is")


@pytest.mark.parametrize("name", ["a?mode=memory", "a#b", "%2e%2e"])
def test_a_path_is_never_read_as_a_uri(tmp_path, bag, name):
    with pytest.raises(DataError, match="character"):
        bags.BagWriter(tmp_path / name)
    bag.rename(tmp_path / name)
    with pytest.raises(DataError, match="character"):
        bags.topics(tmp_path / name)
    with bags.BagWriter(tmp_path / f"m{name}", "mcap") as writer:  # is no database
        writer.write_color("/c", color(), STAMP)
    assert bags.topics(tmp_path / f"m{name}") == {"/c": bags.IMAGE}


FULL_DISK = """
import resource, signal, sys
import numpy as np
from dkn.errors import DataError
from dkn_ros import bags
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    with bags.BagWriter(sys.argv[1], sys.argv[2]) as writer:
        for k in range(100):
            writer.write_color("/c", np.zeros((300, 400, 3), np.uint8), 10**9 + k)
except DataError as error:
    print("DataError", error)
"""


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_bag(tmp_path, storage):
    """No file may grow beyond 2 MB, which the system reports as it does a full disk."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "bag"), storage]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"DataError cannot write the bag {tmp_path / 'bag'}"), done.stderr
    assert done.stdout.count("\n") == 1 and not done.stderr
    assert not (tmp_path / "bag").exists()


def test_a_bag_in_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="cannot write"), bags.BagWriter(tmp_path / "file" / "bag"):
        pass
    assert (tmp_path / "file").read_text() == "precious"


def test_messages_that_sqlite_keeps_beside_the_file_are_not_dropped_silently(tmp_path):
    """A recording that was killed: its last messages are in the write-ahead log."""
    with bags.BagWriter(tmp_path / "whole") as writer:
        for k in range(4):
            writer.write_color("/c", color(), STAMP + k)
    (file,) = (tmp_path / "whole").glob("*.db3")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA journal_mode=WAL")
    rows = "SELECT topic_id, timestamp + 100, data FROM messages"
    connection.execute(f"INSERT INTO messages (topic_id, timestamp, data) {rows}")
    connection.commit()
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    connection.close()
    with pytest.raises(DataError, match=r"PRAGMA wal_checkpoint\(TRUNCATE\)") as error:
        list(bags.read(tmp_path / "killed", ["/c"]))
    name, statement = str(error.value).split("sqlite3 ")[1].split(" '")
    advised = sqlite3.connect(name)
    advised.execute(statement.rstrip("'"))
    advised.close()
    assert len(list(bags.read(tmp_path / "killed", ["/c"]))) == 8


@pytest.mark.parametrize("alone", [False, True])
def test_a_channel_of_another_system_is_passed_over(tmp_path, alone):
    with bags.BagWriter(tmp_path / "bag", "mcap") as writer:
        writer.write_color("/c", color(), STAMP)
        writer.write("/foreign", jpeg(), STAMP)
    (file,) = (tmp_path / "bag").glob("*.mcap")
    data = file.read_bytes()
    # The last type and its channel become those of a language that is not ROS 2's; names of the same length.
    kind = bags.COMPRESSED_IMAGE.encode()
    assert kind + b"\7\0\0\0ros2msg" in data and b"/foreign\3\0\0\0cdr" in data
    data = data.replace(kind + b"\7\0\0\0ros2msg", kind + b"\7\0\0\0flatbuf")
    file.write_bytes(data.replace(b"/foreign\3\0\0\0cdr", b"/foreign\3\0\0\0pb3"))
    path = file if alone else tmp_path / "bag"
    found = [(topic, time) for topic, time, _ in bags.read(path, ["/c"])]
    assert found == [("/c", STAMP)]
    if alone:
        assert bags.topics(path) == {"/c": bags.IMAGE}


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_metadata_that_names_no_storage(tmp_path, storage):
    with bags.BagWriter(tmp_path / "bag", storage) as writer:
        writer.write_color("/c", color(), STAMP)
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(f"storage_identifier: {storage}", 'storage_identifier: ""'))
    assert f"storage_identifier: {storage}" not in metadata.read_text()
    assert [topic for topic, _, _ in bags.read(tmp_path / "bag", ["/c"])] == ["/c"]


def test_what_to_do_with_a_recording_that_was_killed_or_is_of_ros_1(tmp_path):
    with bags.BagWriter(tmp_path / "bag", "mcap") as writer:
        writer.write_color("/c", color(), STAMP)
    (file,) = (tmp_path / "bag").glob("*.mcap")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"mcap recover {file}"):
        bags.topics(tmp_path / "bag")
    file.write_bytes(whole)
    (tmp_path / "bag" / "metadata.yaml").unlink()
    with pytest.raises(DataError, match=f"play {file} itself, or make it by: ros2 bag reindex {tmp_path / 'bag'}"):
        bags.topics(tmp_path / "bag")
    assert bags.topics(file) == {"/c": bags.IMAGE}
    (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(DataError, match=f"rosbags-convert --src {tmp_path / 'old.bag'}"):
        bags.topics(tmp_path / "old.bag")
