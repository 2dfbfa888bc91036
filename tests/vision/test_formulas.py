"""The pretraining's formulas: what a class is, that systems contract, that pictures follow from their seed."""

from __future__ import annotations

import math

import pytest
import torch

from backends.runtime.seeds import generator
from backends.vision import formulas
from backends.vision.render import MOST_DISTRACTORS, _geometry, pictures
from backends.vision.settings import FormulaSettings

FEW = FormulaSettings(classes=12, variants=3, points=1024, shown=600)


@pytest.fixture(scope="module")
def clouds() -> torch.Tensor:
    return formulas.clouds(FEW)


def test_clouds_are_centred_and_reach_one(clouds: torch.Tensor) -> None:
    assert clouds.shape == (12, 3, 1024, 2) and clouds.isfinite().all()
    low, high = clouds.amin(2), clouds.amax(2)
    torch.testing.assert_close(low, -high)
    torch.testing.assert_close(high.amax(-1), torch.ones(12, 3))


def test_the_same_seed_gives_the_same_classes(clouds: torch.Tensor) -> None:
    assert torch.equal(formulas.clouds(FEW), clouds)
    assert not torch.equal(formulas.clouds(FEW.model_copy(update={"seed": 1})), clouds)


def test_systems_neither_vanish_nor_fill_the_picture(clouds: torch.Tensor) -> None:
    filled = formulas.fill(formulas.clouds(FEW.model_copy(update={"points": 4096, "classes": 8}))[:4])
    assert (filled > 0.03).all() and (filled < 0.97).all()  # variants stray a little from the class that was judged


@pytest.mark.parametrize("seed", range(20))
def test_singular_values_are_those_of_a_contraction(seed: int) -> None:
    draw = generator(seed)
    n = 2 + seed % 4
    u = torch.rand(40, generator=draw).tolist()
    alpha = (5 + n + u.pop()) / 2
    pairs = formulas._singular_values(n, alpha, u)
    assert len(pairs) == n and sum(a + 2 * b for a, b in pairs) == pytest.approx(alpha)
    assert all(-1e-9 <= b <= a + 1e-9 and a <= 1 + 1e-9 for a, b in pairs)


def test_the_maps_have_those_singular_values() -> None:
    maps, alive = formulas._contraction(generator(3))
    n = int(alive.sum())
    found = torch.linalg.svdvals(maps[:n, :, :2])
    assert (found <= 1 + 1e-6).all() and not maps[n:].any()
    assert (5 + n) / 2 <= float((found[:, 0] + 2 * found[:, 1]).sum()) <= (6 + n) / 2 + 1e-5


def test_a_walk_stays_on_its_attractor() -> None:
    """Two maps that halve towards (0, 0) and (1, 0): the attractor is the segment between them."""
    maps = torch.zeros(1, 1, 5, 2, 3)
    maps[0, 0, :2, :, :2] = torch.eye(2) / 2
    maps[0, 0, 1, 0, 2] = 0.5
    points = formulas._walk(maps, torch.tensor([[True, True, False, False, False]]), 512, generator(0))[0, 0]
    assert points[:, 1].abs().max() == 0
    assert -1e-6 <= points[:, 0].min() < 0.1 and 0.9 < points[:, 0].max() <= 1


def test_pictures_follow_from_their_seed(clouds: torch.Tensor) -> None:
    one, same = (pictures(clouds, 8, 48, FEW.shown, generator(5)) for _ in range(2))
    other = pictures(clouds, 8, 48, FEW.shown, generator(6))
    assert torch.equal(one.images, same.images) and torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, other.images)


def test_pictures_show_what_is_said_of_them(clouds: torch.Tensor) -> None:
    made = pictures(clouds, 64, 48, FEW.shown, generator(1))
    assert made.images.shape == (64, 3, 48, 48) and made.images.isfinite().all()
    assert made.images.min() >= 0 and made.images.max() <= 1
    assert made.labels.min() >= 0 and made.labels.max() < 12 and made.distractors.max() <= MOST_DISTRACTORS
    mask, clutter = made.masks.unbind(1)
    shares = mask.mean((1, 2))
    assert (mask * clutter).max() == 0 and (clutter.amax((1, 2)) <= (made.distractors > 0)).all()
    assert ((shares > 0.01) & (shares < 0.6)).all()
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 48)] * 2, indexing="ij")
    seen = torch.stack([(mask * grid).sum((1, 2)) / mask.sum((1, 2)) for grid in (columns, rows)], 1)
    assert (seen - made.geometry[:, :2]).abs().mean() < 0.06
    pairs = made.geometry[:, 3:].unflatten(1, (4, 2))
    assert (pairs.norm(dim=2) <= 1 + 1e-5).all() and (made.geometry[:, 2] < math.sqrt(2)).all()


@pytest.mark.parametrize("turn", [0.3, 1.7])
def test_moments_turn_with_the_object(turn: float) -> None:
    """The pairs are z^2, z |z|^2, z^3 and z^4: they turn two, one, three and four times as fast."""
    points = torch.rand(1, 400, 2, generator=generator(3)) ** 2
    cos, sin = math.cos(turn), math.sin(turn)
    turned = points @ torch.tensor([[cos, sin], [-sin, cos]])
    before, after = (torch.view_as_complex(_geometry(p)[0, 3:].reshape(4, 2).clone()) for p in (points, turned))
    by = torch.exp(1j * turn * torch.tensor([2.0, 1.0, 3.0, 4.0]))
    torch.testing.assert_close(after, before * by, rtol=1e-4, atol=1e-5)
    assert (before.abs() > 0.01).all()


def test_the_main_object_can_be_seen(clouds: torch.Tensor) -> None:
    made = pictures(clouds, 64, 48, FEW.shown, generator(2))
    mask = made.masks[:, :1]
    inside = (made.images * mask).sum((2, 3)) / mask.sum((2, 3))
    outside = (made.images * (1 - mask)).sum((2, 3)) / (1 - mask).sum((2, 3))
    assert ((inside - outside).abs().amax(1) > 0.1).float().mean() > 0.85
