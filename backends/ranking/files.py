"""Interactions from the files that people have: MovieLens folders, RecBole's atomic files, or two tables of one's own.

    data = read_dataset(Path("ml-latest-small"))
    data.interactions, data.titles[3], data.words[3]

Files are told apart by their names and headers; a stranger's are bounded and refused in one sentence with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backends.ranking.interactions import Interactions
from backends.runtime.errors import UserError
from backends.runtime.tables import cell, number, rows_of, text_of

MOST_ROWS, MOST_NAMES = 2_000_000, 200_000
USER, ITEM = ("user_id", "userid", "user"), ("item_id", "itemid", "movieid", "item")
VALUE, TIME = ("rating", "value", "weight", "count"), ("timestamp", "time")
TITLE, WORDS = ("title", "name", "movie_title"), ("genres", "genre", "tags", "class", "categories")
GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """titles, words: of each item, in the order of the codes; a title that is not known is the item's name.

    words: genres or tags, perhaps none; notes: one sentence for each thing that was put right.
    """

    name: str
    interactions: Interactions
    titles: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


Row = tuple[str, str, float, float]  # user, item, value, time
Known = dict[str, tuple[str, tuple[str, ...]]]  # item: title and words


def read_dataset(folder: Path) -> Dataset:
    """The interactions in a folder, by what lies in it. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"{folder.name} is no folder.")
    for found, read in READERS:
        if match := sorted(folder.glob(found)):
            rows, known = read(folder, match[0])
            return _dataset(folder.name, match[0].name, rows, known)
    wanted = ", ".join(pattern for pattern, _ in READERS)
    raise UserError(f"{folder.name} holds none of {wanted}: see the README for the forms that are read.")


def _dataset(name: str, file: str, rows: Iterator[tuple[int, Row]], known: Known) -> Dataset:
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    columns: tuple[list, ...] = ([], [], [], [])
    seen: set[tuple[int, int]] = set()
    doubles = first = line = 0
    for line, (user, item, value, time) in rows:
        pair = users.setdefault(user, len(users)), items.setdefault(item, len(items))
        if len(columns[0]) >= MOST_ROWS:
            raise UserError(f"{file}, line {line}: more than {MOST_ROWS:,} interactions: use a part of the file.")
        if max(len(users), len(items)) > MOST_NAMES:
            raise UserError(f"{file}, line {line}: more than {MOST_NAMES:,} people or items: use a part of the file.")
        if pair in seen:
            doubles, first = doubles + 1, first or line
        seen.add(pair)
        for column, one in zip(columns, (*pair, value, time), strict=True):
            column.append(one)
    if not columns[0]:
        raise UserError(f"{file} has a header and no interaction.")
    user, item, value, time = (np.array(column) for column in columns)
    given = Interactions(user, item, value.astype(float), time.astype(float), tuple(users), tuple(items))
    notes = [
        f"{doubles:,} pairs of person and item stand there more than once, the first again in line {first}."
    ] * bool(doubles)
    if lost := sum(one not in known for one in items) if known else 0:
        notes.append(f"{lost:,} of {len(items):,} items have no title.")
    titles = tuple(known.get(one, (one, ()))[0] for one in items)
    return Dataset(name, given, titles, tuple(known.get(one, ("", ()))[1] for one in items), tuple(notes))


def _place(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((i for name in names for i, one in enumerate(header) if one == name), None)


def _header(row: Sequence[str]) -> list[str]:
    """Small letters; RecBole's ":token" and the like left out."""
    return [one.strip().lower().partition(":")[0] for one in row]


def _interactions(path: Path) -> Iterator[tuple[int, Row]]:
    """Any table with a column for people and one for items. Without a time, rows are in the order of time."""
    rows = rows_of(text_of(path), path.name)
    header = _header(next(rows)[1])
    user, item, value, time = (_place(header, names) for names in (USER, ITEM, VALUE, TIME))
    if user is None or item is None:
        raise UserError(
            f"{path.name}, line 1: a column user and a column item are needed; here are {', '.join(header)[:90]}."
        )
    for line, row in rows:
        yield line, (
            cell(row[user], path.name, line), cell(row[item], path.name, line),
            number(row[value], path.name, line, "number") if value is not None else 1.0,
            number(row[time], path.name, line, "time in seconds") if time is not None else float(line),
        )  # fmt: skip


def _items(path: Path | None) -> Known:
    """Titles and words of a table of items, if there is one."""
    if path is None or not path.exists():
        return {}
    rows = rows_of(text_of(path), path.name)
    header = _header(next(rows)[1])
    item, title, words = (_place(header, names) for names in (ITEM, TITLE, WORDS))
    if item is None:
        raise UserError(f"{path.name}, line 1: a column item is needed; here are {', '.join(header)[:90]}.")
    known: Known = {}
    for line, row in rows:
        name = cell(row[item], path.name, line)
        said = cell(row[title], path.name, line) if title is not None and row[title].strip() else name
        known[name] = said, _words(row[words]) if words is not None else ()
    return known


def _words(text: str) -> tuple[str, ...]:
    """Genres between bars, commas, or (RecBole) spaces."""
    between = next((one for one in "|,;" if one in text), " ")
    found = (" ".join(word.split()) for word in text.split(between))
    return tuple(word for word in found if word.isprintable() and word and word != "(no genres listed)")[:20]


def _movielens_100k(folder: Path, path: Path) -> tuple[Iterator[tuple[int, Row]], Known]:
    def rows() -> Iterator[tuple[int, Row]]:
        for line, row in rows_of(text_of(path), path.name, "\t", 4):
            yield (
                line,
                (row[0], row[1], number(row[2], path.name, line, "rating"), number(row[3], path.name, line, "time")),
            )

    known: Known = {}
    if (films := folder / "u.item").exists():
        for line in text_of(films, encoding="latin-1").splitlines():
            parts = line.split("|")
            if len(parts) >= 24:
                genres = (name for name, mark in zip(GENRES_100K, parts[5:24], strict=True) if mark == "1")
                known[parts[0]] = parts[1] or parts[0], tuple(genres)
    return rows(), known


def _movielens_1m(folder: Path, path: Path) -> tuple[Iterator[tuple[int, Row]], Known]:
    def rows() -> Iterator[tuple[int, Row]]:
        for line, text in enumerate(text_of(path, encoding="latin-1").splitlines(), 1):
            parts = text.split("::")
            if len(parts) != 4:
                raise UserError(f"{path.name}, line {line}: {len(parts)} parts between ::, expected are 4.")
            yield (
                line,
                (
                    parts[0],
                    parts[1],
                    number(parts[2], path.name, line, "rating"),
                    number(parts[3], path.name, line, "time"),
                ),
            )

    known: Known = {}
    if (films := folder / "movies.dat").exists():
        for line in text_of(films, encoding="latin-1").splitlines():
            if len(parts := line.split("::")) == 3:
                known[parts[0]] = parts[1], _words(parts[2])
    return rows(), known


def _beside(pattern: str) -> Callable[[Path, Path], tuple[Iterator[tuple[int, Row]], Known]]:
    def read(folder: Path, path: Path) -> tuple[Iterator[tuple[int, Row]], Known]:
        return _interactions(path), _items(next(iter(sorted(folder.glob(pattern))), None))

    return read


READERS: tuple[tuple[str, Callable[[Path, Path], tuple[Iterator[tuple[int, Row]], Known]]], ...] = (
    ("u.data", _movielens_100k), ("ratings.dat", _movielens_1m), ("ratings.csv", _beside("movies.csv")),
    ("*.inter", _beside("*.item")), ("interactions.csv", _beside("items.csv")),
)  # fmt: skip
