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

"""FDKNLayer: the last layer of a segmentation network, in place of bilinear upsampling."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from dkn.errors import ConfigError, ImageError
from dkn.networks.config import NetworkConfig
from dkn.networks.dkn import FDKNStream, build


class FDKNLayer(nn.Module):
    """Upsamples class scores to the size of the image that they were made from (supplement 4.2).

    One set of kernel weights and offsets serves all channels: what they cost does not grow with the number of classes,
    and an average with weights of one sum keeps the order of classes where all neighbours agree. One stream sees the
    image, the other the probabilities of all classes, whose scale does not change as the network gets surer.

    Args:
        channels: C, classes with the background.
        config: an FDKN; its `depth_channels` do not matter.

    Raises:
        ConfigError: another architecture, or no channels.
    """

    def __init__(self, channels: int, config: NetworkConfig | None = None):
        super().__init__()
        config = config or NetworkConfig("fdkn")
        if config.architecture != "fdkn" or channels < 1:
            raise ConfigError(f"{config.architecture} on {channels} channels: an FDKN on at least one is needed")
        self.channels = channels
        self.network = build(config)
        taps = config.kernel_size**2
        weights, offsets = (config.gives("depth", source) for source in (config.weights_from, config.offsets_from))
        if weights or offsets:
            stream = FDKNStream(channels, config.channels, taps * weights, 2 * taps * offsets)
            self.network.depth_stream = stream

    def forward(self, scores: Tensor, image: Tensor) -> Tensor:
        """Eq. (3) or (7) on every channel of the scores, after bilinear upsampling.

        Args:
            scores: (N, C, h, w) float, before the softmax.
            image: (N, 3, H, W) float RGB in 0..1.

        Returns:
            (N, C, H, W).

        Raises:
            ImageError: another number of channels, or of images.
        """
        if scores.ndim != 4 or scores.shape[1] != self.channels or len(scores) != len(image):
            raise ImageError(f"scores are {tuple(scores.shape)}; expected ({len(image)}, {self.channels}, h, w)")
        scores = F.interpolate(scores, size=tuple(image.shape[2:]), mode="bilinear")
        return self.network.filter(scores, *self.network.kernels(image, scores.softmax(dim=1)))
