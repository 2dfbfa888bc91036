"""Small labelled sets that need no download, in the spirit of VTAB: 800 pictures to train on, 200 to choose by, a test.

Real ones come from installed packages (scikit-learn, scikit-image), procedural ones from `procedural`, whose formulas
are not those of the pretraining. This is not VTAB-1K: no set of it is used, and no figure is comparable.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file

from backends.runtime.errors import UserError
from backends.runtime.files import whole_file
from backends.runtime.kept import remembered
from backends.vision import procedural, raycast

Part = Literal["train", "validation", "test"]
TRAIN, VALIDATION, TEST = 800, 200, 1000
SIZES: dict[Part, int] = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
CROP, SQUARE = 32, 64  # pixels: of a photograph's crop, and of what goes to one split
DIGITS, FACES, TEXTURES = tuple("0123456789"), ("face", "no face"), ("brick", "grass", "gravel")
DEPTHS = ("far", "middling", "near", "very near")
Group = Literal["natural", "specialised", "structured"]


@dataclass(frozen=True)
class Split:
    """images: (n, side, side, 3) uint8; labels: (n,) int64."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TaskData:
    """A task's pictures at one size; no picture, and no pixel of a photograph, is in two splits."""

    key: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True)
class TaskCard:
    """What a person reads about a task. real: photographs or scans; source: where they come from.

    make: (side, seed) -> all splits; one: (part, side, seed) -> one of them alone, where they are drawn apart.
    """

    title: str
    group: Group
    real: bool
    source: str
    classes: tuple[str, ...]
    make: Callable[[int, int], TaskData]
    one: Callable[[Part, int, int], Split] | None = None


def load_task(key: str, side: int, seed: int = 0) -> TaskData:
    """A task's three splits at `side` pixels. Raises UserError for an unknown key."""
    return _card(key).make(side, seed)


def load_split(key: str, part: Part, side: int, seed: int = 0) -> Split:
    """One of them: a drawn one does not wait for the others. Raises UserError for an unknown key."""
    card = _card(key)
    return card.one(part, side, seed) if card.one else getattr(card.make(side, seed), part)


def _card(key: str) -> TaskCard:
    if key not in TASKS:
        raise UserError(f"Unknown task {key!r}: choose among {', '.join(TASKS)}.")
    return TASKS[key]


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """(n, h, w) or (n, h, w, 3) uint8 -> (n, side, side, 3) uint8, bilinear, through PIL."""
    made = [Image.fromarray(one).convert("RGB").resize((side, side), Image.Resampling.BILINEAR) for one in images]
    return np.stack([np.asarray(one) for one in made])


# ---- real ------------------------------------------------------------------------------------------------------------


def digits(side: int, seed: int) -> TaskData:
    """Scanned handwritten digits, 8 x 8: 800, 200 and the other 797."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = resized((found.images * (255 / 16)).astype(np.uint8), side)
    order = np.random.default_rng(seed).permutation(len(images))
    return _cut("digits", DIGITS, images[order], found.target[order].astype(np.int64))


def faces(side: int, seed: int) -> TaskData:
    """Faces and patches without one, 25 x 25, 200 in all: half to train on, 40 to choose by, 60 for the test."""
    from skimage.data import lfw_subset

    found = lfw_subset()  # 100 faces, then 100 others
    images = resized((255 * found / found.max()).astype(np.uint8), side)
    labels = np.repeat([0, 1], 100)
    order = np.random.default_rng(seed).permutation(200)
    return _cut("faces", FACES, images[order], labels[order], 100, 40)


def textures(side: int, seed: int) -> TaskData:
    """Crops of three photographs, turned at random: train from the left, validation and test from elsewhere."""
    from skimage import data

    photographs = [getattr(data, name)() for name in TEXTURES]
    draw = np.random.default_rng(seed)

    def crops(count: int, left: int, right: int, top: int, bottom: int) -> Split:
        images, labels = [], np.arange(count) % len(photographs)
        for label in labels:
            whole = photographs[label]
            x, y = draw.integers(left, right - CROP + 1), draw.integers(top, bottom - CROP + 1)
            images.append(np.rot90(_levelled(whole[y : y + CROP, x : x + CROP], draw), draw.integers(4)))
        return Split(resized(np.stack(images), side), labels.astype(np.int64))

    middle, wide = 256, 512
    return TaskData(
        "textures", TEXTURES, crops(TRAIN, 0, middle - CROP, 0, 384 - CROP),
        crops(VALIDATION, 0, middle - CROP, 384, wide), crops(TEST, middle, wide, 0, wide),
    )  # fmt: skip


def depth(side: int, seed: int) -> TaskData:
    """Crops of a photograph, labelled by how near their middle is: quarters of the measured disparity.

    They are grey: with colours, what is asked is which thing this is a part of. Squares of the photograph go to the
    splits by chance, six, one and three of ten; no crop reaches over the edge of its square. Crops without a
    measurement are left out.
    """
    from skimage.data import stereo_motorcycle

    photograph, _, disparity = stereo_motorcycle()
    half, quarter = CROP // 2, CROP // 4
    rows, columns = disparity.shape[0] // SQUARE, disparity.shape[1] // SQUARE
    draw = np.random.default_rng(seed)
    owners = draw.permutation(np.resize(["train"] * 6 + ["validation"] + ["test"] * 3, rows * columns))
    found: dict[str, tuple[list, list]] = {name: ([], []) for name in SIZES}
    for place, owner in enumerate(owners):
        top, left = SQUARE * (place // columns), SQUARE * (place % columns)
        for y, x in itertools.product(range(half, SQUARE - half + 1, 4), repeat=2):
            middle = disparity[top + y - quarter : top + y + quarter, left + x - quarter : left + x + quarter]
            known = middle[np.isfinite(middle)]
            if known.size >= middle.size // 2:
                rest = photograph[top + y - half : top + y + half, left + x - half : left + x + half]
                found[owner][0].append(rest.mean(2))
                found[owner][1].append(np.median(known))
    edges = np.quantile(np.concatenate([values for _, values in found.values()]), [0.25, 0.5, 0.75])

    def split(name: Part) -> Split:
        images, values = found[name]
        chosen = draw.permutation(len(images))[: SIZES[name]]
        labels = np.digitize(np.array(values)[chosen], edges)
        return Split(resized(np.stack([_levelled(images[i], draw) for i in chosen]), side), labels.astype(np.int64))

    return TaskData("depth", DEPTHS, *map(split, SIZES))


def _levelled(crop: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """(h, w) grey at one mean and a contrast by chance: those of a crop would tell too much. uint8."""
    level = (crop.astype(float) - crop.mean()) / max(crop.std(), 1e-6)
    return np.clip(128 + draw.uniform(20, 60) * level, 0, 255).astype(np.uint8)


# ---- procedural ------------------------------------------------------------------------------------------------------


Draw = Callable[[int, int, np.random.Generator, bool], tuple[np.ndarray, np.ndarray]]


def _drawn(key: str, title: str, source: str, classes: tuple[str, ...], draw: Draw) -> TaskCard:
    """draw: (count, side, rng, test) -> images (n, side, side, 3) uint8 and labels."""

    def one(part: Part, side: int, seed: int) -> Split:
        def make() -> Split:
            rng = np.random.default_rng([seed, *f"{key} {part}".encode()])
            images, labels = draw(SIZES[part], side, rng, part == "test")
            return Split(np.ascontiguousarray(images), np.asarray(labels, dtype=np.int64))

        return remembered(f"vision/{key}-{part}-{side}-{seed}-{_drawn_by()}", make, _save, _load)

    def whole(side: int, seed: int) -> TaskData:
        return TaskData(key, classes, *(one(part, side, seed) for part in SIZES))

    return TaskCard(title, "structured", False, source, classes, whole, one)


@functools.cache
def _drawn_by() -> str:
    """The code that draws, in short: what was drawn by other code is not read."""
    code = "".join(inspect.getsource(module) for module in (procedural, raycast))
    return hashlib.sha256(f"{np.__version__} {code}".encode()).hexdigest()[:12]


def _save(split: Split, path: Path) -> None:
    with whole_file(path) as temporary:
        save_file({"images": split.images, "labels": split.labels}, temporary)


def _load(path: Path) -> Split:
    found = load_file(path)
    return Split(found["images"], found["labels"])


def _cut(key: str, classes: tuple[str, ...], images: np.ndarray, labels: np.ndarray, train: int = TRAIN,
         validation: int = VALIDATION) -> TaskData:  # fmt: skip
    first, second = train, train + validation
    parts = [Split(images[rows], labels[rows]) for rows in (slice(first), slice(first, second), slice(second, None))]
    return TaskData(key, classes, *parts)


_SHAPES = "white shapes on black after dSprites, larger"
TASKS: dict[str, TaskCard] = {
    "digits": TaskCard("Digits", "natural", True, "scikit-learn's scanned digits", DIGITS, digits),
    "faces": TaskCard("Faces", "natural", True, "scikit-image's lfw_subset, 200 patches", FACES, faces),
    "textures": TaskCard(
        "Textures", "specialised", True, "crops of scikit-image's brick, grass and gravel", TEXTURES, textures
    ),
    "depth": TaskCard("Depth", "specialised", True, "crops of scikit-image's stereo_motorcycle", DEPTHS, depth),
    "location": _drawn(
        "location", "Location", f"{_SHAPES}; 16 columns", tuple(f"column {i + 1}" for i in range(16)),
        procedural.location,
    ),
    "orientation": _drawn(
        "orientation", "Orientation", f"{_SHAPES}; 16 turns, some alike for squares and ellipses",
        tuple(f"{22.5 * i:g}°" for i in range(16)), procedural.orientation,
    ),
    "count": _drawn(
        "count", "Count", "3 to 10 balls, boxes and cylinders on a floor after CLEVR", tuple(map(str, range(3, 11))),
        procedural.count,
    ),
    "azimuth": _drawn(
        "azimuth", "Azimuth", "five kinds of toys from 18 sides after small NORB; other toys in the test",
        tuple(f"{20 * i}°" for i in range(18)), procedural.azimuth,
    ),
}  # fmt: skip
