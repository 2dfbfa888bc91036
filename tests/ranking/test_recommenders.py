"""The recommenders are those of cornac, of implicit the other way round, or of a count by hand; and they learn."""

from __future__ import annotations

import cornac
import numpy as np
import pytest
import scipy.sparse as sp
from implicit.nearest_neighbours import ItemItemRecommender
from sklearn.preprocessing import normalize

from backends.ranking import recommenders
from backends.ranking.evaluate import full
from backends.ranking.interactions import Interactions, leave_last
from backends.ranking.metrics import ndcg
from backends.ranking.recommenders import EASE, ItemKNN, MatrixFactors, Popularity, UserKNN
from backends.runtime.errors import UserError

MAKE = {
    "popularity": Popularity.of,
    "item-knn": lambda train: ItemKNN.of(train, 20),
    "user-knn": lambda train: UserKNN.of(train, 20),
    "ease": lambda train: EASE.of(train, 10.0),
    "factors": lambda train: MatrixFactors.of(train, 8),
}


def tastes(users: int = 120, items: int = 60, groups: int = 4) -> Interactions:
    """People of four tastes who take items of their own taste mostly."""
    rng = np.random.default_rng(0)
    rows = [
        (user, item)
        for user in range(users)
        for item in rng.permutation(items)
        if rng.random() < (0.5 if item % groups == user % groups else 0.03)
    ]
    user, item = np.array(rows).T
    names = [str(i) for i in range(max(users, items))]
    return Interactions(user, item, np.ones(len(rows)), np.arange(len(rows)), names[:users], names[:items])


GIVEN = tastes()
TRAIN = GIVEN.matrix()


def test_ease_is_cornacs() -> None:
    rows = [(str(u), str(i), 1.0) for u, i in zip(GIVEN.user, GIVEN.item, strict=True)]
    data = cornac.data.Dataset.build(rows)
    theirs = cornac.models.EASE(lamb=10.0, posB=False, verbose=False).fit(data)
    order_u, order_i = ([names[str(i)] for i in range(n)] for names, n in ((data.uid_map, 120), (data.iid_map, 60)))
    scores = np.stack([np.ravel(theirs.score(u)) for u in order_u])[:, order_i]
    np.testing.assert_allclose(EASE.of(TRAIN, 10.0).scores(TRAIN), scores, atol=1e-6)


def test_ease_solves_its_own_equation() -> None:
    """Every column is the ridge regression of that item on the others."""
    dense, weights = TRAIN.toarray().astype(float), EASE.of(TRAIN, 10.0).weights
    for item in (0, 7):
        others = [i for i in range(60) if i != item]
        solved = np.linalg.solve(
            dense[:, others].T @ dense[:, others] + 10 * np.eye(59), dense[:, others].T @ dense[:, item]
        )
        np.testing.assert_allclose(weights[others, item], solved, atol=1e-8)
        assert weights[item, item] == 0


def test_item_neighbours_are_cosines() -> None:
    dense = TRAIN.toarray().astype(float)
    unit = dense / np.linalg.norm(dense, axis=0)
    cosine = unit.T @ unit
    np.fill_diagonal(cosine, 0)
    np.testing.assert_allclose(ItemKNN.of(TRAIN, 60).scores(TRAIN), dense @ cosine, atol=1e-9)
    assert (np.diff(ItemKNN.of(TRAIN, 5).similarity.indptr) <= 5).all()


def test_user_neighbours_are_implicits_the_other_way_round() -> None:
    weighted = TRAIN.copy()  # without ties: who ties with the last neighbour is one too
    weighted.data = np.random.default_rng(1).random(weighted.nnz)
    model = ItemItemRecommender(K=21)
    model.fit(recommenders._theirs(normalize(weighted.T, axis=0), np.float64), show_progress=False)
    theirs = (sp.csr_array(model.similarity) @ weighted).toarray()
    np.testing.assert_allclose(UserKNN.of(weighted, 21).scores(weighted), theirs, atol=1e-6)


def test_popularity_counts_people() -> None:
    assert Popularity.of(TRAIN).scores(TRAIN[[0, 1]]).tolist() == 2 * [np.bincount(GIVEN.item, minlength=60).tolist()]


@pytest.mark.parametrize("name", MAKE)
def test_they_learn_and_answer_for_anybody(name: str) -> None:
    split = leave_last(GIVEN)
    train = split.before_test.matrix()
    model = MAKE[name](train)
    found = ndcg(full(lambda users: model.scores(train[users]), split.test, split.before_test), 10).mean()
    chance = ndcg(full(lambda users: np.zeros((len(users), 60)), split.test, split.before_test), 10).mean()
    assert found > chance + (0.02 if name == "popularity" else 0.15)
    stranger = sp.csr_array(np.isin(np.arange(60), [1, 5, 9])[None].astype(np.float32))
    scores = model.scores(stranger)
    assert scores.shape == (1, 60) and np.isfinite(scores).all()
    if name != "popularity":  # taste 1 was shown
        rest = scores[0].copy()
        rest[[1, 5, 9]] = -np.inf
        assert (np.argsort(-rest)[:5] % 4 == 1).mean() >= 0.8
    assert np.isfinite(model.scores(sp.csr_array((1, 60), dtype=np.float32))).all()  # of nothing


@pytest.mark.parametrize("name", MAKE)
def test_the_same_again(name: str) -> None:
    one, two = (MAKE[name](TRAIN).scores(TRAIN) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_factors_fold_in_what_they_were_trained_on() -> None:
    """A history of the training comes back near its own factors: one more half-step moves little."""
    model = MatrixFactors.of(TRAIN, 8, iterations=40)
    folded, trained = model.people(TRAIN), model.model.user_factors
    assert np.linalg.norm(folded - trained) < 0.1 * np.linalg.norm(trained)


def test_too_many_items_for_ease_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommenders, "MOST_DENSE", 50)
    with pytest.raises(UserError, match="at most 50 items, here are 60"):
        EASE.of(TRAIN)
