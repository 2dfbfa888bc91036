"""SoCo: drag the share that is removed and watch a real language model's perplexity."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from backends.lm.settings import NAME, Architecture
from backends.runtime.errors import UserError
from backends.runtime.gently import aside, gently
from backends.runtime.imports import heavy
from backends.soco.curves import Curves, TextCurves, read_curves
from backends.soco.settings import METHODS, SocoSettings
from demos import soco_figures as figures
from demos import soco_job
from demos.kit.controls import control, restored, settings_of, validator
from demos.kit.latest import Latest
from demos.kit.links import follow
from demos.kit.panel import AppContext, Built, Panel, Query, guarded, row

if TYPE_CHECKING:
    from backends.lm.texts import EvaluationText
    from backends.soco.results import Measurement
    from backends.soco.workbench import Workbench

LABELS = {key: card.label for key, card in METHODS.items()}
TEXT_LABELS = {"held-out": "Python docs, held out", "stories": "Stories", "yours": "Your text"}
PROMPTS = ["Returns the number of", "If the argument is a list,", "This class implements", "The sea is salt because"]
WAITING = "Curves measured beforehand; the live number follows (this can take a minute at a machine's first start)."
_WARM = threading.Event()  # the model is loaded
_VIEWS = itertools.count(1)
PAUSE = 1.0  # seconds
RUN = "backends.soco.run"
LAYERS = range(Architecture().layers)
# Gradio counts the seconds of each component on which progress is shown, frame by frame, even where it is hidden.
QUIET: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "trigger_mode": "always_last"}

NOTES = """
**The paper's** (arXiv 2502.15092): learned scores *S* on the singular values, free to amplify what is kept; a
trainable deviation *d*; a preset threshold; one continuous run of exploration, oscillating refinement and decisive
sparsification; one budget over all matrices. No code is public, and the sources do not state the score function, the
exact losses, the threshold, the schedule, or how *d* is applied: each of these is a named switch of
`python -m backends.soco` marked *(inferred)*.

**Ours**: SoCo+W and SoCo+K. Measured curvature of the loss decides where rank goes; training rescales and repairs. They
are not the paper's method and are labelled so wherever they appear.

**The fair control** takes SVD-LLM's basis at uniform rank and trains the same scores and deviation for the same steps,
on the same data, with the same loss: what remains above it is due to allocation and choice.

**The ratio** counts the parameters of the seven projections of every block; the deviation is charged. Embeddings and
norms are never touched. Between two trained ratios the model is pruned from the lower one, not retrained, and says so.
"""


def build(context: AppContext) -> Built:
    """Place the panel; figures start empty."""
    with gr.Row(elem_classes="v-split"):
        with gr.Column(elem_classes=["v-card", "v-controls"]):
            removed = control(SocoSettings, "removed", buttons=["reset"], elem_id="soco-removed")
            method = control(SocoSettings, "method", LABELS)
            text = control(SocoSettings, "text", TEXT_LABELS)
            equation = gr.Markdown(elem_classes="v-formula")
            kept = gr.Markdown(elem_classes="v-protocol")
        with gr.Column(elem_classes=["v-card", "v-figure"]):
            curve = gr.Plot(show_label=False, container=False, elem_id="soco-curve")
            caption = gr.Markdown(elem_classes="v-caption")
            protocol = gr.Markdown(elem_classes="v-protocol")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Same prompt, same seed")
            prompt = gr.Dropdown(PROMPTS, value=PROMPTS[0], label="Prompt", allow_custom_value=True)
            said = gr.HTML(js_on_load=None)
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### Rank kept, layer by matrix")
            ranks = gr.Plot(show_label=False, container=False)
            ranks_said = gr.Markdown(elem_classes="v-protocol")
    with gr.Row(elem_classes="v-split-even"):
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### One matrix's spectrum")
            with gr.Row():
                layer = control(SocoSettings, "layer", choices=list(LAYERS))
                matrix = control(SocoSettings, "matrix")
            spectrum = gr.Plot(show_label=False, container=False)
            spectrum_said = gr.Markdown(elem_classes="v-protocol")
        with gr.Column(elem_classes="v-card"):
            gr.Markdown("### What each decision contributes")
            shares = gr.Plot(show_label=False, container=False)
            shares_said = gr.Markdown(elem_classes="v-protocol")
            gr.Markdown("### Size and speed")
            size = gr.HTML(js_on_load=None)
    with row("Your own text", "paste or upload; see what surprises the model"):
        own = gr.Textbox(label="Text", lines=6, max_lines=12, placeholder="Paste any plain text")
        upload = gr.File(label="or a plain-text file, up to 1 MB", file_types=[".txt", ".md"], type="filepath")
        score = gr.Button("Measure this text", variant="primary")
        surprise = gr.HTML(js_on_load=None)
    with row("What is the paper's, what is ours", "and what had to be inferred"):
        gr.Markdown(NOTES)
    with row("Advanced", "rival, seed, length and temperature of the continuations"), gr.Row():
        rival = control(SocoSettings, "rival", LABELS)
        seed = control(SocoSettings, "seed")
        tokens = control(SocoSettings, "tokens")
        temperature = control(SocoSettings, "temperature")
    view = [removed, method, text]
    soco_job.place(context, view, lambda: _bench(context))
    cold = gr.State(False)  # the model was not loaded yet when the panel was opened
    shown = gr.State(0)  # another number for every view that is drawn; its details follow

    drawn = [curve, caption, protocol, equation, kept]
    live_inputs, live_outputs = [*view, own], [*drawn, shown]
    detail_inputs = [*view, own, prompt, rival, layer, matrix, seed, tokens, temperature]
    detail_outputs = [*drawn, ranks, ranks_said, spectrum, spectrum_said, shares, shares_said, size, said]
    latest = Latest()

    @guarded
    def live(request: gr.Request, *values: Any) -> list[Any]:
        latest.renew(request.session_hash)  # what is still being computed for the last view ends
        return [*_live(context, *values), next(_VIEWS)]

    live_check = validator(SocoSettings, "removed", "method", "text", None)
    detail_check = validator(
        SocoSettings,
        "removed",
        "method",
        "text",
        None,
        None,
        "rival",
        "layer",
        "matrix",
        "seed",
        "tokens",
        "temperature",
    )

    @guarded
    def details(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        outdated = latest.renew(request.session_hash)
        if outdated.wait(PAUSE):  # a slider on its way: nothing is begun that the next step throws away
            return
        with contextlib.closing(gently(_details(context, *values), outdated)) as parts:
            yield from parts

    cold.change(live, live_inputs, live_outputs, api_visibility="private", **QUIET)
    for component in (method, text):
        component.input(live, live_inputs, live_outputs, validator=live_check, api_visibility="private", **QUIET)
    removed.input(
        live, live_inputs, live_outputs, validator=live_check, api_name="soco_perplexity", **QUIET,
        api_description="Perplexity of the compressed model on 2,048 tokens: figure, sentence, protocol, formula.",
    )  # fmt: skip
    shown.change(
        details, detail_inputs, detail_outputs, validator=detail_check, concurrency_id="details", concurrency_limit=1,
        api_visibility="private", **QUIET,
    )  # fmt: skip
    speaking = [*view, prompt, rival, seed, tokens, temperature]
    speaking_check = validator(
        SocoSettings, "removed", "method", "text", None, "rival", "seed", "tokens", "temperature"
    )
    for component in (prompt, rival, seed, tokens, temperature):
        component.change(
            guarded(lambda *v: _speak(context, *v)), speaking, said, validator=speaking_check,
            concurrency_id="details", api_visibility="private", **QUIET,
        )  # fmt: skip
    for component in (layer, matrix):
        component.input(
            guarded(lambda *v: _spectrum(context, *v)), [removed, method, layer, matrix], [spectrum, spectrum_said],
            validator=validator(SocoSettings, "removed", "method", "layer", "matrix"), api_visibility="private",
            **QUIET,
        )  # fmt: skip
    upload.upload(guarded(_read_upload), upload, own, api_visibility="private", show_progress="hidden")
    measured = score.click(
        guarded(lambda *v: _own(context, *v)), [removed, method, own], [text, surprise],
        validator=validator(SocoSettings, "removed", "method", None), api_visibility="private", show_progress="minimal",
    )  # fmt: skip
    measured.success(live, live_inputs, live_outputs, api_visibility="private", **QUIET)

    addressed = {"removed": removed, "method": method, "text": text, "rival": rival, "layer": layer, "matrix": matrix,
                 "seed": seed, "tokens": tokens, "temperature": temperature}  # fmt: skip
    follow(PANEL.key, SocoSettings, addressed)

    def first(query: Query, *values: Any) -> list[Any]:
        return _opening(context, query, dict(zip(addressed, values, strict=True)))

    def left(request: gr.Request) -> None:
        latest.renew(request.session_hash)

    outputs = [*addressed.values(), *live_outputs, cold]
    return Built(first, outputs, inputs=list(addressed.values()), left=left)


def _opening(context: AppContext, query: Query, values: dict[str, Any]) -> list[Any]:
    """With a warm model the live number at once; before, the measured curves. The link's settings where they fit."""
    values, ignored = restored(SocoSettings, query, values, {"layer": LAYERS})
    for name in ignored:
        gr.Warning(f"The link's value for “{name}” was ignored.")
    if values["text"] == "yours":
        values["text"] = SocoSettings().text
        gr.Warning("A text of your own does not travel in a link: paste it again.")
    if _WARM.is_set() and _bench(context).has_factors(METHODS[values["method"]].basis):
        drawn = _live(context, values["removed"], values["method"], values["text"], "")
        return [*values.values(), *drawn, next(_VIEWS), False]
    curves = _curves()
    measured = curves.texts.get(values["text"]) if curves else None
    figure = figures.curves_figure(measured, values["method"], None) if measured else None
    return [*values.values(), figure, WAITING, _measured_note(curves), "", "", gr.skip(), True]


def _curves() -> Curves | None:
    try:
        return read_curves(NAME)
    except UserError:
        return None


def _measured_note(curves: Curves | None) -> str:
    return f"Curves: {curves.command}, {curves.date}." if curves else "The curves are not measured yet."


def _bench(context: AppContext) -> Workbench:
    return heavy("backends.soco.service").open_bench(
        device=context.device, models=context.models, offline=context.offline
    )


def _text(key: str, own: str) -> EvaluationText:
    return heavy("backends.lm.texts").evaluation_text(key, own)


def _live(context: AppContext, removed: float, method: str, text: str, own: str) -> list[Any]:
    """The number under the thumb, really computed on 2,048 tokens."""
    s, bench = settings_of(SocoSettings, removed=removed, method=method, text=text), _bench(context)
    measured = _measured(bench, s.text)
    now = heavy(RUN).measure(
        bench, s.method, s.removed, _text(s.text, own), anchor=measured.dense.nats if measured else None
    )
    return _drawn(measured, now)


def _measured(bench: Workbench, text: str) -> TextCurves | None:
    """The text's curves, if they were measured on these very weights."""
    curves = _curves()
    return curves.texts.get(text) if curves and curves.model == bench.lm.fingerprint else None


def _drawn(measured: TextCurves | None, now: Measurement) -> list[Any]:
    note = "" if measured else " · no measured curves for this text and model"
    return [
        figures.curves_figure(measured, now.method, now),
        now.summary(),
        f"{now.protocol()} · bundled, tiny{note}",
        figures.formula(now.accounting, METHODS[now.method].trained),
        figures.kept_sentence(now),
    ]


@dataclass(frozen=True)
class _Ask:
    """The values behind the detail figures, checked."""

    settings: SocoSettings
    own: str
    prompt: str


def _details(context: AppContext, *values: Any) -> Iterator[list[Any]]:
    """Everything beside the number, quickest first, then the whole text; yields after each part."""
    run = heavy(RUN)
    ask = _asked(*values)
    s, bench = ask.settings, _bench(context)
    skip = gr.skip()
    evaluated, measured = _text(s.text, ask.own), _measured(bench, s.text)
    anchor = measured.dense.nats if measured else None
    now = run.measure(bench, s.method, s.removed, evaluated, anchor=anchor)
    drawn = _drawn(measured, now)
    view = run.view_spectrum(bench, s.method, s.removed, s.layer, s.matrix)
    parts: list[Any] = [
        figures.ranks_figure(now.accounting), figures.ranks_sentence(now.accounting), figures.spectrum_figure(view),
        view.summary(), skip, skip, figures.size_table(now, None), skip,
    ]  # fmt: skip
    yield [*drawn, *parts]
    spoken = _speak(context, s.removed, s.method, s.text, ask.prompt, s.rival, s.seed, s.tokens, s.temperature)
    yield [*[skip] * 12, spoken]
    if s.removed == 0:
        yield [*[skip] * 9, None, "Nothing is removed, so nothing is lost or gained.", skip, skip]
    elif not METHODS[s.method].trained:
        only = "it truncates every matrix at the same share, and neither chooses nor rescales"
        yield [*[skip] * 9, None, f"{METHODS[s.method].label} has one decision only: {only}.", skip, skip]
    else:
        result = run.contributions(bench, s.method, s.removed, evaluated)
        yield [*[skip] * 9, figures.contributions_figure(result), result.summary(), skip, skip]
    yield [*[skip] * 11, figures.size_table(now, run.speed(bench, s.method, s.removed)), skip]
    for step in run.refine(bench, s.method, s.removed, evaluated, anchor):
        yield [*_drawn(measured, step.partial)[:3], *[skip] * 10]


def _asked(
    removed: float, method: str, text: str, own: str, prompt: str, rival: str, layer: int, matrix: str, seed: int,
    tokens: int, temperature: float,
) -> _Ask:  # fmt: skip
    settings = settings_of(
        SocoSettings, removed=removed, method=method, text=text, rival=rival, layer=layer, matrix=matrix, seed=seed,
        tokens=tokens, temperature=temperature,
    )  # fmt: skip
    return _Ask(settings, own or "", prompt)


def _speak(
    context: AppContext, removed: float, method: str, text: str, prompt: str, rival: str, seed: int, tokens: int,
    temperature: float,
) -> str:  # fmt: skip
    """Continuations of the chosen method, its rival and the dense model from one prompt and one seed."""
    words = heavy("backends.lm.texts").visitors_text(prompt or "").documents[0][:2000]
    bench = _bench(context)
    said = []
    for key in dict.fromkeys((method, rival)):
        c = heavy(RUN).continuation(bench, key, removed, words, tokens, seed, temperature)
        said.append((f"{METHODS[key].label} {removed:g} %", figures.LINES[key][0], c))
    said.append(("dense", figures.OTHER, heavy(RUN).continuation(bench, None, 0, words, tokens, seed, temperature)))
    return figures.continuations_html(words, said)


def _spectrum(context: AppContext, removed: float, method: str, layer: int, matrix: str) -> list[Any]:
    view = heavy(RUN).view_spectrum(_bench(context), method, removed, layer, matrix)
    return [figures.spectrum_figure(view), view.summary()]


def _read_upload(path: str | None) -> str:
    texts = heavy("backends.lm.texts")
    if path is None:
        return ""
    with Path(path).open("rb") as file:
        return texts.decode_upload(file.read(texts.MAX_BYTES + 1))


def _own(context: AppContext, removed: float, method: str, own: str) -> list[Any]:
    """Switch the panel to the visitor's text and colour its beginning by surprise."""
    surprise = heavy(RUN).surprise
    text = heavy("backends.lm.texts").visitors_text(own or "").documents[0]
    bench = _bench(context)
    now, dense = surprise(bench, method, removed, text), surprise(bench, None, 0, text)
    return ["yours", figures.surprise_html(now.pieces, now.nats, dense.nats)]


def _warm(context: AppContext) -> None:
    """What the first visitor will see, figure and all, computed once; then, aside, the bases of all methods."""
    bench, first = _bench(context), SocoSettings()
    _live(context, first.removed, first.method, first.text, "")
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
