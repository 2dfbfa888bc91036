"""A map of everything: each node once, communities apart, the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from backends.graph.knowledge import Graph
from backends.graph.overview import LEAST, overview
from tests.graph.test_knowledge import drawn


def islands(count: int = 5, size: int = 40) -> Graph:
    rng = np.random.default_rng(0)
    triples = [(f"{i}.{a}", "near", f"{i}.{b}") for i in range(count) for a, b in rng.integers(0, size, (size * 6, 2))]
    triples += [(f"{i}.0", "bridge", f"{(i + 1) % count}.0") for i in range(count)]
    return Graph.of(triples)


def test_communities_are_found_and_stand_apart() -> None:
    graph = islands()
    land = overview(graph)
    assert len(land.regions) == 5 and land.places.shape == (len(graph.ids), 2) and np.isfinite(land.places).all()
    for number, region in enumerate(land.regions):
        assert len({graph.ids[node].split(".")[0] for node in region.nodes}) == 1
        assert (land.region[region.nodes] == number).all()
        reach = np.linalg.norm(land.places[region.nodes] - [region.x, region.y], axis=1)
        assert reach.max() <= region.radius and reach.argmin() == 0
        assert (np.diff(graph.degrees[region.nodes]) <= 0).all() and graph.labels[region.nodes[0]] in region.name
    for i, one in enumerate(land.regions):
        for other in land.regions[:i]:
            assert np.hypot(one.x - other.x, one.y - other.y) >= one.radius + other.radius
    assert sum(len(region.nodes) for region in land.regions) == len(graph.ids)


def test_it_is_the_same_every_time() -> None:
    one, two = overview(islands()), overview(islands())
    assert np.array_equal(one.places, two.places) and one.regions[0].name == two.regions[0].name


@pytest.mark.parametrize(
    "graph",
    [
        Graph.of([]), Graph.of([("a", "r", "b")]), Graph.of([], more=["alone"]), Graph.of([("a", "r", "a")]),
        Graph.of((f"a{i}", "r", f"b{i}") for i in range(50)), drawn(0),
    ],
)  # fmt: skip
def test_any_graph_has_a_map(graph: Graph) -> None:
    land = overview(graph)
    assert len(land.places) == len(graph.ids) and np.isfinite(land.places).all()
    assert sum(len(region.nodes) for region in land.regions) == len(graph.ids)
    assert all(len(region.nodes) >= LEAST for region in land.regions[:-1])
    if len(graph.ids) > 1:
        gaps = np.linalg.norm(land.places[:, None] - land.places[None], axis=2) + 10 * np.eye(len(graph.ids))
        assert gaps.min() > 0.3
