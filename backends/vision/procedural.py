"""Pictures whose labels are known because they were drawn: location, orientation, count, azimuth.

Each function: (n, side, rng, test) -> images (n, side, side, 3) uint8, labels (n,) int64. They share no
code with the pretraining's formulas.
"""

from __future__ import annotations

import numpy as np

from backends.vision.raycast import BALL, BOX, Camera, Scene, picture

Array = np.ndarray
Drawn = tuple[Array, Array]
FINE = 3  # samples a pixel and direction, of flat shapes
TURNS, PLACES = 40, 32  # of dSprites
TOYS = ("animal", "human", "plane", "truck", "car")


# ---- flat shapes -----------------------------------------------------------------------------------------------------


def location(n: int, side: int, rng: np.random.Generator, test: bool) -> Drawn:
    """A square, ellipse or heart; the label is which of 16 columns its centre is in."""
    images, x, _ = _shapes(n, side, rng)
    return images, x * 16 // PLACES


def orientation(n: int, side: int, rng: np.random.Generator, test: bool) -> Drawn:
    """The same; the label is which of 16 turns it has."""
    images, _, turn = _shapes(n, side, rng)
    return images, turn * 16 // TURNS


def _shapes(count: int, side: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    kind, turn = rng.integers(3, size=count), rng.integers(TURNS, size=count)
    x, y = rng.integers(PLACES, size=(2, count))
    size = rng.uniform(0.26, 0.42, count)  # half extents, in half pictures
    at = (np.stack([x, y]) / (PLACES - 1) * 2 - 1) * (1 - 1.1 * size)
    grid = (np.arange(FINE * side) + 0.5) / (FINE * side) * 2 - 1
    v, u = np.meshgrid(grid, grid, indexing="ij")
    images = np.empty((count, side, side), np.uint8)
    for i in range(count):
        angle = 2 * np.pi * turn[i] / TURNS
        dx, dy = (u - at[0, i]) / size[i], (v - at[1, i]) / size[i]
        p, q = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        inside = (_square, _ellipse, _heart)[kind[i]](p, q)
        images[i] = 255 * inside.reshape(side, FINE, side, FINE).mean((1, 3))
    return np.repeat(images[..., None], 3, -1), x.astype(np.int64), turn.astype(np.int64)


def _square(p: Array, q: Array) -> Array:
    return np.maximum(np.abs(p), np.abs(q)) <= 0.7


def _ellipse(p: Array, q: Array) -> Array:
    return p**2 + (q / 0.55) ** 2 <= 1


def _heart(p: Array, q: Array) -> Array:
    x, y = 1.25 * p, -1.25 * q
    return (x**2 + y**2 - 1) ** 3 - x**2 * y**3 <= 0


# ---- things on a floor -----------------------------------------------------------------------------------------------


def count(n: int, side: int, rng: np.random.Generator, test: bool) -> Drawn:
    """3 to 10 things that do not overlap on the floor; the label is their number less 3."""
    numbers, most = rng.integers(3, 11, size=n), 10
    size = rng.choice([0.35, 0.55], (n, most))
    centre = np.zeros((n, most, 3))
    for i in range(n):
        centre[i, :, :2] = _apart(size[i], rng)
    centre[..., 2] = size
    scene = Scene(
        rng.integers(3, size=(n, most)), centre, np.repeat(size[..., None], 3, -1),
        rng.uniform(0, np.pi, (n, most)), rng.uniform(0.15, 1, (n, most, 3)),
        np.arange(most) < numbers[:, None], _lights(n, rng), rng.uniform(0.4, 0.6, (n, 1)) * np.ones(3),
        np.full((n, 3), 0.75),
    )  # fmt: skip
    around = rng.uniform(0, 2 * np.pi, n)
    at = np.stack([7 * np.cos(around), 7 * np.sin(around), rng.uniform(4.5, 5.5, n)], 1)
    return _bytes(picture(scene, Camera(at, np.zeros((n, 3)), 0.42), side), rng), numbers - 3


def _apart(sizes: Array, rng: np.random.Generator) -> Array:
    """Places on the floor, the largest first, each at least its size away from the others."""
    placed = np.zeros((len(sizes), 2))
    for i, size in enumerate(sizes):
        for _ in range(200):
            placed[i] = rng.uniform(-2.6, 2.6, 2)
            if all(np.hypot(*(placed[i] - placed[j])) > 1.05 * (size + sizes[j]) for j in range(i)):
                break
    return placed


def _lights(count: int, rng: np.random.Generator) -> Array:
    around = rng.uniform(0, 2 * np.pi, count)
    return np.stack([np.cos(around), np.sin(around), rng.uniform(0.9, 1.8, count)], 1)


def _bytes(images: Array, rng: np.random.Generator) -> Array:
    """8 bits, with a little noise."""
    return (255 * np.clip(images + rng.normal(0, 0.015, images.shape), 0, 1)).astype(np.uint8)


# ---- toys ------------------------------------------------------------------------------------------------------------


def azimuth(n: int, side: int, rng: np.random.Generator, test: bool) -> Drawn:
    """A grey toy from one of 18 sides, 9 heights and 6 lights; the test shows toys of other proportions."""
    labels, rise, lamp = rng.integers(18, size=n), rng.integers(9, size=n), rng.integers(6, size=n)
    grey = rng.uniform(0.5, 0.8, n)
    instances = range(5, 10) if test else range(5)
    toys = [_toy(rng.choice(TOYS), int(rng.choice(instances))) for _ in range(n)]
    most = max(len(toy) for toy in toys)
    rows = np.zeros((n, most, 8))  # kind, centre, size, there
    for i, toy in enumerate(toys):
        rows[i, : len(toy)] = np.column_stack([toy, np.ones(len(toy))])
    rows[..., 4:7] = np.maximum(rows[..., 4:7], 1e-3)
    angle = 2 * np.pi * lamp / 6
    scene = Scene(
        rows[..., 0].astype(int), rows[..., 1:4], rows[..., 4:7], np.zeros((n, most)),
        grey[:, None, None] * np.ones((n, most, 3)), rows[..., 7] > 0,
        np.stack([np.cos(angle), np.sin(angle), 1.2 + 0 * angle], 1), np.full((n, 3), 0.45),
        np.full((n, 3), 0.45),
    )  # fmt: skip
    around, above = 2 * np.pi * labels / 18, np.radians(30 + 5 * rise)
    at = 6 * np.stack([np.cos(around) * np.cos(above), np.sin(around) * np.cos(above), np.sin(above)], 1)
    seen = picture(scene, Camera(at, np.array([0.0, 0.0, 0.6]) + np.zeros((n, 3)), 0.36), side)
    return _bytes(seen, rng), labels


def _toy(name: str, instance: int) -> Array:
    """Boxes, balls and cylinders: rows of kind, centre (3), half size (3). It looks along x; instances differ in
    their proportions."""
    s = np.random.default_rng([instance, TOYS.index(name)]).uniform(0.75, 1.3, 6)
    legs = [(x, y) for x in (-0.7 * s[0], 0.7 * s[0]) for y in (-0.3 * s[1], 0.3 * s[1])]
    parts = {
        "animal": [
            (BOX, 0, 0, 0.9, 0.9 * s[0], 0.4 * s[1], 0.35),
            (BALL, 1.1 * s[0], 0, 1.35, *(0.36 * s[3:6])),
            (BOX, -1.1 * s[0], 0, 1.15, 0.3, 0.08, 0.08),
            *((BOX, x, y, 0.28, 0.12, 0.12, 0.3 * s[2]) for x, y in legs),
        ],
        "human": [
            (BOX, 0, 0, 1.1, 0.2 * s[0], 0.4 * s[1], 0.45),
            (BALL, 0.05, 0, 1.85, *(0.3 * s[3:6])),
            (BOX, 0.35 * s[2], 0.5 * s[1], 1.3, 0.45 * s[2], 0.1, 0.1),
            (BOX, 0, -0.5 * s[1], 1.0, 0.1, 0.1, 0.45),
            (BOX, 0, 0.2, 0.35, 0.13, 0.13, 0.4),
            (BOX, 0.15, -0.2, 0.35, 0.13, 0.13, 0.4),
        ],
        "plane": [
            (BALL, 0, 0, 0.8, 1.5 * s[0], 0.25, 0.25),
            (BOX, 0.2, 0, 0.8, 0.35 * s[1], 1.4 * s[2], 0.05),
            (BOX, -1.2 * s[0], 0, 1.1, 0.2, 0.05, 0.35 * s[3]),
            (BOX, -1.2 * s[0], 0, 0.85, 0.2, 0.5 * s[4], 0.04),
        ],
        "truck": [
            (BOX, 0.9 * s[0], 0, 0.75, 0.35, 0.45, 0.5 * s[3]),
            (BOX, -0.35, 0, 0.85, 0.8 * s[0], 0.5, 0.6 * s[4]),
        ],
        "car": [
            (BOX, 0, 0, 0.5, 1.1 * s[0], 0.5, 0.25),
            (BOX, -0.2 * s[1], 0, 0.9, 0.55 * s[3], 0.42, 0.22 * s[4]),
        ],
    }
    wheels = [(BALL, x, 1.6 * y, 0.24, 0.24, 0.1, 0.24) for x, y in legs] if name in ("truck", "car") else []
    return np.array([*parts[name], *wheels], float)
