"""The one training loop of all adapter methods: AdamW, warm-up and cosine, the epoch chosen by validation.

    for step in fit(model, load_task("count", 48), FitSettings()):
        print(step.message)

A method may change the model between epochs (`changes`): the schedule goes on, the moments of what stays are kept. A
`Training` can also be branched: several ways on from the same epoch.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from backends.runtime.device import quick_format
from backends.runtime.gently import breathe
from backends.runtime.schedule import warm_cosine
from backends.runtime.seeds import generator
from backends.runtime.steps import Step
from backends.vision.adapters import trainable
from backends.vision.probe import input_of, portions
from backends.vision.tasks import Split, TaskData

YIELD = 0.4  # seconds between two reports
BREATH = 50  # pictures that are seen at once: no slower than 200, and whoever waits gets the processor sooner
Change = Callable[[nn.Module], None]
After = Callable[[int], None]  # told how many steps the optimiser has made, gradients still at hand


class FitSettings(BaseModel):
    """How a task is learnt."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    epochs: int = Field(15, ge=1, le=200, title="Epochs")
    batch: int = Field(32, ge=1, le=1024, title="Batch")
    lr: float = Field(4e-3, gt=0, le=1, title="Peak learning rate of AdamW")
    weight_decay: float = Field(1e-4, ge=0, le=1, title="Weight decay")
    warm_up: float = Field(0.1, ge=0, le=0.5, title="Share of the steps that the rate rises")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")


@dataclass(frozen=True)
class Scores:
    """loss: mean nats; accuracy: in [0, 1]; of each picture, (n,): correct, bool, and predicted, the class."""

    loss: float
    accuracy: float
    correct: np.ndarray
    predicted: np.ndarray


@dataclass
class Fitted:
    """A run: after each epoch, training loss and validation loss and accuracy; `chosen`: the epoch that is kept.

    changed: epochs, counted from 0, before which the model was changed, with the validation loss just before and after.
    """

    train: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    changed: dict[int, tuple[float, float]] = field(default_factory=dict)
    chosen: int = -1
    seconds: float = 0.0


@torch.no_grad()
def logits_of(model: nn.Module, images: np.ndarray, batch: int = BREATH) -> torch.Tensor:
    """(n, classes) float32 on the CPU, in evaluation mode; the model's own mode is put back."""
    was_training, found = model.training, []
    model.eval()
    try:
        for rows in portions(images, batch):
            found.append(model(pixel_values=input_of(model, images[rows])).logits.float().cpu())
            breathe()
    finally:
        model.train(was_training)
    return torch.cat(found)


def evaluate(model: nn.Module, split: Split, batch: int = BREATH) -> Scores:
    """Loss and accuracy in evaluation mode."""
    return scores_of(logits_of(model, split.images, batch), split.labels)


def scores_of(logits: torch.Tensor, labels: np.ndarray) -> Scores:
    """logits: (n, classes), labels: (n,)."""
    losses = F.cross_entropy(logits, torch.from_numpy(labels))
    predicted = logits.argmax(1).numpy()
    correct = predicted == labels
    return Scores(float(losses), float(correct.mean()), correct, predicted)


def fit(
    model: nn.Module, task: TaskData, settings: FitSettings, changes: Mapping[int, Change] | None = None,
    after: After | None = None,
) -> Iterator[Step]:  # fmt: skip
    """Train what is trainable in `model`, in place; yields at least every 0.4 s, a Fitted as partial.

    changes: by the epoch before which each is made; after: told the optimiser's steps. At the end the model has the
    weights of the epoch with the best validation accuracy since the last change, the earliest of equal ones.
    """
    training = Training(model, task, settings, after)
    for epoch in sorted(changes or {}):
        yield from training.run(epoch)
        training.change((changes or {})[epoch])
    yield from training.run()
    training.choose()


class Training:
    """One run: the model, its optimiser, and how far it is."""

    def __init__(self, model: nn.Module, task: TaskData, settings: FitSettings, after: After | None = None) -> None:
        self.device = next(model.parameters()).device
        self.accelerator = Accelerator(cpu=self.device.type == "cpu")
        self.model, self.task, self.settings, self.after = model.to(self.device), task, settings, after
        self.images = torch.from_numpy(task.train.images).to(self.device)  # bytes: a Hub model's are large
        self.labels = torch.from_numpy(task.train.labels).to(self.device)
        self.optimiser = _optimiser(model, settings)
        self.fitted, self.epoch, self.best = Fitted(), 0, None
        self.steps_an_epoch = -(-len(self.labels) // settings.batch)
        self.half = quick_format(self.device) if self.device.type == "cpu" else torch.bfloat16

    def branch(self) -> Training:
        """The same run so far, to go on in another way; the pictures are shared."""
        shared = (self.accelerator, self.task, self.settings, self.images, self.labels)
        return copy.deepcopy(self, {id(one): one for one in shared})

    def change(self, change: Change) -> None:
        """Let a method change the model here; what was best before no longer counts."""
        before = evaluate(self.model, self.task.validation).loss
        change(self.model)
        self.optimiser = _continued(self.optimiser, self.model, self.settings)
        self.fitted.changed[self.epoch] = before, evaluate(self.model, self.task.validation).loss
        self.best = None

    def run(self, until: int | None = None) -> Iterator[Step]:
        """Train up to an epoch, to the last one if none is named."""
        while self.epoch < (self.settings.epochs if until is None else until):
            started = time.monotonic()
            yield from self._one_epoch()
            found = evaluate(self.model, self.task.validation)
            self.fitted.loss.append(found.loss)
            self.fitted.accuracy.append(found.accuracy)
            self.fitted.seconds += time.monotonic() - started
            if self.best is None or found.accuracy > self.best[0]:
                named = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
                self.best = found.accuracy, copy.deepcopy(named)
                self.fitted.chosen = self.epoch
            self.epoch += 1
            said = f"epoch {self.epoch}: {100 * found.accuracy:.1f} % of the validation pictures"
            yield Step(self.epoch / self.settings.epochs, said, self.fitted)

    def choose(self) -> None:
        """Put the best epoch's weights back."""
        if self.best is not None:
            with torch.no_grad():
                for name, value in self.model.named_parameters():
                    if name in self.best[1]:
                        value.copy_(self.best[1][name])
        self.model.eval()

    def _one_epoch(self) -> Iterator[Step]:
        s, told, losses = self.settings, 0.0, []
        total, step = self.steps_an_epoch * s.epochs, self.steps_an_epoch * self.epoch
        self.model.train()
        order = torch.randperm(len(self.labels), generator=generator(s.seed * 10_007 + self.epoch)).to(self.device)
        for rows in order.split(s.batch):
            for group in self.optimiser.param_groups:
                group["lr"] = s.lr * warm_cosine(step, total, int(s.warm_up * total), 0.0)
            with torch.autocast(self.device.type, self.half, enabled=self.half != torch.float32):
                said = self.model(pixel_values=input_of(self.model, self.images[rows])).logits
                loss = F.cross_entropy(said.float(), self.labels[rows])
            self.accelerator.backward(loss)
            self.optimiser.step()
            step += 1
            if self.after:
                self.after(step)
            self.optimiser.zero_grad()
            losses.append(float(loss.detach()))
            breathe()
            if time.monotonic() - told > YIELD:
                told = time.monotonic()
                said = f"epoch {self.epoch + 1} of {s.epochs}, loss {losses[-1]:.2f}"
                yield Step(step / total, said, self.fitted)
        self.fitted.train.append(float(np.mean(losses)))


def _optimiser(model: nn.Module, settings: FitSettings) -> torch.optim.AdamW:
    return torch.optim.AdamW(trainable(model), lr=settings.lr, weight_decay=settings.weight_decay)


def _continued(before: torch.optim.AdamW, model: nn.Module, settings: FitSettings) -> torch.optim.AdamW:
    """An optimiser of what is trained now, with the moments of what was trained before."""
    fresh = _optimiser(model, settings)
    for value in trainable(model):
        if value in before.state:
            fresh.state[value] = before.state[value]
    return fresh
