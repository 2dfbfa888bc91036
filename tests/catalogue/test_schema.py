"""A work says what it is in the catalogue's words, or is refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from backends.catalogue import check
from backends.catalogue.schema import Work, key_of, load_works, read_works, written
from backends.runtime.errors import UserError

STALKER = {
    "key": "film-stalker-1979", "kind": "film", "title": "Stalker", "year": 1979,
    "creators": [{"name": "Andrei Tarkovsky", "role": "director"}], "genres": ["science fiction", "drama"],
    "themes": ["faith", "desire"], "moods": ["hypnotic"], "countries": ["Soviet Union"], "languages": ["Russian"],
    "description": "A guide leads a writer and a professor through a guarded wilderness to a room that grants wishes.",
}  # fmt: skip
NOVEL = {
    "key": "book-roadside-picnic-1972", "kind": "book", "title": "Roadside Picnic", "year": 1972,
    "creators": [{"name": "Arkady Strugatsky", "role": "author"}, {"name": "Boris Strugatsky", "role": "author"}],
    "genres": ["science fiction"], "themes": ["aliens"], "moods": ["gritty"], "countries": ["Soviet Union"],
    "languages": ["Russian"], "description": "Visitors from space left litter behind, and men go to steal it at night.",
}  # fmt: skip


def catalogue(folder: Path, *works: dict) -> Path:
    for kind in ("film", "book", "game", "album"):
        lines = [json.dumps(work) for work in works if work["kind"] == kind]
        (folder / f"{kind}s.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("kind", "title", "year", "key"),
    [
        ("film", "La Jetée", 1962, "film-la-jetee-1962"),
        ("book", "The Odyssey", -700, "book-the-odyssey-700-bce"),
        ("game", "Baldur's Gate II: Shadows of Amn", 2000, "game-baldurs-gate-ii-shadows-of-amn-2000"),
        ("film", "8½", 1963, "film-8-1-2-1963"),
        ("book", "Los detectives salvajes / Ø", 1998, "book-los-detectives-salvajes-o-1998"),
        ("album", "Ágætis byrjun", 1999, "album-agaetis-byrjun-1999"),
    ],
)
def test_a_key_is_made_of_kind_title_and_year(kind: str, title: str, year: int, key: str) -> None:
    assert key_of(kind, title, year) == key


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    works = load_works(catalogue(tmp_path, STALKER | {"based_on": [NOVEL["key"]]}, NOVEL))
    assert list(works) == ["film-stalker-1979", "book-roadside-picnic-1972"]
    assert works["film-stalker-1979"].based_on == ("book-roadside-picnic-1972",)
    (tmp_path / "films.jsonl").write_text(f"{written(works['film-stalker-1979'])}\n", encoding="utf-8")
    assert load_works(tmp_path) == works
    assert "awards" not in written(works["film-stalker-1979"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"key": "film-stalker-1980"}, "the key must be film-stalker-1979"),
        ({"genres": ["sci-fi"]}, "not in the vocabulary: sci-fi"),
        ({"moods": ["hypnotic", "hypnotic"]}, "twice"),
        ({"countries": ["Ruritania"]}, "not in the vocabulary: Ruritania"),
        ({"awards": [{"name": "Booker Prize"}]}, "not in the vocabulary: Booker Prize"),
        ({"creators": [{"name": "Eduard Artemyev", "role": "composer"}]}, "a film has a director"),
        ({"creators": [{"name": "Andrei Tarkovsky", "role": "author"}]}, "a film has a director"),
        ({"based_on": ["film-stalker-1979"]}, "not based on itself"),
        ({"inspired_by": ["poem-x-1"]}, "pattern"),
        ({"title": "Stal\u202eker"}, "on one line"),
        ({"description": "Men walk through grass. They rest. They argue about what they want."}, "two whole"),
        ({"description": "Men walk through long grass and argue about what they really want"}, "whole sentences"),
        ({"rating": 5}, "Extra inputs"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(change: dict, why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Work.model_validate_json(json.dumps(STALKER | change))


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "films.jsonl"
    path.write_text(f"{json.dumps(STALKER)}\n{json.dumps(STALKER | {'year': 'then'})}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"^films\.jsonl, line 2: year: "):
        list(read_works(path))
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"line 1: the work: Invalid JSON"):
        list(read_works(path))


def test_doubles_and_lost_links_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="film-stalker-1979 stands in the catalogue twice"):
        load_works(catalogue(tmp_path, STALKER, STALKER))
    with pytest.raises(UserError, match="leads to book-roadside-picnic-1972, which"):
        load_works(catalogue(tmp_path, STALKER | {"based_on": [NOVEL["key"]]}))


def test_the_check_says_everything_at_once(tmp_path: Path) -> None:
    copied = {"description": "The guide leads a writer and a professor through it, and steals from them both at night."}
    catalogue(tmp_path, STALKER | {"inspired_by": ["book-x-1900"]}, NOVEL | copied)
    found = list(check.faults([tmp_path / "films.jsonl", tmp_path / "books.jsonl"], links=True))
    assert found == [
        "book-roadside-picnic-1972 and film-stalker-1979 share the words “guide leads a writer and a”",
        "film-stalker-1979 leads to book-x-1900, which is not there",
    ]
