"""One training as a job: `python -m backends.pear.learn --task count --pruned 50 --out FOLDER`.

Each step is told as a line of JSON; after an epoch the line holds its losses. FOLDER gets adapters and classifier,
`count-keep-50.safetensors`. The last line holds what the test pictures say. `--pictures` trains on pictures of your
own: a zip or a folder with one folder a class.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_settings import BaseSettings

from backends.pear.command import ModelOptions
from backends.pear.settings import PearTraining
from backends.runtime.command import CONFIG, start, tell

if TYPE_CHECKING:
    from backends.pear.run import PearRun
    from backends.vision.load import VisionModel
    from backends.vision.tasks import TaskData

STARTS = 8.0  # seconds until the first step: torch, the model and its pictures
PASSES = 3.4  # forward and backward through frozen weights, in forward passes, and the validation after each epoch


class Command(PearTraining, ModelOptions, BaseSettings):
    """Train adapters, prune and share them, train on, and test what came out."""

    model_config = CONFIG
    out: Path = Field(title="Folder for the trained adapters")
    pictures: Path | None = Field(None, title="Pictures of your own instead of a task: a zip or a folder of classes")


def learn(command: Command) -> None:
    """Train, telling each step; save. Raises UserError."""
    from backends.pear.run import train

    tell(0.0, "loading the model and its pictures")
    vision = command.open_model()
    task, notes = pictures(command, vision)
    settings = PearTraining(**{name: getattr(command, name) for name in PearTraining.model_fields})
    told = -1
    for step in train(vision.model, task, settings):
        run = step.partial
        epochs = len(run.fitted.accuracy)
        tell(step.fraction, step.message, **(_row(run, epochs) if epochs != told else {}))
        told = epochs
    path = save(run, settings, vision, task, command.out)
    tell(1.0, "tested", result=result(run, settings, task) | {"file": path.name, "notes": notes})


def pictures(command: Command, vision: VisionModel) -> tuple[TaskData, str]:
    """The task, and what has to be said about pictures of one's own. Raises UserError."""
    from backends.vision.own import read_pictures
    from backends.vision.tasks import load_task

    if command.pictures is None:
        return load_task(command.task, vision.side), ""
    return read_pictures(command.pictures, vision.side, command.seed)


def _row(run: PearRun, epochs: int) -> dict[str, Any]:
    """What is known after an epoch: losses, accuracy, and the prune if it has been made."""
    if not epochs:
        return {}
    fitted = run.fitted
    row = {"epoch": epochs, "train": fitted.train[-1], "loss": fitted.loss[-1], "accuracy": fitted.accuracy[-1]}
    changed = {str(epoch): both for epoch, both in fitted.changed.items()}
    return {"row": row | {"changed": changed, "pruned": list(run.plan.pruned)}}


def save(run: PearRun, settings: PearTraining, vision: VisionModel, task: TaskData, folder: Path) -> Path:
    """Write adapters and classifier."""
    from backends.pear.files import save_pear
    from backends.pear.run import adapter_settings

    kind = f"{settings.checkpoint}-{settings.pruned:g}" if settings.pruned else "lora"
    path = folder / f"{task.key}-{kind}.safetensors"
    facts = {"model": vision.fingerprint, "backbone": vision.name, "task": task.key, "classes": list(task.classes)}
    facts |= {"settings": settings.model_dump()}
    save_pear(run.model, path, adapter_settings(settings), run.plan, settings.checkpoint, facts)
    return path


def result(run: PearRun, settings: PearTraining, task: TaskData) -> dict[str, Any]:
    """What came out, as plain numbers."""
    return {
        "test": run.test.accuracy, "loss": run.test.loss, "pictures": len(task.test), "classes": len(task.classes),
        "validation": run.fitted.accuracy[run.fitted.chosen], "chosen": run.fitted.chosen + 1,
        "seconds": round(run.fitted.seconds, 1), "pruned": list(run.plan.pruned), "donors": dict(run.plan.donors),
        "settings": settings.model_dump(), **dataclasses.asdict(run.accounting),
    }  # fmt: skip


def expected_seconds(vision: VisionModel, settings: PearTraining, pictures: int = 800) -> float:
    """How long a training will take here, from the time of a forward pass over one batch."""
    import numpy as np

    from backends.vision.training import logits_of

    images = np.zeros((settings.batch, vision.side, vision.side, 3), np.uint8)
    times = []
    for _ in range(3):
        started = time.perf_counter()
        logits_of(vision.model, images)
        times.append(time.perf_counter() - started)
    return STARTS + PASSES * min(times) * settings.epochs * -(-pictures // settings.batch)


if __name__ == "__main__":
    start(Command, learn)
