"""What is known of a work, and the words that it may be said in: `assets/catalogue`, one JSON object a line.

works = load_works()
works["film-stalker-1979"].based_on  # ("book-roadside-picnic-1972",)
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from backends.runtime.errors import UserError
from backends.runtime.files import ASSETS

FOLDER = ASSETS / "catalogue"
Kind = Literal["film", "book", "game", "album"]
KINDS: tuple[Kind, ...] = ("film", "book", "game", "album")
Role = Literal["director", "writer", "cast", "composer", "author", "illustrator", "studio", "designer", "artist"]
ROLES: dict[Kind, tuple[Role, ...]] = {
    "film": ("director", "writer", "cast", "composer"),
    "book": ("author", "illustrator"),
    "game": ("studio", "designer", "writer", "composer"),
    "album": ("artist", "composer"),
}
MADE_BY: dict[Kind, Role] = {"film": "director", "book": "author", "game": "studio", "album": "artist"}


class Vocabulary(BaseModel):
    """The words of the catalogue; genres and awards by kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    genres: dict[Kind, tuple[str, ...]]
    themes: tuple[str, ...]
    moods: tuple[str, ...]
    countries: tuple[str, ...]
    languages: tuple[str, ...]
    awards: dict[Kind, tuple[str, ...]]


def _tidy(text: str) -> str:
    if text != " ".join(text.split()) or not text.isprintable():
        raise ValueError("write it on one line, without spaces too many")
    return text


Text = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_tidy)]
Words = Annotated[tuple[Text, ...], Field(min_length=1, max_length=6)]
Link = Annotated[str, Field(pattern=r"^(film|book|game|album)-[a-z0-9-]+$")]


class Creator(BaseModel):
    """Who did what."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Text
    role: Role


class Award(BaseModel):
    """Won, not nominated for. year: of the award as it is named, where known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Text
    year: Annotated[int, Field(ge=1900, le=2100)] | None = None


class Work(BaseModel):
    """One work. year: of the first publication, negative before the common era; what is not known is left out.

    based_on: works that this one retells; inspired_by: works that its makers named, or that it plainly answers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: Link
    kind: Kind
    title: Text
    original_title: Text | None = None
    year: Annotated[int, Field(ge=-3000, le=2026)]
    creators: Annotated[tuple[Creator, ...], Field(min_length=1, max_length=12)]
    genres: Annotated[tuple[Text, ...], Field(min_length=1, max_length=4)]
    themes: Words
    moods: Annotated[tuple[Text, ...], Field(min_length=1, max_length=4)]
    series: Text | None = None
    countries: Annotated[tuple[Text, ...], Field(min_length=1, max_length=4)]
    languages: Annotated[tuple[Text, ...], Field(max_length=4)] = ()
    based_on: Annotated[tuple[Link, ...], Field(max_length=3)] = ()
    inspired_by: Annotated[tuple[Link, ...], Field(max_length=3)] = ()
    awards: Annotated[tuple[Award, ...], Field(max_length=6)] = ()
    description: Annotated[str, Field(min_length=40, max_length=320), AfterValidator(_tidy)]

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Work:
        if self.key != key_of(self.kind, self.title, self.year):
            raise ValueError(f"the key must be {key_of(self.kind, self.title, self.year)}")
        roles = [creator.role for creator in self.creators]
        if MADE_BY[self.kind] not in roles or not set(roles) <= set(ROLES[self.kind]):
            raise ValueError(f"a {self.kind} has a {MADE_BY[self.kind]}, and beside it {', '.join(ROLES[self.kind])}")
        if len(set(self.creators)) < len(self.creators):
            raise ValueError("a creator stands there twice")
        known = vocabulary()
        for words, allowed in (
            (self.genres, known.genres[self.kind]), (self.themes, known.themes), (self.moods, known.moods),
            (self.countries, known.countries), (self.languages, known.languages),
            (tuple(award.name for award in self.awards), known.awards[self.kind]),
        ):  # fmt: skip
            if strange := [word for word in words if word not in allowed]:
                raise ValueError(f"not in the vocabulary: {', '.join(strange)}")
            if len(set(words)) < len(words):
                raise ValueError(f"a word stands there twice among {', '.join(words)}")
        if self.key in (*self.based_on, *self.inspired_by):
            raise ValueError("a work is not based on itself")
        if self.description.count(". ") > 1 or self.description[-1] not in ".?!":
            raise ValueError("a description is one or two whole sentences")
        return self


_PLAIN = str.maketrans(
    {
        "'": "",
        "’": "",
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ı": "i",
        "½": " 1 2",
    }
)  # what Unicode does not take apart


@functools.cache
def vocabulary() -> Vocabulary:
    """The words in `assets/catalogue/vocabulary.json`."""
    return Vocabulary.model_validate_json((FOLDER / "vocabulary.json").read_text(encoding="utf-8"))


def key_of(kind: Kind, title: str, year: int) -> str:
    """ "film-la-jetee-1962": ASCII letters and digits only; a year before the common era is "bce".

    Two works of one kind, title and year would need another title in one of them.
    """
    plain = unicodedata.normalize("NFKD", title.lower().translate(_PLAIN))
    plain = plain.encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    return f"{kind}-{slug}-{year}" if year > 0 else f"{kind}-{slug}-{-year}-bce"


def read_works(path: Path) -> Iterator[Work]:
    """The works of one file. Raises UserError with the number of the first line that is wrong."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield Work.model_validate_json(line)
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"])) or "the work"
                raise UserError(f"{path.name}, line {number}: {where}: {first['msg']}.") from error


def load_works(folder: Path = FOLDER) -> Mapping[str, Work]:
    """Every work by its key, in the order of the files. Raises UserError for a broken line, a key that stands there
    twice, or a link that leads nowhere."""
    works: dict[str, Work] = {}
    for kind in KINDS:
        for work in read_works(folder / f"{kind}s.jsonl"):
            if work.key in works:
                raise UserError(f"{work.key} stands in the catalogue twice.")
            works[work.key] = work
    for work in works.values():
        if lost := [key for key in (*work.based_on, *work.inspired_by) if key not in works]:
            raise UserError(f"{work.key} leads to {', '.join(lost)}, which the catalogue does not have.")
    return works


def written(work: Work) -> str:
    """A work as its line: fields in the order of the schema, what is not known left out."""
    return json.dumps(work.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False)
