"""Ranking metrics of every user at once, from the places of the items that were right.

    placed = place(scores, relevant)               # full ranking; known items are left out by scores of -inf
    placed = place(scores, relevant, candidates)   # a sampled one
    ndcg(placed, 10).mean()

Places count from 1. Items with equal scores share the mean of their places, so that a constant score is worth what a
random order is worth in the mean of its places, and the order of a file is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Placed:
    """Where the relevant items stand.

    places: (n,), float, from 1; user: (n,), rising, whose each is; relevant, candidates: (users,), how many each has.
    """

    places: np.ndarray
    user: np.ndarray
    relevant: np.ndarray
    candidates: np.ndarray

    def total(self, gains: np.ndarray) -> np.ndarray:
        """(users,): the sum of what each relevant item is worth."""
        return np.bincount(self.user, gains, len(self.relevant))


def place(scores: np.ndarray, relevant: np.ndarray, candidates: np.ndarray | None = None) -> Placed:
    """scores: (users, items); -inf is no candidate; relevant, candidates: (users, items), bool.

    A relevant item that is no candidate can not be found: it counts among the relevant and stands behind everything.
    Raises ValueError for a score that is not a number.
    """
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    open_ = scores > -np.inf if candidates is None else candidates & (scores > -np.inf)
    count = open_.sum(1)
    masked = np.where(open_, scores, -np.inf)
    ordered = np.sort(masked, 1)
    user, item = np.nonzero(relevant)
    places = np.full(len(user), np.inf)
    ends = np.searchsorted(user, np.arange(len(scores) + 1))
    for one, mine in enumerate(map(slice, ends[:-1], ends[1:])):
        wanted = masked[one, item[mine]]
        above = scores.shape[1] - np.searchsorted(ordered[one], wanted, "right")
        below = np.searchsorted(ordered[one], wanted, "left")
        equal = scores.shape[1] - above - below
        places[mine] = np.where(wanted > -np.inf, above + (equal + 1) / 2, np.inf)
    return Placed(places, user, relevant.sum(1), count)


def hit(placed: Placed, k: int) -> np.ndarray:
    """(users,): 1 where a relevant item is among the first k."""
    return (placed.total(placed.places <= k) > 0).astype(float)


def recall(placed: Placed, k: int) -> np.ndarray:
    """(users,): share of the relevant items that are among the first k."""
    return _share(placed.total(placed.places <= k), placed.relevant)


def precision(placed: Placed, k: int) -> np.ndarray:
    """(users,): share of the first k that is relevant."""
    return placed.total(placed.places <= k) / k


def ndcg(placed: Placed, k: int) -> np.ndarray:
    """(users,): sum of 1 / log2(1 + place) over the relevant among the first k, of the most that could be reached."""
    gains = np.where(placed.places <= k, 1 / np.log2(1 + placed.places), 0.0)
    best = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, k + 1)))])
    return _share(placed.total(gains), best[np.minimum(placed.relevant, k)])


def reciprocal_rank(placed: Placed, k: int | None = None) -> np.ndarray:
    """(users,): 1 / place of the first relevant item, 0 where it is behind k."""
    first = np.full(len(placed.relevant), np.inf)
    np.minimum.at(first, placed.user, placed.places)
    return np.where(first <= (k or np.inf), 1 / first, 0.0)


def average_precision(placed: Placed, k: int | None = None) -> np.ndarray:
    """(users,): mean over the relevant items of the precision at their places; those behind k count nothing."""
    order = np.lexsort((placed.places, placed.user))
    user, places = placed.user[order], placed.places[order]
    starts = np.searchsorted(user, user)  # of each one's run
    found = np.arange(len(user)) - starts + 1
    gains = np.where(places <= (k or np.inf), found / places, 0.0)
    return _share(np.bincount(user, gains, len(placed.relevant)), placed.relevant)


def auc(placed: Placed) -> np.ndarray:
    """(users,): chance that a relevant item stands before one that is not; ties count half. NaN without such a pair."""
    reachable = np.minimum(placed.places, placed.candidates[placed.user] + 1)
    within = np.bincount(placed.user, np.isfinite(placed.places), len(placed.relevant))
    ranks = placed.total(np.where(np.isfinite(placed.places), reachable, 0.0))
    others = placed.candidates - within
    above = ranks - within * (within + 1) / 2  # pairs in which the other one stands before, ties half
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1 - above / (within * others)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """0 where there is nothing to be found."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


AT_K: dict[str, Callable[[Placed, int], np.ndarray]] = {
    "HR": hit, "Recall": recall, "Precision": precision, "NDCG": ndcg, "MRR": reciprocal_rank, "MAP": average_precision,
}  # fmt: skip
