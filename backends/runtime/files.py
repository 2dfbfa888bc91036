"""Files that are either whole or absent, and the folders where they live."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "assets"


def cache_folder() -> Path:
    """Where what can be computed again is kept: $VITRINE_CACHE, else the user's cache folder."""
    named = os.environ.get("VITRINE_CACHE")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "vitrine"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Write to the yielded temporary path; it takes the target's name only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
