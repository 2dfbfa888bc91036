"""Older work of the same visitor is outdated, and nobody else's."""

from __future__ import annotations

from demos.kit import latest
from demos.kit.latest import Latest


def test_only_the_latest_of_each_visitor_counts():
    views = Latest()
    first, other, second = views.renew("a"), views.renew("b"), views.renew("a")
    assert first.is_set()
    assert not other.is_set() and not second.is_set()


def test_calls_without_a_page_are_strangers():
    views = Latest()
    assert not any(views.renew(None).is_set() for _ in range(3))
    first = views.renew(None)
    views.renew(None)
    assert not first.is_set()


def test_visitors_of_long_ago_are_forgotten(monkeypatch):
    monkeypatch.setattr(latest, "_MOST_VISITORS", 2)
    views = Latest()
    kept = [views.renew(name) for name in "abc"]
    assert list(views._current) == ["b", "c"]
    views.renew("a")
    assert not kept[0].is_set()
