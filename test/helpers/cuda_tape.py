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

"""What a CUDA graph would hold of a call, recorded on the CPU."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Records operations with the memory they read and write, as a CUDA graph does."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.steps.append((function, args, kwargs or {}, result))
        return result

    @torch.inference_mode()
    def replay(self) -> None:
        for function, args, kwargs, result in self.steps:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextlib.contextmanager
def recorded(tape: Tape):
    """Nothing may ask for a value meanwhile."""
    with tape, pytest.MonkeyPatch.context() as patch:
        for name in ("__bool__", "__int__", "__float__", "item", "tolist", "cpu", "numpy", "nonzero"):
            patch.setattr(torch.Tensor, name, refuse)
        yield


def refuse(*arguments, **options):
    raise RuntimeError("operation not permitted when stream is capturing")
