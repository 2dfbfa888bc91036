"""Graphs from files and to files: CSV of triples, GraphML, RecBole's .kg, and RDF as N-Triples or Turtle.

    graph, notes = read_graph(Path("films.csv"))   # notes: one sentence for each thing that was put right

A stranger's file is bounded before it is parsed and refused in one sentence with the number of its line.
"""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import networkx as nx

from backends.graph.knowledge import Graph
from backends.runtime.errors import UserError
from backends.runtime.files import whole_file
from backends.runtime.tables import cell, rows_of, text_of

MOST_BYTES, MOST_TRIPLES = 200_000_000, 1_000_000
COLUMNS = (("head", "relation", "tail"), ("subject", "predicate", "object"), ("source", "relation", "target"))
KG = ("head_id", "relation_id", "tail_id")  # RecBole's atomic file, each followed by ":token"
BASE = "urn:vitrine:"  # of names that are no addresses, in RDF
Triple = tuple[str, str, str]


def read_graph(path: Path) -> tuple[Graph, list[str]]:
    """A graph by its file's ending (.csv, .tsv, .kg, .graphml, .nt, .ttl), and what was put right. Raises UserError."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path.name} is of no known kind: use {', '.join(READERS)}.")
    return reader(text_of(path, MOST_BYTES), path.name)


def write_graph(graph: Graph, path: Path) -> None:
    """Write by the file's ending; what `read_graph` reads again. CSV, .kg and RDF hold triples: GraphML holds nodes
    without one too, labels and types. Raises UserError."""
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UserError(f"{path.name} is of no known kind: use {', '.join(WRITERS)}.")
    with whole_file(path) as temporary:
        temporary.write_text(writer(graph), encoding="utf-8", newline="")


# ---- tables ----------------------------------------------------------------------------------------------------------


def _table(text: str, name: str) -> tuple[Graph, list[str]]:
    rows = rows_of(text, name)
    places = _places([one.strip().lower() for one in next(rows)[1]], name)
    doubles, loops = Counted(), Counted()
    labels: dict[str, str] = {}
    types: dict[str, str] = {}
    found: dict[Triple, None] = {}
    more = [(kept, end, places["more"][column]) for kept, end, column in (
        (labels, 0, "head_label"), (labels, 2, "tail_label"), (types, 0, "head_type"), (types, 2, "tail_type"),
    ) if column in places["more"]]  # fmt: skip
    for line, row in rows:
        triple = tuple(cell(row[i], name, line) for i in places["triple"])
        if triple in found:
            doubles.add(line)
        if triple[0] == triple[2]:
            loops.add(line)
        found[triple] = None
        if len(found) > MOST_TRIPLES:
            raise UserError(f"{name}, line {line}: more than {MOST_TRIPLES:,} triples: use a part of the file.")
        for kept, end, column in more:
            if row[column].strip():
                kept[triple[end]] = cell(row[column], name, line)
    if not found:
        raise UserError(f"{name} has a header and no triple.")
    notes = []
    if doubles.count:
        notes.append(f"{doubles.count:,} triples stand there twice and count once, the first in line {doubles.first}.")
    if loops.count:
        notes.append(f"{loops.count:,} triples lead from a node to itself, the first in line {loops.first}.")
    return Graph.of(found, labels, types), notes


@dataclass
class Counted:
    """How often something was met, and in which line first."""

    count: int = 0
    first: int = 0

    def add(self, line: int) -> None:
        """Once more."""
        self.count, self.first = self.count + 1, self.first or line


def _places(header: Sequence[str], name: str) -> dict:
    """Which column is what. Raises UserError."""
    plain = [one.removesuffix(":token") for one in header]
    for names in (*COLUMNS, KG):
        if set(names) <= set(plain):
            more = {column: plain.index(column) for column in plain if column not in names}
            return {"triple": [plain.index(one) for one in names], "more": more, "header": plain}
    raise UserError(
        f"{name}, line 1: the columns head, relation and tail are missing; here are {', '.join(header)[:100]}."
    )


def _as_table(graph: Graph) -> str:
    out = io.StringIO(newline="")
    write = csv.writer(out)
    write.writerow(["head", "relation", "tail", "head_label", "tail_label", "head_type", "tail_type"])
    for edge in map(graph.edge, range(len(graph))):
        two = (edge.head, edge.tail)
        write.writerow([graph.ids[edge.head], edge.relation, graph.ids[edge.tail],
                        *(graph.labels[i] for i in two), *(graph.types[i] for i in two)])  # fmt: skip
    return out.getvalue()


def _as_kg(graph: Graph) -> str:
    lines = ["\t".join(f"{one}:token" for one in KG)]
    for edge in map(graph.edge, range(len(graph))):
        lines.append("\t".join((graph.ids[edge.head], edge.relation, graph.ids[edge.tail])))
    return "\n".join(lines) + "\n"


# ---- GraphML ---------------------------------------------------------------------------------------------------------


def _graphml(text: str, name: str) -> tuple[Graph, list[str]]:
    if (found := re.search("<!(DOCTYPE|ENTITY)", text)) is not None:
        line = text.count("\n", 0, found.start()) + 1
        raise UserError(f"{name}, line {line}: definitions of a document type are not read: remove them.")
    try:
        given = nx.parse_graphml(text)
    except ET.ParseError as error:
        raise UserError(f"{name}, line {error.position[0]}: this is no XML.") from error
    except (nx.NetworkXError, KeyError, ValueError, TypeError, IndexError) as error:
        raise UserError(f"{name} is no GraphML that can be read.") from error
    if given.number_of_edges() > MOST_TRIPLES:
        raise UserError(f"{name} has more than {MOST_TRIPLES:,} edges: use a part of the file.")
    graph = Graph.from_networkx(given)
    for text_ in (*graph.ids, *graph.labels, *graph.types, *graph.relations):
        if text_:
            cell(text_, name, 1)
    alone = int((graph.degrees == 0).sum())
    return graph, [f"{alone:,} nodes have no edge."] if alone else []


def _as_graphml(graph: Graph) -> str:
    return "\n".join(nx.generate_graphml(graph.to_networkx())) + "\n"


# ---- RDF -------------------------------------------------------------------------------------------------------------


def _rdf(kind: str) -> Callable[[str, str], tuple[Graph, list[str]]]:
    def read(text: str, name: str) -> tuple[Graph, list[str]]:
        import rdflib
        from rdflib.plugins.parsers.notation3 import BadSyntax
        from rdflib.plugins.parsers.ntriples import ParseError

        made = rdflib.Graph()
        try:
            made.parse(data=text, format=kind)
        except BadSyntax as error:
            raise UserError(f"{name}, line {error.lines + 1}: this is no Turtle.") from error
        except (ParseError, ValueError, AttributeError) as error:
            raise UserError(f"{name} is not RDF of its kind: {str(error).splitlines()[0][:80]}") from error
        if len(made) > MOST_TRIPLES:
            raise UserError(f"{name} has more than {MOST_TRIPLES:,} triples: use a part of the file.")
        if not len(made):
            raise UserError(f"{name} holds no triple.")
        labels = {_name(s): str(o) for s, o in made.subject_objects(rdflib.RDFS.label)}
        types = {_name(s): _short(o) for s, o in made.subject_objects(rdflib.RDF.type)}
        about = {rdflib.RDFS.label, rdflib.RDF.type}
        triples = sorted((_name(h), _short(r), _name(t)) for h, r, t in made if r not in about)
        for row in triples:
            for one in row:
                cell(one, name, 1)
        return Graph.of(triples, labels, types, {*labels, *types}), []

    return read


def _name(term: object) -> str:
    text = str(term)
    return unquote(text.removeprefix(BASE)) if text.startswith(BASE) else text


def _short(term: object) -> str:
    """A relation's or type's own word: what stands behind the last / or #."""
    return unquote(re.split(r"[/#]", _name(term).rstrip("/#"))[-1]).replace("_", " ")


def _as_rdf(kind: str) -> Callable[[Graph], str]:
    def write(graph: Graph) -> str:
        import rdflib

        def address(text: str, folder: str = "") -> rdflib.URIRef:
            whole = re.fullmatch(r"(https?|urn):[^\s<>\"{}|\\^`]+", text)
            return rdflib.URIRef(text if whole else f"{BASE}{folder}{quote(text)}")

        made = rdflib.Graph()
        for number, one in enumerate(graph.ids):
            if graph.labels[number] != one:
                made.add((address(one), rdflib.RDFS.label, rdflib.Literal(graph.labels[number])))
            if graph.types[number]:
                made.add((address(one), rdflib.RDF.type, address(graph.types[number], "type/")))
        for edge in map(graph.edge, range(len(graph))):
            relation = address(edge.relation.replace(" ", "_"), "relation/")
            made.add((address(graph.ids[edge.head]), relation, address(graph.ids[edge.tail])))
        return made.serialize(format=kind)

    return write


READERS: dict[str, Callable[[str, str], tuple[Graph, list[str]]]] = {
    ".csv": _table, ".tsv": _table, ".kg": _table, ".graphml": _graphml, ".nt": _rdf("nt"), ".ttl": _rdf("turtle"),
}  # fmt: skip
WRITERS: dict[str, Callable[[Graph], str]] = {
    ".csv": _as_table, ".kg": _as_kg, ".graphml": _as_graphml, ".nt": _as_rdf("nt"), ".ttl": _as_rdf("turtle"),
}  # fmt: skip


def read_links(path: Path) -> Iterator[tuple[str, str]]:
    """RecBole's .link: (item, entity) of each line. Raises UserError."""
    rows = rows_of(text_of(path, MOST_BYTES), path.name, "\t")
    if [one.split(":")[0] for one in next(rows)[1]] != ["item_id", "entity_id"]:
        raise UserError(f"{path.name}, line 1: the columns item_id:token and entity_id:token are missing.")
    for line, row in rows:
        yield cell(row[0], path.name, line), cell(row[1], path.name, line)
