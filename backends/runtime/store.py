"""The one cache of loaded models, shared by all sessions and bounded in bytes."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from backends.runtime.gently import Outdated, breathe, until_made
from backends.runtime.imports import uncollected

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class ModelStore:
    """Keeps the most recently used objects while they fit in `max_bytes` together.

    What `get` returns is shared between threads and must never be changed. Evicting drops the store's reference only:
    whoever still works with the object keeps it.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()  # held for book-keeping only, never while something loads
        self._kept: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._loading: dict[str, Future] = {}

    @property
    def held_bytes(self) -> int:
        """Size of everything that is kept, as `size` told it."""
        with self._lock:
            return sum(size for _, size in self._kept.values())

    def get(self, key: str, load: Callable[[], T], size: Callable[[T], int]) -> T:
        """The object kept under this key, else `load()`.

        Threads that ask while it loads wait for that one load and share its result or its exception: a model that fails
        after a long time-out fails once for all who wait, and the next call tries again. Only where the load was given
        up because its own listener has gone, who waits loads it himself. `load` must not ask for `key`.
        """
        while True:
            with contextlib.suppress(Outdated):
                return self._get(key, load, size)
            breathe()  # raises where it is this caller who is no longer listened to

    def _get(self, key: str, load: Callable[[], T], size: Callable[[T], int]) -> T:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            waits = key in self._loading
            future = self._loading.setdefault(key, Future())
        if waits:
            with until_made():  # perhaps by work that gives way
                return future.result()
        try:
            with uncollected():
                value = load()
            self._keep(key, value, size(value), future)
        except BaseException as fault:
            with self._lock:
                self._forget(key, future)
            future.set_exception(fault)
            raise
        future.set_result(value)
        return value

    def clear(self) -> None:
        """Keep nothing, not even what is being loaded now."""
        with self._lock:
            self._kept.clear()
            self._loading.clear()

    def _keep(self, key: str, value: Any, size: int, future: Future) -> None:
        with self._lock:
            if not self._forget(key, future) or size > self.max_bytes:
                return
            self._kept[key] = (value, size)
            while sum(kept for _, kept in self._kept.values()) > self.max_bytes:
                self._kept.popitem(last=False)

    def _forget(self, key: str, future: Future) -> bool:
        """End this load; False if `clear` came in between and the key is free or loads anew."""
        current = self._loading.get(key) is future
        if current:
            del self._loading[key]
        return current


def parameter_bytes(module: torch.nn.Module) -> int:
    """Memory of a module's parameters and buffers; what is tied or a view of the same storage counts once."""
    storages = {}
    for tensor in (*module.parameters(), *module.buffers()):
        storage = tensor.untyped_storage()
        storages[tensor.device, storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
