"""Parts that are made at their first use and then kept, shared by threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from backends.runtime.gently import breathe, until_made

HEARS = 0.2  # seconds between two looks at whether a part that others make is still wanted
T = TypeVar("T")


class Once:
    """Values by key, each made once."""

    def __init__(self) -> None:
        self._made: dict[object, object] = {}
        self._locks: dict[object, threading.RLock] = {}

    def __contains__(self, key: object) -> bool:
        """Whether `get` answers at once."""
        return key in self._made

    @property
    def keys(self) -> set[object]:
        """Of everything that is made."""
        return set(self._made)

    def get(self, key: object, make: Callable[[], T]) -> T:
        """The value under this key, else `make()`."""
        if key not in self._made:
            with self.alone(key):
                if key not in self._made:
                    self._made[key] = make()
        return self._made[key]

    @contextlib.contextmanager
    def alone(self, key: object) -> Iterator[None]:
        """One thread at a time. One lock a key: a slow one keeps nobody from another."""
        lock = self._locks.setdefault(key, threading.RLock())
        with until_made():  # perhaps by work that gives way
            while not lock.acquire(timeout=HEARS):
                breathe()
        try:
            yield
        finally:
            lock.release()
