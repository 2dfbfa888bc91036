"""The one training loop of all adapter methods: AdamW, warm-up and cosine, the epoch chosen by validation.

    for step in fit(model, load_task("count", 48), FitSettings()):
        print(step.message)

A method may change the model between epochs (`changes`): the schedule goes on, the moments of what stays are kept.
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
from backends.vision.probe import as_input
from backends.vision.tasks import Split, TaskData

YIELD = 0.4  # seconds between two reports
Change = Callable[[nn.Module], None]


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
    """loss: mean nats; accuracy: in [0, 1]; correct: of each picture, (n,) bool."""

    loss: float
    accuracy: float
    correct: np.ndarray


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
def evaluate(model: nn.Module, split: Split, batch: int = 200) -> Scores:
    """Loss and accuracy in evaluation mode; the model's own mode is put back."""
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    losses, hits = [], []
    try:
        for start in range(0, len(split), batch):
            labels = torch.from_numpy(split.labels[start : start + batch]).to(device)
            logits = model(pixel_values=as_input(split.images[start : start + batch], device)).logits.float()
            losses.append(F.cross_entropy(logits, labels, reduction="none").cpu())
            hits.append((logits.argmax(1) == labels).cpu())
    finally:
        model.train(was_training)
    correct = torch.cat(hits).numpy()
    return Scores(float(torch.cat(losses).mean()), float(correct.mean()), correct)


def fit(
    model: nn.Module, task: TaskData, settings: FitSettings, changes: Mapping[int, Change] | None = None
) -> Iterator[Step]:
    """Train what is trainable in `model`, in place; yields at least every 0.4 s, a Fitted as partial.

    changes: by the epoch before which each is made. At the end the model has the weights of the epoch with the best
    validation accuracy since the last change, the earliest of equal ones.
    """
    accelerator = Accelerator()
    device = accelerator.device
    model.to(device)
    images, labels = as_input(task.train.images, device), torch.from_numpy(task.train.labels).to(device)
    fitted, best, changes = Fitted(), None, dict(changes or {})
    optimiser = _optimiser(model, settings)
    per_epoch = -(-len(labels) // settings.batch)
    total, step, told, started = per_epoch * settings.epochs, 0, 0.0, time.monotonic()
    half = quick_format(device) if device.type == "cpu" else torch.bfloat16
    for epoch in range(settings.epochs):
        if epoch in changes:
            before = evaluate(model, task.validation).loss
            changes[epoch](model)
            optimiser = _continued(optimiser, model, settings)
            fitted.changed[epoch] = before, evaluate(model, task.validation).loss
            best = None
        model.train()
        order = torch.randperm(len(labels), generator=generator(settings.seed * 10_007 + epoch)).to(device)
        losses = []
        for rows in order.split(settings.batch):
            for group in optimiser.param_groups:
                group["lr"] = settings.lr * warm_cosine(step, total, int(settings.warm_up * total), 0.0)
            with torch.autocast(device.type, half, enabled=half != torch.float32):
                loss = F.cross_entropy(model(pixel_values=images[rows]).logits.float(), labels[rows])
            accelerator.backward(loss)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss.detach()))
            step += 1
            breathe()
            if time.monotonic() - told > YIELD:
                told = time.monotonic()
                yield Step(step / total, f"epoch {epoch + 1} of {settings.epochs}, loss {losses[-1]:.2f}", fitted)
        found = evaluate(model, task.validation)
        fitted.train.append(float(np.mean(losses)))
        fitted.loss.append(found.loss)
        fitted.accuracy.append(found.accuracy)
        fitted.seconds = time.monotonic() - started
        if best is None or found.accuracy > best[0]:
            best = found.accuracy, copy.deepcopy({n: p for n, p in model.named_parameters() if p.requires_grad})
            fitted.chosen = epoch
        yield Step(step / total, f"epoch {epoch + 1}: {100 * found.accuracy:.1f} % of the validation pictures", fitted)
    if best is not None:
        with torch.no_grad():
            for name, value in model.named_parameters():
                if name in best[1]:
                    value.copy_(best[1][name])
    model.eval()


def _optimiser(model: nn.Module, settings: FitSettings) -> torch.optim.AdamW:
    return torch.optim.AdamW(trainable(model), lr=settings.lr, weight_decay=settings.weight_decay)


def _continued(before: torch.optim.AdamW, model: nn.Module, settings: FitSettings) -> torch.optim.AdamW:
    """An optimiser of what is trained now, with the moments of what was trained before."""
    fresh = _optimiser(model, settings)
    for value in trainable(model):
        if value in before.state:
            fresh.state[value] = before.state[value]
    return fresh
