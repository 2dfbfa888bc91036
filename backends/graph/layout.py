"""Where nodes stand: made on the server, the same each time, and never moved again when a view grows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import networkx as nx
import numpy as np

from backends.graph.knowledge import Graph

Place = tuple[float, float]
APART = 60.0  # pixels, what an edge would like to be long
GOLDEN = math.pi * (3 - math.sqrt(5))


def grown(
    graph: Graph, nodes: Sequence[int], old: Mapping[int, Place] | None = None, steps: int = 60
) -> dict[int, Place]:
    """Places of these nodes in pixels; those of `old` stay exactly where they are, new ones find room beside them.

    A new node starts next to the first neighbour that has a place, in a direction of its own, and is moved by
    networkx's force layout. No chance is involved.
    """
    there = {node: place for node, place in (old or {}).items() if node in set(nodes)}
    new = [node for node in nodes if node not in there]
    if not new:
        return there
    plain = nx.Graph()
    plain.add_nodes_from(nodes)
    plain.add_edges_from((edge.head, edge.tail) for edge in graph.among(nodes) if edge.head != edge.tail)
    start = dict(there)
    for turn, node in enumerate(_outward(plain, new, there)):
        parent = next((start[other] for other in sorted(plain[node]) if other in start), _middle(start))
        angle, radius = GOLDEN * turn, APART * (1 + 0.15 * math.sqrt(turn))
        start[node] = (parent[0] + radius * math.cos(angle), parent[1] + radius * math.sin(angle))
    if len(nodes) == 1:
        return start
    moved = nx.spring_layout(
        plain, k=APART, pos=start, fixed=list(there) or None, iterations=steps, threshold=1e-3, scale=None, seed=0,
    )  # fmt: skip
    found = {node: (float(moved[node][0]), float(moved[node][1])) for node in new}
    return there | _apart(found, there)


def _outward(plain: nx.Graph, new: Sequence[int], there: Mapping[int, Place]) -> list[int]:
    """New nodes in the order in which they are reached from those that stand; the busiest first where none does."""
    wanted, order = set(new), []
    seeds = sorted(there) or [max(sorted(new), key=lambda node: plain.degree[node])]
    for seed in [*seeds, *sorted(new)]:
        if seed in wanted:
            order.append(seed)
            wanted.discard(seed)
        for _, node in nx.bfs_edges(plain, seed, sort_neighbors=sorted):
            if node in wanted:
                order.append(node)
                wanted.discard(node)
    return order


def _middle(places: Mapping[int, Place]) -> Place:
    if not places:
        return (0.0, 0.0)
    x, y = np.mean(list(places.values()), 0)
    return (float(x), float(y))


def _apart(found: dict[int, Place], there: Mapping[int, Place], least: float = 0.4 * APART) -> dict[int, Place]:
    """New nodes that would cover another one are turned outward until they do not."""
    standing = list(there.values())
    for node, (x, y) in sorted(found.items()):
        turn = 0
        while any(math.dist((x, y), other) < least for other in standing):
            turn += 1
            x = found[node][0] + least * 0.5 * math.sqrt(turn) * math.cos(GOLDEN * turn)
            y = found[node][1] + least * 0.5 * math.sqrt(turn) * math.sin(GOLDEN * turn)
        found[node] = (x, y)
        standing.append((x, y))
    return found
