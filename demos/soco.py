"""SoCo: drag the share that is removed and watch a real language model's perplexity."""

from __future__ import annotations

import html
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import plotly.graph_objects as go

from backends.lm.settings import NAME, Architecture
from backends.runtime.errors import UserError
from backends.runtime.gently import aside
from backends.runtime.imports import heavy
from backends.soco.curves import Curves, read_curves
from backends.soco.settings import METHODS, SocoSettings
from demos import soco_figures as figures
from demos.kit.controls import validator
from demos.kit.exhibit import Exhibit, Gallery, Input, Item, Pinned, View
from demos.kit.frame import LIVE, Frame
from demos.kit.panel import QUIET, AppContext, Built, Panel, guarded, row
from demos.soco_job import TASK, open_bench
from demos.soco_words import GUIDE, NOTES, PROMPTS, WHAT, WORDS

if TYPE_CHECKING:
    from backends.soco.results import Measurement

LABELS = {key: card.label for key, card in METHODS.items()}
TEXT_LABELS = {"held-out": "Python docs, held out", "stories": "Stories", "yours": "Your text"}
WAITING = "Curves measured beforehand; the live number follows (this can take a minute at a machine's first start)."
_WARM = threading.Event()  # the model is loaded
RUN = "backends.soco.run"
LAYERS = range(Architecture().layers)
GALLERY_METHODS = ("soco", "soco-k", "svd-llm")
GALLERY_RATIOS = (40, 60, 80)


# ---- what the frame is told ------------------------------------------------------------------------------------------


def answer(context: AppContext, view: View) -> Measurement:
    """The number under the thumb, really computed on 2,048 tokens."""
    return heavy("backends.soco.look").look(open_bench(context), view.settings, view.inputs.get("own", ""))


def draw(now: Measurement, pinned: Pinned | None) -> go.Figure:
    """Every method's measured curve, the dense model as floor, this view and the pinned one on them."""
    return figures.curves_figure(now.curves, now.method, now, pinned and pinned.result)


def table(now: Measurement, pinned: Pinned | None) -> list[Mapping[str, Any]]:
    """The figure's points: curves, dense model, B and A."""
    curves = now.curves
    rows = [
        {"what": "measured curve", "method": METHODS[key].label, "removed_percent": p.percent, "text": curves.label,
         "perplexity": p.perplexity, "excess_nats": p.nats - curves.dense.nats}
        for key, points in (curves.methods if curves else {}).items() for p in points
    ]  # fmt: skip
    marked = [("B", now), *([("A", pinned.result)] if pinned else [])]
    rows += [
        {"what": name, "method": METHODS[m.method].label, "removed_percent": m.percent, "text": m.text_label,
         "perplexity": m.value, "excess_nats": m.excess}
        for name, m in marked
    ]  # fmt: skip
    return [*rows, {"what": "dense", "method": "dense", "removed_percent": 0, "text": now.text_label,
                    "perplexity": now.dense_value, "excess_nats": 0.0}]  # fmt: skip


def preview(context: AppContext, view: View) -> tuple[go.Figure | None, str, str] | None:
    """The measured curves while the model is not loaded."""
    if _WARM.is_set() and open_bench(context).has_factors(METHODS[view.settings.method].basis):
        return None
    curves = _curves()
    measured = curves.texts.get(view.settings.text) if curves else None
    figure = figures.curves_figure(measured, view.settings.method, None) if measured else None
    note = f"Curves: {curves.command}, {curves.date}." if curves else "The curves are not measured yet."
    return figure, WAITING, note


def generations(context: AppContext, view: View) -> Iterator[Item]:
    """Continuations over methods, ratios and prompts, one seed for all, and the dense model's."""
    s, bench = view.settings, open_bench(context)
    for prompt in PROMPTS:
        for method, removed in [(None, 0), *((m, r) for r in GALLERY_RATIOS for m in GALLERY_METHODS)]:
            c = heavy(RUN).continuation(bench, method, removed, prompt, s.tokens, s.seed, s.temperature)
            own = {"prompt": prompt, "removed": removed, "seed": s.seed, "tokens": s.tokens}
            own |= {"temperature": s.temperature} | ({"method": method} if method else {})
            title = f"{METHODS[method].label}, {removed} % removed" if method else "dense"
            body = f"<i>{html.escape(prompt)}</i>{html.escape(c.text)}"
            numbers = {"distinct-2": c.distinct_2, "distinct-3": c.distinct_3, "repeated": c.repetition}
            yield Item(title, body, numbers, own, figures.LINES[method][0] if method else figures.OTHER)


def seconds_of_one(context: AppContext) -> float:
    """How long a continuation takes here, measured once."""
    return heavy(RUN).continuation_seconds(open_bench(context))


def save_model(context: AppContext, view: View, target: Path, metadata: dict[str, str]) -> None:
    """The compressed model of a view as safetensors, with its configuration."""
    bench, s = open_bench(context), view.settings
    if s.removed == 0:
        raise UserError("Nothing is removed, so there is no compressed model: move the slider first.")
    spectrum = bench.decide(s.method, s.removed).spectrum
    facts = {"method": s.method, "removed": s.removed, "model": bench.name}
    heavy("backends.soco.materialise").save_compressed(bench.compress(spectrum, "factored"), target, facts, metadata)


EXHIBIT = Exhibit(
    key="soco",
    settings=SocoSettings,
    controls=("removed", "method", "text"),
    answer=answer,
    draw=draw,
    formula=lambda now: figures.formula(now.accounting, METHODS[now.method].trained),
    remark=figures.kept_sentence,
    protocol=figures.fine_print,
    table=table,
    command=("backends.soco", "--quick"),
    what=WHAT,
    notes=NOTES,
    words=WORDS,
    guide=GUIDE,
    gallery=Gallery(
        "continuations over methods, ratios and prompts", generations,
        len(PROMPTS) * (1 + len(GALLERY_RATIOS) * len(GALLERY_METHODS)), seconds_of_one,
    ),
    task=TASK,
    inputs=(
        Input("own", "A text of your own", "--file own.txt", lambda s: s.text == "yours", {"text": "held-out"},
              "paste it again"),
    ),
    labels={"method": LABELS, "rival": LABELS, "text": TEXT_LABELS},
    choices={"layer": LAYERS, "prompt": PROMPTS},
    preview=preview,
    files={"safetensors": save_model},
    model=lambda context: open_bench(context).lm.fingerprint,
)  # fmt: skip


# ---- what this panel has beside the frame ----------------------------------------------------------------------------


def build(context: AppContext) -> Built:
    """Place the panel; figures start empty."""
    frame = Frame(EXHIBIT, context)
    frame.main("Perplexity against the removed share")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Same prompt, same seed")
            prompt = frame.control("prompt")
            said = gr.HTML(js_on_load=None)
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Rank kept, layer by matrix")
            ranks = frame.figure("Rank kept, layer by matrix", "ranks")
            ranks_said = gr.Markdown(elem_classes="v-protocol")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### One matrix's spectrum")
            with gr.Row():
                layer, matrix = frame.control("layer"), frame.control("matrix")
            spectrum = frame.figure("One matrix's spectrum", "spectrum")
            spectrum_said = gr.Markdown(elem_classes="v-protocol")
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### What each decision contributes")
            shares = frame.figure("What each decision contributes", "shares")
            shares_said = gr.Markdown(elem_classes="v-protocol")
            gr.Markdown("### Size and speed")
            size = gr.HTML(js_on_load=None)

    def follow(view: View, pinned: Pinned | None) -> Iterator[dict[Any, Any]]:
        """Everything beside the number, quickest first, then the whole text."""
        run, bench, s = heavy(RUN), open_bench(context), view.settings
        now, a = answer(context, view), pinned and pinned.result
        seen = run.view_spectrum(bench, s.method, s.removed, s.layer, s.matrix)
        yield {
            ranks: figures.ranks_figure(now.accounting, a and a.accounting),
            ranks_said: figures.ranks_sentence(now.accounting, a and a.accounting),
            spectrum: figures.spectrum_figure(seen), spectrum_said: seen.summary(), size: figures.size_table(now, None),
        }  # fmt: skip
        yield {said: _speak(context, view, pinned)}
        evaluated = heavy("backends.lm.texts").evaluation_text(s.text, view.inputs.get("own", ""))
        if s.removed == 0:
            yield {shares: None, shares_said: "Nothing is removed, so nothing is lost or gained."}
        elif not METHODS[s.method].trained:
            only = "it truncates every matrix at the same share, and neither chooses nor rescales"
            yield {shares: None, shares_said: f"{METHODS[s.method].label} has one decision only: {only}."}
        else:
            result = run.contributions(bench, s.method, s.removed, evaluated)
            yield {shares: figures.contributions_figure(result), shares_said: result.summary()}
        yield {size: figures.size_table(now, run.speed(bench, s.method, s.removed))}
        for step in run.refine(bench, s.method, s.removed, evaluated, now.anchor):
            finer = replace(step.partial, curves=now.curves)
            yield dict(zip(frame.drawn[:3], frame.redrawn(view, finer, pinned)[:3], strict=True))

    frame.details(follow, [ranks, ranks_said, spectrum, spectrum_said, size, said, shares, shares_said])
    frame.rows(lambda: _place_own_text(frame))

    speaking = [prompt, *(frame.controls[name] for name in ("rival", "seed", "tokens", "temperature"))]
    for component in speaking:
        component.input(
            guarded(lambda pinned, *v: _speak(context, frame.view(v), pinned)), [frame.pinned, *frame.asked], said,
            validator=frame.check(1), concurrency_id="details", **LIVE,
        )  # fmt: skip
    asked = {name: frame.controls[name] for name in ("removed", "method", "layer", "matrix")}
    for component in (layer, matrix):
        component.input(
            guarded(lambda *v: _spectrum(context, *v)), list(asked.values()), [spectrum, spectrum_said],
            validator=validator(SocoSettings, *asked), **LIVE,
        )  # fmt: skip
    return frame.built()


def _place_own_text(frame: Frame) -> None:
    """The closed row in which a visitor brings a text."""
    with row("Your own text", "paste or upload; see what surprises the model"):
        own = gr.Textbox(label="Text", lines=6, max_lines=12, placeholder="Paste any plain text", elem_id="soco-own")
        upload = gr.File(
            label="or a plain-text file, up to 1 MB", file_types=[".txt", ".md"], type="filepath", height=110
        )
        with gr.Row(elem_classes="v-actions"):
            score = gr.Button("Measure this text", variant="primary")
        surprise = gr.HTML(js_on_load=None)
    frame.inputs["own"] = own
    upload.upload(guarded(_read_upload), upload, own, **QUIET)

    def scored(_: gr.EventData, pinned: Pinned | None, *values: Any) -> list[Any]:
        here = frame.view(values)
        view = frame.view_of(here.settings.model_dump() | {"text": "yours"}, here.inputs)
        return [_surprise(frame.context, view), *frame.turned(view, pinned, here=here)]

    def wire() -> None:
        inputs, outputs = [frame.pinned, *frame.asked], [surprise, *frame.everything]
        score.click(
            frame.turning(scored),
            inputs,
            outputs,
            validator=frame.check(1),
            api_visibility="private",
            show_progress="minimal",
        )

    frame.later(wire)


def _read_upload(path: str | None) -> str:
    texts = heavy("backends.lm.texts")
    if path is None:
        return ""
    with Path(path).open("rb") as file:
        return texts.decode_upload(file.read(texts.MAX_BYTES + 1))


def _surprise(context: AppContext, view: View) -> str:
    """The beginning of the visitor's text, coloured by what surprises the compressed model and the dense one."""
    s, bench, surprise = view.settings, open_bench(context), heavy(RUN).surprise
    text = heavy("backends.lm.texts").visitors_text(view.inputs["own"]).documents[0]
    now, dense = surprise(bench, s.method, s.removed, text), surprise(bench, None, 0, text)
    return figures.surprise_html(now.pieces, now.nats, dense.nats)


def _speak(context: AppContext, view: View, pinned: Pinned | None) -> str:
    """Continuations of this view, the pinned one, the rival and the dense model from one prompt and one seed."""
    s, bench = view.settings, open_bench(context)
    asked: dict[tuple[str | None, float], str] = {(s.method, s.removed): f"{LABELS[s.method]} {s.removed:g} %"}
    if pinned is not None:
        a = pinned.view.settings
        asked.setdefault((a.method, a.removed), f"A: {LABELS[a.method]} {a.removed:g} %")
    asked.setdefault((s.rival, s.removed), f"{LABELS[s.rival]} {s.removed:g} %")
    asked[None, 0] = "dense"
    said = []
    for (method, removed), label in asked.items():
        c = heavy(RUN).continuation(bench, method, removed, s.prompt, s.tokens, s.seed, s.temperature)
        said.append((label, figures.LINES[method][0] if method else figures.OTHER, c))
    return figures.continuations_html(s.prompt, said)


def _spectrum(context: AppContext, removed: float, method: str, layer: int, matrix: str) -> list[Any]:
    view = heavy(RUN).view_spectrum(open_bench(context), method, removed, layer, matrix)
    return [figures.spectrum_figure(view), view.summary()]


# ---- the model -------------------------------------------------------------------------------------------------------


def _curves() -> Curves | None:
    try:
        return read_curves(NAME)
    except UserError:
        return None


def _warm(context: AppContext) -> None:
    """What the first visitor will see, figure and all, computed once; then, aside, the bases of all methods."""
    bench = open_bench(context)
    draw(answer(context, View(SocoSettings())), None)
    _WARM.set()
    bases = list(dict.fromkeys(card.basis for card in METHODS.values()))
    aside(lambda: [bench.factors(basis) for basis in bases])


PANEL = Panel(
    key="soco",
    title="SoCo",
    group="Compress",
    paper="2502.15092",
    question="What does this language model lose when part of it is removed? Drag and watch.",
    build=build,
    warm=_warm,
)
