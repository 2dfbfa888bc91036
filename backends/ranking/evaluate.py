"""Full and sampled rankings of a recommender, and intervals of what differs between two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from backends.ranking.interactions import Interactions
from backends.ranking.metrics import AT_K, Placed, auc, place

ROWS = 512  # users that are scored at once
Scores = Callable[[np.ndarray], np.ndarray]  # (n,) users -> (n, items)


def full(scores: Scores, asked: Interactions, known: Interactions, again: bool = False) -> Placed:
    """Every user with rows in `asked` ranks all items but the known ones; one user after the other, users rising.

    again: known items are candidates too, as where people come back to them.
    """
    users = np.unique(asked.user)
    wanted, seen = asked.known(), known.known()
    parts = []
    for start in range(0, len(users), ROWS):
        some = users[start : start + ROWS]
        rows = np.array(scores(some), dtype=float)
        if not again:
            rows[seen[some] & ~wanted[some]] = -np.inf
        parts.append(place(rows, wanted[some]))
    return _joined(parts)


def sampled(
    scores: Scores, asked: Interactions, known: Interactions, rng: np.random.Generator, negatives: int = 99,
    most: int | None = None,
) -> Placed:  # fmt: skip
    """Each row of `asked` stands among `negatives` items, drawn alike from those that its user never took.

    most: rows of one user, drawn by chance. One ranking for each row, in the order of the users: the figures are those
    of a much easier question than a full ranking's, and flatter what is popular. Users with too few items left have
    fewer.
    """
    order = rng.permutation(len(asked))
    order = order[np.argsort(asked.user[order], kind="stable")]
    turn = np.arange(len(order)) - np.searchsorted(asked.user[order], asked.user[order])
    rows = order if most is None else order[turn < most]
    taken = asked.known() | known.known()
    parts = []
    for user in np.unique(asked.user[rows]):
        mine = asked.item[rows[asked.user[rows] == user]]
        free = np.flatnonzero(~taken[user])
        candidates = np.zeros((len(mine), asked.shape[1]), bool)
        for one, item in enumerate(mine):
            candidates[one, rng.choice(free, min(negatives, len(free)), replace=False)] = True
            candidates[one, item] = True
        mine = mine[:, None] == np.arange(asked.shape[1])
        parts.append(place(np.repeat(scores(np.array([user])), len(mine), 0), mine, candidates))
    return _joined(parts)


def _joined(parts: list[Placed]) -> Placed:
    offsets = np.cumsum([0, *(len(part.relevant) for part in parts)])
    return Placed(
        np.concatenate([part.places for part in parts] or [np.zeros(0)]),
        np.concatenate(
            [part.user + offset for part, offset in zip(parts, offsets, strict=False)] or [np.zeros(0, int)]
        ),
        np.concatenate([part.relevant for part in parts] or [np.zeros(0, int)]),
        np.concatenate([part.candidates for part in parts] or [np.zeros(0, int)]),
    )


def table(placed: Placed, cuts: tuple[int, ...] = (10,)) -> dict[str, np.ndarray]:
    """Every metric of each ranking: "HR@10", ..., "AUC"."""
    return {f"{name}@{k}": of(placed, k) for k in cuts for name, of in AT_K.items()} | {"AUC": auc(placed)}


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f} to {self.high:.3f})"


def interval(values: np.ndarray, rng: np.random.Generator, resamples: int = 2000) -> Interval:
    """Of a mean over users, or of the mean of a paired difference; percentile bootstrap over users."""
    mean = float(np.mean(values))
    if np.ptp(values) == 0:  # nothing to draw from
        return Interval(mean, mean, mean)
    found = bootstrap((values,), np.mean, n_resamples=resamples, method="percentile", rng=rng, batch=100)
    return Interval(mean, *map(float, found.confidence_interval))
