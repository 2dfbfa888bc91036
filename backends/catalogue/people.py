"""Simulated people and what they took: a stated taste model over the catalogue's real works. Nobody here is real.

    world = simulate(load_works(), WorldSettings())
    world.interactions                             # who took what, when, and how it was liked
    world.taste[7]                                 # what person 7 really likes: known only because it is simulated

Each word of the catalogue (theme, mood, genre, maker, series, country, decade) has a direction in a space of `width`
dimensions; a work stands at the weighted mean of its words' directions, plus a part of its own that no word explains:

    v_i = unit( sum_f w_f mean_{word in f} e(word) + private e(i) )
    u_pi(t) = taste max_k ( c_pk . v_i + log(share_pk) / taste ) + crowd_p log q_i + Gumbel noise

Person p has two to four interests c_pk, around works of any kind; q_i is the work's appeal, a long tail by rank within
its kind; some people exchange one interest for another at some day (drift), and some choices follow appeal alone
(chance). The same interest acts in all four kinds: what somebody reads says something of what they watch. Everything
follows from the seed, and every word, work and person has a generator of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from backends.catalogue.schema import KINDS, Work
from backends.ranking.interactions import Interactions

WEIGHTS = {"theme": 1.0, "mood": 0.8, "genre": 0.9, "maker": 0.6, "series": 0.5, "country": 0.3, "decade": 0.3}
DAY = 86_400.0
EPOCH = 1_577_836_800.0  # 2020-01-01, when the simulated days begin


class WorldSettings(BaseModel):
    """The stated taste model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    people: int = Field(3000, ge=1, le=100_000, title="People")
    days: int = Field(730, ge=2, le=10_000, title="Days")
    width: int = Field(16, ge=2, le=256, title="Dimensions of taste")
    private: float = Field(0.7, ge=0, le=10, title="Part of a work that no word explains, beside its words")
    taste: float = Field(14.0, ge=0, le=100, title="How much a work's fit counts")
    crowd: float = Field(1.0, ge=0, le=10, title="How much its appeal counts, in the mean of all people")
    tail: float = Field(1.0, ge=0, le=3, title="Exponent of appeal by rank")
    head: float = Field(10.0, ge=0, le=1000, title="Ranks by which the top of the tail is flattened")
    turning: float = Field(0.4, ge=0, le=1, title="Share of people who exchange an interest once")
    chance: float = Field(0.1, ge=0, le=1, title="Share of choices that follow appeal alone")
    median: float = Field(40.0, ge=8, le=1000, title="Choices of the median person")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")


@dataclass(frozen=True)
class Taste:
    """interests: (k, width), unit; shares: (k,), sum 1 over those of one day; anchors: the works that they formed
    around; kinds: share of each kind, sum 1; crowd: weight of appeal; turn: the day from which the last interest
    replaces the one before, or None.
    """

    interests: np.ndarray
    shares: np.ndarray
    anchors: tuple[str, ...]
    kinds: np.ndarray
    crowd: float
    turn: float | None


@dataclass(frozen=True)
class World:
    """works: keys in the order of the item codes; vectors: (items, width); appeal: (items,), sum 1 within a kind."""

    works: tuple[str, ...]
    kinds: tuple[str, ...]
    vectors: np.ndarray
    appeal: np.ndarray
    taste: tuple[Taste, ...]
    interactions: Interactions


def words_of(work: Work) -> dict[str, list[str]]:
    """The words of a work that taste may hang on, by kind of word."""
    return {
        "theme": list(work.themes), "mood": list(work.moods), "genre": list(work.genres),
        "maker": [c.name for c in work.creators if c.role not in ("cast", "composer")][:2],
        "series": [work.series] if work.series else [], "country": list(work.countries[:1]),
        "decade": [str(work.year // 10)],
    }  # fmt: skip


def direction(words: Iterable[str], s: WorldSettings) -> np.ndarray:
    """Mean of the words' unit directions, each from a generator of its own: (width,)."""
    found = [np.random.default_rng([s.seed, zlib.crc32(word.encode())]).standard_normal(s.width) for word in words]
    return np.mean([one / np.linalg.norm(one) for one in found], 0)


def explained(work: Work, s: WorldSettings) -> np.ndarray:
    """The weighted directions of a work's words, (width,)."""
    parts = [WEIGHTS[kind] * direction((f"{kind} {word}" for word in words), s)
             for kind, words in words_of(work).items() if words]  # fmt: skip
    return np.sum(parts, 0)


def unit(rows: np.ndarray) -> np.ndarray:
    """Along the last axis."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def appeal_of(works: Sequence[Work], s: WorldSettings) -> np.ndarray:
    """(items,): (rank + head)^-tail by a rank that is drawn from each work's key, sum 1 within its kind."""
    drawn = np.array([np.random.default_rng([s.seed, 1, zlib.crc32(work.key.encode())]).random() for work in works])
    kinds, found = np.array([work.kind for work in works]), np.zeros(len(works))
    for kind in set(kinds):
        mine = np.flatnonzero(kinds == kind)
        rank = np.argsort(np.argsort(drawn[mine]))
        found[mine] = (rank + 1 + s.head) ** -s.tail
        found[mine] /= found[mine].sum()
    return found


def _person(
    number: int, centres: np.ndarray, keys: Sequence[str], s: WorldSettings
) -> tuple[Taste, np.random.Generator]:
    rng = np.random.default_rng([s.seed, 2, number])
    turns = rng.random() < s.turning
    count = int(rng.integers(2, 5)) + turns
    anchors = rng.choice(len(keys), count, replace=False)
    noise = unit(rng.standard_normal((count, s.width)))
    shares = rng.dirichlet(np.full(count - turns, 2.0))
    taste = Taste(
        unit(unit(centres[anchors]) + 0.5 * noise), np.append(shares, shares[-1]) if turns else shares,
        tuple(keys[i] for i in anchors), rng.dirichlet(np.full(len(KINDS), 1.5)),
        float(s.crowd * rng.gamma(3.0, 1 / 3)),
        float(rng.uniform(0.3, 0.7) * s.days) if turns else None,
    )  # fmt: skip
    return taste, rng


def utility(taste: Taste, vectors: np.ndarray, appeal: np.ndarray, day: float, s: WorldSettings) -> np.ndarray:
    """(items,): what is expected of each work on that day, without the noise."""
    active = np.ones(len(taste.shares), bool)
    if taste.turn is not None:
        active[-1 if day < taste.turn else -2] = False
    fit = s.taste * vectors @ taste.interests[active].T + np.log(taste.shares[active])  # (items, interests)
    return fit.max(1) + taste.crowd * np.log(appeal)


def simulate(works: Mapping[str, Work], s: WorldSettings) -> World:
    """Everybody's choices; nobody takes a work twice."""
    keys, listed = tuple(works), tuple(works.values())
    centres = np.stack([explained(work, s) for work in listed])
    own = np.stack([direction([f"work {key}"], s) for key in keys])
    vectors, appeal = unit(centres + s.private * own), appeal_of(listed, s)
    kind = np.array([KINDS.index(work.kind) for work in listed])
    tastes, rows = [], []
    for number in range(s.people):
        taste, rng = _person(number, centres, keys, s)
        tastes.append(taste)
        count = int(np.clip(rng.lognormal(np.log(s.median), 0.6), 8, 0.2 * len(keys)))
        days = np.sort(rng.uniform(0, s.days, count))
        before = count if taste.turn is None else int(np.searchsorted(days, taste.turn))
        taken = np.zeros(len(keys), bool)
        for some in (days[:before], days[before:]):
            if len(some):
                rows += _choices(number, some, taste, (vectors, appeal, kind), taken, rng, s)
    user, item, value, time = (np.array(column) for column in zip(*rows, strict=True))
    names = [f"person {number}" for number in range(s.people)]
    given = Interactions(user, item, value.astype(float), time, names, keys)
    return World(keys, tuple(work.kind for work in listed), vectors, appeal, tuple(tastes), given)


def _choices(
    number: int, days: np.ndarray, taste: Taste, world: tuple[np.ndarray, np.ndarray, np.ndarray], taken: np.ndarray,
    rng: np.random.Generator, s: WorldSettings,
) -> list[tuple[int, int, int, float]]:  # fmt: skip
    """One person's choices on these days: the kind first, then the best works of it, noise included."""
    vectors, appeal, kind = world
    wanted = utility(taste, vectors, appeal, float(days[0]), s)
    noisy = wanted + rng.gumbel(size=len(wanted))
    blind = np.log(appeal) + rng.gumbel(size=len(wanted))
    picked: list[int] = []
    by_chance = rng.random(len(days)) < s.chance
    for which, chance in zip(rng.choice(len(KINDS), len(days), p=taste.kinds), by_chance, strict=True):
        order = np.where((kind == which) & ~taken, blind if chance else noisy, -np.inf)
        best = int(order.argmax())
        taken[best] = True
        picked.append(best)
    liked = wanted[picked] - np.median(wanted)
    stars = np.clip(np.round(2.6 + 0.2 * liked + rng.normal(0, 0.7, len(picked))), 1, 5)
    picked_in_time = rng.permutation(len(picked))
    return [(number, picked[i], int(stars[i]), EPOCH + DAY * day) for i, day in zip(picked_in_time, days, strict=True)]
