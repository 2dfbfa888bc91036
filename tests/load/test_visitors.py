"""Several visitors at once, over HTTP, at every panel that the app lists: nobody ever gets another's answer."""

from __future__ import annotations

import importlib
import random
import typing
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from gradio_client import Client

from demos import load_panels
from demos.kit.controls import bounds
from demos.kit.exhibit import Exhibit

EVENTS = 50  # a visitor
SPRING = importlib.import_module("tests.fakes.spring").EXHIBIT
EXHIBITS = [*(importlib.import_module(f"demos.{panel.key}").EXHIBIT for panel in load_panels()), SPRING]


def views(exhibit: Exhibit) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Four views for each of two visitors, no two alike: places on the first control, at two choices of the next."""
    number, *others = (exhibit.settings.model_fields[name] for name in exhibit.controls)
    low, high, step = bounds(number)
    choice = next((i for i, field in enumerate(others) if typing.get_origin(field.annotation) is typing.Literal), None)
    name = exhibit.controls[0]
    both = []
    for side in (0, 1):
        places = [low + step * round((high - low) / step * (2 * i + side + 2) / 10) for i in range(4)]
        view: dict[str, Any] = {}
        if choice is not None:
            options = typing.get_args(others[choice].annotation)
            view[exhibit.controls[1 + choice]] = options[0] if side == 0 else options[-1]
        both.append([view | {name: round(place, 6)} for place in places])
    return both[0], both[1]


def said(client: Client, key: str, view: dict[str, Any]) -> str:
    return client.predict(**view, api_name=f"/{key}")["summary"]


def wrong(url: str, key: str, right: list[tuple[dict[str, Any], str]], seed: int) -> list[str]:
    """One visitor: every answer that is not the one to what was asked."""
    client, draw, found = Client(url, verbose=False), random.Random(seed), []
    for _ in range(EVENTS):
        view, answer = draw.choice(right)
        got = said(client, key, view)
        if got != answer:
            found.append(f"{view}: {got} instead of {answer}")
    return found


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.key)
def test_a_hundred_interleaved_events_of_two_visitors_stay_apart(
    exhibit: Exhibit, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("shell_server" if exhibit is SPRING else "app_server")
    alone = Client(url, verbose=False)
    right = [[(view, said(alone, exhibit.key, view)) for view in side] for side in views(exhibit)]
    assert len({answer for side in right for _, answer in side}) == 8
    with ThreadPoolExecutor(2) as pool:
        visitors = [pool.submit(wrong, url, exhibit.key, side, seed) for seed, side in enumerate(right)]
        assert [visitor.result() for visitor in visitors] == [[], []]
