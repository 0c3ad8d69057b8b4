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

"""A mailbox of one and the thread that empties it: how work leaves the executor without ever queueing up."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Holds at most one item; a newer one takes its place. Safe for several threads; no call blocks but `take`."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> T | None:
        """Leave an item; returns the one that it displaced, if that had not been taken."""
        with self._changed:
            displaced, self._item = self._item, item
            self._changed.notify()
            return displaced

    def take(self) -> T | None:
        """Wait for an item and take it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._item is not None)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> T | None:
        """Throw away what lies there, and return it."""
        with self._changed:
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Let `take` return None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker(Generic[T]):
    """A thread that processes what the mailbox holds, one item at a time, always the newest.

    Args:
        process: called with each item, on the thread.
        on_error: called with what `process` raised, on the thread, which goes on; should the thread die, of what is no
            `Exception` or of an error in `on_error` itself, another takes its place and reports that.
    """

    def __init__(self, process: Callable[[T], None], on_error: Callable[[BaseException], None], name: str):
        self.mailbox: Mailbox[T] = Mailbox()
        self.restarts = 0
        """How often the thread died."""
        self._process, self._on_error, self._name = process, on_error, name
        self._thread = self._start()

    def _start(self, cause: BaseException | None = None) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(cause,), name=self._name, daemon=True)
        thread.start()
        return thread

    def close(self, timeout_s: float = 2.0) -> None:
        """Finish the item in work, unless that takes longer, and end the thread."""
        self.mailbox.close()
        self._thread.join(timeout_s)

    def _run(self, cause: BaseException | None) -> None:
        """`cause` is what the thread before this one died of."""
        if cause is not None:
            with contextlib.suppress(BaseException):  # if it cannot even be reported, work still goes on
                self._on_error(cause)
        try:
            self._work()
        except BaseException as error:  # a library that calls sys.exit, say
            self.restarts += 1
            self._thread = self._start(error)

    def _work(self) -> None:
        while (item := self.mailbox.take()) is not None:
            try:
                self._process(item)
            except Exception as error:  # whatever it is, the next frame may be fine
                self._on_error(error)
