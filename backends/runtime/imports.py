"""Heavy imports, one thread at a time.

torch and transformers are first imported while the app already answers. Where two threads do that at once, Python
breaks the deadlock of its import locks by handing one of them a module that is only half made.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from collections.abc import Iterator
from types import ModuleType

_LOCK = threading.RLock()


def heavy(name: str) -> ModuleType:
    """The module, imported by this thread or, before it, by another."""
    with _LOCK, uncollected():
        return importlib.import_module(name)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Around what makes many objects that stay: going through them again and again takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
