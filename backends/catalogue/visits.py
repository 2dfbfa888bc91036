"""Simulated visits to a shop for the catalogue's works: what was looked at, put into the basket, bought, and its price.

    visits = visit(world, works, VisitSettings())
    visits.sessions[3]                             # rows of the fourth visit

A visitor is one of the simulated people, but a visit does not say who. They come with one interest, one kind (sometimes
two) and a budget, and go from work to work:

    u_i = taste c . v_i + near v_before . v_i + crowd log q_i - thrift max(0, log(price_i / budget)) + Gumbel noise

What fits is looked at for longer; of what fits and can be paid something goes into the basket, and of that something is
bought at the end. Everything follows from the seed; nothing here is real.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from backends.catalogue.people import DAY, EPOCH, World
from backends.catalogue.schema import KINDS, Kind, Work

Behaviour = Literal["view", "basket", "buy"]
BEHAVIOURS: tuple[Behaviour, ...] = get_args(Behaviour)
USUAL: dict[Kind, float] = {"film": 9.0, "book": 12.0, "game": 25.0, "album": 11.0}  # price of the median work


class VisitSettings(BaseModel):
    """How visits go."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    visits: int = Field(12_000, ge=1, le=1_000_000, title="Visits")
    taste: float = Field(10.0, ge=0, le=100, title="How much a work's fit to the interest counts")
    near: float = Field(4.0, ge=0, le=100, title="How much its nearness to the work before counts")
    crowd: float = Field(0.6, ge=0, le=10, title="How much its appeal counts")
    thrift: float = Field(2.0, ge=0, le=100, title="How much a price above the budget counts")
    again: float = Field(0.82, gt=0, lt=1, title="Chance to look at one more work")
    other: float = Field(0.2, ge=0, le=1, title="Share of visits that go on to a second kind")
    longest: int = Field(40, ge=2, le=500, title="Most works of one visit")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")


@dataclass(frozen=True)
class Visits:
    """Rows in the order of visits and of time: visit, item: codes; behaviour: a number of BEHAVIOURS; price: in an
    imaginary currency; seconds: how long a work was looked at, 0 for basket and buy; time: seconds since 1970."""

    works: tuple[str, ...]
    visit: np.ndarray
    item: np.ndarray
    behaviour: np.ndarray
    price: np.ndarray
    seconds: np.ndarray
    time: np.ndarray

    def __len__(self) -> int:
        return len(self.visit)

    @functools.cached_property
    def sessions(self) -> list[np.ndarray]:
        """Rows of each visit."""
        return np.split(np.arange(len(self)), np.flatnonzero(np.diff(self.visit)) + 1)

    def sequences(self, behaviour: Behaviour = "view") -> list[list[int]]:
        """Items of each visit that had this behaviour, in their order."""
        wanted = self.behaviour == BEHAVIOURS.index(behaviour)
        return [self.item[rows[wanted[rows]]].tolist() for rows in self.sessions]


def price_of(work: Work, seed: int = 0) -> float:
    """About the usual price of its kind, more for what is new; ends in .99 or .49."""
    rng = np.random.default_rng([seed, 3, zlib.crc32(work.key.encode())])
    new = 1.25 if work.year >= 2018 else 1.0 if work.year >= 1995 else 0.85
    rough = USUAL[work.kind] * new * float(np.exp(rng.normal(0, 0.4)))
    return max(0.99, round(rough * 2) / 2 - 0.01)


def visit(world: World, works: Mapping[str, Work], s: VisitSettings) -> Visits:
    """All visits."""
    prices = np.array([price_of(works[key], s.seed) for key in world.works])
    kinds = np.array([KINDS.index(kind) for kind in world.kinds])
    columns: list[list[tuple[int, int, float, float]]] = []
    for number in range(s.visits):
        rng = np.random.default_rng([s.seed, 4, number])
        columns.append(_one(rng, world, kinds, prices, s))
    numbers = np.repeat(np.arange(s.visits), [len(rows) for rows in columns])
    item, behaviour, seconds, time = (np.array(c) for c in zip(*(r for rows in columns for r in rows), strict=True))
    item, behaviour = item.astype(np.int64), behaviour.astype(np.int64)
    return Visits(world.works, numbers, item, behaviour, prices[item], seconds, time)


def _one(
    rng: np.random.Generator, world: World, kinds: np.ndarray, prices: np.ndarray, s: VisitSettings
) -> list[tuple[int, int, float, float]]:
    """(item, behaviour, seconds, time) of one visit."""
    taste = world.taste[int(rng.integers(len(world.taste)))]
    interest = taste.interests[int(rng.choice(len(taste.shares), p=taste.shares / taste.shares.sum()))]
    chosen = rng.choice(len(KINDS), 2, replace=False, p=(taste.kinds + 1e-6) / (taste.kinds + 1e-6).sum())
    count = int(min(s.longest, 1 + rng.geometric(1 - s.again)))
    turn = int(rng.integers(1, count)) if rng.random() < s.other and count > 1 else count
    budget = np.exp(rng.normal(0.1, 0.35)) * np.array([USUAL[kind] for kind in KINDS])[kinds]
    dear = np.maximum(0.0, np.log(prices / budget))
    fit = world.vectors @ interest
    base = s.taste * fit + s.crowd * np.log(world.appeal) - s.thrift * dear
    clock = EPOCH + DAY * rng.uniform(0, 730)
    rows: list[tuple[int, int, float, float]] = []
    basket: list[int] = []
    seen = np.zeros(len(prices), bool)
    before = -1
    for step in range(count):
        open_ = (kinds == chosen[0 if step < turn else 1]) & ~seen
        pull = base + (s.near * world.vectors @ world.vectors[before] if before >= 0 else 0.0)
        before = int(np.where(open_, pull + rng.gumbel(size=len(pull)), -np.inf).argmax())
        seen[before] = True
        seconds = float(np.exp(rng.normal(2.9 + 1.2 * fit[before], 0.6)))
        rows.append((before, 0, round(seconds, 1), clock))
        clock += seconds + rng.exponential(6)
        if rng.random() < _sigmoid(5 * (fit[before] - 0.55) - 5 * dear[before] - 0.2):
            basket.append(before)
            rows.append((before, 1, 0.0, clock))
    clock += rng.exponential(60)
    rows += [(one, 2, 0.0, clock) for one in basket if rng.random() < _sigmoid(4 * (fit[one] - 0.5) - 4 * dear[one])]
    return rows


def _sigmoid(x: float) -> float:
    return 1 / (1 + float(np.exp(-x)))
