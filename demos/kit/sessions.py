"""What the server keeps of a visitor: the values of his states, and nothing of the page.

Gradio also keeps every component's configuration for every session, with the figures that were last drawn in it, so
that its deep links can write a page down. Ours are made of settings: that copy would cost the first event of a session
50 ms, and half a megabyte for each of a thousand sessions.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder


class _Session(SessionState):
    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class _Sessions(StateHolder):
    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = _Session(self.blocks)
        return super().__getitem__(session_id)


def keep_little(page: gr.Blocks) -> None:
    """To be called once the page is served, before anybody has seen it."""
    page.app.state_holder = _Sessions()
    page.app.state_holder.set_blocks(page)
