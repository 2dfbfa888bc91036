"""The simulated world keeps to its stated model: a long tail, tastes that cross kinds and drift, and no shortcut."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from backends.catalogue.people import World, WorldSettings, appeal_of, explained, simulate, unit, utility
from backends.catalogue.schema import KINDS, Work, load_works
from backends.ranking.evaluate import full
from backends.ranking.interactions import leave_last
from backends.ranking.metrics import auc
from backends.ranking.recommenders import ItemKNN

SMALL = WorldSettings(people=500)
WORKS = dict(load_works())


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(WORKS, SMALL)


def test_nobody_takes_a_work_twice_and_days_are_days(world: World) -> None:
    given = world.interactions
    assert len(set(zip(given.user.tolist(), given.item.tolist(), strict=True))) == len(given)
    counts = np.bincount(given.user, minlength=500)
    assert counts.min() >= 8 and 30 <= np.median(counts) <= 50
    span = (given.time.max() - given.time.min()) / 86_400
    assert 700 < span <= SMALL.days and set(given.value) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 3.2 < given.value.mean() < 4.0
    for person in range(20):
        assert (np.diff(given.time[given.user == person]) >= 0).all()


def test_popularity_has_the_stated_tail(world: World) -> None:
    """Within each kind the top tenth gets a quarter to two fifths of all choices, the lower half a fifth or more."""
    counts = np.bincount(world.interactions.item, minlength=len(WORKS))
    for kind in KINDS:
        mine = np.array([one == kind for one in world.kinds])
        falling = np.sort(counts[mine])[::-1]
        top, low = (
            part.sum() / falling.sum() for part in (falling[: len(falling) // 10], falling[len(falling) // 2 :])
        )
        assert 0.25 < top < 0.4 and low > 0.2
        assert spearmanr(counts[mine], world.appeal[mine])[0] > 0.5


def features(works: list[Work]) -> dict[str, np.ndarray]:
    """Everything that stands on a single work's page, each alone."""
    found = {
        "year": [w.year for w in works], "awards": [len(w.awards) for w in works],
        "links": [len(w.based_on) + len(w.inspired_by) for w in works], "makers": [len(w.creators) for w in works],
        "length of its description": [len(w.description) for w in works],
        "length of its title": [len(w.title) for w in works], "series": [w.series is not None for w in works],
    }  # fmt: skip
    for field in ("genres", "themes", "moods", "countries", "languages"):
        words = sorted({word for work in works for word in getattr(work, field)})
        found |= {f"{field}: {word}": [word in getattr(work, field) for work in works] for word in words}
    return {name: np.array(values, float) for name, values in found.items()}


def test_no_single_feature_of_a_work_predicts_a_choice(world: World) -> None:
    """Chosen works beside others of the same kind that their person did not choose."""
    rng, given, kinds = np.random.default_rng(0), world.interactions, np.array(world.kinds)
    known = given.known()
    rows = rng.choice(len(given), 4000, replace=False)
    others = [
        rng.choice(np.flatnonzero(~known[user] & (kinds == kinds[item])))
        for user, item in zip(given.user[rows], given.item[rows], strict=True)
    ]
    chosen, truth = given.item[rows], np.repeat([1, 0], len(rows))
    for name, values in features(list(WORKS.values())).items():
        found = roc_auc_score(truth, np.concatenate([values[chosen], values[others]]))
        assert 0.35 <= found <= 0.65, name


def test_taste_is_what_decides(world: World) -> None:
    """Who knows the true taste ranks far better than who knows the choices, and they better than chance."""
    split = leave_last(world.interactions)
    train = split.before_test.matrix()

    def truth(users: np.ndarray) -> np.ndarray:
        last = SMALL.days - 1.0
        return np.stack([utility(world.taste[u], world.vectors, world.appeal, last, SMALL) for u in users])

    neighbours = ItemKNN.of(train, 100)
    oracle, learnt = (
        auc(full(scores, split.test, split.before_test)).mean()
        for scores in (truth, lambda users: neighbours.scores(train[users]))
    )
    assert 0.6 < learnt < oracle - 0.05 and oracle > 0.8


def test_a_taste_crosses_kinds(world: World) -> None:
    """The works that one person takes of one kind lie nearer to those of another kind than other people's do."""
    given, kinds = world.interactions, np.array(world.kinds)
    ahead = []
    for person in range(200):
        mine = given.item[given.user == person]
        theirs = given.item[given.user == (person + 1) % 500]
        for one, other in ((0, 1), (2, 3)):
            here = mine[kinds[mine] == KINDS[one]]
            there, strange = (some[kinds[some] == KINDS[other]] for some in (mine, theirs))
            if min(len(here), len(there), len(strange)) >= 5:
                centre = world.vectors[here].mean(0)
                ahead.append((world.vectors[there] @ centre).mean() > (world.vectors[strange] @ centre).mean())
    assert len(ahead) > 50 and np.mean(ahead) > 0.7


def test_some_drift(world: World) -> None:
    turned = [(p, taste) for p, taste in enumerate(world.taste) if taste.turn is not None]
    assert 0.3 < len(turned) / 500 < 0.5
    given, moved = world.interactions, []
    for person, taste in turned:
        mine = given.user == person
        day = (given.time[mine] - 1_577_836_800) / 86_400
        vectors = world.vectors[given.item[mine]]
        before, after = (
            vectors[part] @ (taste.interests[-1] - taste.interests[-2])
            for part in (day < taste.turn, day >= taste.turn)
        )
        if min(len(before), len(after)) >= 5:
            moved.append(after.mean() > before.mean())
    assert np.mean(moved) > 0.7


def test_everything_follows_from_the_seed() -> None:
    few = WorldSettings(people=12)
    one, two, other = (simulate(WORKS, s).interactions for s in (few, few, few.model_copy(update={"seed": 1})))
    assert np.array_equal(one.item, two.item) and np.array_equal(one.time, two.time)
    assert len(one) != len(other) or not np.array_equal(one.item, other.item)
    more = simulate(WORKS, few.model_copy(update={"people": 20})).interactions
    assert np.array_equal(more.item[more.user < 12], one.item)


def test_words_alone_explain_most_of_a_work() -> None:
    world = simulate(WORKS, WorldSettings(people=1))
    fit = (unit(np.stack([explained(work, SMALL) for work in WORKS.values()])) * world.vectors).sum(1)
    assert 0.7 < fit.mean() < 0.95
    for kind in KINDS:
        mine = [i for i, work in enumerate(WORKS.values()) if work.kind == kind]
        assert appeal_of(list(WORKS.values()), SMALL)[mine].sum() == pytest.approx(1)
