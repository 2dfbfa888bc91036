"""Recommenders that several methods stand beside. All answer for any history, also of people they never saw.

    train = split.train.matrix()
    scores = EASE.of(train, 200.0).scores(train[users])      # (n, items), higher is better

A history is a sparse row over the items. Known items keep a score: who ranks leaves them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from implicit.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from backends.runtime.errors import UserError

MOST_DENSE = 12_000  # items; EASE inverts a matrix of items by items


class Recommender(Protocol):
    """What all of them can do."""

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items), float, from (n, items)."""


@dataclass(frozen=True)
class Popularity:
    """How many people took an item; the same for everybody."""

    counts: np.ndarray

    @classmethod
    def of(cls, train: sp.csr_array) -> Popularity:
        """train: (users, items)."""
        return cls(np.asarray(train.astype(bool).sum(0), float).ravel())

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items)."""
        return np.repeat(self.counts[None], history.shape[0], 0)


@dataclass(frozen=True)
class ItemKNN:
    """Sum over a history's items of their cosine with an item, where that is among the `k` nearest of the former.

    similarity: (items, items), sparse; implicit finds the neighbours.
    """

    similarity: sp.csr_array

    @classmethod
    def of(cls, train: sp.csr_array, k: int = 100) -> ItemKNN:
        """train: (users, items); k: neighbours of each item, itself not counted."""
        model = ItemItemRecommender(K=k + 1)
        model.fit(_theirs(normalize(train, axis=0), np.float64), show_progress=False)
        similarity = sp.csr_array(model.similarity)
        similarity.setdiag(0)
        similarity.eliminate_zeros()
        return cls(similarity)

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items)."""
        return (history @ self.similarity).toarray()


@dataclass(frozen=True)
class UserKNN:
    """What the `k` people of nearest cosine, and who ties with the last of them, took; weighted by it.

    train: (users, items); unit: the same, rows of length one.
    """

    train: sp.csr_array
    unit: sp.csr_array
    k: int

    @classmethod
    def of(cls, train: sp.csr_array, k: int = 100) -> UserKNN:
        """train: (users, items)."""
        return cls(train, sp.csr_array(normalize(train)), k)

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items). A person who is in the training is a neighbour of their own: that leads to known items alone."""
        near = (sp.csr_array(normalize(history)) @ self.unit.T).toarray()
        if self.k < near.shape[1]:
            least = np.partition(near, -self.k, axis=1)[:, -self.k, None]
            near[near < least] = 0
        return (sp.csr_array(near) @ self.train).toarray()


@dataclass(frozen=True)
class EASE:
    """History times B, the ridge regression of every item on all others: B = I - P / diag(P), P = (X'X + l I)^-1.

    weights: (items, items). Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8.
    """

    weights: np.ndarray

    @classmethod
    def of(cls, train: sp.csr_array, ridge: float = 200.0) -> EASE:
        """train: (users, items). Raises UserError where the matrix would be too large."""
        items = train.shape[1]
        if items > MOST_DENSE:
            raise UserError(f"EASE takes at most {MOST_DENSE:,} items, here are {items:,}: choose another recommender.")
        gram = (train.T @ train).toarray().astype(np.float64)
        gram[np.diag_indices(items)] += ridge
        inverse = np.linalg.inv(gram)
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return cls(weights)

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items)."""
        return np.asarray(history @ self.weights)


@dataclass(frozen=True)
class MatrixFactors:
    """Factors of people and items by alternating least squares; a new history is folded in by one more half-step.

    Source: Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008; implicit's ALS.
    """

    model: AlternatingLeastSquares

    @classmethod
    def of(
        cls, train: sp.csr_array, factors: int = 64, ridge: float = 0.05, alpha: float = 10.0, iterations: int = 15,
        seed: int = 0,
    ) -> MatrixFactors:  # fmt: skip
        """train: (users, items); alpha: how much more a pair that occurs is trusted than one that does not."""
        with threadpool_limits(1, "blas"):  # implicit has threads of its own
            model = AlternatingLeastSquares(
                factors, ridge, alpha, iterations=iterations, use_cg=False, random_state=seed
            )
            model.fit(_theirs(train, np.float32), show_progress=False)
        return cls(model)

    @property
    def items(self) -> np.ndarray:
        """(items, factors)."""
        return self.model.item_factors

    def people(self, history: sp.csr_array) -> np.ndarray:
        """(n, factors) of any histories."""
        rows = _theirs(history, np.float32)
        return np.atleast_2d(self.model.recalculate_user(np.arange(rows.shape[0]), rows))

    def scores(self, history: sp.csr_array) -> np.ndarray:
        """(n, items)."""
        return self.people(history) @ self.items.T


def _theirs(given: sp.csr_array, dtype: type) -> sp.csr_matrix:
    """As implicit wants it: the older class, with indices of 32 bits."""
    found = sp.csr_matrix(given, dtype=dtype)
    found.indices, found.indptr = found.indices.astype(np.int32), found.indptr.astype(np.int32)
    return found
