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

"""The Kinect v1, measured: what simulations and rendered recordings share.

Khoshelham and Elberink, Accuracy and Resolution of Kinect Depth Data, Sensors 2012, Table 1 (infrared: f = 5.453 mm at
a pixel of 9.3 µm, b = 74.96 mm, disparity in eighths of a pixel); 525 pixels is the nominal focal length of colour.
"""

from __future__ import annotations

SIZE = (640, 480)  # width, height of both pictures
COLOR_FOCAL = 525.0  # pixels
INFRARED_FOCAL = 586.0  # pixels
BASELINE = 0.075  # metres from the infrared camera to the projector
STEP = 0.125  # pixels of disparity
RANGE = (0.4, 8.0)  # metres
