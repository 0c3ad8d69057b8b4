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

"""What the tests of the node share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_participant() -> Iterator[None]:
    """Ended after everything else of the file."""
    yield
    from ros_harness import end_shared_context  # which needs rclpy

    end_shared_context()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_model: Callable[..., Path]) -> Path:
    """A folder with one model, fdkn_x4; a file of tests that needs others has a fixture of this name."""
    folder = tmp_path_factory.mktemp("models")
    make_model(folder / "fdkn_x4.safetensors", scale=4)
    return folder
