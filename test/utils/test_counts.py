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

"""How many of what there is."""

from __future__ import annotations

import pytest

from dkn.errors import ConfigError
from dkn.utils.arguments import at_least_one, limited, spread


def test_a_count_below_one_is_named():
    at_least_one(runs=1, rooms=7)
    with pytest.raises(ConfigError, match="rooms=0: at least one"):
        at_least_one(runs=1, rooms=0)


def test_a_limit():
    assert [limited(5, limit) for limit in (None, 1, 5, 9)] == [5, 1, 5, 5]
    assert limited(0, 3) == 0
    for limit in (0, -1):
        with pytest.raises(ConfigError, match=f"limit={limit}"):
            limited(5, limit)


def test_evenly_spread():
    assert spread(101, 3) == [0, 50, 100]
    assert spread(4, None) == spread(4, 9) == [0, 1, 2, 3]
    assert spread(4, 1) == [0]
    with pytest.raises(ConfigError, match="limit=0"):
        spread(4, 0)
