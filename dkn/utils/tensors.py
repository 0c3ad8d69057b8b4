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

"""Where PyTorch keeps tensors, and how precise they are."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from dkn.utils.device import choose_device

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

N = TypeVar("N", bound=nn.Module)


def torch_device(name: object) -> torch.device:
    """`choose_device`, as PyTorch has it.

    Raises:
        ConfigError: as there.
    """
    return torch.device(str(choose_device(name)))


def channels_last(network: N, device: torch.device) -> N:
    """Move a network to `device` in the memory layout that convolutions are fastest in."""
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # no stub has both
