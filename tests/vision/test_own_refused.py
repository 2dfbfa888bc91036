"""Everything that a stranger's pictures and archives may try: one sentence, quickly, and nothing left behind."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from backends.runtime.errors import UserError
from backends.vision import own, picture_files
from backends.vision.own import read_pictures
from tests.fakes.pictures import encoded, noise, some, unpacked, zipped

Refusal = Callable[..., str]
pytestmark = pytest.mark.usefixtures("nothing_is_left")


# ---- pictures that are no good ---------------------------------------------------------------------------------------


def header_only(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds nothing."""
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + head
    idat = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in (chunk, idat, b"IEND")
    )


TORN: dict[str, Callable[[int], bytes]] = {
    "empty": lambda i: b"",
    "words": lambda i: b"not a picture",
    "only a header": lambda i: noise(i)[:20],
    "half": lambda i: noise(i)[:-60],
    "no pixels": lambda i: header_only(9, 9 + i),
    "drawing": lambda i: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": lambda i: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "gif": lambda i: b"GIF89a",
    "bmp": lambda i: b"BM",
    "jpeg": lambda i: encoded(Image.open(io.BytesIO(noise(i))), "JPEG")[:-200],
}


@pytest.mark.parametrize("how", TORN)
def test_a_few_damaged_pictures_are_counted_and_many_are_refused(how: str, tmp_path: Path, refusal: Refusal) -> None:
    contents = some("cat", "dog", count=10) | {"cat/a\n.png": TORN[how](0), "dog/b.png": TORN[how](1)}
    task, notes = read_pictures(zipped(tmp_path / "a.zip", contents), 10)
    assert notes == "Left out: 2 that cannot be read; 'cat/a?.png' is damaged."
    assert sum(map(len, (task.train, task.validation, task.test))) == 20
    contents |= {f"dog/c{i}.png": TORN[how](2 + i) for i in range(4)}
    told = refusal(read_pictures, zipped(tmp_path / "a.zip", contents), 10)
    assert told.startswith("6 of 26 pictures cannot be read, '")


def test_a_wrong_checksum_is_a_damaged_picture(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", some("cat", "dog", count=10), {"cat/3.png": {"CRC": 1}})
    assert read_pictures(path, 10)[1] == "Left out: 1 that cannot be read; 'cat/3.png' is damaged."


def test_damage_must_not_empty_a_class_or_a_split(tmp_path: Path, refusal: Refusal) -> None:
    torn = {f"rare/{i}.png": noise(i)[:-40] for i in range(5)}
    path = zipped(tmp_path / "a.zip", some("cat", "dog", count=60) | torn)
    assert "some of every class" in refusal(read_pictures, path, 10)
    torn = {f"rare/{i}.png": b"" for i in range(5)}
    path = zipped(tmp_path / "b.zip", some("cat", "dog", count=60) | torn)
    assert "Class 'rare' has 0 different, readable pictures" in refusal(read_pictures, path, 10)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (header_only(10_000, 5_001), "'cat/x.png' has over 50 megapixels"),
        (header_only(10_000, 10_000), "over 50 megapixels"),  # Pillow warns
        (header_only(2**30, 2**30), "over 50 megapixels"),  # Pillow refuses
        (encoded(Image.new("RGB", (1, 1))), "too small, 1 x 1 pixels"),
        (noise(0, 7, 300), "too small, 300 x 7 pixels"),
        (bytes(20_000_001), "'cat/x.png' has more than 20 MB"),
    ],
    ids=["50 MP", "100 MP", "10^18", "1 px", "7 px", "20 MB"],
)
def test_too_large_or_small_a_picture_is_named(content: bytes, word: str, tmp_path: Path, refusal: Refusal) -> None:
    contents = some("cat", "dog") | {"cat/x.png": content}
    for path in (
        zipped(tmp_path / "a.zip", contents, compression=zipfile.ZIP_DEFLATED),
        unpacked(tmp_path / "a", contents),
    ):
        started = time.monotonic()
        assert word in refusal(read_pictures, path, 10)
        assert time.monotonic() - started < 2


def test_too_many_pixels_together(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MOST_PIXELS_TOGETHER", 999)
    assert "megapixels together" in refusal(read_pictures, zipped(tmp_path / "a.zip", some("cat", "dog")), 10)


# ---- sets that are no good -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "word"),
    [
        ({}, "no folders with pictures"),
        ({"readme.txt": b"x", "cat/": b""}, "no folders with pictures"),
        ({"0.png": noise(0), "1.png": noise(1)}, "no folders with pictures"),
        ({"inner.zip": bytes(100)}, "no folders with pictures"),  # as 42.zip holds others
        (some("cat"), "one class only, 'cat'"),
        (some("cat", folder="pets/"), "one class only, 'cat'"),
        (some("cat", "dog") | some("cow", count=4), "Class 'cow' has 4 different"),
        (some("cat", "dog") | {f"cow/{i}.png": noise(9) for i in range(9)}, "Class 'cow' has 1 different"),
        (some("cat", "dog", folder="train/") | some("cow", folder="test/"), "Class 'cow' has 0 different"),
        ({f"{i}/x.png": b"" for i in range(201)}, "201 classes, 200 at most"),
        ({f"{i}/x.png": b"" for i in range(10_000)}, "10,000 classes"),
        ({f"{i % 9}/{i}.png": b"" for i in range(20_001)}, "more than 20,000 files"),
        ({f"{i}.txt": b"" for i in range(20_001)}, "more than 20,000 files"),
    ],
    ids=["empty", "no pictures", "no folders", "zips", "one", "one inside", "four", "one of nine", "only in test",
         "201", "10000", "20001", "20001 others"],
)  # fmt: skip
def test_a_set_that_is_no_task_is_one_sentence(contents: dict, word: str, tmp_path: Path, refusal: Refusal) -> None:
    assert word in refusal(read_pictures, zipped(tmp_path / "a.zip", contents), 10)
    if len(contents) < 1000:
        root = tmp_path / "a"
        root.mkdir()
        files = {name: content for name, content in contents.items() if not name.endswith("/")}
        assert word in refusal(read_pictures, unpacked(root, files), 10)


# ---- archives that are no good ---------------------------------------------------------------------------------------


def test_what_is_no_whole_zip(tmp_path: Path, refusal: Refusal) -> None:
    whole = zipped(tmp_path / "whole.zip", some("cat", "dog")).read_bytes()
    path, draw = tmp_path / "a.zip", random.Random(0)
    bad_names = zipped(tmp_path / "names.zip", some("é", "dog")).read_bytes().replace("é".encode(), b"\xff\xfe")
    table = whole.index(b"PK\x01\x02")
    contents = [b"", b"PK", b"not a zip", b"Rar!\x1a\x07\x00" + bytes(99), noise(1), bad_names]
    contents += [whole[: len(whole) // 2], whole[:-30], whole[:table] + draw.randbytes(200) + whole[table + 200 :]]
    contents += [whole.replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff")]  # a version that none reads
    for content in contents:
        path.write_bytes(content)
        assert "not a whole zip" in refusal(read_pictures, path, 10)
    assert "not a whole zip" in refusal(read_pictures, tmp_path / "absent.zip", 10)
    for _ in range(60):  # whatever is changed: pictures or one sentence
        torn = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            torn[draw.randrange(len(torn))] = draw.randrange(256)
        path.write_bytes(torn)
        try:
            read_pictures(path, 10)
        except UserError as told:
            assert str(told).isprintable()


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"flag_bits": 1}, "encrypted"),
        ({"flag_bits": 0x41}, "encrypted"),
        ({"compress_type": zipfile.ZIP_LZMA}, "rare way"),
        ({"compress_type": 97}, "rare way"),
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16}, "'cat/0.png' is a link"),
        ({"external_attr": stat.S_IFIFO << 16}, "a device"),
        ({"file_size": 500_000_001}, "more than 500 MB"),
        ({"file_size": 20_000_001}, "more than 20 MB"),
        ({"filename": "../x.png"}, "'../x.png', which leads elsewhere"),
        ({"filename": "cat/../../x.png"}, "leads elsewhere"),
        ({"filename": "/etc/x.png"}, "leads elsewhere"),
        ({"filename": "C:/x.png"}, "leads elsewhere"),
        ({"filename": "c:x.png"}, "leads elsewhere"),
        ({"filename": "cat\\x.png"}, "leads elsewhere"),
        ({"filename": "\\\\host\\x.png"}, "leads elsewhere"),
        ({"filename": "cat/x.png\0.txt"}, "'cat/x.png?.txt', which leads elsewhere"),
        ({"filename": ".."}, "leads elsewhere"),
    ],
    ids=str,
)
def test_what_an_archive_may_try(attributes: dict, word: str, tmp_path: Path, refusal: Refusal) -> None:
    path = zipped(tmp_path / "a.zip", some("cat", "dog"), {"cat/0.png": attributes})
    assert word in refusal(read_pictures, path, 10)
    assert sorted(tmp_path.iterdir()) == [path]


def test_odd_but_harmless_names(tmp_path: Path) -> None:
    odd = {
        "./cat//5.png": noise(1),
        "cat/..png": noise(2),
        "cat/a..b.png": noise(3),
        "cat/" + "x" * 300 + ".png": noise(4),
    }
    task, notes = read_pictures(zipped(tmp_path / "a.zip", some("cat", "dog") | odd), 10)
    assert task.classes == ("cat", "dog") and notes == ""
    assert sum(map(len, (task.train, task.validation, task.test))) == 13  # the one that begins with a dot is hidden


def test_many_small_ones_that_are_large_together(tmp_path: Path, refusal: Refusal) -> None:
    lies = {f"cat/{i}.png": {"file_size": 19_000_000} for i in range(27)}
    path = zipped(tmp_path / "a.zip", some("cat", "dog", count=27), lies)
    assert "more than 500 MB" in refusal(read_pictures, path, 10)


def test_a_bomb_that_lies_about_its_size_does_not_fill_the_memory(tmp_path: Path, refusal: Refusal) -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + bytes(150_000_000)
    contents = some("cat", "dog") | {"cat/x.png": bomb, "cat/y.png": bomb}
    lies = {f"cat/{name}.png": {"file_size": 100} for name in "xy"}
    path = zipped(tmp_path / "a.zip", contents, lies, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**6
    del bomb, contents
    tracemalloc.start()
    try:
        assert "2 of 12 pictures cannot be read" in refusal(read_pictures, path, 10)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_million_entries_are_refused_before_they_are_parsed(tmp_path: Path, refusal: Refusal) -> None:
    count, name = 1_000_000, b"a/x.png"
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    size = count * len(entry)
    end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0)
    end += struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    end += struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    path = tmp_path / "a.zip"
    path.write_bytes(entry * count + end)
    started = time.monotonic()
    assert "more than 20,000 files" in refusal(read_pictures, path, 10)
    assert time.monotonic() - started < 1


def test_folders_hold_no_links_and_no_devices(tmp_path: Path, refusal: Refusal) -> None:
    root = unpacked(tmp_path / "pets", some("cat", "dog"))
    outside = unpacked(tmp_path / "outside", some("cow"))
    for make in (lambda path: path.symlink_to(outside / "cow" / "0.png"), os.mkfifo):
        make(root / "cat" / "x.png")
        assert "'cat/x.png' is a link or a device" in refusal(read_pictures, root, 10)
        (root / "cat" / "x.png").unlink()
    (root / "cow").symlink_to(outside / "cow")
    assert "'cow' is a link" in refusal(read_pictures, root, 10)


def test_a_folder_that_grows_too_large(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_files, "MOST_TOGETHER", 10**6)
    root = unpacked(tmp_path / "pets", some("cat", "dog") | {"film.mp4": bytes(10**6)})
    assert "more than 1 MB" in refusal(read_pictures, root, 10)
