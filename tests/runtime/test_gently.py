"""Work of low priority: same items, another thread, errors and endings as they were."""

from __future__ import annotations

import contextvars
import os
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from backends.runtime.gently import LONGEST, QUIET, apart, aside, breathe, gently, until_made, waited_for


def test_items_come_in_order_in_another_thread():
    def work() -> Iterator[tuple[int, int]]:
        for i in range(5):
            yield i, threading.get_ident()

    items = list(gently(work()))
    assert [i for i, _ in items] == list(range(5))
    assert threading.get_ident() not in {thread for _, thread in items}
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


def test_it_stands_still_while_somebody_waits():
    times = []

    def work() -> Iterator[int]:
        for i in range(3):
            time.sleep(0.2)
            breathe()
            times.append(time.monotonic())
            yield i

    time.sleep(QUIET)  # whoever was waited for before is long served
    steps = gently(work())
    next(steps)
    with waited_for():
        time.sleep(0.1)
        served = time.monotonic()
    next(steps)
    assert times[1] - served > QUIET / 2


def test_it_is_held_up_for_no_longer_than_a_moment():
    def work(step: float) -> Iterator[float]:
        time.sleep(step)
        before = time.monotonic()
        breathe()
        yield time.monotonic() - before

    with waited_for():
        (long,) = gently(work(0.5))
        (short,) = gently(work(0.02))
    assert LONGEST <= long < 3 * LONGEST
    assert short < LONGEST / 2


def test_nobody_else_is_held_up():
    with waited_for():
        before = time.monotonic()
        breathe()
        assert time.monotonic() - before < QUIET


def test_outdated_work_ends_at_its_next_breath():
    outdated, reached = threading.Event(), []

    def work() -> Iterator[int]:
        yield 1
        for i in range(1000):
            breathe()
            reached.append(i)
            if i == 3:
                outdated.set()
        yield 2

    assert list(gently(work(), outdated)) == [1]
    assert reached == [0, 1, 2, 3]


def test_what_is_outdated_before_its_turn_never_begins():
    outdated = threading.Event()
    outdated.set()
    begun = []
    assert list(gently((begun.append(i) for i in range(3)), outdated)) == []
    assert begun == []


def test_aside_is_a_thread_of_its_own_that_gives_way():
    def work() -> tuple[int, int]:
        time.sleep(LONGEST / 2)
        with waited_for():
            before = time.monotonic()
            breathe()
            assert time.monotonic() - before >= LONGEST
        return threading.get_ident(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    thread, priority = aside(work)
    assert thread != threading.get_ident()
    assert sys.platform != "linux" or priority > os.getpriority(os.PRIO_PROCESS, 0)
    with pytest.raises(ZeroDivisionError):
        aside(lambda: 1 / 0)


def test_no_thread_stays_that_has_computed():
    seen = []
    name = contextvars.ContextVar("name")
    name.set("a visitor's")
    assert apart(lambda: (seen.append(threading.current_thread()), name.get())[1]) == "a visitor's"
    for _ in gently(seen.append(threading.current_thread()) for _ in range(3)):
        pass
    aside(lambda: seen.append(threading.current_thread()))
    assert len(seen) == 5 and threading.current_thread() not in seen
    assert not any(thread.is_alive() for thread in seen)


def held_up() -> Iterator[float]:
    """One step of work, and how long it stood still at its end, in seconds."""
    time.sleep(LONGEST / 2)
    before = time.monotonic()
    breathe()
    yield time.monotonic() - before


def test_who_waits_apart_is_still_waited_for():
    def work() -> float:
        with until_made():
            (held,) = gently(held_up())
        return held

    time.sleep(QUIET)
    with waited_for():
        assert apart(work) < QUIET / 2


def test_work_is_not_held_up_by_who_waits_for_it():
    time.sleep(QUIET)
    with waited_for():
        with until_made():
            (held,) = gently(held_up())
        (again,) = gently(held_up())
    assert held < QUIET / 2
    assert again >= LONGEST
