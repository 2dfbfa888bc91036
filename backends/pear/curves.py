"""Measured trade-offs and training curves of every shipped task. Remade by `python -m backends.pear.train`."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from backends.pear.settings import PearTraining
from backends.runtime.errors import UserError
from backends.runtime.files import ASSETS

COMMAND = "python -m backends.pear.train"
METHODS = {  # key: its name in figures and tables
    "pear": "Pear",
    "prune": "pruned, nothing shared",
    "lora": "PEFT LoRA of equal size",
    "full": "full tuning",
    "probe": "linear probe",
}


class Point(BaseModel):
    """One trained model. pruned: percent; trainable: numbers beside the classifier; accuracies in [0, 1]."""

    model_config = ConfigDict(frozen=True)
    pruned: float
    trainable: int
    validation: float
    test: float
    seconds: float = 0.0


class Course(BaseModel):
    """One training, epoch by epoch: validation loss (nats) and accuracy. prune: the epoch before which it was pruned,
    with the validation loss just before and after."""

    model_config = ConfigDict(frozen=True)
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    prune: int | None = None
    before: float | None = None
    after: float | None = None


class TaskCurves(BaseModel):
    """All methods on one task, and the ways of keeping on one axis.

    model: fingerprint of the backbone that it was measured on; pictures: of training, validation and test.
    """

    model_config = ConfigDict(frozen=True)
    model: str
    date: str
    command: str
    settings: PearTraining
    pictures: tuple[int, int, int]
    classes: int
    methods: dict[str, list[Point]]
    paths: dict[str, Course]


def folder(model: str) -> Path:
    return ASSETS / "pear" / model


def curves_path(model: str, task: str) -> Path:
    return folder(model) / f"{task}.json"


def stage_path(model: str, task: str) -> Path:
    """The file of the adapters at the prune, before anything is pruned."""
    return folder(model) / f"{task}-stage.safetensors"


def trained_path(model: str, task: str, checkpoint: str, percent: float) -> Path:
    """The file of a model that was pruned, shared and trained on; percent 0: never pruned."""
    kind = f"{checkpoint}-{percent:g}" if percent else "lora"
    return folder(model) / f"{task}-{kind}.safetensors"


def read_curves(model: str, task: str) -> TaskCurves:
    """Raises UserError if the file is missing or torn."""
    try:
        return TaskCurves.model_validate_json(curves_path(model, task).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The measured curves of {task} cannot be read: remake them with {COMMAND}.") from error
