"""Every view is an address: the page's script writes the settings into it as they change, and reads none back.

What is at its default stays out of the address, so that links are short; `controls.restored` checks what comes in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import gradio as gr
from pydantic import BaseModel


def follow(key: str, model: type[BaseModel], controls: Mapping[str, gr.components.Component]) -> None:
    """Keep the address of panel `key` at the values of these controls; nothing is sent to the server."""
    usual = json.dumps({name: model.model_fields[name].default for name in controls})
    script = f"(...values) => window.vitrine.settings({json.dumps(key)}, {usual}, values)"
    components = list(controls.values())
    gr.on([c.change for c in components], None, components, js=script, api_visibility="private")
