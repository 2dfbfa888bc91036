"""Who goes and who takes the place."""

from __future__ import annotations

import numpy as np
import pytest

from backends.pear.plan import groups_of, plan

NAMES = [f"layer {i}, {kind}" for i in range(6) for kind in "qv"]
SCORES = {name: float(score) for name, score in zip(NAMES, [5, 1, 9, 2, 8, 3, 11, 4, 7, 0, 10, 6], strict=True)}
ALIKE = dict.fromkeys(NAMES, "same")


@pytest.mark.parametrize("ratio", [0, 10, 25, 33, 50, 60, 75])
def test_exactly_the_least_important_go(ratio: float) -> None:
    made = plan(SCORES, ALIKE, ratio)
    m = round(ratio / 100 * 12)
    assert set(made.pruned) == set(sorted(NAMES, key=SCORES.get)[:m])
    assert list(made.kept) == sorted(NAMES, key=SCORES.get)[::-1][: 12 - m]


def test_the_lowest_gets_the_highest() -> None:
    made = plan(SCORES, ALIKE, 50)
    rising = sorted(NAMES, key=SCORES.get)
    assert [made.donors[name] for name in rising[:6]] == rising[::-1][:6]


@pytest.mark.parametrize("times", [1, 2, 3, 5])
@pytest.mark.parametrize("ratio", range(5, 80, 5))
def test_several_prunes_end_where_one_does(ratio: int, times: int) -> None:
    """Exactly m sites are pruned in the end, nobody who serves is among them, and no more serve than are left."""
    made, m = None, round(ratio / 100 * 12)
    for step in range(1, times + 1):
        before, made = made, plan(SCORES, ALIKE, ratio * step / times, before=made, last=ratio)
        assert before is None or before.donors.items() <= made.donors.items()
    assert len(made.pruned) == m and len(made.kept) == 12 - m
    assert set(made.donors.values()) <= set(made.kept)
    if m <= 6:
        assert len(set(made.donors.values())) == m  # while there are enough, each serves once


def test_beyond_half_the_donors_serve_again_in_falling_order() -> None:
    made = plan(SCORES, ALIKE, 75)
    rising = sorted(NAMES, key=SCORES.get)
    assert [made.donors[name] for name in rising[:9]] == [rising[::-1][k % 3] for k in range(9)]


def test_a_donor_is_of_the_same_group() -> None:
    kinds = {name: name[-1] for name in NAMES}
    shapes = dict.fromkeys(NAMES, (8, 8))
    made = plan(SCORES, groups_of(shapes, kinds, "same-kind"), 50)
    assert all(donor is None or donor[-1] == name[-1] for name, donor in made.donors.items())
    odd = shapes | {"layer 4, v": (8, 16)}
    assert plan(SCORES, groups_of(odd, kinds, "global"), 10).donors == {"layer 4, v": None}


def test_controls() -> None:
    rising = sorted(NAMES, key=SCORES.get)
    assert set(plan(SCORES, ALIKE, 50, "none").donors.values()) == {None}
    assert plan(SCORES, ALIKE, 25, "lowest").donors[rising[0]] == rising[3]
    one, two = (plan(SCORES, ALIKE, 50, "random", np.random.default_rng(1)) for _ in range(2))
    assert one == two and set(one.donors.values()) == set(rising[6:])


def test_ties_go_by_the_order_of_the_sites() -> None:
    made = plan(dict.fromkeys(NAMES, 1.0), ALIKE, 25)
    assert list(made.pruned) == NAMES[:3]
