"""Files for jobs: kept under their own hash, found by nothing else, gone after a day."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.runtime.errors import UserError
from demos.kit.uploads import KEEP, keep_upload, upload_path


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))


def test_a_file_is_found_under_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "birds.zip").write_bytes(b"abc")
    name, said = keep_upload(str(tmp_path / "birds.zip"), ".zip", 10, lambda path: path.name)
    assert upload_path(name, ".zip").read_bytes() == b"abc" and "birds" not in name and said == "birds.zip"
    assert keep_upload(str(tmp_path / "birds.zip"), ".zip", 10, str)[0] == name


@pytest.mark.parametrize("name", ["", None, 3, "../../etc/passwd", "a" * 64 + ".zip", "/etc/passwd", "a" * 64, ["x"]])
def test_no_other_name_leads_anywhere(name: object) -> None:
    with pytest.raises(UserError, match="Choose the file first"):
        upload_path(name, ".zip")


def refuse(path: Path) -> str:
    raise UserError("No zip.")


@pytest.mark.parametrize(("most", "sentence"), [(2_000_000, "larger than 2 MB"), (3_000_000, "No zip")])
def test_of_what_is_refused_nothing_stays(tmp_path: Path, most: int, sentence: str) -> None:
    (tmp_path / "x.zip").write_bytes(b"a" * 2_000_001)
    with pytest.raises(UserError, match=sentence):
        keep_upload(str(tmp_path / "x.zip"), ".zip", most, refuse)
    assert not list((tmp_path / "cache").glob("uploads/*")) and not (tmp_path / "x.zip").exists()


def test_what_is_older_than_a_day_goes_with_the_next_upload(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        (tmp_path / "x.zip").write_bytes(content)
        name, _ = keep_upload(str(tmp_path / "x.zip"), ".zip", 10, str)
        if content == b"old":
            gone, at = name, upload_path(name, ".zip").stat().st_mtime - KEEP - 1
            os.utime(upload_path(name, ".zip"), (at, at))
    assert upload_path(name, ".zip").read_bytes() == b"new"
    with pytest.raises(UserError):
        upload_path(gone, ".zip")
