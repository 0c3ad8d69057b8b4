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

"""Numba's compiler with a cache where one can be kept, and without one where it cannot.

Numba keeps what it compiled beside the source, or under the user's home, and raises an error when neither can be
written: in a container with a read-only file system, say. Compiling takes some seconds at each start then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """`numba.njit(**options)`, cached if possible."""

    def decorate(function: F) -> F:
        try:
            dispatcher = njit(cache=True, **options)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return cast(F, njit(**options)(function))
        _ignore_failed_writes(dispatcher)
        return cast(F, dispatcher)

    return decorate


def _ignore_failed_writes(dispatcher: Any) -> None:
    """A cache that cannot be written when it comes to it (a full disk) loses nothing but time."""
    cache: Any = getattr(dispatcher, "_cache", None)  # not part of Numba's interface: may be gone
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def save_if_possible(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    cache.save_overload = save_if_possible
