"""The methods of benchmarks.adapters, each trained once: same tasks, same loop, same number of rates to choose from.

Pear's own question is asked here too, at the moment of its prune: did the score know what each adapter is worth?
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from backends.pear import run as pear
from backends.pear.plan import plan
from backends.pear.settings import PearTraining, prune_at
from backends.pear.share import apply
from backends.runtime.device import quick_format
from backends.runtime.seeds import generator
from backends.vision.adapters import AdapterSettings, adapted, sites, with_head
from backends.vision.peers import everything, size, with_peft_adalora, with_peft_lora
from backends.vision.probe import features_of, input_of, probe
from backends.vision.tasks import TASKS, Split, TaskData, load_task, resized
from backends.vision.training import FitSettings, Fitted, evaluate, fit
from benchmarks.adapter_cells import Cell, Key, packed
from benchmarks.report import public_data

VERSION = 1  # of what the cells hold: raise it where a change of code changes what a trial computes
RATES = (2e-3, 4e-3, 8e-3)
RANK, SCALE = 8, 2.0
DRAWS = 5  # random halves
REAL = {
    "cifar10": "natural", "flowers5": "natural", "sign_digits": "natural", "rsscn7": "specialised",
    "nlvr_count": "structured", "omniglot_alphabet": "structured", "fashion_mnist": "natural", "mnist": "natural",
}  # fmt: skip
MOST = {"train": 800, "val": 200, "test": 2000}  # pictures of a real set


@dataclass(frozen=True)
class Trained:
    """validation: (accuracy, loss) of the chosen epoch; correct: of each test picture; the rest as in Cell."""

    validation: tuple[float, float | None]
    correct: np.ndarray
    loss: float | None = None
    trainable: int = 0
    stored: int = 0
    seconds: float = 0.0
    diagnosis: dict[str, Any] | None = None


# ---- methods ---------------------------------------------------------------------------------------------------------


def _probe(backbone: nn.Module, task: TaskData, settings: FitSettings, facts: Mapping[str, Any]) -> Trained:
    started = time.monotonic()
    found = probe(features_of(backbone), task)
    return Trained((found.validation, None), found.correct, seconds=time.monotonic() - started)


def _lora(backbone: nn.Module, task: TaskData, settings: FitSettings, facts: Mapping[str, Any]) -> Trained:
    model = with_peft_lora(backbone, len(task.classes), facts["rank"], SCALE, settings.seed)
    *_, last = fit(model, task, settings)
    return _tested(model, task, last.partial, size(model))


def _adalora(backbone: nn.Module, task: TaskData, settings: FitSettings, facts: Mapping[str, Any]) -> Trained:
    steps = -(-len(task.train) // settings.batch)
    made = with_peft_adalora(
        backbone, len(task.classes), facts["rank"], SCALE, settings.epochs, steps, settings.seed
    )  # fmt: skip
    *_, last = fit(made.model, task, settings, made.changes, made.after)
    return _tested(made.model, task, last.partial, made.size)


def _everything(backbone: nn.Module, task: TaskData, settings: FitSettings, facts: Mapping[str, Any]) -> Trained:
    model = everything(backbone, len(task.classes))
    *_, last = fit(model, task, settings)
    return _tested(model, task, last.partial, size(model))


def _pear(backbone: nn.Module, task: TaskData, settings: FitSettings, facts: Mapping[str, Any]) -> Trained:
    asked = {name: facts[name] for name in ("pruned", "checkpoint", "donors")}
    s = PearTraining(rank=RANK, scale=SCALE, **asked, **settings.model_dump(exclude={"warm_up"}))
    [(epoch, _)], diagnosis = prune_at(s), None
    for step in pear.train(backbone, task, s):
        now = step.partial
        if facts.get("diagnosed") and diagnosis is None and len(now.fitted.loss) == epoch and not now.plan.pruned:
            diagnosis = diagnose(now.model, task, settings.seed)
    return _tested(now.model, task, now.fitted, now.accounting.trainable, now.accounting.stored, diagnosis)


def _tested(
    model: nn.Module, task: TaskData, fitted: Fitted, trainable: int, stored: int = 0, diagnosis: dict | None = None
) -> Trained:
    test, best = evaluate(model, task.test), fitted.chosen
    chosen = fitted.accuracy[best], fitted.loss[best]
    return Trained(chosen, test.correct, test.loss, trainable, stored, fitted.seconds, diagnosis)


@dataclass(frozen=True)
class Method:
    """facts: what decides about it beside rate, epochs and seed; rates: that it may choose from on validation."""

    label: str
    train: Callable[[nn.Module, TaskData, FitSettings, Mapping[str, Any]], Trained]
    facts: dict[str, Any] = field(default_factory=dict)
    rates: tuple[float | None, ...] = RATES


def _pruned(ratio: int, checkpoint: str = "keep", donors: str = "highest", **more: Any) -> dict[str, Any]:
    return {"pruned": ratio, "checkpoint": checkpoint, "donors": donors} | more


METHODS = {
    "probe": Method("Linear probe", _probe, rates=(None,)),
    "lora": Method("LoRA (PEFT)", _lora, {"rank": RANK}),
    "lora-half": Method("LoRA at half the rank (PEFT)", _lora, {"rank": RANK // 2}),
    "adalora": Method("AdaLoRA to half the rank (PEFT)", _adalora, {"rank": RANK // 2}),
    "pear": Method("Pear, 50 % pruned", _pear, _pruned(50, diagnosed=True)),
    "pear-none": Method("Pear without checkpoint, 50 %", _pear, _pruned(50, "none")),
    "prune": Method("Pruned only, 50 %", _pear, _pruned(50, "none", "none")),
    "pear-25": Method("Pear, 25 % pruned", _pear, _pruned(25)),
    "full": Method("Everything trained", _everything, rates=(2.5e-4, 5e-4, 1e-3)),
}
PROBE, CONTEXT = "probe", ("pear-25", "full")


def settings_hash(method: str, settings: FitSettings, data: str) -> str:
    """Short: of all that decides about a trial beside what its key names. data: fingerprint of the pictures."""
    facts = [VERSION, METHODS[method].facts, RANK, SCALE, settings.model_dump(exclude={"lr", "seed"}), data]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


def trial(backbone: nn.Module, task: TaskData, settings: FitSettings, key: Key) -> Cell:
    """Train, choose the epoch on validation pictures, test. settings: the key's seed and rate are put into them."""
    _, method, seed, lr, *_ = key
    settings = settings.model_copy(update={"seed": seed} | ({} if lr is None else {"lr": lr}))
    made = METHODS[method].train(backbone, task, settings, METHODS[method].facts)
    return Cell(
        *key, *made.validation, float(made.correct.mean()), made.loss, made.trainable, made.stored,
        round(made.seconds, 1), len(made.correct), packed(made.correct), made.diagnosis,
    )  # fmt: skip


# ---- did the score know? ---------------------------------------------------------------------------------------------


@contextmanager
def without(model: nn.Module, names: Iterable[str]) -> Iterator[None]:
    """Inside, these sites add nothing."""
    places = sites(model)
    taken = {name: places[name].parts for name in names}
    try:
        for name in taken:
            places[name].parts = nn.ModuleDict()
        yield
    finally:
        for name, parts in taken.items():
            places[name].parts = parts


def diagnose(model: nn.Module, task: TaskData, seed: int) -> dict[str, Any]:
    """At the moment of a prune, nothing pruned yet. Losses are of the validation pictures, in nats.

    scores: of each site by criterion; whole: the loss as it is; alone: with one site's adapter removed; lowest,
    highest, random: with the half that Taylor ranks lowest, highest, and with random halves removed, nothing kept or
    shared.
    """
    names = list(sites(model))

    def loss(gone: Iterable[str]) -> float:
        with without(model, gone):
            return _short(evaluate(model, task.validation).loss)

    scores = {name: pear.scored(model, task.train, name, seed) for name in ("taylor", "magnitude", "random")}
    rising, half = sorted(names, key=scores["taylor"].__getitem__), len(names) // 2
    draw = np.random.default_rng(seed)
    return {
        "sites": names,
        "scores": {criterion: [_short(found[name]) for name in names] for criterion, found in scores.items()},
        "whole": loss(()),
        "alone": [loss([name]) for name in names],
        "lowest": loss(rising[:half]),
        "highest": loss(rising[-half:]),
        "random": [loss([names[i] for i in draw.permutation(len(names))[:half]]) for _ in range(DRAWS)],
    }


def _short(value: float) -> float:
    return float(f"{value:.7g}")


# ---- how fast --------------------------------------------------------------------------------------------------------


def throughput(backbone: nn.Module, side: int, batch: int = 32, repeats: int = 30) -> dict[str, dict[str, float]]:
    """Pictures a second of Pear at 50 % (nothing folded) and of PEFT's LoRA in turn, as they answer and as they learn
    (forward and backward, in the training loop's number format); medians."""
    ours = adapted(with_head(backbone, 10), AdapterSettings(rank=RANK, scale=SCALE), generator(0))
    scores = dict(zip(sites(ours), np.random.default_rng(0).random(len(sites(ours))), strict=True))
    apply(ours, plan(scores, dict.fromkeys(scores, 0), 50), "keep")
    models = {"pear": ours, "lora": with_peft_lora(backbone, 10, RANK, SCALE)}
    images = input_of(backbone, np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8))

    @torch.no_grad()
    def answer(model: nn.Module) -> None:
        model.eval()(pixel_values=images).logits.sum().item()  # item: a device has then finished

    def learn(model: nn.Module) -> None:
        with torch.autocast(images.device.type, quick_format(images.device)):
            model.train()(pixel_values=images).logits.logsumexp(1).sum().backward()
        next(p for p in model.parameters() if p.grad is not None).grad.sum().item()

    return {work.__name__: _pace(models, work, batch, repeats) for work in (answer, learn)}


def _pace(
    models: Mapping[str, nn.Module], work: Callable[[nn.Module], None], batch: int, repeats: int
) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(repeats + 2):
        for name, model in models.items():
            started = time.perf_counter()
            work(model)
            seconds[name].append(time.perf_counter() - started)
    return {name: batch / float(np.median(found[2:])) for name, found in seconds.items()}


# ---- pictures --------------------------------------------------------------------------------------------------------


def data_folder() -> Path:
    """Where the real sets lie unless told otherwise."""
    return public_data() / "images"


def real_task(path: Path, side: int) -> TaskData:
    """A set of x_train, y_train, x_val, ... and class_names, at most 800, 200 and 2,000 pictures of it."""
    with np.load(path, allow_pickle=False) as found:
        parts = [
            Split(resized(found[f"x_{part}"][:most], side), found[f"y_{part}"][:most].astype(np.int64))
            for part, most in MOST.items()
        ]
        return TaskData(path.stem, tuple(map(str, found["class_names"])), *parts)


def open_task(key: str, side: int, folder: Path) -> TaskData:
    """A task of ours, or a real set by the name of its file."""
    return real_task(folder / f"{key}.npz", side) if key in REAL else load_task(key, side)


def group(key: str) -> str:
    return REAL.get(key) or TASKS[key].group


def fingerprint(task: TaskData) -> str:
    """Of all pictures and labels: cells of other pictures are not reused."""
    digest = hashlib.sha256()
    for split in (task.train, task.validation, task.test):
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()[:12]
