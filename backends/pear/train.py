"""Remake what ships: `python -m backends.pear.train` (all tasks; finished ones are skipped).

For each task the adapters at the prune, the models trained on after it, and the measured curves of Pear, of PEFT's LoRA
at equal size, of full tuning and of the linear probe. On two cores two processes, each with `--threads 1` and half of
the `--tasks`, need less time than one.
"""

from __future__ import annotations

import datetime
import typing
from collections import deque
from collections.abc import Iterable

import torch
from pydantic import Field
from pydantic_settings import BaseSettings
from torch import nn

from backends.pear.command import ModelOptions
from backends.pear.curves import (
    COMMAND,
    Course,
    Point,
    TaskCurves,
    curves_path,
    read_curves,
    stage_path,
    trained_path,
)
from backends.pear.files import load_pear, save_pear
from backends.pear.plan import Plan
from backends.pear.run import adapter_settings, beginning, prune, scored
from backends.pear.settings import KNOTS, MODES_AT, Checkpoint, Criterion, Donors, PearTraining, Task, prune_at
from backends.pear.share import account
from backends.runtime.command import CONFIG, start
from backends.runtime.errors import UserError
from backends.runtime.files import whole_file
from backends.runtime.hub import parse_reference
from backends.runtime.steps import Step
from backends.vision.adapters import sites
from backends.vision.load import VisionModel
from backends.vision.peers import everything, with_peft_lora
from backends.vision.probe import features_of, probe
from backends.vision.tasks import TaskData, load_task
from backends.vision.training import FitSettings, Fitted, evaluate, fit

FULL_LR = 5e-4  # every weight moves: an eighth of the adapters' rate, the middle of its own grid in the benchmark
RANKED: tuple[Criterion, ...] = ("taylor", "taylor-signed", "magnitude")
STORED = torch.float16


class Command(ModelOptions, BaseSettings):
    """Train the adapters that ship with a bundled model."""

    model_config = CONFIG
    tasks: list[Task] = Field(list(typing.get_args(Task)), title="Tasks")
    again: bool = Field(False, title="Remake what is there")


def main(command: Command) -> None:
    """Each task's files, then its curves. Raises UserError."""
    vision, name = command.open_model(), parse_reference(command.model).name
    for task in command.tasks:
        settings = PearTraining(task=task)
        if command.again or not _there(name, task, vision, settings):
            path = curves_path(name, task)
            path.unlink(missing_ok=True)  # its presence means that the files beside it belong to it
            made = make(vision, name, load_task(task, vision.side), settings)
            with whole_file(path) as temporary:
                temporary.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _there(name: str, task: str, vision: VisionModel, settings: PearTraining) -> bool:
    try:
        found = read_curves(name, task)
    except UserError:
        return False
    return (found.model, found.settings) == (vision.fingerprint, settings)


def make(vision: VisionModel, name: str, task: TaskData, s: PearTraining) -> TaskCurves:
    """Train everything of one task; writes the files, returns the curves."""
    training = beginning(vision.model, task, s)
    exhaust(training.run(prune_at(s)[0][0]))
    ranks = {criterion: scored(training.model, task.train, criterion) for criterion in RANKED}
    facts = {"model": vision.fingerprint, "backbone": vision.name, "task": task.key, "classes": list(task.classes)}
    nothing, places = Plan({}, tuple(sites(training.model))), stage_path(name, task.key)
    save_pear(training.model, places, adapter_settings(s), nothing, "keep", facts | {"importance": ranks}, STORED)
    methods: dict[str, list[Point]] = {"pear": [], "prune": []}
    paths: dict[str, Course] = {}

    def on(percent: float, checkpoint: Checkpoint, donors: Donors) -> tuple[Point, Course]:
        """From the prune to the end, in one of the ways; a model that shares is stored, and measured as stored."""
        branch = training.branch()
        way = s.model_copy(update={"pruned": percent, "checkpoint": checkpoint, "donors": donors})
        plan = prune(branch, way, percent)[0] if percent else nothing
        exhaust(branch.run())
        branch.choose()
        model = branch.model
        if donors == "highest":
            path = trained_path(name, task.key, checkpoint, percent)
            save_pear(model, path, adapter_settings(s), plan, checkpoint, facts, STORED)
            model = load_pear(vision.model, path)[0]
        return point(percent, account(model).trainable, model, branch.fitted, task), course(branch.fitted)

    for percent in (0, *KNOTS):
        made, way = on(percent, "keep", "highest")
        methods["pear"].append(made)
        if percent in (0, MODES_AT):
            paths["keep" if percent else "never pruned"] = way
        methods["prune"].append(made if not percent else on(percent, "none", "none")[0])
    for checkpoint in ("keep-offset", "blend", "none"):
        paths[checkpoint] = on(MODES_AT, checkpoint, "highest")[1]
    methods |= rivals(vision, task, s)
    return TaskCurves(
        model=vision.fingerprint, date=datetime.datetime.now(datetime.UTC).date().isoformat(), command=COMMAND,
        settings=s, pictures=(len(task.train), len(task.validation), len(task.test)), classes=len(task.classes),
        methods=methods, paths=paths,
    )  # fmt: skip


def rivals(vision: VisionModel, task: TaskData, s: PearTraining) -> dict[str, list[Point]]:
    """LoRA at the sizes of Pear, tuning of everything, and the probe, all from the same backbone."""
    settings = FitSettings(epochs=s.epochs, batch=s.batch, lr=s.lr, weight_decay=s.weight_decay, seed=s.seed)
    lora = []
    for percent in (0, *KNOTS):
        model = with_peft_lora(vision.model, len(task.classes), round(s.rank * (1 - percent / 100)), s.scale, s.seed)
        size = sum(p.numel() for n, p in model.named_parameters() if p.requires_grad and "lora_" in n)
        lora.append(point(percent, size, model, exhaust(fit(model, task, settings)), task))
    model = everything(vision.model, len(task.classes))
    size = sum(p.numel() for n, p in model.named_parameters() if "classifier" not in n)
    whole = point(0, size, model, exhaust(fit(model, task, settings.model_copy(update={"lr": FULL_LR}))), task)
    found = probe(features_of(vision.model), task)
    return {
        "lora": lora, "full": [whole],
        "probe": [Point(pruned=0, trainable=0, validation=found.validation, test=found.test)],
    }  # fmt: skip


def exhaust(steps: Iterable[Step]) -> Fitted:
    """Run to the end; what was fitted."""
    last = deque(steps, maxlen=1)
    return last[0].partial if last else Fitted()


def point(percent: float, trainable: int, model: nn.Module, fitted: Fitted, task: TaskData) -> Point:
    """A trained model on validation and test pictures."""
    made = Point(
        pruned=percent, trainable=trainable, validation=evaluate(model, task.validation).accuracy,
        test=evaluate(model, task.test).accuracy, seconds=round(fitted.seconds, 1),
    )  # fmt: skip
    said = f"{task.key} {percent:g} %, {trainable:,} numbers: {100 * made.validation:.1f}, test {100 * made.test:.1f}"
    print(said, flush=True)
    return made


def course(fitted: Fitted) -> Course:
    """A training's curve through its prune."""
    changed = next(iter(fitted.changed.items()), None)
    more = {"prune": changed[0], "before": changed[1][0], "after": changed[1][1]} if changed else {}
    return Course(loss=tuple(fitted.loss), accuracy=tuple(fitted.accuracy), **more)


if __name__ == "__main__":
    start(Command, main)
