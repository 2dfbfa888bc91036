"""A map of a whole graph, tens of thousands of nodes: communities side by side, the busiest of each in its middle.

    land = overview(graph)                         # places, and regions with the names that stand for them

No force is simulated between single nodes: a community is a disc filled from its middle outwards, discs are placed by
the ties between them, and both follow from the graph alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import networkx as nx
import numpy as np
import scipy.sparse as sp
from sknetwork.clustering import Louvain

from backends.graph.knowledge import Graph

GOLDEN = math.pi * (3 - math.sqrt(5))
LEAST = 12  # nodes of a community that gets a disc of its own
NAMED = 3  # busiest nodes that stand for a region


@dataclass(frozen=True)
class Region:
    """A community. nodes: numbers, the busiest first; x, y, radius: of its disc."""

    nodes: np.ndarray
    x: float
    y: float
    radius: float
    name: str


@dataclass(frozen=True)
class Overview:
    """places: (nodes, 2); region: (nodes,), which; regions: the largest first, the last one gathers what is small."""

    places: np.ndarray
    region: np.ndarray
    regions: tuple[Region, ...]


def overview(graph: Graph, seed: int = 0) -> Overview:
    """Every node's place; an area of one for each node."""
    count = len(graph.ids)
    if not count:
        return Overview(np.zeros((0, 2)), np.zeros(0, int), ())
    group = _communities(graph, seed)
    sizes = np.bincount(group)
    radii = np.sqrt(sizes / math.pi) * 1.15
    centres = _discs(graph, group, radii, seed)
    places, regions = np.zeros((count, 2)), []
    for one in range(len(sizes)):
        nodes = np.flatnonzero(group == one)
        nodes = nodes[np.lexsort((nodes, -graph.degrees[nodes]))]
        turn = np.arange(len(nodes))
        reach = radii[one] * np.sqrt((turn + 0.5) / len(nodes))
        places[nodes] = centres[one] + np.stack([reach * np.cos(GOLDEN * turn), reach * np.sin(GOLDEN * turn)], 1)
        name = ", ".join(graph.labels[node] for node in nodes[:NAMED])
        regions.append(Region(nodes, float(centres[one, 0]), float(centres[one, 1]), float(radii[one]), name))
    return Overview(places, group, tuple(regions))


def _communities(graph: Graph, seed: int) -> np.ndarray:
    """(nodes,): Louvain's communities, the largest first; the small ones together are the last."""
    count = len(graph.ids)
    ends = np.concatenate([graph.heads, graph.tails]), np.concatenate([graph.tails, graph.heads])
    ties = sp.coo_matrix((np.ones(2 * len(graph)), ends), (count, count)).tocsr()
    found = Louvain(random_state=seed).fit_predict(ties) if len(graph) else np.zeros(count, int)
    _, group, sizes = np.unique(found, return_inverse=True, return_counts=True)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(order), int)
    rank[order] = np.arange(len(order))
    large = int((sizes >= LEAST).sum())
    return np.minimum(rank[group], large)


def _discs(graph: Graph, group: np.ndarray, radii: np.ndarray, seed: int) -> np.ndarray:
    """Centres of the discs: near where ties are many, none over another."""
    count = len(radii)
    if count == 1:
        return np.zeros((1, 2))
    ties = sp.coo_matrix((np.ones(len(graph)), (group[graph.heads], group[graph.tails])), (count, count)).toarray()
    ties += ties.T
    np.fill_diagonal(ties, 0)
    plain = nx.Graph()
    plain.add_nodes_from(range(count))
    plain.add_weighted_edges_from(
        (i, j, float(np.log1p(ties[i, j]))) for i in range(count) for j in range(i) if ties[i, j]
    )
    drawn = nx.spring_layout(plain, seed=seed, iterations=200, weight="weight")
    centres = np.array([drawn[i] for i in range(count)]) * radii.sum()
    for _ in range(400):  # push apart what overlaps, pull everything to the middle
        gap = centres[:, None] - centres[None]
        far = np.linalg.norm(gap, axis=2) + np.eye(count)
        over = np.maximum(0, (radii[:, None] + radii[None]) * 1.06 - far)
        np.fill_diagonal(over, 0)
        push = (gap / far[..., None] * over[..., None]).sum(1) * 0.25
        centres = (centres + push) * (0.995 if not over.any() else 1.0)
        if not over.any() and np.linalg.norm(centres, axis=1).max() < 2.2 * math.sqrt((radii**2).sum()):
            break
    return centres - centres.mean(0)
