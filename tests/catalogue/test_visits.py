"""Visits keep to their stated model: near steps, budgets that count, looks that tell, and nobody's name."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from backends.catalogue.people import World, WorldSettings, simulate
from backends.catalogue.schema import KINDS, load_works
from backends.catalogue.visits import BEHAVIOURS, USUAL, Visits, VisitSettings, price_of, visit

WORKS = dict(load_works())


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(WORKS, WorldSettings(people=200))


@pytest.fixture(scope="module")
def visits(world: World) -> Visits:
    return visit(world, WORKS, VisitSettings(visits=1500))


def test_rows_are_in_order(visits: Visits) -> None:
    assert len(visits.sessions) == 1500 and set(visits.visit) == set(range(1500))
    lengths = np.array([len(one) for one in visits.sequences()])
    assert lengths.min() >= 2 and 5 <= np.median(lengths) <= 8 and lengths.max() <= 40
    for rows, seen in zip(visits.sessions, visits.sequences(), strict=True):
        assert (np.diff(visits.time[rows]) >= 0).all() and len(set(seen)) == len(seen)
        bought = visits.item[rows[visits.behaviour[rows] == 2]]
        basket = visits.item[rows[visits.behaviour[rows] == 1]]
        assert set(bought) <= set(basket) <= set(seen)
    share = [np.mean([bool(len(one)) for one in visits.sequences(b)]) for b in BEHAVIOURS]
    assert share[0] == 1 and 0.4 < share[1] < 0.95 and 0.2 < share[2] < share[1]
    assert (visits.seconds[visits.behaviour == 0] > 0).all() and not visits.seconds[visits.behaviour > 0].any()


def test_prices_are_those_of_a_shop(visits: Visits) -> None:
    for kind in KINDS:
        prices = [price_of(work) for work in WORKS.values() if work.kind == kind]
        assert np.median(prices) == pytest.approx(USUAL[kind], rel=0.2) and min(prices) >= 0.49
        assert all(round(100 * price) % 50 == 49 for price in prices)
    assert visits.price.tolist() == [price_of(WORKS[visits.works[i]]) for i in visits.item]


def test_a_step_leads_near(world: World, visits: Visits) -> None:
    near, rng = [], np.random.default_rng(0)
    for seen in visits.sequences():
        for one, two in pairwise(seen):
            other = rng.integers(len(WORKS))
            near.append(world.vectors[one] @ world.vectors[two] > world.vectors[one] @ world.vectors[other])
    assert np.mean(near) > 0.75


def test_the_dear_is_bought_less_and_the_fitting_is_looked_at_longer(visits: Visits) -> None:
    usual = np.array([USUAL[WORKS[key].kind] for key in visits.works])
    dear = visits.price > 1.5 * usual[visits.item]
    seen, bought = visits.behaviour == 0, visits.behaviour == 2
    rate = [(bought & group).sum() / (seen & group).sum() for group in (~dear, dear)]
    assert rate[1] < 0.75 * rate[0]
    times: dict[bool, list[float]] = {True: [], False: []}
    for rows in visits.sessions:
        basket = set(visits.item[rows[visits.behaviour[rows] == 1]])
        for row in rows[visits.behaviour[rows] == 0]:
            times[visits.item[row] in basket].append(visits.seconds[row])
    assert np.median(times[True]) > 1.1 * np.median(times[False])


def test_everything_follows_from_the_seed(world: World) -> None:
    few = VisitSettings(visits=20)
    one, two = visit(world, WORKS, few), visit(world, WORKS, few)
    assert np.array_equal(one.item, two.item) and np.array_equal(one.time, two.time)
    more = visit(world, WORKS, VisitSettings(visits=30))
    assert np.array_equal(more.item[more.visit < 20], one.item)
    assert not np.array_equal(visit(world, WORKS, VisitSettings(visits=20, seed=1)).item, one.item)
