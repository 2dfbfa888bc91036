"""The page around the panels: header, two rows of tabs, and when each panel is filled.

The page's load turns to the panel named in the address, a card to its own; a panel is filled when it is first shown,
once per session.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos import home
from demos.kit.lean import write_lean_pages
from demos.kit.panel import GROUPS, QUIET, AppContext, Built, Panel, Query, guarded, heading

LONGEST_QUERY = 2048
NOT_SETTINGS = ("tab", "view", "__theme", "__sign")

HEADER = """<header class="v-header"><a class="v-name" href="./">Vitrine</a>
<button id="v-theme" type="button" aria-pressed="false" aria-label="Dark page" title="Light or dark page"></button>
</header>"""
IN_PLACE = """
element.querySelector('#v-theme').addEventListener('click', () => window.vitrine.theme());
element.querySelector('.v-name').addEventListener('click', (event) => window.vitrine.home(event));
"""
WORDS_FIRST = "(filled, cue, ...rest) => [filled, window.vitrine.canDraw() ? '' : 'yes', ...rest]"


@dataclass(frozen=True)
class Place:
    """Where a panel stands: its tab, its group's tab, and the row of tabs it is in."""

    tab: gr.Tab
    group_tab: gr.Tab
    siblings: gr.Tabs


def build_page(panels: Sequence[Panel], context: AppContext) -> gr.Blocks:
    """The whole app as Blocks, not yet launched. Nothing is computed."""
    write_lean_pages()
    with gr.Blocks(title="Vitrine", analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as demo:
        gr.HTML(HEADER, js_on_load=IN_PLACE, elem_id="v-header")
        with gr.Tabs(elem_id="v-groups") as groups:
            with gr.Tab("Home", id="home", elem_id="tab-home") as home_tab:
                cards = home.build(panels)
            home_tab.select(None, js=_js("address", "home"))
            places = {}
            for group in GROUPS:
                members = [panel for panel in panels if panel.group == group]
                if members:
                    places.update(_place_group(demo, group, members, context))
        _wire_doors(demo, cards, groups, places)
    return demo


def _place_group(demo: gr.Blocks, group: str, panels: Sequence[Panel], context: AppContext) -> dict[str, Place]:
    places = {}
    ident = f"group-{group.lower()}"
    with gr.Tab(group, id=ident, elem_id=ident) as group_tab, gr.Tabs(elem_classes="v-panels") as siblings:
        for panel in panels:
            with gr.Tab(panel.title, id=panel.key, elem_id=f"tab-{panel.key}", elem_classes="v-panel") as tab:
                heading(panel)
                built = panel.build(context)
                _fill_when_opened(panel, built, tab)
            if built.left is not None:
                demo.unload(built.left)
            places[panel.key] = Place(tab, group_tab, siblings)
    group_tab.select(None, js=_js("group", group.lower()))
    return places


def _fill_when_opened(panel: Panel, built: Built, tab: gr.Tab) -> None:
    """A tab's `select` comes whenever it is shown: by a click, by a link, and as the one its group shows first.

    A page that was opened at a panel's address reads only now what draws figures, and stands still for it: there the
    words come first. Where Home has read it meanwhile, all comes at once.
    """
    opened, held = gr.State(False), gr.State(None)
    cue = gr.Textbox(visible="hidden")  # changes when figures are held; a State would tell of every answer
    late = [isinstance(one, gr.Plot | gr.State) for one in built.outputs]
    figures = list(itertools.compress(built.outputs, late))

    def fill(request: gr.Request, filled: bool, words_first: Any, *values: Any) -> list[Any]:
        if filled:
            return [gr.skip() for _ in (opened, held, cue, *built.outputs)]
        query = settings_of(request) if request.query_params.get("tab") == panel.key else {}
        first = guarded(built.first)(query, *values)
        if not (words_first and figures):
            return [True, gr.skip(), gr.skip(), *first]
        words = [gr.skip() if waits else value for value, waits in zip(first, late, strict=True)]
        return [True, list(itertools.compress(first, late)), panel.key, *words]

    tab.select(
        fill, [opened, cue, *built.inputs], [opened, held, cue, *built.outputs], js=WORDS_FIRST, concurrency_limit=None,
        **QUIET,
    )  # fmt: skip
    if figures:
        nothing = [gr.skip() for _ in figures]
        cue.change(lambda kept: [None, *(kept or nothing)], held, [held, *figures], concurrency_limit=None, **QUIET)
    tab.select(None, js=_js("address", panel.key))


def _wire_doors(demo: gr.Blocks, cards: gr.HTML, groups: gr.Tabs, places: Mapping[str, Place]) -> None:
    """The address, Back and Forward, and the cards of the home tab turn both rows of tabs, in the page alone."""
    members: dict[str, list[str]] = {}
    for key, place in places.items():
        members.setdefault(str(place.group_tab.id), []).append(key)
    rows = [groups, *dict.fromkeys(place.siblings for place in places.values())]
    demo.load(None, None, rows, js=_js("turn", members))
    cards.click(None, None, rows, js=_js("turn", members), trigger_mode="multiple")


def settings_of(request: gr.Request) -> Query:
    """The address's settings for its panel; none if the address is longer than a link of ours can be."""
    query = {key: value for key, value in request.query_params.items() if key not in NOT_SETTINGS}
    return query if sum(len(key) + len(value) + 2 for key, value in query.items()) <= LONGEST_QUERY else {}


def _js(name: str, *arguments: object) -> str:
    return f"() => window.vitrine.{name}({', '.join(map(json.dumps, arguments))})"
