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

"""Bounds on what the compressed parts of a bag may unpack to, for rosbags, which has none.

`bound` puts readers that count in the place of those that `rosbags` unpacks messages, chunks and files with.
"""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any, BinaryIO, Literal, Protocol

import lz4.frame
from rosbags.rosbag2 import reader, storage_mcap

from dkn.errors import DataError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

IN_MEMORY = 512 * 2**20  # bytes of a message or chunk: an image of the largest size that the node takes has 128 MiB
ON_DISK = 2**30  # bytes of a file that is compressed as a whole, or
RATIO = 64  # times its compressed size; pictures come to 2 to 20
_BLOCK = 2**20


class _File(Protocol):
    def read(self, size: int, /) -> bytes: ...
    def close(self) -> Any: ...


class BoundedReader:
    """A file that refuses to give more than `limit` bytes; a context manager.

    Raises:
        DataError: (on reading) there are more.
    """

    def __init__(self, file: _File, limit: int):
        self._file, self._limit, self._given = file, limit, 0

    def __enter__(self) -> BoundedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = _BLOCK) -> bytes:
        """At most `size` bytes, empty at the end."""
        data = self._file.read(size)
        self._given += len(data)
        if self._given > self._limit:
            raise DataError(f"a compressed part of it unpacks to more than {self._limit // 2**20} MiB; not read")
        return data

    def everything(self) -> bytes:
        """All that is left."""
        return b"".join(iter(self.read, b""))


def bound() -> None:
    """Bound what `rosbags` unpacks from now on, in this process."""
    reader.zstd = SimpleNamespace(open=_open_file, decompress=_unzstd)  # type: ignore[assignment]
    storage_mcap.DECOMPRESSORS["zstd"] = lambda data, _: _unzstd(data)
    storage_mcap.DECOMPRESSORS["lz4"] = lambda data, _: _whole(lz4.frame.open(io.BytesIO(data)))


def _open_file(file: BinaryIO, mode: Literal["rb"]) -> BoundedReader:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return BoundedReader(zstd.open(file, mode), max(ON_DISK, RATIO * size))


def _unzstd(data: bytes) -> bytes:
    return _whole(zstd.open(io.BytesIO(data)))


def _whole(file: _File) -> bytes:
    with BoundedReader(file, IN_MEMORY) as bounded:
        return bounded.everything()
