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

"""Random changes of a picture's colours: another lamp, another camera."""

from __future__ import annotations

import numpy as np

from dkn.networks.config import LUMA


def jitter(color: np.ndarray, strength: float, rng: np.random.Generator, mean: float | None = None) -> np.ndarray:
    """Brightness, contrast and saturation times a random factor between 1 - strength and 1 + strength each, then a
    gamma between e^-strength and e^strength.

    Args:
        color: (H, W, 3) RGB, 0 to 255.
        strength: 0 to 1; 0 changes nothing.
        mean: brightness that contrast is relative to, 0 to 255; None: of these pixels. Of a part of a picture it is
            the whole picture's.

    Returns:
        The same, float32, not rounded.
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    gamma = np.float32(np.exp(rng.uniform(-strength, strength)))
    bright = color.astype(np.float32) * (brightness / 255)
    middle = bright.mean() if mean is None else np.float32(mean / 255) * brightness
    contrasted = middle + contrast * (bright - middle)
    grey = (contrasted @ np.array(LUMA, np.float32))[..., None]
    return np.asarray(255 * (grey + saturation * (contrasted - grey)).clip(0, 1) ** gamma)
