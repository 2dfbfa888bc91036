"""The first tab: what Vitrine is, and a card for every panel."""

from __future__ import annotations

import html
from collections.abc import Sequence

import gradio as gr

from demos.kit.panel import GROUPS, Panel

LEAD = (
    "Vitrine puts published methods behind glass: move a control and see the real method answer, "
    "on this machine and with nothing to download."
)

# A card is a link, so that it can be reached, copied and opened elsewhere; a plain click stays in the page.
OPEN_HERE = """
window.vitrine.turning = () => trigger('click');
element.addEventListener('click', (event) => {
  const card = event.target.closest('a[data-key]');
  if (!card || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  window.vitrine.open(card.dataset.key);
});
window.vitrine.ready();
"""


def build(panels: Sequence[Panel]) -> gr.HTML:
    """Place the home tab; its `click` asks the page to turn to the panel that assets/shell.js has been told to open."""
    groups = [(group, [panel for panel in panels if panel.group == group]) for group in GROUPS]
    sections = "".join(_section(group, members) for group, members in groups if members)
    return gr.HTML(f'<h1 class="v-lead">{html.escape(LEAD)}</h1>{sections}', elem_id="home", js_on_load=OPEN_HERE)


def _section(group: str, panels: Sequence[Panel]) -> str:
    cards = "".join(_card(panel) for panel in panels)
    return f'<section><h2>{html.escape(group)}</h2><ul class="v-cards">{cards}</ul></section>'


def _card(panel: Panel) -> str:
    key, group = panel.key, panel.group.lower()
    return (
        f'<li><a class="v-card v-door" href="?tab={key}" data-key="{key}" data-group="{group}">'
        f'<span class="v-door-head"><strong>{html.escape(panel.title)}</strong>'
        f'<span class="v-paper">{html.escape(panel.paper_label)}</span></span>'
        f'<span class="v-door-question">{html.escape(panel.question)}</span></a></li>'
    )
