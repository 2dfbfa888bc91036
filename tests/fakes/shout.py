"""A panel whose first picture fails in a way that a visitor can mend."""

from __future__ import annotations

import gradio as gr

from backends.runtime.errors import UserError
from demos.kit.panel import AppContext, Built, Panel, Query


def build(context: AppContext) -> Built:
    """One text that stays empty."""
    text = gr.Textbox(label="Text", elem_id="shout-text", interactive=False)

    def first(query: Query) -> tuple[str]:
        raise UserError("The voice is missing: bring one.")

    return Built(first, outputs=[text])


PANEL = Panel("shout", "Shout", "Know", "2310.00001", "Is anybody there?", build)
