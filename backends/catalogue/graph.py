"""The catalogue as a knowledge graph: works, the people who made them, and the words that they share.

graph = catalogue_graph(load_works())
graph.around(graph.node("film-stalker-1979"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from backends.catalogue.schema import Role, Work
from backends.graph.knowledge import Graph

BY_ROLE: dict[Role, str] = {
    "director": "directed by", "writer": "written by", "cast": "starring", "composer": "music by",
    "author": "written by", "illustrator": "illustrated by", "studio": "made by", "designer": "designed by",
    "artist": "performed by",
}  # fmt: skip
BY_WORD = {"genres": ("genre", "has genre"), "themes": ("theme", "is about"), "moods": ("mood", "feels"),
           "countries": ("country", "comes from"), "languages": ("language", "in")}  # fmt: skip
BY_LINK = {"based_on": "based on", "inspired_by": "inspired by"}


def triples(work: Work) -> Iterator[tuple[str, str, str]]:
    """(head, relation, tail) of one work; entities that are no works are named "kind:name"."""
    for creator in work.creators:
        maker = "studio" if creator.role == "studio" else "person"
        yield work.key, BY_ROLE[creator.role], f"{maker}:{creator.name}"
    for field, (kind, relation) in BY_WORD.items():
        for word in getattr(work, field):
            yield work.key, relation, f"{kind}:{word}"
    for field, relation in BY_LINK.items():
        for key in getattr(work, field):
            yield work.key, relation, key
    if work.series:
        yield work.key, "part of", f"series:{work.series}"
    for award in work.awards:
        yield work.key, "won", f"award:{award.name}"


def catalogue_graph(works: Mapping[str, Work]) -> Graph:
    """Works by their keys, titles as labels; everything else by kind and name."""
    told = [one for work in works.values() for one in triples(work)]
    entities = {name for _, _, name in told if name not in works}
    labels = {name: name.partition(":")[2] for name in entities} | {key: work.title for key, work in works.items()}
    types = {name: name.partition(":")[0] for name in entities} | {key: work.kind for key, work in works.items()}
    return Graph.of(told, labels, types, works)
