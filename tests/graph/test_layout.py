"""Nodes stand still, apart from each other, near what they are tied to, and in the same place every time."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from backends.graph.knowledge import Graph
from backends.graph.layout import APART, grown
from tests.graph.test_knowledge import drawn


def closest(places: dict[int, tuple[float, float]]) -> float:
    return min(math.dist(a, b) for a, b in combinations(places.values(), 2))


@pytest.mark.parametrize("seed", range(4))
def test_old_nodes_do_not_move_at_all(seed: int) -> None:
    graph = drawn(seed, 80, 160)
    first = grown(graph, range(20))
    more = grown(graph, range(50), first)
    whole = grown(graph, range(len(graph.ids)), more)
    assert {node: whole[node] for node in more} == more and {node: more[node] for node in first} == first
    assert set(whole) == set(range(len(graph.ids))) and closest(whole) > 0.39 * APART
    assert grown(graph, range(10), whole) == {node: whole[node] for node in range(10)}  # folding


def test_it_is_the_same_every_time() -> None:
    graph = drawn(1, 60, 120)
    assert grown(graph, range(40)) == grown(graph, range(40))


def test_ties_are_short() -> None:
    graph = drawn(2, 60, 90)
    places = grown(graph, range(len(graph.ids)))
    tied = [math.dist(places[e.head], places[e.tail]) for e in graph.among(places) if e.head != e.tail]
    every = [math.dist(a, b) for a, b in combinations(places.values(), 2)]
    assert np.mean(tied) < 0.75 * np.mean(every)
    assert all(math.isfinite(x) for place in places.values() for x in place)


def test_one_two_and_none() -> None:
    graph = Graph.of([("a", "r", "b")], more=["alone"])
    assert grown(graph, []) == {}
    assert grown(graph, [0]) == {0: (APART, 0.0)}
    assert closest(grown(graph, [0, 1, 2])) > 0.39 * APART
    assert closest(grown(graph, [0, 2], {2: (5.0, 5.0)})) > 0.39 * APART


def test_a_fan_spreads_around_its_centre() -> None:
    graph = Graph.of(("hub", "r", f"leaf {i}") for i in range(40))
    first = grown(graph, [0])
    places = grown(graph, range(41), first)
    angles = sorted(math.atan2(places[i][1] - first[0][1], places[i][0] - first[0][0]) for i in range(1, 41))
    gaps = np.diff([*angles, angles[0] + 2 * math.pi])
    assert gaps.max() < 1.0 and max(math.dist(places[0], places[i]) for i in range(1, 41)) < 8 * APART
