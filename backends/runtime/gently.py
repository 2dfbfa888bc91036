"""Work that gives way: what a visitor is not waiting for runs in one thread of low priority."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_NICE = 15  # of 19; the threads that torch starts from there inherit it


def _give_way() -> None:
    with contextlib.suppress(AttributeError, OSError):  # Linux lets a thread have a priority of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


_THREAD = ThreadPoolExecutor(1, thread_name_prefix="gently", initializer=_give_way)


def gently(work: Iterator[T]) -> Iterator[T]:
    """The same items; each is computed in the low-priority thread, in turn with everybody else's such work.

    Whoever stops listening stops the work after the step that is under way.
    """
    end = object()
    while (item := _THREAD.submit(next, work, end).result()) is not end:
        yield item
