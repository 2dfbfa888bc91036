"""Metrics are those of ir-measures, and of a count by hand where scores are equal."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, P, R, Success, nDCG
from sklearn.metrics import roc_auc_score

from backends.ranking.metrics import AT_K, Placed, auc, average_precision, place, reciprocal_rank

THEIRS = {"HR": lambda k: Success @ k, "Recall": lambda k: R @ k, "Precision": lambda k: P @ k,
          "NDCG": lambda k: nDCG @ k, "MRR": lambda k: RR @ k, "MAP": lambda k: AP @ k}  # fmt: skip


def case(seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Scores without ties, what is relevant, and a cut-off; someone may have nothing relevant."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(1, 6), rng.integers(3, 40)
    scores = rng.permuted(np.tile(np.linspace(-1, 1, items), (users, 1)), axis=1)
    return scores, rng.random((users, items)) < rng.uniform(0.05, 0.5), int(rng.integers(1, 15))


@pytest.mark.parametrize("seed", range(200))
def test_they_are_those_of_ir_measures(seed: int) -> None:
    scores, relevant, k = case(seed)
    judged = {str(u): {str(i): 1 for i in np.flatnonzero(row)} for u, row in enumerate(relevant)}
    run = {str(u): {str(i): float(s) for i, s in enumerate(row)} for u, row in enumerate(scores)}
    measures = {name: make(k) for name, make in THEIRS.items()} | {"RR": RR, "AP": AP}
    theirs = {(m.measure, m.query_id): m.value for m in ir_measures.iter_calc(measures.values(), judged, run)}
    placed = place(scores, relevant)
    ours = {name: of(placed, k) for name, of in AT_K.items()}
    ours |= {"RR": reciprocal_rank(placed), "AP": average_precision(placed)}
    for name, values in ours.items():
        for user, value in enumerate(values):
            if judged[str(user)]:
                assert value == pytest.approx(theirs[measures[name], str(user)], abs=1e-9), (name, user)
            else:
                assert value == 0


@pytest.mark.parametrize("seed", range(20))
def test_auc_counts_ties_half(seed: int) -> None:
    scores, relevant, _ = case(seed)
    scores = np.round(scores, 0 if seed % 2 else 1)
    for user, found in enumerate(auc(place(scores, relevant))):
        if 0 < relevant[user].sum() < relevant.shape[1]:
            assert found == pytest.approx(roc_auc_score(relevant[user], scores[user]), abs=1e-12)
        else:
            assert math.isnan(found)


def by_hand(scores: np.ndarray, relevant: np.ndarray, open_: np.ndarray) -> list[float]:
    """The mean place of each relevant item over all orders of the items that tie with it."""
    found = []
    for item in np.flatnonzero(relevant):
        if not open_[item]:
            found.append(math.inf)
            continue
        above = sum(open_[i] and scores[i] > scores[item] for i in range(len(scores)))
        equal = sum(open_[i] and scores[i] == scores[item] for i in range(len(scores)))
        found.append(above + (equal + 1) / 2)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_ties_and_candidates(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, relevant = rng.integers(0, 4, (3, 12)).astype(float), rng.random((3, 12)) < 0.4
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    candidates = rng.random(scores.shape) < 0.7
    placed = place(scores, relevant, candidates)
    for user in range(3):
        expected = by_hand(scores[user], relevant[user], candidates[user] & (scores[user] > -np.inf))
        assert placed.places[placed.user == user].tolist() == expected
    assert placed.relevant.tolist() == relevant.sum(1).tolist()


def test_an_order_by_chance_is_worth_what_chance_is_worth() -> None:
    placed = place(np.zeros((1, 99)), np.arange(99)[None] == 7)
    assert placed.places.tolist() == [50] and auc(placed).tolist() == [0.5]
    assert AT_K["HR"](placed, 49).tolist() == [0] and AT_K["HR"](placed, 50).tolist() == [1]


def test_what_is_no_candidate_is_lost() -> None:
    scores, relevant = np.array([[3.0, 2.0, -np.inf, 1.0]]), np.array([[False, True, True, False]])
    placed = place(scores, relevant)
    assert isinstance(placed, Placed) and placed.places.tolist() == [2, math.inf] and placed.candidates.tolist() == [3]
    assert AT_K["Recall"](placed, 10).tolist() == [0.5] and auc(placed).tolist() == [0.5]


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        place(np.array([[np.nan, 1.0]]), np.array([[True, False]]))
