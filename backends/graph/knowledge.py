"""A knowledge graph: named, typed nodes and triples, indexed for quick neighbourhoods.

    graph = Graph.of([("Stalker", "directed by", "Andrei Tarkovsky"), ...])
    graph.around(graph.node("Stalker")).edges

Hundreds of thousands of triples are arrays here and cost a few megabytes; what algorithms need becomes a networkx graph
on demand.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from backends.runtime.errors import UserError

CAP = 12  # neighbours of one relation that are shown at once
TRIED = 30  # ways between two nodes that are looked at


@dataclass(frozen=True)
class Edge:
    """One triple, by number and by name. head and tail are node numbers."""

    number: int
    head: int
    relation: str
    tail: int

    def other(self, node: int) -> int:
        """The end that `node` is not."""
        return self.tail if node == self.head else self.head


@dataclass(frozen=True)
class Neighbourhood:
    """edges: shown ones; hidden: how many more there are, by relation and whether the node is its head."""

    node: int
    edges: tuple[Edge, ...]
    hidden: Mapping[tuple[str, bool], int]


@dataclass(frozen=True)
class Graph:
    """ids, labels, types: of the nodes, in one order; relations: names; heads, kinds, tails: (triples,), int32.

    kinds: which relation.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    types: tuple[str, ...]
    relations: tuple[str, ...]
    heads: np.ndarray
    kinds: np.ndarray
    tails: np.ndarray

    @classmethod
    def of(
        cls, triples: Iterable[tuple[str, str, str]], labels: Mapping[str, str] | None = None,
        types: Mapping[str, str] | None = None, more: Iterable[str] = (),
    ) -> Graph:  # fmt: skip
        """From ids; a triple that stands there twice counts once. labels, types: by id, where known; more: nodes that
        may have no triple."""
        nodes: dict[str, int] = {}
        relations: dict[str, int] = {}
        rows = dict.fromkeys(
            (nodes.setdefault(h, len(nodes)), relations.setdefault(r, len(relations)), nodes.setdefault(t, len(nodes)))
            for h, r, t in triples
        )
        for one in more:
            nodes.setdefault(one, len(nodes))
        three = np.array(list(rows), np.int32).reshape(-1, 3)
        names, kinds = labels or {}, types or {}
        return cls(
            tuple(nodes), tuple(names.get(one) or one for one in nodes), tuple(kinds.get(one, "") for one in nodes),
            tuple(relations), three[:, 0], three[:, 1], three[:, 2],
        )  # fmt: skip

    def __len__(self) -> int:
        """How many triples."""
        return len(self.heads)

    @functools.cached_property
    def numbers(self) -> dict[str, int]:
        """Node numbers by id."""
        return {one: number for number, one in enumerate(self.ids)}

    @functools.cached_property
    def degrees(self) -> np.ndarray:
        """(nodes,): triples at either end; a loop counts twice."""
        ends = np.concatenate([self.heads, self.tails])
        return np.bincount(ends, minlength=len(self.ids))

    @functools.cached_property
    def _at(self) -> tuple[np.ndarray, np.ndarray]:
        """Triples by node: those of node n are order[starts[n]:starts[n + 1]]; a loop stands there once."""
        loop = self.heads == self.tails
        ends = np.concatenate([self.heads, self.tails[~loop]])
        rows = np.concatenate([np.arange(len(self)), np.flatnonzero(~loop)])
        order = np.argsort(ends, kind="stable")
        return rows[order], np.searchsorted(ends[order], np.arange(len(self.ids) + 1))

    def node(self, name: str) -> int:
        """A node's number by id, or by a label that only it has. Raises UserError."""
        if name in self.numbers:
            return self.numbers[name]
        found = [number for number, label in enumerate(self.labels) if label == name]
        if len(found) != 1:
            raise UserError(f"There {'is no node' if not found else f'are {len(found)} nodes'} called {name[:60]!r}.")
        return found[0]

    def edge(self, number: int) -> Edge:
        """A triple by its number."""
        h, r, t = (int(column[number]) for column in (self.heads, self.kinds, self.tails))
        return Edge(number, h, self.relations[r], t)

    def around(
        self, node: int, cap: int = CAP, relation: str | None = None, outward: bool | None = None, skip: int = 0
    ) -> Neighbourhood:
        """What a node is tied to: of each relation and direction the `cap` neighbours that have most ties themselves,
        after the first `skip`. outward: only where the node is the head, or the tail; a loop is outward."""
        order, starts = self._at
        rows = order[starts[node] : starts[node + 1]]
        out = self.heads[rows] == node
        if relation is not None:
            keep = self.kinds[rows] == (self.relations.index(relation) if relation in self.relations else -1)
            rows, out = rows[keep], out[keep]
        if outward is not None:
            rows, out = rows[out == outward], out[out == outward]
        others = np.where(out, self.tails[rows], self.heads[rows])
        rank = np.lexsort((others, -self.degrees[others], ~out, self.kinds[rows]))
        rows, out = rows[rank], out[rank]
        shown, hidden = [], {}
        groups = self.kinds[rows].astype(np.int64) * 2 + ~out
        for group in np.unique(groups):
            mine = rows[groups == group]
            shown += mine[skip : skip + cap].tolist()
            if (left := len(mine) - min(len(mine), skip + cap)) > 0:
                hidden[self.relations[group // 2], not group % 2] = left
        return Neighbourhood(node, tuple(self.edge(row) for row in shown), hidden)

    def among(self, nodes: Iterable[int]) -> tuple[Edge, ...]:
        """Every triple whose two ends are among these nodes."""
        inside = np.zeros(len(self.ids), bool)
        inside[list(nodes)] = True
        return tuple(self.edge(int(row)) for row in np.flatnonzero(inside[self.heads] & inside[self.tails]))

    def to_networkx(self, nodes: Sequence[int] | None = None) -> nx.MultiDiGraph:
        """All of it, or what lies among these nodes; node keys are ids, with label and type; edges have a relation."""
        made = nx.MultiDiGraph()
        for number in range(len(self.ids)) if nodes is None else nodes:
            made.add_node(self.ids[number], label=self.labels[number], type=self.types[number])
        edges = (self.edge(row) for row in range(len(self))) if nodes is None else self.among(nodes)
        made.add_edges_from((self.ids[e.head], self.ids[e.tail], e.relation, {"relation": e.relation}) for e in edges)
        return made

    @classmethod
    def from_networkx(cls, given: nx.Graph) -> Graph:
        """Any networkx graph; an edge without a relation is "linked to"."""
        labels = {str(n): str(data.get("label") or n) for n, data in given.nodes(data=True)}
        types = {str(n): str(data.get("type") or "") for n, data in given.nodes(data=True)}
        triples = ((str(h), str(data.get("relation") or "linked to"), str(t)) for h, t, data in given.edges(data=True))
        return cls.of(triples, labels, types, labels)

    def paths(self, start: int, end: int, most: int = 3, longest: int = 4) -> list[tuple[Edge, ...]]:
        """The shortest simple paths between two nodes, in any direction, at most `longest` edges; busy nodes last."""
        near = self._within(start, end, longest)
        if not {start, end} <= near:
            return []
        plain = nx.Graph()
        cost = np.log2(2 + self.degrees)
        for edge in self.among(near):
            plain.add_edge(edge.head, edge.tail, weight=float(cost[edge.head] + cost[edge.tail]))
        found = []
        if start in plain and end in plain and nx.has_path(plain, start, end):
            ways = nx.shortest_simple_paths(plain, start, end, weight="weight")
            for nodes in itertools.islice(ways, TRIED):
                if len(nodes) <= longest + 1:
                    found.append(tuple(self._between(a, b) for a, b in itertools.pairwise(nodes)))
        return found[:most]

    def _between(self, a: int, b: int) -> Edge:
        order, starts = self._at
        rows = order[starts[a] : starts[a + 1]]
        row = next(row for row in rows.tolist() if {self.heads[row], self.tails[row]} == {a, b})
        return self.edge(row)

    def _within(self, start: int, end: int, longest: int, most: int = 4000) -> set[int]:
        """Nodes on some short way from one to the other: half the length from each, as far as that stays small."""
        found: set[int] = set()
        for node, hops in ((start, (longest + 1) // 2), (end, longest // 2)):
            layer, seen = {node}, {node}
            for _ in range(hops):
                layer = {edge.other(one) for one in layer for edge in self.around(one, 40).edges} - seen
                seen |= layer
                if len(seen) > most:
                    break
            found |= seen
        return found
