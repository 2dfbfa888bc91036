"""Bring your own pictures: a folder for each class, in a zip or on this machine, becomes a task like the others.

    task, notes = read_pictures(Path("birds.zip"), side=48)

Folders train, validation (or val) and test are honoured, each with its class folders; where one is missing, it is cut
from train.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from backends.runtime.errors import UserError
from backends.runtime.gently import breathe
from backends.vision.picture_files import PictureFile, listed, plain
from backends.vision.tasks import SIZES, Part, Split, TaskData

FEWEST, MOST_CLASSES, SMALLEST = 5, 200, 8  # pictures of a class to train on, classes, pixels a side
MOST_PIXELS, MOST_PIXELS_TOGETHER = 50_000_000, 4_000_000_000
UNREADABLE = 0.1  # share of the pictures that may be damaged
CUT = 0.2  # for the test, and of the rest for validation: 64, 16 and 20 %
PARTS: dict[str, Part] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF")
# What Pillow and zipfile raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError)
_DAMAGE += (struct.error, zlib.error, zipfile.BadZipFile)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class _Picture:
    file: PictureFile
    part: Part
    label: int


@dataclass
class _Damaged:
    """Pictures that could not be read. total: all there are; share: of them, as far as was looked."""

    total: int
    files: list[PictureFile] = field(default_factory=list)
    share: float = 0.0

    def add(self, files: list[PictureFile], looked_at: int) -> None:
        """One look after the other: the second one is only at pictures that passed the first, perhaps not at all."""
        self.files = sorted((*self.files, *files), key=lambda file: file.parts)
        self.share += (1 - self.share) * len(files) / max(1, looked_at)
        if self.share > UNREADABLE:
            raise UserError(
                f"{len(self.files):,} of {self.total:,} pictures cannot be read, {str(self.files[0])!r} for one: "
                "replace or remove them."
            )


def read_pictures(path: Path, side: int, seed: int = 0) -> tuple[TaskData, str]:
    """Three splits at `side` pixels, and notes in words on what was left out ("" if nothing). Raises UserError.

    key: "own-" and a hash of contents and classes, the same for every side and seed. No picture is in two splits:
    copies are left out. Every class is in every split that is cut here, however rare it is.
    """
    with listed(path) as (files, others):
        names, pictures = _placed(files)
        _refuse_classes(names, pictures)
        damaged = _Damaged(len(pictures))
        hashes = _looked_at(pictures, damaged)
        first = {digest: picture for picture, digest in reversed(hashes)}
        kept = [picture for picture, digest in hashes if first[digest] is picture]
        _refuse_classes(names, kept)
        rows = _rows(kept, len(names), seed)
        splits = _decoded([[kept[i] for i in rows[part]] for part in SIZES], side, damaged)
    if any(len(split) == 0 for split in splits) or len(np.unique(splits[0].labels)) < len(names):
        raise UserError("Too few pictures can be read to have some of every class: replace the damaged ones.")
    digest = hashlib.sha256(repr([(p.part, names[p.label], d) for p, d in hashes]).encode()).hexdigest()
    notes = _notes({
        "that cannot be read": len(damaged.files),
        "copies": len(hashes) - len(kept),
        "in no folder of a class": len(files) - len(pictures),
        "that are no pictures": others,
        "more than a task takes": len(kept) - sum(map(len, rows.values())),
    }, damaged.files)  # fmt: skip
    return TaskData(f"own-{digest[:12]}", _shown(names), *splits), notes


def _notes(left_out: Mapping[str, int], torn: Sequence[PictureFile]) -> str:
    said = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    return f"Left out: {said}{f'; {str(torn[0])!r} is damaged' if torn else ''}." if said else ""


# ---- which picture belongs where -------------------------------------------------------------------------------------


def _placed(files: Sequence[PictureFile]) -> tuple[list[str], list[_Picture]]:
    """Class folders by name, and the pictures in them; what lies deeper belongs to the same class."""
    paths = [file.parts for file in files]
    if len({path[0] for path in paths}) == 1 and any(len(path) > 2 for path in paths):
        paths = [path[1:] for path in paths]  # one folder around everything
    deep = {path[0].lower() for path in paths if len(path) > 2}
    in_parts = "train" in deep and (deep <= set(PARTS) or len(deep & set(PARTS)) > 1)
    found: list[tuple[PictureFile, Part, str]] = []
    for file, path in zip(files, paths, strict=True):
        if in_parts and len(path) > 2 and path[0].lower() in PARTS:
            found.append((file, PARTS[path[0].lower()], path[1]))
        elif not in_parts and len(path) > 1:
            found.append((file, "train", path[0]))
    names = sorted({name for _, _, name in found})
    number = {name: i for i, name in enumerate(names)}
    found.sort(key=lambda one: list(SIZES).index(one[1]))  # of copies, the one to train on is kept
    return names, [_Picture(file, part, number[name]) for file, part, name in found]


def _refuse_classes(names: Sequence[str], pictures: Sequence[_Picture]) -> None:
    if not names:
        raise UserError("There are no folders with pictures in it: put those of each class into a folder of its own.")
    if len(names) == 1:
        raise UserError(f"There is one class only, {plain(names[0])!r}: bring at least two, a folder for each.")
    if len(names) > MOST_CLASSES:
        raise UserError(f"There are {len(names):,} classes, {MOST_CLASSES} at most are allowed: bring fewer folders.")
    count = Counter(picture.label for picture in pictures if picture.part == "train")
    label = min(range(len(names)), key=count.__getitem__)
    if count[label] < FEWEST:
        raise UserError(
            f"Class {plain(names[label])!r} has {count[label]} different, readable pictures to train on: bring at "
            f"least {FEWEST} of each."
        )


def _shown(names: Sequence[str]) -> tuple[str, ...]:
    """Names to be read; where two become the same, later ones are numbered."""
    said: list[str] = []
    for name in map(plain, names):
        same = sum(plain(other) == name for other in names[: len(said)])
        said.append(f"{name[:34]} ({same + 1})" if same else name)
    return tuple(said)


def _rows(pictures: Sequence[_Picture], classes: int, seed: int) -> dict[Part, np.ndarray]:
    """Which pictures each split takes, in random order."""
    draw = np.random.default_rng(seed)
    labels, parts = np.array([p.label for p in pictures]), np.array([p.part for p in pictures])
    rows = {part: np.flatnonzero(parts == part) for part in SIZES}

    def drawn(part: Part, wanted: np.ndarray) -> np.ndarray:
        mixed = draw.permutation(rows[part])
        return np.concatenate([mixed[labels[mixed] == label][:count] for label, count in enumerate(wanted)])

    for part in ("test", "validation"):
        if not len(rows[part]):
            counts = np.bincount(labels[rows["train"]], minlength=classes)
            rows[part] = drawn("train", np.maximum(1, np.round(CUT * counts).astype(int)))
            rows["train"] = np.setdiff1d(rows["train"], rows[part])
    for part, most in SIZES.items():
        rows[part] = draw.permutation(drawn(part, _capped(np.bincount(labels[rows[part]], minlength=classes), most)))
    return rows


def _capped(counts: np.ndarray, most: int) -> np.ndarray:
    """How many of each class make `most` together, in proportion but none of a class lost (Sainte-Laguë)."""
    if counts.sum() <= most:
        return counts
    wanted = (counts > 0).astype(int)
    for _ in range(most - wanted.sum()):
        wanted[(counts / (2 * wanted + 1)).argmax()] += 1
    return wanted


# ---- what is in them -------------------------------------------------------------------------------------------------


def _looked_at(pictures: Sequence[_Picture], damaged: _Damaged) -> list[tuple[_Picture, str]]:
    """A hash of each picture whose header can be read. Nothing is decoded: what is too large is refused before."""
    found: list[tuple[_Picture, str]] = []
    torn: list[PictureFile] = []
    together, most = 0, min(MOST_PIXELS, Image.MAX_IMAGE_PIXELS or MOST_PIXELS)  # a server may allow less
    for picture in pictures:
        breathe()
        try:
            data = picture.file.read()
            with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
                width, height = opened.size
        except _BOMBS:
            width, height = most, most
        except _DAMAGE:
            torn.append(picture.file)
            continue
        together += width * height
        if width * height > most:
            raise UserError(f"{str(picture.file)!r} has over {most // 10**6} megapixels: make it smaller.")
        if min(width, height) < SMALLEST:
            raise UserError(
                f"{str(picture.file)!r} is too small, {width} x {height} pixels: bring at least {SMALLEST} a side."
            )
        if together > MOST_PIXELS_TOGETHER:
            raise UserError("The pictures have more than 4,000 megapixels together: bring fewer or smaller ones.")
        found.append((picture, hashlib.sha256(data).hexdigest()))
    damaged.add(torn, len(pictures))
    return found


def _decoded(parts: Sequence[Sequence[_Picture]], side: int, damaged: _Damaged) -> list[Split]:
    """The splits without what cannot be decoded."""
    splits: list[Split] = []
    torn: list[PictureFile] = []
    for pictures in parts:
        images, labels = [], []
        for picture in pictures:
            breathe()
            try:
                images.append(_square(picture.file.read(), side))
                labels.append(picture.label)
            except _DAMAGE:
                torn.append(picture.file)
        stacked = np.stack(images) if images else np.zeros((0, side, side, 3), np.uint8)
        splits.append(Split(stacked, np.array(labels, dtype=np.int64)))
    damaged.add(torn, sum(map(len, parts)))
    return splits


def _square(data: bytes, side: int) -> np.ndarray:
    """The middle of a picture as it is meant to be seen, upright and on white where it is transparent: (side, side, 3)
    uint8."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith(("I", "F")):  # 16 bits of grey, which convert() would clip to the darkest 8
        picture = Image.fromarray((np.asarray(picture, dtype=np.float32) / 257).clip(0, 255).round().astype(np.uint8))
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    small = ImageOps.fit(picture, (side, side), Image.Resampling.BILINEAR)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB")
    return np.asarray(small)
