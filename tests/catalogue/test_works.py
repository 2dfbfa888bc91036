"""The catalogue that ships: enough of each kind, from everywhere and every time, right where public data can tell."""

from __future__ import annotations

import csv
import gzip
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping

import pytest

from backends.catalogue.check import shared_runs
from backends.catalogue.schema import KINDS, Work, load_works, vocabulary
from benchmarks.report import public_data

FILMS = public_data() / "kg" / "ml100k_dbpedia"
# Looked at one by one: what the public data has otherwise, and why the catalogue keeps its own.
OTHERWISE = {
    ("Ran", "linked to an Indian film of that name"),
    ("M", "linked to another film"),
    ("Dead Man", "linked to Dead Man Walking"),
    ("Apocalypse Now", "another form of the same director's name"),
    ("Monty Python and the Holy Grail", "first shown in 1975; the data has the year of its making"),
    ("Orlando", "first shown in Venice in 1992; the data has its release"),
    ("Koyaanisqatsi", "first shown in 1982; the data has its release"),
}


@pytest.fixture(scope="module")
def works() -> Mapping[str, Work]:
    return load_works()


def test_there_are_enough_of_each_kind(works: Mapping[str, Work]) -> None:
    counts = Counter(work.kind for work in works.values())
    assert sum(counts.values()) >= 1500 and all(counts[kind] >= 180 for kind in KINDS)


def test_they_come_from_everywhere_and_every_time(works: Mapping[str, Work]) -> None:
    for kind in KINDS:
        mine = [work for work in works.values() if work.kind == kind]
        countries = Counter(country for work in mine for country in work.countries)
        english = sum(bool({"United States", "United Kingdom"} & set(work.countries)) for work in mine)
        assert len(countries) >= 40 and english <= 0.5 * len(mine)
        decades = Counter(work.year // 10 for work in mine)
        assert all(decades[decade] >= 5 for decade in range(197 if kind == "game" else 196, 203))


def test_no_two_descriptions_share_six_words(works: Mapping[str, Work]) -> None:
    assert list(shared_runs(works.values())) == []


def test_kinds_are_tied_to_each_other(works: Mapping[str, Work]) -> None:
    links = [(work.kind, works[key].kind) for work in works.values() for key in (*work.based_on, *work.inspired_by)]
    across = Counter(frozenset(pair) for pair in links if pair[0] != pair[1])
    assert len(links) >= 500 and len(across) == 6 and min(across.values()) >= 10


def test_the_words_are_used(works: Mapping[str, Work]) -> None:
    """A word that hardly any work has tells nothing."""
    known = vocabulary()
    for words, field in ((known.themes, "themes"), (known.moods, "moods")):
        used = Counter(word for work in works.values() for word in getattr(work, field))
        assert sum(used[word] >= 3 for word in words) >= 0.95 * len(words)
        assert max(used.values()) < 0.2 * len(works)


def plain(text: str) -> str:
    """A name or title for comparison: the article in front, no accents, no brackets."""
    text = unicodedata.normalize("NFKD", text.replace("_", " ")).encode("ascii", "ignore").decode().lower()
    text = re.sub(r"\(.*?\)", "", text).strip()
    text = re.sub(r"^(.*), (the|a|an|la|le|il|el|les|das|der|die)$", r"\2 \1", text)
    return re.sub(r"[^a-z0-9]+", " ", re.sub(r"^(the|a|an) ", "", text)).strip()


@pytest.mark.skipif(not FILMS.is_dir(), reason="the public films are not here")
def test_films_agree_with_public_data(works: Mapping[str, Work]) -> None:
    """Year, director and cast of every film that both have. DBpedia's `starring` is often cut short: a name that it
    lacks says nothing where it has fewer than four."""

    def rows(name: str) -> list[dict[str, str]]:
        with gzip.open(FILMS / name, "rt", encoding="utf-8") as file:
            return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    facts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in rows("triples.tsv.gz"):
        facts[row["item_id"]][row["relation"]].add(plain(row["entity_name"]))
    by_title = {
        plain(title): work
        for work in works.values() if work.kind == "film" for title in (work.title, work.original_title or work.title)
    }  # fmt: skip
    asked, wrong = Counter(), defaultdict(list)
    for row in rows("items.tsv.gz"):
        work = next((by_title[t] for t in (plain(row["title"]),) if t in by_title), None)
        if work is None or abs(work.year - int(float(row["year"] or 0))) > 3:
            continue
        theirs = facts[row["item_id"]]
        of = {role: {plain(c.name) for c in work.creators if c.role == role} for role in ("director", "cast")}
        told = {"year": work.year == int(float(row["year"]))}
        if theirs["director"]:
            told["director"] = bool(of["director"] & theirs["director"])
        told |= {f"cast {name}": name in theirs["starring"] for name in of["cast"] if len(theirs["starring"]) >= 4}
        for what, right in told.items():
            asked[what.split()[0]] += 1
            if not right and work.title not in {title for title, _ in OTHERWISE}:
                wrong[what.split()[0]].append((work.title, what, sorted(theirs["director"] | theirs["starring"])))
    assert asked["year"] >= 60 and asked["director"] >= 50 and asked["cast"] >= 60
    for what, total in asked.items():
        assert len(wrong[what]) <= 0.03 * total, wrong[what]
