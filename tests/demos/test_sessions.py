"""A session keeps its states, and nothing of what was drawn in it."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import gradio as gr
import pytest
from gradio_client import Client

from demos.kit.sessions import keep_little

LARGE = "a figure " * 100_000


@pytest.fixture
def page() -> Iterator[gr.Blocks]:
    with gr.Blocks() as page:
        count, said, shown = gr.State(0), gr.Textbox(), gr.Textbox(visible=False)

        def more(count: int) -> tuple[int, str, object]:
            return count + 1, f"{count + 1} " + LARGE, gr.Textbox(visible=True, value=LARGE)

        gr.Button().click(more, count, [count, said, shown], api_name="more")
    page.launch(prevent_thread_lock=True, quiet=True, server_port=None)
    keep_little(page)
    yield page
    page.close()


def test_states_are_each_visitors_own_and_figures_are_not_kept(page: gr.Blocks):
    one, other = (Client(page.local_url, verbose=False) for _ in range(2))
    counts = [int(visitor.predict(api_name="/more")[0].split()[0]) for visitor in (one, one, other, one)]
    assert counts == [1, 2, 1, 3]
    sessions = page.app.state_holder.session_data
    assert len(sessions) == 2
    for session in sessions.values():
        kept = session.state_data, session.config_values
        assert len(pickle.dumps(kept)) < 1000


def test_the_number_of_sessions_is_bounded(page: gr.Blocks):
    page.app.state_holder.capacity = 3
    client = Client(page.local_url, verbose=False)
    for number in range(6):
        client.session_hash = f"visitor-{number}"
        client.predict(api_name="/more")
    assert len(page.app.state_holder.session_data) == 3
