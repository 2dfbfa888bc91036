"""A person's own pictures: what becomes of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.vision import own
from backends.vision.own import read_pictures
from backends.vision.picture_files import PictureFile, plain
from backends.vision.tasks import SIZES
from tests.fakes.pictures import encoded, noise, some, unpacked, zipped

pytestmark = pytest.mark.usefixtures("nothing_is_left")


# ---- what becomes of them --------------------------------------------------------------------------------------------


def test_a_zip_a_folder_and_a_folder_around_them_are_the_same_task(tmp_path: Path) -> None:
    contents = some("cat", "dog", count=25)
    task, notes = read_pictures(zipped(tmp_path / "a.zip", contents), 12)
    assert notes == "" and task.classes == ("cat", "dog") and task.key.startswith("own-") and len(task.key) == 16
    assert [len(part) for part in (task.train, task.validation, task.test)] == [32, 8, 10]
    assert [np.bincount(part.labels).tolist() for part in (task.train, task.validation, task.test)] == [
        [16, 16],
        [4, 4],
        [5, 5],
    ]
    assert task.train.images.shape == (32, 12, 12, 3) and task.train.images.dtype == np.uint8
    mac = {f"pets/{name}": content for name, content in reversed(contents.items())}
    mac |= {"__MACOSX/pets/cat/._0.png": b"x", "pets/.DS_Store": b"x", "pets/cat/.hidden.png": b"x"}
    folder = unpacked(tmp_path / "b", mac)
    for path in (zipped(tmp_path / "b.zip", mac, compression=zipfile.ZIP_DEFLATED), folder, folder / "pets"):
        again, notes = read_pictures(path, 12)
        assert again.key == task.key and again.classes == task.classes and notes == ""
        for part in SIZES:
            assert np.array_equal(getattr(again, part).images, getattr(task, part).images)
            assert np.array_equal(getattr(again, part).labels, getattr(task, part).labels)
    other, _ = read_pictures(folder, 12, seed=1)
    assert other.key == task.key and not np.array_equal(other.test.images, task.test.images)
    more, _ = read_pictures(zipped(tmp_path / "c.zip", contents | some("cow")), 12)
    assert more.key != task.key


def test_no_picture_is_in_two_splits_and_copies_are_left_out(tmp_path: Path) -> None:
    contents = some("cat", "dog", count=10)
    copies = {f"dog/again {i}.png": contents[f"cat/{i}.png"] for i in range(3)}
    task, notes = read_pictures(zipped(tmp_path / "a.zip", contents | copies), 10)
    assert notes == "Left out: 3 copies."
    seen = [image.tobytes() for part in (task.train, task.validation, task.test) for image in part.images]
    assert len(seen) == len(set(seen)) == 20 and np.bincount(task.train.labels).tolist() == [6, 6]


@pytest.mark.parametrize("validation", ["validation", "val", "Validation"])
def test_given_splits_are_kept(validation: str, tmp_path: Path) -> None:
    contents = some("cat", "dog", folder="train/") | some("cat", "dog", count=2, folder=f"{validation}/")
    whole = contents | some("dog", count=3, folder="test/") | {"test/notes.txt": b"x", "extra/cat/1.png": noise(1)}
    task, notes = read_pictures(zipped(tmp_path / "a.zip", whole), 10)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [10, 4, 3]
    assert set(task.test.labels) == {1}
    assert notes == "Left out: 1 in no folder of a class, 1 that are no pictures."
    task, _ = read_pictures(unpacked(tmp_path / "b", contents), 10)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [8, 4, 2]
    task, _ = read_pictures(zipped(tmp_path / "c.zip", some("cat", "dog", folder="train/")), 10)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [6, 2, 2]


def test_a_class_may_be_called_like_a_split(tmp_path: Path) -> None:
    task, _ = read_pictures(zipped(tmp_path / "a.zip", some("train", "test", "car")), 10)
    assert task.classes == ("car", "test", "train")


def test_large_sets_are_cut_to_a_tasks_size_and_rare_classes_stay() -> None:
    counts = [5, 5000, 2500] + [6] * 150
    pictures = [own._Picture(PictureFile(("x",), 1, bytes), "train", i) for i, n in enumerate(counts) for _ in range(n)]
    rows, labels = own._rows(pictures, len(counts), 0), np.array([picture.label for picture in pictures])
    assert {part: len(found) for part, found in rows.items()} == SIZES
    assert len(np.unique(np.concatenate(list(rows.values())))) == sum(SIZES.values())
    for found in rows.values():
        share = np.bincount(labels[found], minlength=len(counts))
        assert share.min() >= 1 and share[1] == pytest.approx(2 * share[2], rel=0.1)
        assert not np.array_equal(labels[found], np.sort(labels[found]))


def test_what_a_task_cannot_take_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "train", 4)
    task, notes = read_pictures(zipped(tmp_path / "a.zip", some("cat", "dog")), 10)
    assert len(task.train) == 4 and notes == "Left out: 2 more than a task takes."


def test_names_are_plain_and_stay_apart(tmp_path: Path) -> None:
    rude = ["a\x1b[2Jb", "a\u202e[2Jb", "n" * 50, "n" * 60, "日本"]
    task, _ = read_pictures(zipped(tmp_path / "a.zip", some(*rude)), 10)
    assert task.classes == ("a?[2Jb", "a?[2Jb (2)", "n" * 39 + "…", "n" * 34 + " (2)", "日本")
    assert all(name.isprintable() and len(name) <= 40 for name in task.classes)
    assert plain("\udc80 ") == "?" and plain("  ") == "?"


# ---- kinds of pictures -----------------------------------------------------------------------------------------------


def square(data: bytes, side: int = 8) -> np.ndarray:
    return own._square(data, side)


RED, BLUE = (255, 0, 0), (0, 0, 255)


def halves(left: tuple, right: tuple, mode: str = "RGB", size: tuple[int, int] = (16, 16)) -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "GIF", "JPEG"])
def test_every_form_is_read(form: str) -> None:
    sides = square(encoded(halves(RED, BLUE), form, **({"lossless": True} if form == "WEBP" else {})))[4, [0, 7]]
    assert np.abs(sides.astype(int) - [RED, BLUE]).max() < 10


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    assert (square(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == RED).all()


def test_the_middle_of_the_shorter_side_is_seen() -> None:
    wide = Image.new("RGB", (40, 10), RED)
    wide.paste(BLUE, (14, 0, 26, 10))  # the filter reaches a little beyond the crop
    assert (square(encoded(wide)) == BLUE).all() and (square(encoded(wide.rotate(90, expand=True))) == BLUE).all()


def test_a_turned_photograph_is_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: left is the bottom
    turned = square(encoded(halves(RED, BLUE), "JPEG", exif=exif))
    assert np.abs(turned[[0, 7], 4].astype(int) - [RED, BLUE]).max() < 10


def test_transparent_is_white() -> None:
    clear = halves((*RED, 255), (0, 0, 0, 0), "RGBA")
    palette = clear.convert("P")
    palette.info["transparency"] = palette.getpixel((15, 0))
    for data in (encoded(clear), encoded(clear, "WEBP", lossless=True), encoded(palette)):
        assert np.array_equal(square(data)[4, [0, 7]], [RED, (255, 255, 255)])
    assert np.array_equal(square(encoded(halves((100, 255), (0, 0), "LA")))[4, [0, 7], 0], [100, 255])


def test_grey_of_one_eight_and_sixteen_bits_and_print_colours() -> None:
    deep = np.full((16, 16), 65535, np.uint16)
    deep[:, 8:] = 257 * 100
    assert np.array_equal(square(encoded(Image.fromarray(deep)))[4, [0, 7]], [[255] * 3, [100] * 3])
    assert np.array_equal(square(encoded(halves(200, 100, "L")))[4, [0, 7]], [[200] * 3, [100] * 3])
    assert np.array_equal(square(encoded(halves(1, 0, "1")))[4, [0, 7]], [[255] * 3, [0] * 3])
    ink = square(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(ink[4, 4].astype(int) - RED).max() < 10
