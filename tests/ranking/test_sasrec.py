"""The network sees nothing of the future, padding is nothing, and order is what it learns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from backends.ranking.sasrec import SASRec, SASRecSettings, cut, padded, reciprocal, train_sasrec

SMALL = SASRecSettings(width=16, blocks=1, heads=2, length=8, epochs=25, batch=32, lr=1e-2)
ITEMS = 12


def walks(count: int, seed: int) -> list[list[int]]:
    """From an item to the one five further, sometimes to any: popularity knows nothing of it."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        walk = [int(rng.integers(ITEMS))]
        while len(walk) < 10:
            walk.append(int((walk[-1] + 5) % ITEMS if rng.random() < 0.8 else rng.integers(ITEMS)))
        found.append(walk)
    return found


def test_the_future_is_not_seen_and_padding_is_nothing() -> None:
    torch.manual_seed(0)
    model = SASRec(ITEMS, SMALL).eval()
    rows = padded([[1, 2, 3, 4], [1, 2]], ITEMS)
    assert rows.tolist() == [[1, 2, 3, 4], [1, 2, ITEMS, ITEMS]]
    with torch.no_grad():
        states = model(rows)
        torch.testing.assert_close(states[0, :2], states[1, :2])
        other = model(torch.tensor([[1, 2, 3, 9]]))
    torch.testing.assert_close(states[0, :3], other[0, :3])
    assert not torch.allclose(states[0, 3], other[0, 3])
    alone, together = model.scores([[1, 2]]), model.scores([[1, 2], [1, 2, 3, 4], []])
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    assert alone.shape == (1, ITEMS) and not together[2].any()
    np.testing.assert_allclose(model.scores([[5, 6, *range(8)]]), model.scores([list(range(8))]), atol=1e-6)


@pytest.mark.parametrize("length", range(1, 20))
def test_pieces_hold_every_step_once(length: int) -> None:
    sequence = list(range(length))
    steps = [pair for piece in cut(sequence, 5) for pair in pairwise(piece)]
    assert sorted(steps) == list(pairwise(sequence))
    assert all(2 <= len(piece) <= 5 for piece in cut(sequence, 5))


def test_it_learns_what_comes_next() -> None:
    validate = [(walk[:-1], (walk[-2] + 5) % ITEMS) for walk in walks(40, 1)]
    *steps, last = train_sasrec(walks(120, 0), ITEMS, SMALL, validate)
    assert last.fraction == 1 and all(0 < step.fraction <= 1 for step in steps)
    assert reciprocal(last.partial, validate) > 0.95


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_one_alone() -> None:
    short = SMALL.model_copy(update={"epochs": 2})
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    one, two = ([*train_sasrec(walks(20, 0), ITEMS, short)][-1].partial for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_array_equal(one.scores([[1, 2]]), two.scores([[1, 2]]))
    other = [*train_sasrec(walks(20, 0), ITEMS, short.model_copy(update={"seed": 1}))][-1].partial
    assert not np.array_equal(one.scores([[1, 2]]), other.scores([[1, 2]]))


def test_the_best_epoch_is_kept() -> None:
    """Validated on what the training never shows, the first epochs are the best ones."""
    against = [([i], (i + 1) % ITEMS) for i in range(ITEMS)]
    kept = [*train_sasrec(walks(120, 0), ITEMS, SMALL, against)][-1].partial
    last = [*train_sasrec(walks(120, 0), ITEMS, SMALL)][-1].partial
    assert reciprocal(kept, against) > reciprocal(last, against)
