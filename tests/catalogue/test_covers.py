"""A cover is well-formed, its own, the same every time, readable, and obeys no title."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter

import numpy as np
import pytest

from backends.catalogue.covers import HIGH, MOODS, PALETTES, WIDE, cover
from backends.catalogue.motifs import BY_THEME, MOTIFS, Sheet
from backends.catalogue.schema import load_works, vocabulary

WORKS = load_works()
SOME = list(WORKS.values())[::7]


def test_every_word_has_its_picture_and_every_mood_its_colours() -> None:
    assert not set(BY_THEME) - set(vocabulary().themes)
    assert not set(vocabulary().moods) - set(MOODS) and set(MOODS.values()) == set(PALETTES)
    missing = sum(not any(theme in BY_THEME for theme in work.themes) for work in WORKS.values())
    assert missing < 0.03 * len(WORKS)


def test_they_are_well_formed_and_their_own() -> None:
    drawn = {work.key: cover(work) for work in SOME}
    assert len(set(drawn.values())) == len(SOME)
    assert all(cover(work) == drawn[work.key] for work in SOME[::10])
    for work in SOME:
        tree = ET.fromstring(drawn[work.key])
        assert tree.get("viewBox") == f"0 0 {WIDE} {WIDE if work.kind == 'album' else HIGH}"
        words = " ".join(" ".join(t.itertext()) for t in tree.iter("{http://www.w3.org/2000/svg}text"))
        assert "".join(work.title.split()).lower() in "".join(words.split()).lower()
        assert "http" not in drawn[work.key].replace("http://www.w3.org/2000/svg", "")
        assert len(drawn[work.key]) < 60_000


def test_every_motif_can_be_drawn() -> None:
    for motif in MOTIFS:
        for high in (WIDE, HIGH):
            s = Sheet(WIDE, high, *PALETTES["warm"], np.random.default_rng(0))
            motif(s)
            assert len(s.parts) >= 2, motif.__name__
            ET.fromstring(f"<svg>{''.join(s.parts)}</svg>")
    used = Counter(next((BY_THEME[t] for t in w.themes if t in BY_THEME), None) for w in WORKS.values())
    assert set(MOTIFS) <= set(used) and max(used.values()) < 0.2 * len(WORKS)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("name", PALETTES)
def test_titles_can_be_read(name: str) -> None:
    _, _, deep, light = map(luminance, PALETTES[name])
    assert (max(deep, light) + 0.05) / (min(deep, light) + 0.05) >= 7


def test_a_title_is_only_text() -> None:
    work = next(iter(WORKS.values()))
    hostile = work.model_copy(update={"title": '</text><script>alert(1)</script> & "x" \'', "creators": work.creators})
    text = cover(hostile)
    assert "<script" not in text.lower()
    words = " ".join("".join(t.itertext()) for t in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text"))
    assert "</text><script>alert(1)</script>" in words.lower()
