"""A mailbox of one and the thread that empties it: how work leaves the executor without ever queueing up."""

from __future__ import annotations

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
        on_error: called with what `process` raised; the thread goes on.
    """

    def __init__(self, process: Callable[[T], None], on_error: Callable[[Exception], None], name: str):
        self.mailbox: Mailbox[T] = Mailbox()
        self._process, self._on_error = process, on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Finish the item in work, and end the thread."""
        self.mailbox.close()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self.mailbox.take()) is not None:
            try:
                self._process(item)
            except Exception as error:  # whatever it is, the next frame may be fine
                self._on_error(error)
