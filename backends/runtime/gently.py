"""Work that gives way: what no visitor waits for runs step by step at low priority, and stands still while
somebody waits for something else.

Priority alone does not do it: a thread that the machine has set aside may hold Python's one lock, and then everybody
waits for it. So long work calls `breathe` between its steps, and what is waited for says so with `waited_for`.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from backends.runtime.device import give_memory_back

T = TypeVar("T")
_NICE = 15  # of 19; the threads that torch starts from there inherit it
QUIET = 0.4  # seconds without anybody waiting before work goes on
LONGEST = 1.0  # seconds that one step can be held up
SHARE = 5  # times as long as the step took, at most: work slows down, however small its steps, but never stops
_POLL = 0.02
_own = threading.local()


class Outdated(Exception):
    """Raised by `breathe` in work that nobody wants any more."""


class _Waiting:
    """How many answers are waited for now, and when the last one was done."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0
        self.last = -QUIET

    def add(self, change: int) -> None:
        with self.lock:
            self.count += change

    def anybody(self) -> bool:
        return self.count > 0 or time.monotonic() - self.last < QUIET


_waiting = _Waiting()


@contextlib.contextmanager
def waited_for() -> Iterator[None]:
    """While inside, and a moment longer, work that gives way stands still."""
    _waiting.add(1)
    _own.waited = getattr(_own, "waited", 0) + 1
    try:
        yield
    finally:
        _own.waited -= 1
        _waiting.last = time.monotonic()
        _waiting.add(-1)


@contextlib.contextmanager
def until_made() -> Iterator[None]:
    """Around waiting for what other work makes: that work, if it gives way, must not wait for its own listener."""
    waited = getattr(_own, "waited", 0)
    _waiting.add(-waited)
    try:
        yield
    finally:
        _waiting.add(waited)


def breathe() -> None:
    """Between two steps of long work: in the thread that gives way, let others go first. Raises Outdated there if
    nobody listens any more; anywhere else it does nothing."""
    outdated: threading.Event | None = getattr(_own, "outdated", None)
    if outdated is None:
        return
    now = time.monotonic()
    until = now + min(LONGEST, SHARE * (now - _own.since))
    while not outdated.is_set() and _waiting.anybody() and time.monotonic() < until:
        time.sleep(_POLL)
    _own.since = time.monotonic()
    if outdated.is_set():
        raise Outdated


def _give_way() -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux lets a thread have a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


_BESIDE, _WISHED = (ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("gently", "wished"))


def apart(work: Callable[[], T], begin: Callable[[], None] | None = None) -> T:
    """Wait for `work`, done in a thread that is its own and ends with it.

    OpenMP gives every thread that computes helpers for the rest of its life, and once there are more of them than
    processors all helpers go to sleep between two products: whatever is computed then takes a quarter longer.
    """
    context, waited = contextvars.copy_context(), getattr(_own, "waited", 0)

    def own() -> T:
        _own.waited = waited
        return context.run(work)

    with ThreadPoolExecutor(1, thread_name_prefix="apart", initializer=begin) as thread:
        return thread.submit(own).result()


def aside(work: Callable[[], T]) -> T:
    """Wait for `work`, done in a thread of low priority that is its own: nothing else has to wait for its turn."""

    def gentle() -> T:
        _own.outdated, _own.since = threading.Event(), time.monotonic()
        return work()

    return apart(gentle, _give_way)


def gently(work: Iterator[T], outdated: threading.Event | None = None, wished: bool = False) -> Iterator[T]:
    """The same items; each is computed in a low-priority thread of its own, in turn with everybody else's such work.

    What a visitor has pressed a button for is `wished`: it has a queue of its own, so that what the page adds by
    itself does not hold it up. Ends early once `outdated` is set; whoever stops listening stops the work at its next
    breath.
    """
    end, thread = object(), _WISHED if wished else _BESIDE
    outdated = outdated or threading.Event()

    def one() -> object:
        _own.outdated, _own.since = outdated, time.monotonic()
        try:
            return end if outdated.is_set() else next(work, end)
        except Outdated:
            return end

    try:
        while (item := thread.submit(apart, one, _give_way).result()) is not end:
            yield item
    finally:
        outdated.set()
        with contextlib.suppress(RuntimeError):  # the process is ending
            thread.submit(give_memory_back)
