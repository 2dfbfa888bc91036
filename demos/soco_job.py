"""“Run SoCo”: train scores at the panel's ratio now, on this machine, and watch the three losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backends.runtime.errors import UserError
from backends.runtime.imports import heavy
from backends.soco.learn import expected_seconds
from backends.soco.recipes import training_for
from backends.soco.settings import METHODS, SocoTraining
from demos.kit.controls import check
from demos.kit.exhibit import Task, View
from demos.kit.look import BAD, CONTROL, GOOD, OTHER, OURS, RIVAL
from demos.kit.marks import layout
from demos.kit.panel import AppContext

if TYPE_CHECKING:
    from backends.soco.workbench import Workbench

STEPS = (100, 200, 400)
STAGES = {1: "explore", 2: "refine", 3: "decide"}


def asks(view: View, steps: int) -> SocoTraining:
    """The training at a view's ratio. Raises UserError where there is nothing to train."""
    s = view.settings
    if not METHODS[s.method].trained:
        raise UserError(f"{METHODS[s.method].label} truncates and trains nothing: choose SoCo or the fair control.")
    if problem := check(SocoTraining, "removed", s.removed):
        raise UserError(problem)
    return training_for(s.method, s.removed, steps=steps)


def options(context: AppContext, view: View, upload: Path | None) -> list[str]:
    """What the training is measured on, and where it runs."""
    text = view.settings.text
    return ["--text", "held-out" if text == "yours" else text, *context.flags]


def open_bench(context: AppContext) -> Workbench:
    """The model that the panel, its endpoint and its job share."""
    service = heavy("backends.soco.service")
    return service.open_bench(device=context.device, models=context.models, offline=context.offline)


def seconds(context: AppContext, settings: SocoTraining) -> float:
    """How long it will take here."""
    return expected_seconds(open_bench(context), settings)


def story(arguments: Mapping[str, str], events: list[dict[str, Any]], folder: Path) -> tuple[Any, str, list[Path]]:
    """Figure, sentence and files of what a training has told so far."""
    rows = [event["row"] for event in events if "row" in event]
    figure = training_figure(rows, float(arguments["--removed"])) if rows else None
    result = next((event["result"] for event in events if "result" in event), None)
    return figure, told(rows, result), sorted(folder.glob("*.safetensors")) if result else []


TASK = Task(
    title="Run SoCo yourself",
    promise="train the scores here and watch the losses",
    label="Train at this ratio",
    module="backends.soco.learn",
    settings=SocoTraining,
    asks=asks,
    describe=lambda s: f"{METHODS[s.method].label} at {s.removed:g} % in {s.steps} steps",
    options=options,
    seconds=seconds,
    story=story,
    extra={"steps": STEPS},
)


def told(rows: list[list[float]], result: dict[str, Any] | None) -> str:
    """What the figure shows, and what came out."""
    said = []
    if rows:
        killed, revived = int(sum(r[6] for r in rows)), int(sum(r[7] for r in rows))
        said.append(f"{killed:,} components were dropped and {revived:,} came back in {len(rows)} steps.")
    if result:
        beside = f"dense {result['dense']:.2f}"
        if "shipped" in result:
            beside += f"; the scores that ship ({result['shipped_origin']}) reach {result['shipped']:.2f}"
        said.append(f"Perplexity {result['perplexity']:.2f} at {result['removed']:.2f} % removed, {beside}.")
        said.append(f"{result['protocol']}.")
    return " ".join(said)


def training_figure(rows: list[list[float]], target: float) -> go.Figure:
    """The three losses, the removed share about its target, and what was killed and revived; rows as knots.HISTORY."""
    steps = list(range(1, len(rows) + 1))
    column = {n: [r[i] for r in rows] for i, n in enumerate(("stage", "inc", "dec", "sp", "pressure", "removed"))}
    killed, revived = [-r[6] for r in rows], [r[7] for r in rows]
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.4, 0.32, 0.28])
    line = {"mode": "lines", "hovertemplate": "step %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"}
    figure.add_scatter(x=steps, y=column["inc"], name="L_inc", line={"color": OURS}, row=1, col=1, **line)
    figure.add_scatter(x=steps, y=column["dec"], name="L_dec", line={"color": RIVAL}, row=1, col=1, **line)
    figure.add_scatter(x=steps, y=column["sp"], name="L_sp", line={"color": CONTROL}, row=1, col=1, **line)
    share = [100 * value for value in column["removed"]]
    figure.add_scatter(x=steps, y=share, name="removed", line={"color": OURS}, row=2, col=1, **line)
    figure.add_hline(target, line={"dash": "dash", "color": OTHER, "width": 1.5}, row=2, col=1)
    figure.add_bar(x=steps, y=revived, name="came back", marker={"color": GOOD}, row=3, col=1)
    figure.add_bar(x=steps, y=killed, name="dropped", marker={"color": BAD}, row=3, col=1)
    for first, stage in _beginnings(column["stage"]):
        figure.add_vline(first, line={"color": OTHER, "width": 1, "dash": "dot"})
        figure.add_annotation(x=first, y=1, xref="x", yref="paper", yanchor="bottom", xanchor="left", showarrow=False,
                              text=STAGES[stage], font={"color": OTHER})  # fmt: skip
    figure.update_layout(layout(height=560, margin={"l": 64, "r": 16, "t": 36, "b": 48}, barmode="relative"))
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.12})
    figure.update_yaxes(title_text="loss", row=1, col=1)
    figure.update_yaxes(title_text="removed (%)", row=2, col=1)
    figure.update_yaxes(title_text="components", row=3, col=1)
    figure.update_xaxes(title_text="optimiser step", row=3, col=1)
    return figure


def _beginnings(stages: list[float]) -> Iterator[tuple[int, int]]:
    """(step, stage) where a stage begins."""
    before = None
    for step, stage in enumerate(stages, 1):
        if stage != before:
            yield step, int(stage)
        before = stage
