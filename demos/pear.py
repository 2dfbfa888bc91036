"""Pear: prune adapters, share the others into their places, and watch the accuracy."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import plotly.graph_objects as go

from backends.pear.curves import METHODS, TaskCurves, read_curves
from backends.pear.settings import GaugeSettings, PearSettings, read_edits, write_edits
from backends.runtime.errors import UserError
from backends.runtime.gently import aside
from backends.vision.settings import NAMES
from demos import pear_figures as figures
from demos.kit.controls import control, settings_of
from demos.kit.exhibit import Exhibit, Gallery, Item, Pinned, View
from demos.kit.frame import Frame
from demos.kit.jobs import place_task
from demos.kit.look import OURS
from demos.kit.panel import QUIET, AppContext, Built, Panel, guarded, row
from demos.kit.pictures import picture_html
from demos.pear_job import OWN, TASK, open_bench
from demos.pear_words import GUIDE, LABELS, NOTES, WHAT, WORDS

if TYPE_CHECKING:
    from backends.pear.results import Look

WAITING = "Curves measured beforehand; the live number follows."
_WARM = threading.Event()  # the default task answers at once
GALLERY_VIEWS = ((25, "keep"), (50, "keep"), (75, "keep"), (25, "none"), (50, "none"), (75, "none"))
PICTURES = 8  # of each view
NEXT = {"own": "shared", "shared": "off", "alone": "off", "off": "own"}
# A pressed cell is drawn anew; the keyboard stays where it was.
PRESS = """
let last = null;
element.addEventListener('click', (event) => {
  const cell = event.target.closest('button[data-site]');
  if (!cell) return;
  last = cell.dataset.site;
  trigger('click', {site: last});
});
new MutationObserver(() => {
  if (last && document.activeElement === document.body)
    element.querySelector(`[data-site="${last}"]`)?.focus({preventScroll: true});
}).observe(element, {childList: true, subtree: true});
"""


# ---- what the frame is told ------------------------------------------------------------------------------------------


def answer(context: AppContext, view: View) -> Look:
    """The accuracy under the thumb, really computed on the validation pictures."""
    return open_bench(context).look(view.settings)


def draw(now: Look, pinned: Pinned | None) -> go.Figure:
    """Every method's measured curve, this view and the pinned one on them."""
    return figures.trade_off_figure(now.curves, now, pinned and pinned.result)


def table(now: Look, pinned: Pinned | None) -> list[Mapping[str, Any]]:
    """The figure's points: curves, B and A."""
    rows = [
        {"what": "measured curve", "method": METHODS[key], "pruned_percent": p.pruned, "trainable": p.trainable,
         "validation": p.validation, "test": p.test}
        for key, points in (now.curves.methods if now.curves else {}).items() for p in points
    ]  # fmt: skip
    for name, one in (("B", now), *([("A", pinned.result)] if pinned else [])):
        here = {"method": METHODS["pear"], "pruned_percent": one.percent, "trainable": one.accounting.trainable}
        rows.append({"what": f"{name}, right after the prune"} | here | {"validation": one.now.scores.accuracy})
        if one.retrained:
            rows.append({"what": f"{name}, trained on"} | here | {"validation": one.retrained.scores.accuracy})
    return [{"test": None} | row for row in rows]


def preview(context: AppContext, view: View) -> tuple[go.Figure | None, str, str] | None:
    """The measured curves while the model is not loaded."""
    if _WARM.is_set():
        return None
    curves = _curves(view.settings.task)
    figure = figures.trade_off_figure(curves, None) if curves else None
    return figure, WAITING, f"Curves: {curves.command}, {curves.date}." if curves else "No curves are measured yet."


def _curves(task: str) -> TaskCurves | None:
    try:
        return read_curves(NAMES["cpu"], task)
    except UserError:
        return None


def changed_pictures(context: AppContext, view: View) -> Iterator[Item]:
    """For each of six prunes of this task, the validation pictures whose prediction it moved most."""
    bench, task = open_bench(context), view.settings.task
    for pruned, checkpoint in GALLERY_VIEWS:
        shown = PearSettings(task=task, pruned=pruned, checkpoint=checkpoint)
        for one in bench.moved_most(shown, PICTURES):
            how = f"said {one.said}, was {one.said_before}" if one.said != one.said_before else f"still {one.said}"
            title = f"{pruned} % pruned, {LABELS['checkpoint'][checkpoint]}: {how}"
            right = html.escape(one.label)
            body = f"{picture_html(one.image, f'a picture of the task, labelled {one.label}')}<i>right is {right}</i>"
            numbers = {"belief in the right answer": one.belief, "before": one.belief_before,
                       "moved": abs(one.belief - one.belief_before)}  # fmt: skip
            yield Item(title, body, numbers, shown.model_dump(), OURS if one.said == one.label else "")


def seconds_of_one(context: AppContext) -> float:
    """A look at six prunes is shared by their pictures."""
    return 0.3 / PICTURES


def save_model(context: AppContext, view: View, target: Path, metadata: dict[str, str]) -> None:
    """A view's adapters and classifier as safetensors."""
    open_bench(context).save(view.settings, target, metadata)


EXHIBIT = Exhibit(
    key="pear",
    settings=PearSettings,
    controls=("pruned", "task", "checkpoint", "donors", "criterion"),
    answer=answer,
    draw=draw,
    formula=figures.formula,
    remark=figures.cost_sentence,
    protocol=figures.fine_print,
    table=table,
    command=("backends.pear",),
    what=WHAT,
    notes=NOTES,
    words=WORDS,
    guide=GUIDE,
    gallery=Gallery(
        "validation pictures that a prune moved most", changed_pictures, len(GALLERY_VIEWS) * PICTURES, seconds_of_one
    ),
    task=TASK,
    labels=LABELS,
    preview=preview,
    files={"safetensors": save_model},
    model=lambda context: open_bench(context).vision.fingerprint,
)


# ---- what this panel has beside the frame ----------------------------------------------------------------------------


def build(context: AppContext) -> Built:
    """Place the panel; figures start empty."""
    frame = Frame(EXHIBIT, context)
    frame.main("Accuracy against the pruned share")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Adapters, layer by place")
            grid = gr.HTML(elem_id="pear-grid", js_on_load=PRESS)
            grid_said = gr.Markdown(elem_classes="v-protocol", elem_id="pear-grid-said")
            with gr.Row(elem_classes="v-actions"):
                clear = gr.Button("Clear edits", elem_id="pear-clear")
            gr.Markdown("### What it costs")
            cost = gr.HTML(js_on_load=None, elem_id="pear-cost")
        with gr.Column(elem_classes="v-stack"):
            with gr.Column(elem_classes="v-card"):
                gr.Markdown("### Was the score right?")
                judged = frame.figure("Was the score right?", "judged")
                judged_said = gr.Markdown(elem_classes="v-protocol", elem_id="pear-judged-said")
            with gr.Column(elem_classes="v-card"):
                gr.Markdown("### What a place had and what it got")
                moved = frame.figure("What a place had and what it got", "moved")
                moved_said = gr.Markdown(elem_classes="v-protocol")
    with gr.Column(elem_classes="v-card"):
        gr.Markdown("### Through the prune")
        courses = frame.figure("Through the prune", "courses")
        courses_said = gr.Markdown(elem_classes="v-protocol", elem_id="pear-courses-said")

    def follow(view: View, pinned: Pinned | None) -> Iterator[dict[Any, Any]]:
        """Everything beside the number, quickest first, then the test pictures."""
        bench, s = open_bench(context), view.settings
        now = answer(context, view)
        away = bench.moved(s, now.plan)
        yield {
            grid: figures.grid_html(now), grid_said: figures.grid_sentence(now), moved: figures.moved_figure(away),
            moved_said: away.summary(), cost: figures.cost_table(now, None),
            courses: figures.courses_figure(now.curves) if now.curves else None,
            courses_said: figures.courses_sentence(now.curves) if now.curves else "No curves ship for this model.",
        }  # fmt: skip
        found = bench.judged(s.task)
        yield {judged: figures.judged_figure(found), judged_said: found.summary()}
        yield {cost: figures.cost_table(now, bench.tested(s))}

    frame.details(follow, [grid, grid_said, judged, judged_said, courses, courses_said, moved, moved_said, cost])
    frame.rows(lambda: _place_gauge(frame), lambda: place_task(frame, OWN))
    for name in ("edits", "scope", "seed"):
        component = frame.controls[name]
        frame.live(component.submit if name == "edits" else component.input)
    _wire_grid(frame, grid, grid_said, clear)
    return frame.built()


def _wire_grid(frame: Frame, grid: gr.HTML, said: gr.Markdown, clear: gr.Button) -> None:
    """A pressed cell leads to another view, its grid drawn with it."""

    def turned(there: View, here: View, pinned: Pinned | None) -> list[Any]:
        result = answer(frame.context, there)
        return [figures.grid_html(result), figures.grid_sentence(result), *frame.turned(there, pinned, result, here)]

    def pressed(event: gr.EventData, pinned: Pinned | None, *values: Any) -> list[Any]:
        here = frame.view(values)
        return turned(toggled(frame, here, event._data), here, pinned)

    def cleared(_: gr.EventData, pinned: Pinned | None, *values: Any) -> list[Any]:
        here = frame.view(values)
        return turned(frame.view_of(here.settings.model_dump() | {"edits": ""}, here.inputs), here, pinned)

    def wire() -> None:
        inputs, outputs = [frame.pinned, *frame.asked], [grid, said, *frame.everything]
        grid.click(frame.turning(pressed), inputs, outputs, **QUIET)
        clear.click(frame.turning(cleared), inputs, outputs, validator=frame.check(1), **QUIET)

    frame.later(wire)


def toggled(frame: Frame, here: View, data: Any) -> View:
    """The view after a cell was pressed: its own adapter, shared, off, its own again. Raises UserError."""
    now = answer(frame.context, here)
    site = data.get("site") if isinstance(data, dict) else None
    if not isinstance(site, str) or site not in now.importance:
        raise UserError("There is no such adapter: press a cell of the grid.")
    edits = read_edits(here.settings.edits) | {site: NEXT[figures.state_of(now.plan, site)]}
    without = frame.view_of(here.settings.model_dump() | {"edits": _written(edits, now, site)})
    usual = open_bench(frame.context).plan(without.settings)
    if figures.state_of(usual, site).replace("alone", "shared") == edits[site]:
        return View(without.settings, here.inputs)  # that is what it is without a word by hand
    return frame.view_of(here.settings.model_dump() | {"edits": _written(edits, now)}, here.inputs)


def _written(edits: Mapping[str, Any], now: Look, without: str = "") -> str:
    return write_edits({name: state for name, state in edits.items() if name != without}, list(now.importance))


def _place_gauge(frame: Frame) -> None:
    """The closed row in which A is multiplied and B divided."""
    with row("Same model, other numbers", "multiply A, divide B: which ranking survives?", "pear-gauge"):
        factor = control(GaugeSettings, "factor")
        with gr.Row(elem_classes="v-actions"):
            go_ = gr.Button("Rank again", variant="primary", elem_id="pear-rank")
        plot = frame.figure("Same model, other numbers", "gauge-plot", shown=False)
        said = gr.Markdown(elem_classes="v-caption", elem_id="pear-gauge-said")

    def ranked(by: Any, *values: Any) -> list[Any]:
        by = settings_of(GaugeSettings, factor=by).factor
        found = open_bench(frame.context).gauge(frame.view(values).settings.task, by)
        return [gr.update(value=figures.gauge_figure(found), visible=True), found.summary()]

    def wire() -> None:
        go_.click(guarded(ranked), [factor, *frame.asked], [plot, said], validator=frame.check(1), **QUIET)

    frame.later(wire)


def _warm(context: AppContext) -> None:
    """What the first visitor will see, computed once; then, aside, the pictures and adapters of the other tasks."""
    draw(answer(context, View(PearSettings())), None)
    _WARM.set()
    bench = open_bench(context)
    aside(lambda: [(bench.stage(task), bench.split(task, "validation")) for task in LABELS["task"]])


PANEL = Panel(
    key="pear",
    title="Pear",
    group="Adapt",
    paper="2409.19733",
    question="Which adapters are redundant? Prune some, share the others into their places, and watch the accuracy.",
    build=build,
    warm=_warm,
)
