"""One training as a job: `python -m backends.soco.learn --method soco --removed 55 --out FOLDER`.

Each optimiser step is told as a line of JSON, with its row of the history (see knots.HISTORY); FOLDER gets the trained
scores, `soco-55.safetensors`. What is not named is as in the method's recipe. The last line holds the measured result.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from backends.runtime.command import CONFIG, start, tell
from backends.runtime.errors import UserError
from backends.soco.command import ModelOptions
from backends.soco.recipes import training_for
from backends.soco.settings import SocoTraining

if TYPE_CHECKING:
    from backends.soco.workbench import Workbench

TRAINS = 0.9  # share of the work; the rest is measuring
STARTS = 10.0  # seconds until the first step: torch, the model and its bases
# A step's cost in forward passes over its batch: all components take part in all of SoCo, in few steps of the others
PASSES = {"soco": 6.0, "soco-k": 4.0, "soco-w": 4.0, "control": 3.5}


class Command(SocoTraining, ModelOptions, BaseSettings):
    """Train scores once, tell every step, and measure what came out."""

    model_config = CONFIG
    out: Path = Field(title="Folder for the trained scores")
    text: Literal["held-out", "stories"] = Field("held-out", title="Text that the result is measured on")


def learn(command: Command) -> None:
    """Train, telling each step; save; measure. Raises UserError."""
    from backends.lm import texts
    from backends.soco import run
    from backends.soco.knots import Knot, save_knot
    from backends.soco.train import train_knot

    tell(0.0, "loading the model and its bases")
    bench = command.open()
    settings = asked(command)
    for item in train_knot(bench, settings):
        if isinstance(item, Knot):
            knot = item
        else:
            tell(TRAINS * item.fraction, item.message, row=[float(value) for value in item.partial])
    save_knot(knot, command.out / f"{settings.method}-{settings.removed:g}.safetensors")
    tell(TRAINS, "measuring on the whole text")
    text = texts.evaluation_text(command.text)
    now = run.measure_knot(bench, knot, text, f"trained here in {settings.steps} steps, seed {settings.seed}")
    try:
        there = run.measure(bench, settings.method, settings.removed, text, quick=False)
        shipped = {"shipped": there.value, "shipped_origin": there.origin}
    except UserError:  # nothing ships for this model or ratio
        shipped = {}
    tell(1.0, "measured", result={
        "perplexity": now.value, "excess": now.excess, "dense": now.dense_value, "removed": knot.facts["removed"],
        "protocol": now.protocol(), "seconds": knot.facts["seconds"], "settings": settings.model_dump(), **shipped,
    })  # fmt: skip


def asked(command: Command) -> SocoTraining:
    """The method's recipe with what was named on the command line."""
    named = {n: getattr(command, n) for n in command.model_fields_set & set(SocoTraining.model_fields)}
    method, removed = named.pop("method", command.method), named.pop("removed", command.removed)
    return training_for(method, removed, **named)


def expected_seconds(bench: Workbench, settings: SocoTraining) -> float:
    """How long a training will take here, from the time of one forward pass over a batch."""
    import torch

    def forward() -> float:
        rows = torch.ones(settings.batch, bench.lm.context, dtype=torch.long, device=bench.lm.model.device)
        times = []
        with torch.no_grad():
            for _ in range(3):
                started = time.perf_counter()
                bench.lm.model(input_ids=rows, use_cache=False)
                times.append(time.perf_counter() - started)
        return min(times)

    seconds = bench.once(("forward", settings.batch), forward)
    return STARTS + PASSES[settings.method] * seconds * settings.steps / TRAINS


if __name__ == "__main__":
    start(Command, learn)
