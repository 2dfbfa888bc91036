"""Every event of every panel, which anybody can send by its number: nothing in it breaks, and nothing shows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from tests.hostile.wire import Answer, Visitor, faults, file

ODD = [{}, [[]], True, "<img src=x onerror=alert(1)>{{7*7}}\0", -1, 5e-324, {"__type__": "update", "value": 1}]
DATA: dict[str, Callable[[int], Any]] = {
    "nulls": lambda count: [None] * count,
    "too few": lambda count: [None] * (count - 1),
    "too many": lambda count: [None] * (count + 3),
    "no list": lambda count: {},
    "a megabyte each": lambda count: ["x" * 1_000_000] * count,
    "files": lambda count: [file("/etc/passwd")] * count,
    "odd ones": lambda count: list(itertools.islice(itertools.cycle(ODD), count)),
    "odd ones, turned": lambda count: list(itertools.islice(itertools.cycle(ODD[::-1]), count)),
}


def fault(visitor: Visitor, event: dict[str, Any], answer: Answer) -> str:
    """Gradio itself says nothing about what it cannot take: `{"error": null}`."""
    internal = any("Internal error" in said for said in answer.said if said)
    if answer.status >= 500 or (internal and not visitor.slight(event)):
        return f"{answer.status}: {answer.text[-300:]}"
    return ""


def unanswered(answer: Answer) -> str:
    return "" if answer.data is None else f"answered: {answer.text[-300:]}"


def usual(visitor: Visitor, event: dict[str, Any], **values: str) -> str:
    """What the page sends at first, as JSON; other values by the type of their component."""
    parts = [visitor.components[key] for key in event["inputs"]]
    return f"[{', '.join(values.get(one['type']) or json.dumps(one['props'].get('value')) for one in parts)}]"


def named(event: dict[str, Any]) -> str:
    return f"{event['id']} {event['api_name']}"


@pytest.mark.parametrize("kind", DATA)
def test_no_event_breaks_over_its_data(visitor: Visitor, kind: str) -> None:
    def case(event: dict[str, Any]) -> Callable[[], str]:
        data = json.dumps(DATA[kind](len(event["inputs"])))
        return lambda: fault(visitor, event, visitor.event(event["id"], data))

    assert visitor.private
    assert faults((named(event), case(event)) for event in visitor.private) == {}


def test_half_a_character_ends_the_stream_at_worst(visitor: Visitor) -> None:
    """Gradio repeats a choice that it does not know, and cannot write this one."""

    def case(event: dict[str, Any]) -> Callable[[], str]:
        def sent() -> str:
            data = json.dumps(["\ud800"] * len(event["inputs"]))
            try:
                return fault(visitor, event, visitor.event(event["id"], data))
            except httpx2.RemoteProtocolError:
                return ""

        return sent

    assert faults((named(event), case(event)) for event in visitor.private) == {}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400", "5e-324"])
def test_no_event_takes_what_is_no_number(visitor: Visitor, value: str) -> None:
    """Everything else as the page has it at first."""

    def case(event: dict[str, Any]) -> Callable[[], str]:
        def sent() -> str:
            answer = visitor.event(event["id"], usual(visitor, event, slider=value, number=value))
            return fault(visitor, event, answer) or unanswered(answer)

        return sent

    numbers = {key for key, one in visitor.components.items() if one["type"] in ("slider", "number")}
    asked = [event for event in visitor.private if numbers & set(event["inputs"]) and not visitor.slight(event)]
    assert asked
    assert faults((named(event), case(event)) for event in asked) == {}


# ---- links and cards -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["NaN", "5e-324", "1e400", "a\n\0\u202e", "<script>", "x" * 60, "\udce9"], ids=ascii)
def test_what_is_wrong_in_a_link_is_named_and_ignored(visitor: Visitor, value: str) -> None:
    """The same in every setting, of the view and of A."""

    def case(key: str, event: dict[str, Any]) -> Callable[[], str]:
        names = [one["parameter_name"] for one in visitor.public[f"/{key}"]["parameters"]]
        wrong = {prefix + name: value for name in names for prefix in ("", "a.")} | {"x" * 99: value}
        query = urlencode({"tab": key} | wrong, errors="surrogateescape")

        def sent() -> str:
            answer = visitor.event(event["id"], usual(visitor, event), query=query)
            told = [one["log"] for one in answer.events if one.get("msg") == "log"]
            if answer.fault or answer.data is None or not any("was ignored" in one for one in told):
                return f"{answer.status}: {answer.text[-300:]}"
            return " ".join(one for one in told if not one.isprintable() or len(one) > 200)

        return sent

    opened = {f"tab-{name.strip('/')}" for name in visitor.public}
    found = {name.removeprefix("tab-"): event for name, event in visitor.on("").items() if name in opened}
    assert len(found) == len(visitor.public)
    assert faults((key, case(key, event)) for key, event in found.items()) == {}


CARDS: dict[str, Any] = {
    "unknown setting": {"settings": '{"nonsense": 1}'},
    "long name": {"settings": json.dumps({"x\n" * 5000: 1})},
    "name of an argument": {"settings": '{"model": 1, "self": 2}'},
    "no object": {"settings": "[1]"},
    "no JSON": {"settings": "{"},
    "no text": {"settings": {"a": 1}},
    "other names": {"index": 1},
    "a list": [[]],
    "a number": 5,
    "nothing": None,
    "deep": {"settings": "[" * 100_000},
}


@pytest.mark.parametrize("card", CARDS)
def test_a_card_that_names_no_view_is_one_sentence(visitor: Visitor, card: str) -> None:
    def case(event: dict[str, Any]) -> Callable[[], str]:
        def sent() -> str:
            answer = visitor.event(event["id"], usual(visitor, event), json.dumps(CARDS[card]))
            return answer.fault or unanswered(answer)

        return sent

    cards = visitor.on("-cards")
    assert len(cards) == len(visitor.public)
    assert faults((name, case(event)) for name, event in cards.items()) == {}
