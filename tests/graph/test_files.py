"""What is written is read again; what cannot be read is refused in one sentence with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.graph import files
from backends.graph.files import WRITERS, read_graph, read_links, write_graph
from backends.graph.knowledge import Graph
from backends.runtime.errors import UserError
from tests.graph.test_knowledge import FILMS, drawn

NAMED = Graph.of(
    [*FILMS, ("8½ & <b>", "has, \"quoted\"", "naïve café")],
    {"tarkovsky": "Andrei Tarkovsky", "8½ & <b>": "Otto e mezzo"},
    {"tarkovsky": "person", "stalker": "film"},
)  # fmt: skip


def told(graph: Graph) -> set[tuple[str, str, str]]:
    return {(graph.ids[e.head], e.relation, graph.ids[e.tail]) for e in map(graph.edge, range(len(graph)))}


@pytest.mark.parametrize("ending", WRITERS)
def test_what_is_written_is_read_again(ending: str, tmp_path: Path) -> None:
    for graph in (NAMED, drawn(0)):
        write_graph(graph, tmp_path / f"graph{ending}")
        again, notes = read_graph(tmp_path / f"graph{ending}")
        assert told(again) == told(graph)
        assert all("itself" in note for note in notes)
        if ending != ".kg":  # which has no place for them
            names = dict(zip(again.ids, zip(again.labels, again.types, strict=True), strict=True))
            assert names == dict(zip(graph.ids, zip(graph.labels, graph.types, strict=True), strict=True))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "head,relation,tail\nx,knows,y\n"),
        ("a.csv", "\ufeffSubject;Predicate;Object\r\nx;knows;y\r\n\r\n"),
        ("a.tsv", "source\trelation\ttarget\nx\tknows\ty\n"),
        ("a.kg", "head_id:token\trelation_id:token\ttail_id:token\nx\tknows\ty\n"),
        ("a.nt", "<urn:vitrine:x> <http://example.org/knows> <urn:vitrine:y> .\n"),
        ("a.ttl", "@prefix : <urn:vitrine:> .\n:x :knows :y .\n"),
    ],
)
def test_the_usual_forms(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    graph, notes = read_graph(tmp_path / name)
    assert told(graph) == {("x", "knows", "y")} and notes == []


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.xyz", "x", "of no known kind"),
        ("a.csv", " \n", "is empty"),
        ("a.csv", "head,relation,tail\n", "a header and no triple"),
        ("a.csv", "a,b,c\nx,y,z\n", "line 1: the columns head, relation and tail are missing; here are a, b, c"),
        ("a.csv", "head,relation,tail\nx,y\n", "line 2: 2 cells, expected are 3"),
        ("a.csv", "head,relation,tail\nx,y,z\nx,,z\n", "line 3: a cell is empty"),
        ("a.csv", "head,relation,tail\nx,y,=1+1\n", "line 2: '=1.1' is a formula"),
        ("a.csv", "head,relation,tail\nx,y,a\x07b\n", "line 2: .*control characters"),
        ("a.csv", "head,relation,tail\nx,y," + "z" * 301 + "\n", "line 2: a name is longer than 300"),
        ("a.csv", 'head,relation,tail\nx,y,"z\n', "line 2: unexpected end of data"),
        ("a.csv", b"head,relation,tail\nx,y,z\nx,y,\xff\n", "line 3: this is not UTF-8"),
        ("a.graphml", "<graphml><graph>", "line 1: this is no XML"),
        ("a.graphml", "<a/>", "no GraphML that can be read"),
        ("a.graphml", "<?xml version='1.0'?>\n<!DOCTYPE x [<!ENTITY a 'b'>]>\n<graphml/>", "line 2: definitions"),
        ("a.ttl", "@prefix : <urn:x:> .\n:x :knows\n\n", "line .: this is no Turtle"),
        ("a.nt", "x knows y\n", "is not RDF of its kind"),
        ("a.nt", "# nothing\n", "holds no triple"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(name: str, text: str | bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=why) as told_:
        read_graph(tmp_path / name)
    assert str(tmp_path) not in str(told_.value) and "\n" not in str(told_.value) and len(str(told_.value)) < 300


def test_doubles_and_loops_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("head,relation,tail\nx,r,y\nx,r,x\nx,r,y\ny,r,x\n", encoding="utf-8")
    graph, notes = read_graph(tmp_path / "a.csv")
    assert len(graph) == 3  # a circle is no fault
    assert notes == ["1 triples stand there twice and count once, the first in line 4.",
                     "1 triples lead from a node to itself, the first in line 3."]  # fmt: skip
    lonely = Graph.of([("a", "r", "b")], more=["c"])
    write_graph(lonely, tmp_path / "a.graphml")
    assert read_graph(tmp_path / "a.graphml")[1] == ["1 nodes have no edge."]


def test_too_much_is_refused_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("head,relation,tail\n" + "".join(f"x{i},r,y\n" for i in range(50)), encoding="utf-8")
    monkeypatch.setattr(files, "MOST_TRIPLES", 20)
    with pytest.raises(UserError, match="line 22: more than 20 triples"):
        read_graph(path)
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(UserError, match="more than 0: use a part"):
        read_graph(path)


def test_links(tmp_path: Path) -> None:
    path = tmp_path / "a.link"
    path.write_text("item_id:token\tentity_id:token\n1\tm.x\n", encoding="utf-8")
    assert list(read_links(path)) == [("1", "m.x")]
    path.write_text("item_id:token\tentity_id:token\n1\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2: 1 cells, expected are 2"):
        list(read_links(path))
    path.write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 1: the columns"):
        list(read_links(path))
