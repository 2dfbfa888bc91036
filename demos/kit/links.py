"""Every view is an address: the page's script writes the settings into it as they change, and reads none back.

What is at its default stays out of the address, so that links are short; `controls.restored` checks what comes in. The
pinned view A stands in it too, each of its settings with "a." before its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from pydantic import BaseModel

from demos.kit.exhibit import Exhibit, Pinned, View

PINNED = "a."
LONGEST = 2048  # bytes of a link


def follow(
    key: str, model: type[BaseModel], controls: Mapping[str, gr.components.Component], pinned: gr.Textbox | None = None
) -> None:
    """Keep the address of panel `key` at the values of these controls; nothing is sent to the server."""
    usual = json.dumps({name: model.model_fields[name].default for name in controls})
    script = f"(...values) => window.vitrine.settings({json.dumps(key)}, {usual}, values)"
    components = [*controls.values(), *([pinned] if pinned is not None else [])]
    gr.on([c.change for c in components], None, components, js=script, api_visibility="private")


def link(exhibit: Exhibit, view: View, pinned: Pinned | None) -> str:
    """The query of a view: `?tab=soco&removed=60`; empty if it is too long for a link."""
    asked: dict[str, Any] = {"tab": exhibit.key} | exhibit.changed(view.settings)
    part = pinned_part(exhibit, pinned)
    whole = f"?{urlencode(asked)}{'&' if part else ''}{part}"
    return whole if len(whole) <= LONGEST else ""


def pinned_part(exhibit: Exhibit, pinned: Pinned | None) -> str:
    """A's settings as a query, never empty for an A that a link can carry; empty for one that it cannot."""
    if pinned is None or exhibit.travels(pinned.view):
        return ""
    named = exhibit.changed(pinned.view.settings, exhibit.controls[0])
    return urlencode({f"{PINNED}{name}": value for name, value in named.items()})
