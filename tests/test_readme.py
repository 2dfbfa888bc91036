"""README.md says what the results say."""

from __future__ import annotations

import json

import pytest

from benchmarks import tables
from benchmarks.report import RESULTS, Claim


def test_tables_are_made_from_the_results() -> None:
    text = tables.README.read_text(encoding="utf-8")
    assert tables.renewed(text) == text, "run python -m benchmarks.tables"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda p: p.stem)
def test_every_result_has_the_common_form(path) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))
    assert {"name", "machine", "date", "settings", "rows", "claims"} <= body.keys()
    assert body["name"] == path.stem and body["rows"]
    for claim in body["claims"]:
        met = claim.pop("met")
        assert Claim(**claim).met == met


def test_every_place_in_the_readme_has_its_table() -> None:
    places = [match[2] for match in tables.PLACE.finditer(tables.README.read_text(encoding="utf-8"))]
    assert places and set(places) <= set(tables.TABLES)
