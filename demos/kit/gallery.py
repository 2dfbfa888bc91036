"""Many outputs at once, sorted by what is measured of them; each opens its view. People look for oddities."""

from __future__ import annotations

import contextlib
import html
import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gradio as gr

from backends.runtime.errors import UserError
from backends.runtime.gently import gently
from demos.kit.exhibit import Item, plainly
from demos.kit.jobs import clock
from demos.kit.latest import Latest
from demos.kit.panel import QUIET, guarded, row

if TYPE_CHECKING:
    from demos.kit.frame import Frame

AS_MADE = "as they were made"
DRAWS = 0.5  # seconds between two drawings of what is there

# A card is a link, so that it can be reached, copied and opened elsewhere; a plain click stays in the page.
OPEN_HERE = """
element.addEventListener('click', (event) => {
  const card = event.target.closest('a[data-settings]');
  if (!card || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  trigger('click', {settings: card.dataset.settings});
  document.getElementById('%s').scrollIntoView({behavior: 'smooth', block: 'center'});
});
"""


def place(frame: Frame) -> None:
    """The closed row: fill, stop, sort, and the cards."""
    g, key = frame.exhibit.gallery, frame.key
    with row("Gallery", g.promise, f"{key}-gallery") as opened_row:
        said = gr.Markdown(elem_classes="v-protocol", elem_id=f"{key}-gallery-said")
        with gr.Row(elem_classes="v-actions"):
            fill = gr.Button("Fill the gallery", variant="primary", elem_id=f"{key}-fill")
            stop = gr.Button("Stop", visible=False, elem_id=f"{key}-stop")
            order = gr.Dropdown(
                [AS_MADE], value=AS_MADE, label="Sorted by", container=False, visible=False, elem_id=f"{key}-order"
            )
        cards = gr.HTML(elem_id=f"{key}-cards", js_on_load=OPEN_HERE % f"{key}-figure")
    kept, latest = gr.State([]), Latest()

    @guarded
    def made(request: gr.Request, *values: Any) -> Iterator[dict[Any, Any]]:
        view, items, drawn, started = frame.view(values), [], 0.0, time.monotonic()
        outdated = latest.renew(request.session_hash)
        yield {stop: gr.Button(visible=True), said: "starting", kept: [], cards: ""}
        with contextlib.closing(gently(g.items(frame.context, view), outdated, wished=True)) as work:
            for item in work:
                items.append(item)
                if time.monotonic() - drawn > DRAWS:
                    drawn = time.monotonic()
                    left = clock((drawn - started) / len(items) * (g.count - len(items)))
                    yield {said: f"{len(items)} of {g.count}, about {left} left.", cards: cards_html(key, items)}
        yield {
            stop: gr.Button(visible=False), said: f"{len(items)} of {g.count}, in {clock(time.monotonic() - started)}.",
            kept: items, cards: cards_html(key, items), order: _orders(items),
        }  # fmt: skip

    @guarded
    def cost(items: list[Item]) -> Any:
        return gr.skip() if items else f"{g.count} of them take about {clock(g.seconds(frame.context) * g.count)} here."

    def ended(request: gr.Request) -> None:
        latest.renew(request.session_hash)

    def opened(event: gr.EventData, pinned: Any, *values: Any) -> list[Any]:
        try:
            asked = json.loads(event._data["settings"])
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UserError("This card names no view: fill the gallery again.") from error
        if not isinstance(asked, dict):
            raise UserError("This card names no view: fill the gallery again.")
        view = frame.view(values)
        return frame.turned(frame.view_of(view.settings.model_dump() | asked, view.inputs), pinned, here=view)

    def wire() -> None:
        fill.click(
            made, frame.asked, [stop, said, kept, cards, order], validator=frame.check(), concurrency_id="gallery",
            concurrency_limit=2, **QUIET,
        )  # fmt: skip
        cards.click(frame.turning(opened), [frame.pinned, *frame.asked], frame.everything, **QUIET)

    frame.later(wire)
    opened_row.expand(cost, kept, said, **QUIET)
    frame.unloading.append(ended)
    stop.click(ended, None, None, concurrency_limit=None, **QUIET)
    order.input(guarded(lambda by, items: cards_html(key, ranked(items, by))), [order, kept], cards, **QUIET)


def _orders(items: Sequence[Item]) -> Any:
    names = list(dict.fromkeys(name for item in items for name in item.metrics))
    return gr.Dropdown([AS_MADE, *names], value=AS_MADE, visible=bool(names))


def ranked(items: Sequence[Item], by: str) -> list[Item]:
    """Highest first; items that lack the metric last."""
    if by == AS_MADE:
        return list(items)
    return sorted(items, key=lambda item: -item.metrics.get(by, float("-inf")))


def cards_html(key: str, items: Sequence[Item]) -> str:
    """A list of cards; all text escaped."""
    return f'<ul class="v-gallery">{"".join(_card(key, item) for item in items)}</ul>'


def _card(key: str, item: Item) -> str:
    values = {name: plainly(value) for name, value in item.settings.items()}
    settings = html.escape(json.dumps(values), quote=True)
    named = {name: value for name, value in values.items() if value != ""}
    address = html.escape("?" + urlencode({"tab": key} | named), quote=True)
    numbers = " · ".join(f"{html.escape(name)} {value:.2f}" for name, value in item.metrics.items())
    title = html.escape(item.title)
    if item.colour:
        title = f'<b class="v-key" style="--c:{item.colour}">{title}</b>'
    return (
        f'<li><a class="v-card" href="{address}" data-settings="{settings}"><strong>{title}</strong>'
        f"<span>{item.body}</span><small>{numbers}</small></a></li>"
    )
