"""The usual forms are read alike; what cannot be read is one sentence with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from backends.ranking import files
from backends.ranking.files import read_dataset
from backends.runtime.errors import UserError
from benchmarks.report import public_data

FILMS = public_data() / "recsys" / "ml-100k"
HUNDRED = "|".join(["1", "Toy Story (1995)", "", "", "", *"0001110000000000000"])
FORMS = {
    "100k": {"u.data": "7\t1\t5\t881250949\n8\t1\t3\t881250950\n", "u.item": HUNDRED + "\n"},
    "1m": {
        "ratings.dat": "7::1::5::881250949\n8::1::3::881250950\n",
        "movies.dat": "1::Toy Story (1995)::Animation|Children's|Comedy\n",
    },
    "latest": {
        "ratings.csv": "userId,movieId,rating,timestamp\n7,1,5.0,881250949\n8,1,3.0,881250950\n",
        "movies.csv": 'movieId,title,genres\n1,"Toy Story (1995)",Animation|Children\'s|Comedy\n',
    },
    "recbole": {
        "x.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "7\t1\t5\t881250949\n8\t1\t3\t881250950\n",
        "x.item": "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
        "1\tToy Story (1995)\tAnimation Children's Comedy\n",
    },
    "own": {
        "interactions.csv": "\ufeffUser;Item;Value;Time\r\n7;1;5;881250949\r\n8;1;3;881250950\r\n",
        "items.csv": "item,title,genres\n1,Toy Story (1995),Animation|Children's|Comedy\n",
    },
}  # fmt: skip


def folder(path: Path, contents: dict[str, str | bytes]) -> Path:
    for name, text in contents.items():
        (path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("form", FORMS)
def test_the_usual_forms_are_read_alike(form: str, tmp_path: Path) -> None:
    data = read_dataset(folder(tmp_path, FORMS[form]))
    given = data.interactions
    assert given.users == ("7", "8") and given.items == ("1",) and given.value.tolist() == [5, 3]
    assert given.time.tolist() == [881250949, 881250950] and data.notes == ()
    assert data.titles == ("Toy Story (1995)",) and data.words == (("Animation", "Children's", "Comedy"),)


def test_without_values_times_and_titles(tmp_path: Path) -> None:
    data = read_dataset(folder(tmp_path, {"interactions.csv": "user,item\na,x\nb,x\na,x\n"}))
    assert data.interactions.value.tolist() == [1, 1, 1] and data.interactions.time.tolist() == [2, 3, 4]
    assert data.titles == ("x",) and data.words == ((),)
    assert data.notes == ("1 pairs of person and item stand there more than once, the first again in line 4.",)
    data = read_dataset(folder(tmp_path, {"items.csv": "item,title\ny,Y\n"}))
    assert data.titles == ("x",) and data.notes[-1] == "1 of 1 items have no title."


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        ({"notes.txt": "x"}, "holds none of u.data, ratings.dat, ratings.csv, .*see the README"),
        ({"interactions.csv": ""}, "interactions.csv is empty"),
        ({"interactions.csv": "user,item\n"}, "a header and no interaction"),
        ({"interactions.csv": "who,what\na,b\n"}, "line 1: a column user and a column item are needed; here are who"),
        ({"interactions.csv": "user,item,rating\na,x,5\nb,y\n"}, "line 3: 2 cells, expected are 3"),
        ({"interactions.csv": "user,item,rating\na,x,five\n"}, "line 2: 'five' is no number"),
        ({"interactions.csv": "user,item,rating\na,x,inf\n"}, "line 2: 'inf' is no number"),
        ({"interactions.csv": "user,item,time\na,x,nan\n"}, "line 2: 'nan' is no time"),
        ({"interactions.csv": "user,item\na,\n"}, "line 2: a cell is empty"),
        ({"interactions.csv": 'user,item\na,"=cmd()"\n'}, "line 2: '=cmd\\(\\)' is a formula"),
        ({"interactions.csv": b"user,item\na,x\nb,\xff\n"}, "line 3: this is not UTF-8"),
        ({"interactions.csv": "user,item\na,x\n", "items.csv": "title\nx\n"}, "items.csv, line 1: a column item"),
        ({"ratings.dat": "1::2::3\n"}, "line 1: 3 parts between ::, expected are 4"),
        ({"u.data": "1\t2\t3\n"}, "line 1: 3 cells, expected are 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(contents: dict, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why) as told:
        read_dataset(folder(tmp_path, contents))
    assert str(tmp_path.parent) not in str(told.value) and "\n" not in str(told.value)


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, {"interactions.csv": "user,item\n" + "".join(f"u{i},x{i}\n" for i in range(30))})
    monkeypatch.setattr(files, "MOST_ROWS", 20)
    with pytest.raises(UserError, match="line 22: more than 20 interactions"):
        read_dataset(tmp_path)
    monkeypatch.setattr(files, "MOST_NAMES", 10)
    with pytest.raises(UserError, match="line 12: more than 10 people or items"):
        read_dataset(tmp_path)
    with pytest.raises(UserError, match="is no folder"):
        read_dataset(tmp_path / "nothing")


@pytest.mark.skipif(not FILMS.is_dir(), reason="the public ratings are not here")
def test_public_ratings_in_recboles_form(tmp_path: Path) -> None:
    for name, there in (("x.inter", "inter.tsv.gz"), ("x.item", "item.tsv.gz")):
        (tmp_path / name).write_bytes(gzip.decompress((FILMS / there).read_bytes()))
    data = read_dataset(tmp_path)
    assert data.interactions.shape == (943, 1682) and len(data.interactions) == 100_000
    assert set(data.interactions.value) == {1, 2, 3, 4, 5} and data.notes == ()
    assert sum(map(bool, data.words)) > 1600 and "Toy Story" in data.titles
