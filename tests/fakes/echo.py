"""A panel of one text: how often any visitor has filled it, and with which settings."""

from __future__ import annotations

import itertools
import json

import gradio as gr

from demos.kit.panel import AppContext, Built, Panel, Query


def build(context: AppContext) -> Built:
    """One text, filled once per session."""
    heard = gr.Textbox(label="Heard", elem_id="echo-heard", interactive=False)
    times = itertools.count(1)

    def first(query: Query) -> tuple[str]:
        return (f"filling {next(times)} with {json.dumps(dict(query))}",)

    return Built(first, outputs=[heard])


PANEL = Panel("echo", "Echo <i>", "Compress", "A. Author & B. Author, 2024", "What <b>comes</b> back & why?", build)
