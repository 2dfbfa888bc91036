"""The model store: loads once, forgets the least recently used, survives failures."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.runtime.gently import breathe, gently
from backends.runtime.store import ModelStore, parameter_bytes


class Loader:
    """Counts its calls; each result is a fresh object."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        return object()


def ten(_: object) -> int:
    return 10


def test_a_key_is_loaded_once_and_shared():
    store, load = ModelStore(100), Loader()
    assert store.get("a", load, ten) is store.get("a", load, ten)
    assert load.calls == 1
    assert store.held_bytes == 10


def test_the_least_recently_used_goes_first():
    store, loads = ModelStore(25), {key: Loader() for key in "abc"}
    for key in "abac":  # c does not fit beside a and b; b was used longest ago
        store.get(key, loads[key], ten)
    assert store.held_bytes == 20
    for key in "ac":
        store.get(key, loads[key], ten)
    assert [loads[key].calls for key in "abc"] == [1, 1, 1]
    store.get("b", loads["b"], ten)
    assert loads["b"].calls == 2


def test_one_large_object_pushes_out_several():
    store, load = ModelStore(30), Loader()
    for key in "abc":
        store.get(key, load, ten)
    store.get("large", load, lambda _: 25)
    assert store.held_bytes == 25


def test_larger_than_the_bound_is_returned_but_not_kept():
    store, small, large = ModelStore(15), Loader(), Loader()
    store.get("small", small, ten)
    assert store.get("large", large, lambda _: 16) is not None
    assert store.held_bytes == 10, "it must not push out what fits"
    store.get("small", small, ten)
    store.get("large", large, lambda _: 16)
    assert (small.calls, large.calls) == (1, 2)


def test_exactly_the_bound_is_kept():
    store, load = ModelStore(10), Loader()
    assert store.get("a", load, ten) is store.get("a", load, ten)


def test_threads_that_ask_at_once_share_one_load():
    store, load, started, go = ModelStore(100), Loader(), threading.Event(), threading.Event()

    def slow() -> object:
        started.set()
        assert go.wait(5)
        return load()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(store.get, "a", slow, ten) for _ in range(8)]
        assert started.wait(5)
        go.set()
        assert len({id(answer.result(5)) for answer in answers}) == 1
    assert load.calls == 1


def test_another_key_does_not_wait():
    store, go = ModelStore(100), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(store.get, "slow", lambda: go.wait(5), ten)
        try:
            assert pool.submit(store.get, "quick", lambda: "quick", ten).result(2) == "quick"
            assert not slow.done()
        finally:
            go.set()
        assert slow.result(5) is True


def test_a_failed_load_leaves_nothing_and_the_next_call_tries_again():
    store, load = ModelStore(100), Loader()

    def broken() -> object:
        raise MemoryError("no room")

    for _ in range(2):
        with pytest.raises(MemoryError):
            store.get("a", broken, ten)
    assert store.held_bytes == 0
    assert store.get("a", load, ten) is store.get("a", load, ten)


def test_a_failing_size_counts_as_a_failed_load():
    store, load = ModelStore(100), Loader()
    with pytest.raises(ZeroDivisionError):
        store.get("a", load, lambda _: 1 // 0)
    store.get("a", load, ten)
    assert load.calls == 2


def test_threads_that_wait_for_a_failing_load_all_hear_of_it():
    store, load, started, go = ModelStore(100), Loader(), threading.Event(), threading.Event()

    def failing() -> object:
        load()
        started.set()
        assert go.wait(5)
        raise OSError("cut")

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(store.get, "a", failing, ten)
        assert started.wait(5)
        others = [pool.submit(store.get, "a", failing, ten) for _ in range(2)]
        threading.Event().wait(0.2)  # nothing tells from outside that a thread waits
        go.set()
        assert all(isinstance(answer.exception(5), OSError) for answer in (first, *others))
    assert load.calls == 1


def test_who_waits_for_a_load_that_was_given_up_loads_it_himself():
    """Work that gives way ends in the middle of a load because its listener has gone: nobody else hears of that."""
    store, outdated, loading = ModelStore(100), threading.Event(), threading.Event()

    def given_up() -> str:
        loading.set()
        while True:
            breathe()
            time.sleep(0.01)

    def work():
        yield store.get("a", given_up, ten)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(lambda: list(gently(work(), outdated)))
        assert loading.wait(10)
        second = threads.submit(store.get, "a", lambda: "mine", ten)
        time.sleep(0.2)
        outdated.set()
        assert second.result(timeout=10) == "mine" and first.result(timeout=10) == []
    assert store.held_bytes == 10


def test_clear_forgets_what_is_kept_and_what_is_on_its_way():
    store, load, started, go = ModelStore(100), Loader(), threading.Event(), threading.Event()

    def slow() -> object:
        started.set()
        assert go.wait(5)
        return "old"

    store.get("kept", load, ten)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(store.get, "late", slow, ten)
        assert started.wait(5)
        store.clear()
        assert store.get("late", lambda: "new", ten) == "new"
        go.set()
        assert late.result(5) == "old"
    assert store.get("late", load, ten) == "new"
    assert store.held_bytes == 10
    store.get("kept", load, ten)
    assert load.calls == 2


def test_parameter_bytes_counts_memory_once():
    import torch

    module = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.Linear(4, 8, bias=False))
    assert parameter_bytes(module) == 2 * 4 * 8 * 4
    module[1].weight = module[0].weight
    assert parameter_bytes(module) == 4 * 8 * 4
    module.register_buffer("view", module[0].weight.detach()[:2])
    assert parameter_bytes(module) == 4 * 8 * 4
    module.register_buffer("own", torch.zeros(3, dtype=torch.float16))
    assert parameter_bytes(module) == 4 * 8 * 4 + 6
    assert parameter_bytes(module.to(torch.float16)) == 4 * 8 * 2 + 2 * 4 * 2 + 6, "views part when cast"
