"""Work of low priority: same items, another thread, errors and endings as they were."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from backends.runtime.gently import gently


def test_items_come_in_order_from_one_other_thread():
    def work() -> Iterator[tuple[int, int]]:
        for i in range(5):
            yield i, threading.get_ident()

    items = list(gently(work()))
    assert [i for i, _ in items] == list(range(5))
    assert len({thread for _, thread in items}) == 1
    assert items[0][1] != threading.get_ident()
    assert list(gently(iter(()))) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a thread a priority of its own")
def test_it_gives_way_and_nobody_else_does():
    before = os.getpriority(os.PRIO_PROCESS, 0)
    (priority,) = gently(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) for _ in range(1))
    assert priority > before
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_an_error_reaches_the_listener():
    def work() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    steps = gently(work())
    assert next(steps) == 1
    with pytest.raises(ValueError, match="broken"):
        next(steps)


def test_who_stops_listening_stops_the_work():
    done = []

    def work() -> Iterator[int]:
        for i in range(100):
            done.append(i)
            yield i

    steps = gently(work())
    assert next(steps) == 0
    steps.close()
    assert list(gently(iter([7]))) == [7]
    assert done == [0]
