"""Tables of strangers: what stands in a line, and which line is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.runtime.errors import UserError
from backends.runtime.tables import cell, number, rows_of, text_of


def test_lines_keep_their_numbers() -> None:
    text = 'a,b\n\n1,"two\nlines"\n , \n3,4,5\n'
    assert list(rows_of(text, "x")) == [(1, ["a", "b"]), (4, ["1", "two\nlines"]), (6, ["3", "4", "5"])]
    assert [row for _, row in rows_of("a;b\n1,5;2", "x")] == [["a", "b"], ["1,5", "2"]]
    assert [row for _, row in rows_of("a|b\n1|2", "x", "|")] == [["a", "b"], ["1", "2"]]
    with pytest.raises(UserError, match="x, line 2: 1 cells, expected are 2"):
        list(rows_of("a,b\n1\n", "x"))
    with pytest.raises(UserError, match="x, line 2: unexpected end of data"):
        list(rows_of('a,b\n1,"2\n', "x"))


def test_files_are_bounded_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(UserError, match=r"^x\.csv cannot be read: No such file"):
        text_of(path)
    path.write_bytes(b"\xef\xbb\xbfok")
    assert text_of(path) == "ok"
    with pytest.raises(UserError, match="more than 0: use a part"):
        text_of(path, 3)
    path.write_bytes(b"a\nb\xe9\n")
    with pytest.raises(UserError, match="line 2: this is not UTF-8"):
        text_of(path)
    assert text_of(path, encoding="latin-1") == "a\nb\u00e9\n"
    path.write_bytes(b" \n")
    with pytest.raises(UserError, match="is empty"):
        text_of(path)


@pytest.mark.parametrize("wrong", ["", " ", "=1", "@SUM(A1)", "x" * 301, "a\x00b", "a\u202eb"])
def test_a_name_is_a_name(wrong: str) -> None:
    assert cell("  two   words ", "x", 1) == "two words"
    with pytest.raises(UserError, match=r"^x, line 7: "):
        cell(wrong, "x", 7)


@pytest.mark.parametrize("wrong", ["", "five", "nan", "-inf", "1e999", "0x1"])
def test_a_number_is_finite(wrong: str) -> None:
    assert number(" 4.5 ", "x", 1, "rating") == 4.5
    with pytest.raises(UserError, match=r"^x, line 3: .* is no rating\.$"):
        number(wrong, "x", 3, "rating")
