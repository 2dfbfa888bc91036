"""The picture files of a zip or a folder, listed before any is read. A zip is never unpacked to disk.

What a stranger's archive may try (bombs, links, names that lead elsewhere) is refused here, each in one sentence.
"""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from backends.runtime.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
MOST_FILES, MOST_BYTES, MOST_TOGETHER = 20_000, 20_000_000, 500_000_000
_CONTENTS = 8_000_000  # bytes of a zip's table of contents: 20,000 files with long names
_AT_ONCE = 2**20  # bytes; all at once, a few compressed ones may become gigabytes whatever size they claim
_DAMAGE = (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, struct.error, EOFError, OSError, ValueError)


@dataclass(frozen=True)
class PictureFile:
    """parts: folders and name; size: in bytes, as declared; read: its content; damaged ones raise anything."""

    parts: tuple[str, ...]
    size: int
    read: Callable[[], bytes]

    def __str__(self) -> str:
        return plain("/".join(self.parts[-2:]))


def plain(name: str, most: int = 40) -> str:
    """A stranger's name on one line that a terminal does not obey."""
    name = "".join(c if c.isprintable() else "?" for c in unicodedata.normalize("NFC", name)).strip() or "?"
    return name if len(name) <= most else f"{name[: most - 1]}…"


@contextmanager
def listed(path: Path) -> Iterator[tuple[list[PictureFile], int]]:
    """The pictures of a .zip or of a folder, in the order of their names, and how many other files there are.

    Hidden files and __MACOSX count as nothing. Files can be read while the context is entered. Raises UserError.
    """
    with ExitStack() as stack:
        entries = _in_folder(path) if path.is_dir() else _in_zip(stack, path)
        found, others = _pictures(entries)
        yield sorted(found, key=lambda file: file.parts), others


def _pictures(entries: Iterable[PictureFile]) -> tuple[list[PictureFile], int]:
    found: list[PictureFile] = []
    others = together = 0
    for file in entries:
        together += file.size
        if together > MOST_TOGETHER:
            raise UserError(f"There is more than {MOST_TOGETHER // 10**6} MB in it: bring fewer or smaller pictures.")
        if any(part.startswith(".") or part == "__MACOSX" for part in file.parts):
            continue
        if not file.parts[-1].lower().endswith(ENDINGS):
            others += 1
        elif file.size > MOST_BYTES:
            raise UserError(f"{str(file)!r} has more than {MOST_BYTES // 10**6} MB: make it smaller.")
        else:
            found.append(file)
        if len(found) + others > MOST_FILES:
            raise _too_many()
    return found, others


def _too_many() -> UserError:
    return UserError(f"There are more than {MOST_FILES:,} files in it: bring fewer pictures.")


def _linked(name: str) -> UserError:
    return UserError(f"{plain(name)!r} is a link or a device, which is not followed: put the picture itself there.")


# ---- zip -------------------------------------------------------------------------------------------------------------


class _Watched(io.BufferedReader):
    """zipfile reads a table of contents in one go, whatever its size, and makes objects of all of it."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _CONTENTS:
            raise _too_many()
        return super().read(size)


def _in_zip(stack: ExitStack, path: Path) -> Iterator[PictureFile]:
    try:
        archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(_Watched(io.FileIO(path)))))
    except _DAMAGE as fault:
        raise UserError("This is not a whole zip file: pack the folders of pictures into a .zip again.") from fault
    for info in archive.infolist():
        _refuse_member(info)
        if not info.is_dir():
            parts = tuple(part for part in info.filename.split("/") if part not in ("", "."))
            yield PictureFile(parts or ("?",), info.file_size, lambda info=info: _member(archive, info))


def _refuse_member(info: zipfile.ZipInfo) -> None:
    name = info.orig_filename  # `filename` ends at a NUL
    if re.match(r"[A-Za-z]:|/", name) or ".." in name.split("/") or "\\" in name or "\0" in name:
        raise UserError(f"The zip holds the name {plain(name)!r}, which leads elsewhere: pack the plain folders again.")
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _linked(name)
    if info.flag_bits & 0x41:
        raise UserError("The zip is encrypted: pack the pictures without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("The zip is compressed in a rare way: pack the pictures as an ordinary zip.")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Never more than the declared size: the reader stops there, and a wrong checksum raises BadZipFile."""
    with archive.open(info) as opened:
        return b"".join(iter(lambda: opened.read(_AT_ONCE), b""))


# ---- folder ----------------------------------------------------------------------------------------------------------


def _in_folder(root: Path) -> Iterator[PictureFile]:
    def closed(fault: OSError) -> None:
        raise UserError("A folder of pictures cannot be opened: allow this program to read it.") from fault

    for folder, inner, names in os.walk(root, onerror=closed):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in (*inner, *names):
            path = Path(folder, name)
            told = path.lstat()
            if not stat.S_ISDIR(told.st_mode):
                parts = path.relative_to(root).parts
                if not stat.S_ISREG(told.st_mode):
                    raise _linked("/".join(parts))
                yield PictureFile(parts, told.st_size, path.read_bytes)
