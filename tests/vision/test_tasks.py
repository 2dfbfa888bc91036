"""The shipped tasks: labels are true, splits share nothing, real crops keep their distance."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from backends.runtime.errors import UserError
from backends.vision import procedural, raycast
from backends.vision.tasks import TASKS, TaskData, load_split, load_task, resized

SIZES = {"digits": (800, 200, 797), "faces": (100, 40, 60)}


@functools.cache
def made(key: str) -> TaskData:
    """A task, made once for all tests that look at it."""
    return load_task(key, 48)


@pytest.mark.parametrize("key", TASKS)
def test_splits_have_their_sizes_and_every_class(key: str) -> None:
    task = made(key)
    splits = (task.train, task.validation, task.test)
    assert tuple(map(len, splits)) == SIZES.get(key, (800, 200, 1000))
    for split in splits:
        assert split.images.shape == (len(split), 48, 48, 3) and split.images.dtype == np.uint8
        assert set(split.labels) == set(range(len(task.classes)))
        assert split.images.std() > 5


@pytest.mark.parametrize("key", TASKS)
def test_no_picture_is_in_two_splits(key: str) -> None:
    known = {image.tobytes() for split in (made(key).train, made(key).validation) for image in split.images}
    shared = sum(image.tobytes() in known for image in made(key).test.images)
    assert shared <= (5 if key in ("location", "orientation") else 0)


@pytest.mark.parametrize("key", ["digits", "textures", "depth"])
def test_a_task_follows_from_its_seed(key: str) -> None:
    again, other = load_task(key, 48), load_task(key, 48, seed=1)
    assert np.array_equal(again.train.images, made(key).train.images)
    assert np.array_equal(again.test.labels, made(key).test.labels)
    assert not np.array_equal(other.train.images, again.train.images)


@pytest.mark.parametrize("key", ["location", "textures"])
def test_one_split_alone_is_the_same(key: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path))
    alone, whole = load_split(key, "validation", 24), load_task(key, 24).validation
    assert np.array_equal(alone.images, whole.images) and np.array_equal(alone.labels, whole.labels)
    kept = list(tmp_path.rglob("*.safetensors"))
    assert len(kept) == (3 if key == "location" else 0)  # drawn ones are kept on the machine, packages' are not
    for path in kept:
        path.write_bytes(b"torn")
    assert np.array_equal(load_split(key, "validation", 24).images, alone.images)


@pytest.mark.parametrize("draw", [procedural.location, procedural.count, procedural.azimuth])
def test_what_is_drawn_follows_from_its_generator(draw) -> None:
    (one, labels), (same, again), (other, _) = (draw(6, 24, np.random.default_rng(seed), False) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and np.array_equal(labels, again) and not np.array_equal(one, other)


def test_no_pixel_of_the_depth_photograph_is_in_two_splits() -> None:
    """Crops lie wholly inside squares of their own split."""
    task = load_task("depth", 32)
    kept = {image.tobytes() for image in task.train.images}
    assert not any(image.tobytes() in kept for image in task.test.images)
    counts = np.bincount(task.train.labels, minlength=4)
    assert counts.min() > 40, counts


def test_location_is_where_the_shape_is() -> None:
    split = made("location").test
    column = (split.images[..., 0].astype(float) * np.arange(48)).sum((1, 2)) / split.images[..., 0].sum((1, 2))
    assert np.corrcoef(column, split.labels)[0, 1] > 0.95


def test_a_quarter_turn_is_four_classes_further() -> None:
    p, q = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1, 1, 101))
    assert not np.array_equal(procedural._heart(p, q), procedural._heart(q, -p))
    assert np.array_equal(procedural._square(p, q), procedural._square(q, -p))


def test_things_on_the_floor_are_counted_and_apart() -> None:
    rng = np.random.default_rng(0)
    images, labels = procedural.count(60, 32, rng, False)
    assert labels.min() >= 0 and labels.max() <= 7 and images.shape == (60, 32, 32, 3)
    sizes = np.full(10, 0.55)
    places = procedural._apart(sizes, rng)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(10, 1)]
    assert np.mean(gaps > 1.1) > 0.9


def test_toys_of_the_test_are_others() -> None:
    for name in procedural.TOYS:
        seen = {procedural._toy(name, i).tobytes() for i in range(5)}
        assert not seen & {procedural._toy(name, i).tobytes() for i in range(5, 10)}


def test_an_unknown_task_is_one_sentence() -> None:
    with pytest.raises(UserError, match="Unknown task 'cifar': choose among digits"):
        load_task("cifar", 48)


def test_grey_pictures_become_three_equal_channels() -> None:
    wide = resized(np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8), 16)
    assert wide.shape == (2, 16, 16, 3) and np.array_equal(wide[..., 0], wide[..., 2])


# ---- rays ------------------------------------------------------------------------------------------------------------


def one(kind: int, size: tuple = (1.0, 1.0, 1.0), yaw: float = 0.0, centre: tuple = (0.0, 0.0, 2.0)) -> raycast.Scene:
    ones = np.ones((1, 1, 3))
    return raycast.Scene(
        np.array([[kind]]), np.array([[centre]]), np.array([[size]]), np.array([[yaw]]), ones, np.array([[True]]),
        np.array([[0.0, 0.0, 1.0]]), np.zeros((1, 3)), np.zeros((1, 3)),
    )  # fmt: skip


@pytest.mark.parametrize("kind", [raycast.BALL, raycast.BOX, raycast.CYLINDER])
@pytest.mark.parametrize("yaw", [0.0, 0.7])
def test_straight_down_onto_the_top(kind: int, yaw: float) -> None:
    distance, normal = raycast._first(
        one(kind, (2, 1, 0.5), yaw), np.array([[[0, 0, 10.0]]]), np.array([[[0, 0, -1.0]]])
    )
    assert distance[0, 0, 0] == pytest.approx(10 - 2.5)
    np.testing.assert_allclose(normal[0, 0, 0], [0, 0, 1], atol=1e-9)


def test_a_turned_box_is_met_on_its_turned_face() -> None:
    turned = one(raycast.BOX, (1, 1, 1), np.pi / 4)
    distance, _ = raycast._first(turned, np.array([[[-10, 0.0, 2]]]), np.array([[[1, 0, 0.0]]]))
    assert distance[0, 0, 0] == pytest.approx(10 - np.sqrt(2), abs=1e-6)


def test_a_ball_is_round_from_everywhere() -> None:
    rng = np.random.default_rng(0)
    way = raycast._unit(rng.normal(size=(1, 50, 3)))
    origin = np.array([0.0, 0, 2]) - 5 * way
    distance, normal = raycast._first(one(raycast.BALL), origin, way)
    np.testing.assert_allclose(distance, 4, atol=1e-9)
    np.testing.assert_allclose(normal[0, 0], -way[0], atol=1e-9)


def test_what_is_missed_is_far_and_the_floor_is_below() -> None:
    scene = one(raycast.BOX)
    origin, way = np.array([[[5.0, 5, 3]]]), np.array([[[0, 0, -1.0]]])
    assert raycast._first(scene, origin, way)[0][0, 0, 0] == raycast.FAR
    assert raycast._nearest(scene, origin, way)[0][0, 0] == pytest.approx(3)
