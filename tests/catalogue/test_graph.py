"""Every fact of a work is a triple, and none is invented."""

from __future__ import annotations

from collections import Counter

from backends.catalogue.graph import catalogue_graph, triples
from backends.catalogue.schema import load_works

WORKS = load_works()
GRAPH = catalogue_graph(WORKS)


def test_there_are_enough_and_of_every_kind() -> None:
    assert len(GRAPH) >= 6_000
    kinds = Counter(GRAPH.types)
    assert set(kinds) == {
        "film", "book", "game", "album", "person", "studio", "genre", "theme", "mood", "country", "language", "series",
        "award",
    }  # fmt: skip
    assert len(GRAPH.relations) >= 15 and all(GRAPH.degrees[GRAPH.numbers[key]] > 0 for key in WORKS)


def test_a_work_says_what_its_line_says() -> None:
    node = GRAPH.node("film-stalker-1979")
    told = {(e.relation, GRAPH.labels[e.tail]) for e in GRAPH.around(node, 100, outward=True).edges}
    assert {
        ("directed by", "Andrei Tarkovsky"),
        ("based on", "Roadside Picnic"),
        ("comes from", "Soviet Union"),
    } <= told
    assert GRAPH.labels[node] == "Stalker" and GRAPH.types[node] == "film"
    assert len(told) == len(set(triples(WORKS["film-stalker-1979"])))


def test_a_person_is_one_node_in_all_kinds() -> None:
    """Somebody who made works of two kinds ties them."""
    kinds: dict[str, set[str]] = {}
    for work in WORKS.values():
        for creator in work.creators:
            kinds.setdefault(creator.name, set()).add(work.kind)
    across = [name for name, found in kinds.items() if len(found) > 1]
    assert len(across) >= 50
    for name in across[:20]:
        if f"person:{name}" in GRAPH.numbers:
            around = GRAPH.around(GRAPH.numbers[f"person:{name}"], 100)
            assert len({GRAPH.types[e.head] for e in around.edges}) >= 2 or f"studio:{name}" in GRAPH.numbers
