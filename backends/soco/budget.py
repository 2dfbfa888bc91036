r"""The parameter budget, and how components are chosen under it.

    cost_l(k) = min(k (m + n), m n)  (+ m for a deviation)        removed = 1 - sum cost / sum m n

The ratio counts the projections only, as the fraction of their parameters that is REMOVED. A matrix for which factors
would be no smaller is stored dense: then all its components are kept, at the cost m n (Dobi-SVD's convention).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Shapes = Mapping[str, tuple[int, int]]
Masks = dict[str, np.ndarray]


def matrix_cost(kept: int, shape: tuple[int, int]) -> int:
    """Parameters of one matrix with `kept` components, deviation apart."""
    m, n = shape
    return min(kept * (m + n), m * n)


def total_cost(kept: Mapping[str, np.ndarray], shapes: Shapes, deviation: bool) -> int:
    """Parameters of all compressed matrices."""
    return sum(matrix_cost(int(kept[name].sum()), s) + (s[0] if deviation else 0) for name, s in shapes.items())


def dense_cost(shapes: Shapes) -> int:
    return sum(m * n for m, n in shapes.values())


def removed(kept: Mapping[str, np.ndarray], shapes: Shapes, deviation: bool) -> float:
    """The ratio that is reported: the fraction of the projections' parameters that is gone."""
    return 1 - total_cost(kept, shapes, deviation) / dense_cost(shapes)


def allowance(shapes: Shapes, ratio: float, deviation: bool) -> int:
    """Parameters that components may cost at this ratio, deviation already paid. Raises ValueError if none remain."""
    offsets = sum(m for m, _ in shapes.values()) if deviation else 0
    allowed = int((1 - ratio) * dense_cost(shapes) + 1e-6) - offsets
    if allowed < sum(m + n for m, n in shapes.values()):
        raise ValueError(f"ratio {ratio} leaves less than one component a matrix")
    return allowed


def uniform(shapes: Shapes, ratio: float, deviation: bool) -> Masks:
    """The same share everywhere: the largest singular values, k = (1 - ratio) m n / (m + n), rounded to fit exactly."""
    allowed = allowance(shapes, ratio, deviation)
    share = allowed / dense_cost(shapes)
    exact = {name: share * m * n / (m + n) for name, (m, n) in shapes.items()}
    ranks = {name: max(1, int(k)) for name, k in exact.items()}
    spent = sum(matrix_cost(k, shapes[name]) for name, k in ranks.items())
    while spent > allowed:  # small matrices were rounded up to one component: the others pay
        name = max((n for n, k in ranks.items() if k > 1), key=lambda n: ranks[n] - exact[n])
        ranks[name] -= 1
        spent -= sum(shapes[name])
    # The roundings' rest goes to those that lost most by it.
    for name in sorted(shapes, key=lambda name: ranks[name] - exact[name]):
        step = matrix_cost(ranks[name] + 1, shapes[name]) - matrix_cost(ranks[name], shapes[name])
        if spent + step <= allowed:
            ranks[name] += 1
            spent += step
    dense = {name for name, s in shapes.items() if matrix_cost(ranks[name], s) == s[0] * s[1]}
    return {name: np.arange(min(s)) < (min(s) if name in dense else ranks[name]) for name, s in shapes.items()}


def by_importance(importance: Mapping[str, np.ndarray], shapes: Shapes, ratio: float, deviation: bool) -> Masks:
    """Keep what matters most per parameter, over all matrices at once.

    A multiplier `price` (importance per parameter) is bisected: each matrix keeps the components worth their price, or
    stays dense where that is worth the rest. Then the budget is filled in the order of importance per parameter.
    importance: (p,) each, in one unit over all matrices (nats).
    """
    allowed = allowance(shapes, ratio, deviation)
    order = {name: np.argsort(-importance[name], kind="stable") for name in shapes}
    ranked = {name: importance[name][order[name]].astype(np.float64) for name in shapes}
    offers = {name: _Offer.of(ranked[name], shapes[name]) for name in shapes}
    low, high = 1e-300, 1e300
    for _ in range(64):  # from 600 decades to less than a rounding error
        price = math.sqrt(low) * math.sqrt(high)
        counts = {name: offer.worth(price) for name, offer in offers.items()}
        if sum(matrix_cost(k, shapes[name]) for name, k in counts.items()) <= allowed:
            high = price
        else:
            low = price
    counts = {name: offer.worth(high) for name, offer in offers.items()}
    _fill(counts, ranked, shapes, allowed)
    masks = {}
    for name in shapes:
        masks[name] = np.zeros(len(order[name]), dtype=bool)
        masks[name][order[name][: counts[name]]] = True
    return masks


@dataclass(frozen=True)
class _Offer:
    """One matrix, ready to be asked at many prices: importances from least to most, and sums of the least ones."""

    rising: list[float]
    rest: list[float]  # rest[k]: what all but the k most important are worth together
    shape: tuple[int, int]

    @classmethod
    def of(cls, ranked: np.ndarray, shape: tuple[int, int]) -> _Offer:
        rest = np.append(np.cumsum(ranked[::-1])[::-1], 0.0)
        return cls(ranked[::-1].tolist(), rest.tolist(), shape)

    def worth(self, price: float) -> int:
        """How many components the matrix keeps at this price per parameter."""
        m, n = self.shape
        cost = m + n
        k = len(self.rising) - bisect.bisect_right(self.rising, price * cost)
        k = min(max(k, 1), max(1, (m * n - 1) // cost))
        dense_is_worth_it = self.rest[k] > price * (m * n - k * cost)
        return len(self.rising) if dense_is_worth_it else k


def _fill(counts: dict[str, int], ranked: Mapping[str, np.ndarray], shapes: Shapes, allowed: int) -> None:
    """Spend what the bisection left over, best next component first; the last step of a matrix makes it dense."""
    left = allowed - sum(matrix_cost(k, shapes[name]) for name, k in counts.items())
    while True:
        offers = []
        for name, k in counts.items():
            cost = matrix_cost(k + 1, shapes[name]) - matrix_cost(k, shapes[name])
            if 0 < cost <= left:
                dense = matrix_cost(k + 1, shapes[name]) == np.prod(shapes[name])
                worth = ranked[name][k:].sum() if dense else ranked[name][k]
                offers.append((worth / cost, name, len(ranked[name]) if dense else k + 1, cost))
        if not offers:
            return
        _, name, counts[name], cost = max(offers)
        left -= cost


def by_score(scores: Mapping[str, np.ndarray], shapes: Shapes, ratio: float, deviation: bool) -> Masks:
    """SoCo's cut: the highest scores of all matrices, from anywhere in the spectrum, until the budget is full."""
    # Importance per parameter is the score itself, so the cheaper matrices get no bonus.
    return by_importance({name: s * sum(shapes[name]) for name, s in scores.items()}, shapes, ratio, deviation)
