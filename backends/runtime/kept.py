"""What is computed once on a machine and then read from its cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError

from backends.runtime.files import cache_folder

T = TypeVar("T")


def remembered(name: str, make: Callable[[], T], save: Callable[[T, Path], None], load: Callable[[Path], T]) -> T:
    """Read from the machine's cache, else made and written there. What is used is what will be read next time.

    name: "folder/name" of a safetensors file, which must change with everything that the value depends on.
    """
    path = cache_folder() / f"{name}.safetensors"
    if path.exists():
        try:
            return load(path)
        except (SafetensorError, KeyError, ValueError):
            path.unlink()  # torn by a full disk or by an older version: make it again
    save(make(), path)
    return load(path)
