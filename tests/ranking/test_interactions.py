"""Parts of a split share nothing and lose nothing; nobody is asked about what was learnt from later."""

from __future__ import annotations

import numpy as np
import pytest

from backends.ranking.interactions import Interactions, at_random, by_time, from_last, k_core, leave_last


def drawn(seed: int = 0, users: int = 20, items: int = 15, rows: int = 160) -> Interactions:
    """Every pair at most once; times repeat."""
    rng = np.random.default_rng(seed)
    pairs = rng.choice(users * items, rows, replace=False)
    return Interactions(
        pairs // items, pairs % items, rng.integers(1, 6, rows).astype(float), rng.integers(0, 60, rows).astype(float),
        [f"u{i}" for i in range(users)], [f"i{i}" for i in range(items)],
    )  # fmt: skip


def pairs(given: Interactions) -> set[tuple[int, int]]:
    return set(zip(given.user.tolist(), given.item.tolist(), strict=True))


SPLITS = {"last": leave_last, "time": by_time, "random": lambda given: at_random(given, np.random.default_rng(1))}


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("seed", range(5))
def test_a_split_shares_nothing_and_loses_nothing(name: str, seed: int) -> None:
    given = drawn(seed)
    split = SPLITS[name](given)
    parts = [pairs(part) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(given) and set.union(*parts) == pairs(given)
    assert all(part.shape == given.shape for part in (split.train, split.validation, split.test))
    assert len(split.validation) and len(split.test) and pairs(split.before_test) == parts[0] | parts[1]


def test_the_last_of_each_user_is_asked_for() -> None:
    given = drawn()
    split = leave_last(given)
    for user in range(20):
        rows = [part.time[part.user == user] for part in (split.train, split.validation, split.test)]
        if (given.user == user).sum() >= 3:
            assert [len(times) for times in rows[1:]] == [1, 1]
            assert rows[0].max() <= rows[1][0] <= rows[2][0]
        else:
            assert not len(rows[1]) and not len(rows[2])


def test_of_two_at_the_same_time_the_first_came_first() -> None:
    given = Interactions(np.zeros(3, int), np.arange(3), np.ones(3), np.zeros(3), ["u"], ["a", "b", "c"])
    assert from_last(given).tolist() == [2, 1, 0] and leave_last(given).test.item.tolist() == [2]


def test_a_split_in_time_never_learns_from_later() -> None:
    split = by_time(drawn(), 0.2, 0.1)
    assert split.train.time.max() < split.validation.time.min() <= split.validation.time.max() < split.test.time.min()
    assert len(split.test) == pytest.approx(16, abs=4) and len(split.validation) == pytest.approx(32, abs=4)


def test_everyone_keeps_something_to_train_on() -> None:
    split = at_random(drawn(), np.random.default_rng(0), 0.45, 0.45)
    assert set(split.train.user) == set(drawn().user)
    again = at_random(drawn(), np.random.default_rng(0), 0.45, 0.45)
    assert pairs(again.test) == pairs(split.test)


def test_a_core_is_the_largest_one() -> None:
    given = drawn(3)
    core = k_core(given, 6, 8)
    assert len(core) and np.bincount(core.user).min() >= 6 and np.bincount(core.item).min() >= 8
    names = {(core.users[u], core.items[i]) for u, i in pairs(core)}
    assert names <= {(given.users[u], given.items[i]) for u, i in pairs(given)}
    gone = {user for user in given.users if user not in core.users}
    for user in gone:  # with every item of the core that he took, he still has too few
        mine = {given.items[i] for u, i in pairs(given) if given.users[u] == user}
        assert len(mine & set(core.items)) < 6
    assert len(k_core(given, 100, 1)) == 0


def test_the_matrix_counts_or_says_yes() -> None:
    given = Interactions(np.array([0, 0]), np.array([1, 1]), np.array([2.0, 3.0]), np.zeros(2), ["u"], ["a", "b"])
    assert given.matrix().toarray().tolist() == [[0, 1]] and given.matrix(binary=False).toarray().tolist() == [[0, 5]]
    assert given.known().tolist() == [[False, True]]
