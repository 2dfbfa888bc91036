"""Heavy imports, one thread at a time.

torch and transformers are first imported while the app already answers. Where two threads do that at once, Python
breaks the deadlock of its import locks by handing one of them a module that is only half made.
"""

from __future__ import annotations

import importlib
import threading
from types import ModuleType

_LOCK = threading.RLock()


def heavy(name: str) -> ModuleType:
    """The module, imported by this thread or, before it, by another."""
    with _LOCK:
        return importlib.import_module(name)
