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

"""Writing and reading ROS 2 bags without a ROS installation, through the ``rosbags`` library.

Images follow REP 118: depth as 16UC1 in millimetres with 0 for invalid, or 32FC1 in metres with NaN.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dkn.depth.units import to_counts
from dkn.errors import DataError
from dkn_ros.bags import decompression_limits, leniency

COLOR_TOPIC = "/camera/color/image_raw"
COLOR_INFO_TOPIC = "/camera/color/camera_info"
DEPTH_TOPIC = "/camera/depth/image_raw"
DEPTH_TRUTH_TOPIC = "/camera/depth_truth/image_raw"
FRAME_ID = "camera_color_optical_frame"

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
IMAGES = (IMAGE, COMPRESSED_IMAGE)
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_VERSION: Literal[8] = 8  # of the bag format; 9 cannot be read by Humble
decompression_limits.bound()
leniency.allow()
_STORE = get_typestore(Stores.ROS2_HUMBLE)  # these messages are the same in all later distributions


class BagWriter:
    """Writes a new bag; a context manager. A topic comes into being with its first message.

    Leaving the context by an exception removes the unfinished bag.

    Args:
        path: folder of the bag. An existing bag there is replaced, anything else is left alone.
        storage: "sqlite3" or "mcap".

    Raises:
        DataError: ``path`` exists and is not a bag, or holds other files too, or cannot be written (also later, from
            writing: a full disk).
    """

    def __init__(self, path: str | Path, storage: str = "sqlite3") -> None:
        self.path = Path(path)
        if storage == "sqlite3":
            _refuse_uri_syntax(self.path)
        _remove_bag(self.path)
        self._writer = Writer(self.path, version=_VERSION, storage_plugin=StoragePlugin[storage.upper()])
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        with self._data_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self._data_errors():
                self._writer.__exit__(kind, error, trace)
        except DataError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def write(self, topic: str, message: Any, time_ns: int) -> None:
        """Write any standard message (an object of a ``rosbags`` message class) at a bag time."""
        kind = message.__msgtype__
        self.write_serialized(topic, kind, _STORE.serialize_cdr(message, kind), time_ns)

    def write_serialized(self, topic: str, kind: str, data: bytes | memoryview, time_ns: int) -> None:
        """Write a standard message of type `kind` as it came over DDS (CDR) at a bag time."""
        with self._data_errors():
            if topic not in self._connections:
                self._connections[topic] = self._writer.add_connection(topic, kind, typestore=_STORE)
            self._writer.write(self._connections[topic], time_ns, data)

    @contextmanager
    def _data_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"cannot write the bag {self.path}: {error}") from error

    def write_color(self, topic: str, color: NDArray[np.uint8], stamp_ns: int, frame_id: str = FRAME_ID) -> None:
        """Write an (H, W, 3) uint8 RGB picture as rgb8."""
        self.write(topic, _image(color, "rgb8", stamp_ns, frame_id), stamp_ns)

    def write_depth(
        self,
        topic: str,
        depth: NDArray[np.float32],
        stamp_ns: int,
        frame_id: str = FRAME_ID,
        encoding: str = "16UC1",
    ) -> None:
        """Write an (H, W) float32 depth map in metres, NaN = invalid.

        As 16UC1 it is rounded to millimetres; what is invalid or does not fit in 16 bits becomes 0. As
        32FC1 it is kept as it is.
        """
        if encoding == "16UC1":
            pixels: NDArray[Any] = to_counts(depth).astype("<u2")
        elif encoding == "32FC1":
            pixels = depth.astype("<f4")
        else:
            raise ValueError(f"a depth image is 16UC1 or 32FC1, not {encoding!r}")
        self.write(topic, _image(pixels, encoding, stamp_ns, frame_id), stamp_ns)

    def write_camera_info(
        self,
        topic: str,
        size: tuple[int, int],
        intrinsics: tuple[float, float, float, float],
        stamp_ns: int,
        frame_id: str = FRAME_ID,
    ) -> None:
        """Write the calibration of a camera without distortion; ``size`` = (W, H), (fx, fy, cx, cy)."""
        fx, fy, cx, cy = intrinsics
        types = _STORE.types
        info = types[CAMERA_INFO](
            header=_header(stamp_ns, frame_id),
            height=size[1],
            width=size[0],
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], np.float64),
            r=np.eye(3).ravel(),
            p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0], np.float64),
            binning_x=0,
            binning_y=0,
            roi=types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
        )
        self.write(topic, info, stamp_ns)


def topics(path: str | Path) -> dict[str, str]:
    """The topics of a bag with their message types, such as ``sensor_msgs/msg/Image``.

    Args:
        path: folder of a bag (sqlite3 or mcap, format versions 4 to 9).

    Raises:
        DataError: the bag is missing or broken.
    """
    path = _existing(path)
    with _data_errors(path), Reader(path) as reader:
        return {connection.topic: connection.msgtype for connection in reader.connections if _is_ros(connection)}


def info_topic(image_topic: str, kinds: Mapping[str, str]) -> str | None:
    """The camera_info beside a topic of images, raw or of a transport (…/compressed), if the bag has it."""
    base, _, last = image_topic.rpartition("/")
    if last in ("compressed", "compressedDepth"):
        base = base.rpartition("/")[0]
    topic = f"{base}/camera_info"
    return topic if kinds.get(topic) == CAMERA_INFO else None


def count(path: str | Path, topics: Sequence[str]) -> int:
    """How many messages a bag has on some topics.

    Raises:
        DataError: the bag is missing or broken.
    """
    path = _existing(path)
    with _data_errors(path), Reader(path) as reader:
        return sum(connection.msgcount for connection in reader.connections if connection.topic in topics)


def span_ns(path: str | Path) -> tuple[int, int]:
    """The bag times of a bag's first message and of the moment after its last, in nanoseconds; (0, 0) if it is empty.

    Raises:
        DataError: the bag is missing or broken.
    """
    path = _existing(path)
    with _data_errors(path), Reader(path) as reader:
        return (reader.start_time, reader.end_time) if reader.message_count else (0, 0)


def first(path: str | Path, topics: Sequence[str]) -> dict[str, Any]:
    """The first message of each of these topics that has any; topics and errors as for `read`."""
    return {topic: message for topic in topics for _, _, message in islice(read(path, [topic]), 1)}


def read(
    path: str | Path, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
) -> Iterator[tuple[str, int, Any]]:
    """The messages of some topics in the order of their bag times.

    Args:
        path: folder of a bag (sqlite3 or mcap, format versions 4 to 9), or its only file (.db3, .mcap).
        topics: names of topics of standard message types.
        start_ns, stop_ns: bag times; only what lies from the first on and before the second.

    Returns:
        An iterator over (topic, bag time in nanoseconds, message); a message has the fields of its ROS
        definition, arrays as numpy arrays.

    Raises:
        DataError: the bag is missing or broken, lacks a topic, or has a type on it that is not standard.
            A bag that turns out to be broken further on raises it during the iteration.
    """
    path = _existing(path)
    known = _topics(path)
    for topic in topics:
        if topic not in known:
            raise DataError(f"no topic {topic} in bag {path}; it has {', '.join(sorted(known)) or 'none'}")
        if known[topic] not in _STORE.types:
            raise DataError(f"topic {topic} of bag {path} has the unknown type {known[topic]}")
    return _messages(path, frozenset(topics), start_ns, stop_ns)


_topics = topics  # the name is an argument of ``read``


def _messages(
    path: Path, wanted: frozenset[str], start_ns: int | None, stop_ns: int | None
) -> Iterator[tuple[str, int, Any]]:
    with _data_errors(path), Reader(path) as reader:
        connections = [c for c in reader.connections if c.topic in wanted and _is_ros(c)]
        if not connections:
            return  # rosbags takes an empty selection for everything
        for connection, time_ns, raw in reader.messages(connections, start_ns, stop_ns):
            yield connection.topic, time_ns, _STORE.deserialize_cdr(raw, connection.msgtype)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        raise DataError(f"no bag at {path}: the path does not exist")
    if path.suffix == ".bag":
        raise DataError(f"{path} is a bag of ROS 1: rosbags-convert --src {path} --dst {path.with_suffix('')}")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        playable = sorted(file for file in path.iterdir() if file.suffix in (".db3", ".mcap"))
        advice = f"; play {playable[0]} itself, or make it by: ros2 bag reindex {path}" if playable else ""
        raise DataError(f"no bag at {path}: the folder has no metadata.yaml{advice}")
    for file in path.iterdir() if path.is_dir() else [path]:
        if ".mcap" not in file.suffixes and file.name != "metadata.yaml":
            _refuse_uri_syntax(file)
        _refuse_unmerged(file)
    return path


def _is_ros(connection: Connection) -> bool:
    """Whether messages are ROS 2's: in an mcap there may be others beside."""
    return getattr(connection.ext, "serialization_format", "cdr") == "cdr"


def _refuse_unmerged(file: Path) -> None:
    """SQLite keeps what it wrote last in a file of its own until it is closed in order; rosbags does not look there."""
    log = file.with_name(file.name + "-wal")
    if file.suffix == ".db3" and log.is_file() and log.stat().st_size:
        raise DataError(
            f"{file}: the recording was not closed, its last messages are in {log.name}; put them in their place by: "
            f"sqlite3 {file} 'PRAGMA wal_checkpoint(TRUNCATE)'"
        )


def _refuse_uri_syntax(path: Path) -> None:
    """rosbags hands paths to SQLite as URIs, where these characters would name another file, or options."""
    if special := sorted(set("?#%") & set(str(path))):
        raise DataError(f"a bag of SQLite cannot have the character {special[0]} in its path: {path}")


@contextmanager
def _data_errors(path: Path) -> Iterator[None]:
    """Turn whatever reading raises into one line that names the bag.

    A damaged bag surfaces as an error of rosbags, of its SQL, YAML or zstd library, or of its unpacking,
    hence the broad clause.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read bag {path}: {reason}{_advice(path, reason)}") from error


def _advice(path: Path, reason: str) -> str:
    """What may help, for a recording that was cut off."""
    files = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
    if not files or files[0].suffix != ".mcap" or "compressed part" in reason:
        return ""
    return f"; if it was cut off, this saves what is there: mcap recover {files[0]} -o recovered.mcap"


def _remove_bag(path: Path) -> None:
    """Remove a bag at ``path``; refuse to remove anything else."""
    if not path.exists() and not path.is_symlink():
        return
    if not path.is_dir() or path.is_symlink():
        raise DataError(f"{path} exists and is not a bag; choose another path")
    metadata = path / "metadata.yaml"
    if not metadata.is_file() or "rosbag2_bagfile_information" not in metadata.read_text(errors="replace"):
        raise DataError(f"the folder {path} exists and is not a bag; choose another path")
    parts = (".db3", ".db3-wal", ".db3-shm", ".mcap", ".zstd")
    others = [entry.name for entry in path.iterdir() if entry != metadata and entry.suffix not in parts]
    if others:
        raise DataError(f"the bag {path} also holds {sorted(others)[0]}; remove that or choose another path")
    shutil.rmtree(path)


def _header(stamp_ns: int, frame_id: str) -> Any:
    time = _STORE.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return _STORE.types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def _image(pixels: NDArray[Any], encoding: str, stamp_ns: int, frame_id: str) -> Any:
    """An Image message of an (H, W) or (H, W, C) array whose element type fits the encoding."""
    pixels = np.ascontiguousarray(pixels)
    return _STORE.types[IMAGE](
        header=_header(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.strides[0],
        data=pixels.reshape(-1).view(np.uint8),
    )
