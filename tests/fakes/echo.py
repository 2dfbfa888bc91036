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
    gone: list[str | None] = []

    def first(query: Query) -> tuple[str]:
        return (f"{len(gone)} pages closed; filling {next(times)} with {json.dumps(dict(query))}",)

    def left(request: gr.Request) -> None:
        gone.append(request.session_hash)

    return Built(first, outputs=[heard], left=left)


PANEL = Panel("echo", "Echo <i>", "Compress", "A. Author & B. Author, 2024", "What <b>comes</b> back & why?", build)
