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

"""Arrays in, depth out, a picture: `python examples/quickstart.py [picture.png]`.

A rendered room stands for your camera: colour of 640×480, and depth of which every eighth pixel was measured.
"""

import sys
from pathlib import Path

import numpy as np

from dkn import Upsampler
from dkn.data.rendered.room import render_sequence
from dkn.depth.resample import upsample_bicubic
from dkn.utils.image_io import write_image
from dkn.utils.visualize import figure


def main(out: Path) -> None:
    (frame,) = render_sequence(frames=1, size=(640, 480))
    color, truth = frame.color, frame.depth  # (480, 640, 3) uint8 RGB and (480, 640) float32 metres
    depth = truth[4::8, 4::8].copy()  # (60, 80) float32 metres, one point of each block
    depth[20:26, 30:38] = np.nan  # where a camera knows nothing

    upsample = Upsampler()  # fdkn_sensor, on the fastest engine that is installed and agrees with the reference
    depth_hr = upsample(color, depth)  # (480, 640) float32 metres, NaN where nothing is known

    bicubic = upsample_bicubic(depth, (480, 640))
    for name, result in {"bicubic": bicubic, upsample.model_name: depth_hr}.items():
        print(f"{name}: RMSE {100 * np.sqrt(np.nanmean((result - truth) ** 2)):.2f} cm")
    write_image(out, figure({"color": color, "input (bicubic)": bicubic, "output": depth_hr, "truth": truth}))
    print(out)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "quickstart.png"))
