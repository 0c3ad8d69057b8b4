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

"""`dkn-bag`: a folder of colour and depth pictures becomes a bag.

    rgb/ (or color/, colour/, images/)   colour, 8 bits
    depth…/                              one or more: registered depth, 16-bit PNG (0 = unknown), or floats
    frames.csv                           optional: t_sec (seconds), and the file of each folder in a column of its name
    camera_info.yaml                     optional: the colour camera's calibration, as camera_calibration writes it

Without frames.csv, pictures of the same name belong together, in the order of their names. `depth` or `depth_raw`, or
else the first in the alphabet, becomes the depth topic; every other one a topic of its own name.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from dkn.data.depth_file import read_depth
from dkn.data.pairs import COLOR_FOLDERS, color_and_depth_folders, in_all, pictures
from dkn.errors import ConfigError, DataError
from dkn.utils.arguments import limited
from dkn.utils.image_io import COLOR_TYPES, DEPTH_TYPES, read_color
from dkn_ros.bags.bag import COLOR_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, BagWriter
from dkn_ros.terminal import exit_status, say

DEPTH_FOLDERS = ("depth", "depth_raw")  # which of several is the depth topic
TIME = "t_sec"  # the column of frames.csv that says when
START_NS = 1_000_000_000  # stamp of the time 0: a stamp of zero means none
EPOCH = 1e8  # seconds; times beyond are since 1970, and stamps as they are

Files = tuple[float, Mapping[str, Path]]  # time in seconds, file by folder


def write_bag(
    folder: Path,
    out: Path,
    storage: str = "sqlite3",
    rate_hz: float = 30.0,
    limit: int | None = None,
    unit: float | None = None,
) -> dict[str, str]:
    """Write the frames of a folder into a new bag; returns the topic of each folder.

    Args:
        unit: of depth, as for `dkn.data.depth_file.read_depth`.

    Raises:
        ConfigError: the bag exists already, a rate that is not positive, or a limit below 1.
        DataError: a folder, file or calibration that is missing or unreadable, or a bag that cannot be written.
    """
    if out.exists():
        raise ConfigError(f"{out} exists already; choose another path")
    if not 0 < rate_hz < math.inf:
        raise ConfigError(f"rate={rate_hz}: a positive number is needed")
    color, depths = _folders(folder)
    frames = list(_listed(folder, [color, *depths]) or _named_alike(folder, [color, *depths], rate_hz))
    frames = frames[: limited(len(frames), limit)]
    if not frames:
        raise DataError(f"{folder}: no frame has a picture in each of {', '.join([color, *depths])}")
    topics = {color: COLOR_TOPIC, depths[0]: DEPTH_TOPIC}
    topics |= {name: f"/camera/{name}/image_raw" for name in depths[1:]}
    camera = _camera(folder / "camera_info.yaml")
    offset = 0 if frames[0][0] > EPOCH else START_NS
    with BagWriter(out, storage) as bag:
        for seconds, files in tqdm(frames, "writing", unit="frame"):
            stamp = offset + round(1e9 * seconds)
            bag.write_color(topics[color], read_color(files[color]), stamp)
            if camera:
                bag.write_camera_info(COLOR_INFO_TOPIC, *camera, stamp)
            for name in depths:
                bag.write_depth(topics[name], read_depth(files[name], unit), stamp)
    return topics


def _folders(folder: Path) -> tuple[str, list[str]]:
    """The folder of colour, and those of depth, the one for the depth topic first."""
    if not folder.is_dir():
        raise DataError(f"no folder {folder}")
    color, depths = color_and_depth_folders(folder)
    if color is None or not depths:
        raise DataError(
            f"{folder}: needs one of the folders {', '.join(COLOR_FOLDERS)}, and one that begins with depth"
        )
    return color.name, sorted((depth.name for depth in depths), key=lambda name: (name not in DEPTH_FOLDERS, name))


def _listed(folder: Path, names: Sequence[str]) -> list[Files]:
    """Frames by frames.csv; none if there is no such file, or one that says nothing of time."""
    table = folder / "frames.csv"
    if not table.is_file():
        return []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and TIME not in rows[0]:
            say(f"{table} has no column {TIME}: pictures of one name make a frame, at a steady rate")
            return []
        frames = [(float(row[TIME]), {name: folder / row[name] for name in names}) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        columns = ", ".join([TIME, *names])
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise DataError(f"{table}: needs the columns {columns}, the first in seconds ({reason})") from None
    return sorted(frames, key=lambda frame: frame[0])


def _named_alike(folder: Path, names: Sequence[str], rate_hz: float) -> Iterator[Files]:
    """Pictures that have one name in all folders, at a steady rate."""
    by_folder = [pictures(folder / name, COLOR_TYPES if name == names[0] else DEPTH_TYPES) for name in names]
    for i, stem in enumerate(in_all(*by_folder)):
        yield i / rate_hz, {name: files[stem] for name, files in zip(names, by_folder, strict=True)}


def _camera(file: Path) -> tuple[tuple[int, int], tuple[float, float, float, float]] | None:
    """((W, H), (fx, fy, cx, cy)) of a calibration without distortion; None if there is no file."""
    if not file.is_file():
        return None
    try:
        data: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        k = [float(value) for value in data["camera_matrix"]["data"]]
        distortion = [float(value) for value in data.get("distortion_coefficients", {}).get("data", [])]
        size = int(data["image_width"]), int(data["image_height"])
        fx, _, cx, _, fy, cy = k[:6]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{file}: not a calibration as camera_calibration writes it ({reason})") from None
    if any(distortion):
        raise DataError(f"{file}: has distortion; undistort the pictures first, the method needs registered depth")
    return size, (fx, fy, cx, cy)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status, 2 for a mistake of the user's."""
    parser = argparse.ArgumentParser(
        prog="dkn-bag", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of frames")
    parser.add_argument("out", type=Path, help="the bag to make")
    parser.add_argument("--storage", choices=("sqlite3", "mcap"), default="sqlite3")
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second, where frames.csv does not say")
    parser.add_argument("--limit", type=int, help="so many frames only")
    parser.add_argument("--unit", type=float, help="metres a count of depth; default 0.001 for 16 bits, 1 for floats")
    options = parser.parse_args(arguments)
    return exit_status("dkn-bag", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    topics = write_bag(options.folder, options.out, options.storage, options.rate, options.limit, options.unit)
    for folder, topic in topics.items():
        say(f"  {folder:<16} {topic}")


if __name__ == "__main__":
    sys.exit(main())
