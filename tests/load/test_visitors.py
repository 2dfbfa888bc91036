"""Several visitors at once, over HTTP: nobody ever gets another's answer."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor

from gradio_client import Client

EVENTS = 50  # a visitor


def asked(url: str, method: str, label: str, seed: int) -> list[str]:
    """One visitor: every answer that does not name the settings that were asked for."""
    client, draw, wrong = Client(url, verbose=False), random.Random(seed), []
    for _ in range(EVENTS):
        removed = draw.randrange(10, 90)
        answer = client.predict(removed=removed, method=method, text="stories", api_name="/soco")
        sentence = answer["summary"]
        if not re.match(rf"At {removed} % removed, {re.escape(label)} reaches perplexity", sentence):
            wrong.append(f"{removed} {method}: {sentence}")
    return wrong


def test_a_hundred_interleaved_events_of_two_visitors_stay_apart(app_server: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        visitors = [pool.submit(asked, app_server, "soco", "SoCo", 1), pool.submit(asked, app_server, "svd", "SVD", 2)]
        assert [visitor.result() for visitor in visitors] == [[], []]
