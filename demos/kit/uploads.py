"""A visitor's file for a job: kept under its own hash until the job has read it, at most a day."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from backends.runtime.errors import UserError
from backends.runtime.files import cache_folder, whole_file

KEEP = 86_400.0  # seconds
MOST = 500_000_000  # bytes of all visitors' files
AGAIN = "Choose the file first: it is kept for a day after it was uploaded."


def keep_upload(path: str, ending: str, most: int, check: Callable[[Path], str]) -> tuple[str, str]:
    """Copy a file to the machine's cache: the name that it is found by again, which only its owner can know, and what
    `check` says of it.

    Raises UserError where it is larger than `most` bytes or `check` refuses it; nothing of it stays then.
    """
    source = Path(path)
    try:
        if source.stat().st_size > most:
            raise UserError(f"This file is larger than {most // 1_000_000} MB: choose a smaller one.")
        said = check(source)
    except Exception:
        source.unlink(missing_ok=True)
        raise
    folder = _folder()
    _sweep(folder, source.stat().st_size)
    with source.open("rb") as file:
        name = f"{hashlib.file_digest(file, 'sha256').hexdigest()}{ending}"
    with whole_file(folder / name) as temporary:
        shutil.copyfile(source, temporary)
    return name, said


def _sweep(folder: Path, needed: int) -> None:
    """What is a day old goes; then the oldest, until there is room."""
    with contextlib.suppress(OSError):
        kept = sorted(folder.iterdir(), key=lambda file: -file.stat().st_mtime)
        room = MOST - needed
        for file in kept:
            room -= file.stat().st_size
            if room < 0 or time.time() - file.stat().st_mtime > KEEP:
                file.unlink()


def upload_path(name: object, ending: str) -> Path:
    """Where a kept file lies. Raises UserError for any other name."""
    known = isinstance(name, str) and re.fullmatch(rf"[0-9a-f]{{64}}{re.escape(ending)}", name)
    path = _folder() / str(name) if known else None
    if path is None or not path.is_file():
        raise UserError(AGAIN)
    return path


def _folder() -> Path:
    folder = cache_folder() / "uploads"
    folder.mkdir(exist_ok=True)
    return folder
