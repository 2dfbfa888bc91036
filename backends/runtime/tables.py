"""Tables of strangers, read line by line: bounded first, and refused in one sentence with the number of the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from backends.runtime.errors import UserError

MOST_BYTES, MOST_LETTERS = 200_000_000, 300


def text_of(path: Path, most_bytes: int = MOST_BYTES, encoding: str = "utf-8-sig") -> str:
    """The text of a file. Raises UserError for a large, an empty or a wrongly encoded one."""
    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise UserError(
                f"{path.name} has {size / 1e6:,.0f} MB, more than {most_bytes / 1e6:,.0f}: use a part of it."
            )
        body = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}.") from error
    try:
        text = body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        raise UserError(f"{path.name}, line {line}: this is not UTF-8: save the file as UTF-8.") from error
    if not text.strip():
        raise UserError(f"{path.name} is empty.")
    return text


def rows_of(text: str, name: str, delimiter: str = "", least: int = 0) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not blank, the header among them.

    delimiter: of one letter; else the comma, tab or semicolon that is most frequent in the first line. least: cells
    that a line has to have; 0: as many as the first one. Raises UserError.
    """
    first = text.partition("\n")[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter or max(",\t;", key=first.count), strict=True)
    try:
        for row in rows:
            if not any(map(str.strip, row)):
                continue
            least = least or len(row)
            if len(row) < least:
                raise UserError(f"{name}, line {rows.line_num}: {len(row)} cells, expected are {least}.")
            yield rows.line_num, row
    except csv.Error as error:
        raise UserError(f"{name}, line {rows.line_num}: {error}.") from error


def cell(text: str, name: str, line: int) -> str:
    """A name on one line. Raises UserError for an empty, a long or a strange one, and for a spreadsheet's formula."""
    text = " ".join(text.split())
    if not text:
        raise UserError(f"{name}, line {line}: a cell is empty.")
    if text[0] in "=@":
        raise UserError(f"{name}, line {line}: {text[:30]!r} is a formula of a spreadsheet: save the values.")
    if len(text) > MOST_LETTERS or not text.isprintable():
        raise UserError(f"{name}, line {line}: a name is longer than {MOST_LETTERS} letters or has control characters.")
    return text


def number(text: str, name: str, line: int, what: str) -> float:
    """A finite number. Raises UserError."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value - value != 0:  # neither infinite nor no number
        raise UserError(f"{name}, line {line}: {text.strip()[:30]!r} is no {what}.")
    return value
