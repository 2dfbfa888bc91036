"""“Train it now”: adapters, prune and all, on this machine, with the validation loss through the prune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backends.pear.settings import PearTraining
from backends.runtime.errors import UserError
from backends.runtime.imports import heavy
from demos.kit.exhibit import Task, Upload, View
from demos.kit.look import OTHER, OURS, RIVAL
from demos.kit.marks import layout
from demos.kit.panel import AppContext

if TYPE_CHECKING:
    from backends.pear.bench import Bench

CHOSEN = ("task", "pruned", "checkpoint", "donors", "criterion", "scope", "seed")


def asks(view: View, epochs: int, times: int) -> PearTraining:
    """The training of a view. Raises UserError where the view was edited by hand."""
    if view.settings.edits:
        raise UserError("A training prunes by itself: clear the edits by hand first.")
    chosen = {name: getattr(view.settings, name) for name in CHOSEN}
    return PearTraining.model_validate(chosen | {"epochs": epochs, "times": times})


def options(context: AppContext, view: View, upload: Path | None) -> list[str]:
    """Where the training runs, and on which pictures."""
    return [*(["--pictures", str(upload)] if upload else []), *context.flags]


def open_bench(context: AppContext) -> Bench:
    """The model that the panel, its endpoint and its job share."""
    service = heavy("backends.pear.service")
    return service.open_bench(device=context.device, models=context.models, offline=context.offline)


def seconds(context: AppContext, settings: PearTraining) -> float:
    """How long it will take here."""
    bench = open_bench(context)
    return bench.once(
        ("seconds", settings.epochs), lambda: heavy("backends.pear.learn").expected_seconds(bench.vision, settings)
    )


def story(arguments: Mapping[str, str], events: list[dict[str, Any]], folder: Path) -> tuple[Any, str, list[Path]]:
    """Figure, sentence and files of what a training has told so far."""
    rows = [event["row"] for event in events if "row" in event]
    result = next((event["result"] for event in events if "result" in event), None)
    return training_figure(rows) if rows else None, told(rows, result), sorted(folder.glob("*.safetensors"))


TASK = Task(
    title="Train it now",
    promise="adapters, prune and all, on this machine",
    label="Train this view",
    module="backends.pear.learn",
    settings=PearTraining,
    asks=asks,
    describe=lambda s: f"{s.task}, {s.pruned:g} % pruned, {s.epochs} epochs",
    options=options,
    seconds=seconds,
    story=story,
    extra={"epochs": (8, 15, 30), "times": (1, 3)},
)


def looked_through(context: AppContext, path: Path) -> str:
    """What is in a visitor's zip, in words. Raises UserError."""
    task, notes = heavy("backends.vision.own").read_pictures(path, open_bench(context).vision.side)
    sizes = f"{len(task.train):,} to train on, {len(task.validation):,} to choose by, {len(task.test):,} for the test"
    return f"{len(task.classes)} classes; {sizes}. {notes}".strip()


OWN = replace(
    TASK,
    ident="own",
    title="Your own pictures",
    promise="a zip with a folder for each class, trained with this view",
    label="Train on them",
    describe=lambda s: f"your pictures, {s.pruned:g} % pruned, {s.epochs} epochs",
    upload=Upload("Zip with one folder for each class, at most 20 MB", ".zip", 20_000_000, looked_through),
    extra={"epochs": (8, 15, 30)},
    asks=lambda view, epochs: asks(view, epochs, 1),
)


def told(rows: list[dict[str, Any]], result: dict[str, Any] | None) -> str:
    """What the figure shows, and what came out."""
    said = []
    for epoch, (before, after) in (rows[-1]["changed"] if rows else {}).items():
        said.append(f"The prune after epoch {epoch} took the loss from {before:.3f} to {after:.3f}.")
    if result:
        said.append(
            f"{100 * result['test']:.1f} % of {result['pictures']:,} test pictures are right (epoch {result['chosen']} "
            f"chosen by {100 * result['validation']:.1f} % on validation), with {result['trainable']:,} trainable "
            f"numbers and {result['stored']:,} stored ones, trained in {result['seconds']:.0f} s. {result['notes']}"
        )
    return " ".join(said).strip()


def training_figure(rows: list[dict[str, Any]]) -> go.Figure:
    """Losses above, validation accuracy below, the prunes as dotted lines."""
    epochs = [row["epoch"] for row in rows]
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.55, 0.45])
    line = {"mode": "lines+markers", "hovertemplate": "epoch %{x}: %{y:.3g}<extra>%{fullData.name}</extra>"}
    for name, key, colour in (("training", "train", OTHER), ("validation", "loss", OURS)):
        figure.add_scatter(x=epochs, y=[r[key] for r in rows], name=name, line={"color": colour}, row=1, col=1, **line)
    right = [100 * row["accuracy"] for row in rows]
    figure.add_scatter(x=epochs, y=right, name="validation, right", line={"color": RIVAL}, row=2, col=1, **line)
    for epoch in rows[-1]["changed"]:
        figure.add_vline(int(epoch), line={"color": OTHER, "width": 1, "dash": "dot"})
    figure.update_layout(layout(height=420, margin={"l": 64, "r": 16, "t": 16, "b": 48}))
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": -0.16})
    figure.update_yaxes(title_text="loss (nats)", row=1, col=1)
    figure.update_yaxes(title_text="right (%)", row=2, col=1)
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    return figure
