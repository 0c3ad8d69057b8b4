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

"""The mailbox of one and its thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dkn_ros.pipeline.worker import Mailbox, Worker

LIMIT = 30.0  # seconds until something has failed that takes none


def test_the_newest_item_wins():
    mailbox: Mailbox[str] = Mailbox()
    assert mailbox.put("a") is None
    assert mailbox.put("b") == "a"
    assert mailbox.put("c") == "b"
    assert mailbox.take() == "c"
    assert mailbox.put("d") is None  # c was taken, not displaced


def test_clear_throws_away():
    mailbox: Mailbox[str] = Mailbox()
    assert mailbox.clear() is None
    mailbox.put("a")
    assert mailbox.clear() == "a"
    assert mailbox.put("b") is None


@pytest.mark.parametrize("full", [False, True])
def test_a_closed_mailbox_gives_nothing(full):
    mailbox: Mailbox[str] = Mailbox()
    if full:
        mailbox.put("a")
    mailbox.close()
    assert mailbox.take() is None
    mailbox.put("b")
    assert mailbox.take() is None


def test_closing_ends_a_wait():
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()), daemon=True)
    thread.start()
    mailbox.close()
    thread.join(LIMIT)
    assert taken == [None]


class Bench:
    """A worker whose work waits until it may go on."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.errors: list[BaseException] = []
        self.begun, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.worker: Worker[str] = Worker(self._process, self.errors.append, "bench")

    def _process(self, item: str) -> None:
        self.begun.release()
        assert self.may_end.acquire(timeout=LIMIT)
        if item.startswith("bad"):
            raise ValueError(item)
        if item.startswith("deadly"):
            raise SystemExit(item)
        self.done.append(item)

    def wait_for_begin(self) -> None:
        assert self.begun.acquire(timeout=LIMIT)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.may_end.release(100)
    bench.worker.close()


def test_what_comes_during_work_is_superseded_by_the_newest(bench):
    bench.worker.mailbox.put("1")
    bench.wait_for_begin()
    displaced = [bench.worker.mailbox.put(item) for item in ("2", "3", "4")]
    assert displaced == [None, "2", "3"]
    bench.may_end.release()
    bench.wait_for_begin()
    bench.may_end.release()
    bench.worker.mailbox.put("5")
    bench.wait_for_begin()
    assert bench.done == ["1", "4"]


def test_an_error_is_told_and_work_goes_on(bench):
    bench.may_end.release(2)
    bench.worker.mailbox.put("bad")
    bench.wait_for_begin()
    bench.worker.mailbox.put("good")
    bench.wait_for_begin()
    bench.worker.close()
    assert [str(error) for error in bench.errors] == ["bad"]
    assert bench.done == ["good"]


def test_a_thread_that_dies_is_replaced_and_that_is_told(bench):
    first = [thread for thread in threading.enumerate() if thread.name == "bench"]
    bench.may_end.release(3)
    for item in ("deadly 1", "deadly 2", "good"):
        bench.worker.mailbox.put(item)
        bench.wait_for_begin()
    bench.worker.close()
    assert [(type(error), str(error)) for error in bench.errors] == [(SystemExit, "deadly 1"), (SystemExit, "deadly 2")]
    assert bench.worker.restarts == 2
    assert bench.done == ["good"]
    assert not any(thread.is_alive() for thread in first)


def test_a_report_that_fails_itself_does_not_end_the_work():
    def report(error: BaseException) -> None:
        raise RuntimeError("no place to report to")

    done: list[int] = []
    called = threading.Semaphore(0)

    def process(item: int) -> None:
        called.release()
        done.append(1 // item)

    worker: Worker[int] = Worker(process, report, "bench")
    for item in (0, 1):
        worker.mailbox.put(item)
        assert called.acquire(timeout=LIMIT)
    worker.close()
    assert (done, worker.restarts) == ([1], 1)


def test_close_finishes_the_item_in_work_and_no_other(bench):
    bench.worker.mailbox.put("1")
    bench.wait_for_begin()
    bench.worker.mailbox.put("2")
    bench.worker.mailbox.close()
    bench.may_end.release(2)
    bench.worker.close()
    assert bench.done == ["1"]
    assert not [thread for thread in threading.enumerate() if thread.name == "bench" and thread.is_alive()]


def test_close_gives_up_on_work_that_hangs(bench):
    bench.worker.mailbox.put("1")
    bench.wait_for_begin()
    bench.worker.close(timeout_s=0.01)  # comes back
    assert bench.done == []


def test_no_item_is_lost_or_doubled_between_threads():
    """Each item is taken or displaced, once, and what is taken comes in order."""
    mailbox: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def take() -> None:
        while (item := mailbox.take()) is not None:
            taken.append(item)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    displaced = [item for n in range(1, 5001) if (item := mailbox.put(n)) is not None]
    left = mailbox.clear()
    mailbox.close()
    thread.join(LIMIT)
    assert taken == sorted(taken)
    assert sorted(taken + displaced + ([] if left is None else [left])) == list(range(1, 5001))
