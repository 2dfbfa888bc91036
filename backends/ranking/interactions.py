"""Who took what, when and how much it was liked; filters and the splits by which rankings are compared.

    split = leave_last(k_core(interactions, 5, 5))
    split.train.matrix()                           # (users, items), sparse

Codes of users and items stay the same in every part of a split, so that rows and columns mean the same everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Interactions:
    """user, item: (n,), codes; value: (n,), a rating, a count or 1; time: (n,), seconds, or any number that rises.

    users, items: names, in the order of the codes. Rows keep the order of their source: of two at the same time the
    first came first.
    """

    user: np.ndarray
    item: np.ndarray
    value: np.ndarray
    time: np.ndarray
    users: Sequence[str]
    items: Sequence[str]

    def __len__(self) -> int:
        return len(self.user)

    @property
    def shape(self) -> tuple[int, int]:
        """(users, items)."""
        return len(self.users), len(self.items)

    def matrix(self, binary: bool = True) -> sp.csr_array:
        """(users, items), float32. binary: 1 for every pair that occurs; else the sum of its values."""
        found = sp.coo_array((self.value.astype(np.float32), (self.user, self.item)), self.shape).tocsr()
        if binary:
            found.data[:] = 1
        return found

    def known(self) -> np.ndarray:
        """(users, items), bool."""
        found = np.zeros(self.shape, bool)
        found[self.user, self.item] = True
        return found

    def where(self, rows: np.ndarray) -> Interactions:
        """Only these rows, by number or by truth; names stay."""
        four = {name: getattr(self, name)[rows] for name in ("user", "item", "value", "time")}
        return dataclasses.replace(self, **four)

    def tight(self) -> Interactions:
        """Only users and items that occur, coded anew."""
        users, user = np.unique(self.user, return_inverse=True)
        items, item = np.unique(self.item, return_inverse=True)
        names = {"users": [self.users[i] for i in users], "items": [self.items[i] for i in items]}
        return dataclasses.replace(self, user=user, item=item, **names)


@dataclass(frozen=True)
class Split:
    """Three parts of one world."""

    train: Interactions
    validation: Interactions
    test: Interactions

    @property
    def before_test(self) -> Interactions:
        """Training and validation together: what is known when the test is asked."""
        both = (self.train, self.validation)
        four = {n: np.concatenate([getattr(p, n) for p in both]) for n in ("user", "item", "value", "time")}
        return dataclasses.replace(self.train, **four)


def k_core(given: Interactions, user: int, item: int) -> Interactions:
    """The largest part in which each user has `user` rows and each item `item`, coded anew; perhaps nothing."""
    rows = np.arange(len(given))
    while True:
        of_user = np.bincount(given.user[rows], minlength=given.shape[0])
        of_item = np.bincount(given.item[rows], minlength=given.shape[1])
        stay = (of_user[given.user[rows]] >= user) & (of_item[given.item[rows]] >= item)
        if stay.all():
            return given.where(rows).tight()
        rows = rows[stay]


def from_last(given: Interactions) -> np.ndarray:
    """(n,): 0 for a user's last row in time, 1 for the one before, and so on."""
    order = np.lexsort((np.arange(len(given)), given.time, given.user))
    counts = np.bincount(given.user, minlength=given.shape[0])
    found = np.empty(len(given), int)
    found[order] = np.repeat(np.cumsum(counts), counts) - 1 - np.arange(len(given))
    return found


def leave_last(given: Interactions, least: int = 3) -> Split:
    """Each user's last row is tested, the one before validates; users with fewer rows than `least` train only."""
    back, counts = from_last(given), np.bincount(given.user, minlength=given.shape[0])
    enough = counts[given.user] >= least
    test, validation = enough & (back == 0), enough & (back == 1)
    return Split(given.where(~test & ~validation), given.where(validation), given.where(test))


def by_time(given: Interactions, validation: float = 0.1, test: float = 0.1) -> Split:
    """The last rows of all are tested, those before validate: nothing is learnt from later than it is asked for.

    validation, test: shares of the rows. Rows of one moment stay together, in the earlier part.
    """
    times = np.sort(given.time)
    cuts = [times[max(0, round(len(times) * (1 - share)) - 1)] for share in (validation + test, test)]
    after = [given.time > cut for cut in cuts]
    return Split(given.where(~after[0]), given.where(after[0] & ~after[1]), given.where(after[1]))


def at_random(given: Interactions, rng: np.random.Generator, validation: float = 0.1, test: float = 0.1) -> Split:
    """Rows of every user drawn by chance; each user keeps one to train on."""
    draw = rng.permutation(len(given))
    turn = from_last(dataclasses.replace(given, time=draw))
    counts = np.bincount(given.user, minlength=given.shape[0])[given.user]
    tested = np.floor(counts * test + 0.5)
    validated = np.minimum(np.floor(counts * validation + 0.5), counts - 1 - tested)
    in_test = turn < np.minimum(tested, counts - 1)
    in_validation = ~in_test & (turn < tested + validated)
    return Split(given.where(~in_test & ~in_validation), given.where(in_validation), given.where(in_test))
