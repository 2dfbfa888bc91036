"""Rankings ask about the right items among the right ones; intervals cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from backends.ranking.evaluate import full, interval, sampled, table
from backends.ranking.interactions import leave_last
from tests.ranking.test_interactions import drawn

SPLIT = leave_last(drawn())
WORTH = np.random.default_rng(5).random((20, 15))


def scores(users: np.ndarray) -> np.ndarray:
    return WORTH[users]


def test_a_full_ranking_leaves_out_what_is_known() -> None:
    placed = full(scores, SPLIT.test, SPLIT.before_test)
    known, asked = SPLIT.before_test.known(), dict(zip(SPLIT.test.user, SPLIT.test.item, strict=True))
    for row, (user, place) in enumerate(zip(sorted(asked), placed.places, strict=True)):
        rivals = [i for i in range(15) if not known[user, i] and WORTH[user, i] > WORTH[user, asked[user]]]
        assert place == 1 + len(rivals) and placed.candidates[row] == 15 - known[user].sum()
    every = full(scores, SPLIT.test, SPLIT.before_test, again=True)
    assert set(every.candidates) == {15} and (every.places >= placed.places).all()


def test_a_sampled_ranking_has_one_row_each_and_never_what_was_taken() -> None:
    taken = drawn().known()

    def only_taken(users: np.ndarray) -> np.ndarray:
        return taken[users].astype(float)  # anything taken would stand before

    placed = sampled(only_taken, SPLIT.test, SPLIT.before_test, np.random.default_rng(0), negatives=4)
    assert (
        set(placed.places) == {1.0}
        and set(placed.candidates) <= {1, 2, 3, 4, 5}
        and len(placed.relevant) == len(SPLIT.test)
    )
    one = sampled(scores, SPLIT.train, SPLIT.train, np.random.default_rng(0), 4, most=2)
    assert max(np.bincount(SPLIT.train.user)) > 2 and len(one.relevant) <= 2 * 20
    again = sampled(scores, SPLIT.train, SPLIT.train, np.random.default_rng(0), 4, most=2)
    assert one.places.tolist() == again.places.tolist()


def test_chance_is_worth_chance() -> None:
    rng = np.random.default_rng(2)
    luck = sampled(lambda users: rng.random((len(users), 15)), SPLIT.train, SPLIT.train, rng, 4)
    found = table(luck, (1,))
    assert found["HR@1"].mean() == pytest.approx(1 / 5, abs=0.12) and np.nanmean(found["AUC"]) == pytest.approx(
        0.5, abs=0.1
    )


def test_an_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(100):
        found = interval(rng.normal(1, 2, 80), rng, 400)
        inside += found.low <= 1 <= found.high
    assert 88 <= inside <= 100
    same = interval(np.full(5, 0.25), rng)
    assert (same.low, same.mean, same.high) == (0.25, 0.25, 0.25) and str(same) == "0.250 (0.250 to 0.250)"
