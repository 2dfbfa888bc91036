"""Texts that perplexity is measured on: what is refused, what is kept."""

from __future__ import annotations

import codecs
import importlib.metadata
from pathlib import Path

import pytest

from backends.lm import corpus, texts
from backends.lm.corpus import Document
from backends.runtime.errors import UserError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no text"),
        (" \n\t ", "no text"),
        ("a" * 1_000_001, "limit is 1 MB"),
        ("\u00e9" * 500_001, "limit is 1 MB"),  # bytes count, not characters
        ("before\0after", "binary"),
        ("half \ud83d of a pair", "surrogate"),
    ],
)
def test_what_cannot_be_scored_is_refused(text: str, words: str):
    with pytest.raises(UserError, match=words):
        texts.visitors_text(text)


@pytest.mark.parametrize("text", ["a", "\u00e9" * 500_000, "a" * 1_000_000, "\U0001f600 emoji and\r\nlines"])
def test_what_can_be_scored_is_kept_as_it_is(text: str):
    made = texts.visitors_text(text)
    assert made.documents == (text,)
    assert made.bytes == len(text.encode())
    assert made.key == "yours"


def test_fingerprint_tells_texts_apart():
    names = {texts.visitors_text(t).fingerprint for t in ("a b", "a  b", "a b ")}
    assert len(names) == 3
    assert texts.visitors_text("a b").fingerprint in names
    joined, apart = (texts.EvaluationText("k", "l", d) for d in (("ab",), ("a", "b")))
    assert joined.fingerprint != apart.fingerprint


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\xff", 1),
        (b"first\nsecond\nthird \xe9 latin\n", 3),
        (b"first\n\xff", 2),
        (b"\n\n\n\xc3", 4),  # cut in the middle of a character
        ("caf\u00e9\n".encode() + b"\xed\xa0\xbd", 2),  # an encoded surrogate
    ],
)
def test_bytes_that_are_not_utf8_are_refused_by_line(mark: bytes, data: bytes, line: int):
    with pytest.raises(UserError, match=f"Line {line} "):
        texts.decode_upload(mark + data)


def test_utf16_is_refused():
    with pytest.raises(UserError, match="Line 1 "):
        texts.decode_upload("words".encode("utf-16"))


def test_a_byte_order_mark_is_dropped_and_only_that():
    plain = "first\r\n\ufeffsecond \U0001f600"
    assert texts.decode_upload(plain.encode()) == plain
    assert texts.decode_upload(codecs.BOM_UTF8 + plain.encode()) == plain


def test_an_upload_over_the_limit_is_refused():
    assert texts.decode_upload(b"a" * 1_000_000) == "a" * 1_000_000
    with pytest.raises(UserError, match="limit is 1 MB"):
        texts.decode_upload(b"a" * 1_000_001)


def test_stories_are_apart_from_each_other_and_scorable():
    stories = texts.stories()
    assert len(stories.documents) >= 10
    assert len(set(stories.documents)) == len(stories.documents)
    assert all(texts.visitors_text(d).documents == (d,) for d in stories.documents)


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list:
    """A corpus of two documents, counted when it is read, and a cache of the test's own."""
    reads: list = []

    def read(*enough):
        reads.append(enough)
        return (Document("a.py", "First document."), Document("b.py", "Second \u2026 one."))

    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path))
    monkeypatch.setattr(corpus, "held_out_documents", read)
    monkeypatch.setattr(corpus, "calibration_documents", read)
    return reads


def test_corpus_is_read_once_a_machine(split: list):
    first, second = texts.held_out(), texts.held_out()
    assert first == second
    assert first.documents == ("First document.", "Second \u2026 one.")
    assert split == [(texts.HELD_OUT_BYTES,)]
    assert texts.calibration().key == "calibration"
    assert split == [(texts.HELD_OUT_BYTES,), ()]


def test_other_versions_are_read_again(split: list, monkeypatch: pytest.MonkeyPatch):
    texts.held_out()
    monkeypatch.setattr(texts, "_versions", lambda: "newer")
    texts.held_out()
    assert len(split) == 2


def test_every_package_of_the_corpus_is_known_by_its_version():
    known = importlib.metadata.packages_distributions()
    for name in known.keys() & corpus.CAPS.keys():
        assert texts._DISTRIBUTED_AS.get(name, name.replace("_", "-")) in {d.replace("_", "-") for d in known[name]}
