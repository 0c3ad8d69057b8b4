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

"""Depth maps: units, validity, resampling, a network's input, and how a low-resolution map arises.

At Python's boundary depth is float32 metres, invalid = NaN. On the wire (REP 118) it is 16UC1 millimetres, invalid
= 0, or 32FC1 metres, invalid = NaN. Inside, a map and its validity mask are two tensors (N, 1, H, W), so that no
arithmetic ever meets a NaN.
"""
