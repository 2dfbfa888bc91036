"""Only the latest view of a visitor is worth computing: older work hears that it is outdated and stops by itself.

Gradio's own `cancels=` is a request of its own from the page, which fails with a console error where the event has no
id yet or has just been cancelled by another.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

_MOST_VISITORS = 1000


class Latest:
    """One event a visitor, set as soon as a newer one is asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._current: OrderedDict[str, threading.Event] = OrderedDict()

    def renew(self, session: str | None) -> threading.Event:
        """Outdate what this visitor asked for before; the event is set when what begins now is outdated in turn."""
        fresh = threading.Event()
        if session is None:  # a call without a page
            return fresh
        with self._lock:
            if before := self._current.pop(session, None):
                before.set()
            self._current[session] = fresh
            while len(self._current) > _MOST_VISITORS:
                self._current.popitem(last=False)
        return fresh
