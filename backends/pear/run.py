"""Train, score, prune, share, train on: Pear's one run.

    for step in train(backbone, load_task("count", 48), PearTraining(pruned=50)):
        print(step.message)
    step.partial.test.accuracy

The schedule (a prune after 30 % of the epochs, the same cosine going on) is inferred; see the panel's note.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from backends.pear.importance import Batch, importance
from backends.pear.plan import Plan, groups_of, plan
from backends.pear.settings import Criterion, PearTraining, Scope, prune_at
from backends.pear.share import Accounting, account, apply
from backends.runtime.seeds import generator
from backends.runtime.steps import Step
from backends.vision.adapters import OWN, AdapterSettings, adapted, sites, with_head
from backends.vision.probe import input_of, portions
from backends.vision.tasks import Split, TaskData
from backends.vision.training import FitSettings, Fitted, Scores, Training, evaluate

WORK = 0.98  # share of a run that is training; the rest is the test
SCORING_BATCH = 100  # pictures whose loss one score's gradient belongs to


@dataclass
class PearRun:
    """What a run has become. scores: at its last prune; test: on pictures that chose nothing, once it is over."""

    model: nn.Module
    fitted: Fitted
    plan: Plan
    scores: dict[str, float] = field(default_factory=dict)
    test: Scores | None = None
    accounting: Accounting | None = None


def adapter_settings(s: PearTraining) -> AdapterSettings:
    return AdapterSettings(form=s.form, rank=s.rank, scale=s.scale)


def fit_settings(s: PearTraining) -> FitSettings:
    return FitSettings(epochs=s.epochs, batch=s.batch, lr=s.lr, weight_decay=s.weight_decay, seed=s.seed)


def beginning(backbone: nn.Module, task: TaskData, s: PearTraining) -> Training:
    """A fresh classifier and a fresh adapter at every site, nothing trained yet."""
    model = adapted(with_head(backbone, len(task.classes)), adapter_settings(s), generator(s.seed))
    return Training(model, task, fit_settings(s))


def prune(training: Training, s: PearTraining, percent: float, before: Plan | None = None) -> tuple[Plan, dict]:
    """Score on all training pictures, prune and share where the training stands. The plan, and the scores."""
    scores = scored(training.model, training.task.train, s.criterion, s.seed, before.pruned if before else ())
    within, rng = groups(training.model, s.scope), np.random.default_rng(s.seed)
    made = plan(scores, within, percent, s.donors, rng, before, s.pruned)
    training.change(lambda model: apply(model, made, s.checkpoint, before))
    return made, scores


def train(backbone: nn.Module, task: TaskData, s: PearTraining) -> Iterator[Step]:
    """The whole run, seen as steps with a PearRun as partial; the last one has been tested."""
    training = beginning(backbone, task, s)
    run = PearRun(training.model, training.fitted, Plan({}, tuple(sites(training.model))))
    for epoch, percent in prune_at(s) if s.pruned else ():
        yield from _told(training.run(epoch), run)
        run.plan, run.scores = prune(training, s, percent, run.plan)
        before, after = training.fitted.changed[epoch]
        said = f"{len(run.plan.pruned)} of {len(sites(run.model))} adapters pruned: loss {before:.3f} -> {after:.3f}"
        yield Step(WORK * epoch / s.epochs, said, run)
    yield from _told(training.run(), run)
    training.choose()
    run.test, run.accounting = evaluate(run.model, task.test), account(run.model)
    said = f"{100 * run.test.accuracy:.1f} % of {len(task.test):,} test pictures, chosen epoch {run.fitted.chosen + 1}"
    yield Step(1.0, said, run)


def _told(steps: Iterator[Step], run: PearRun) -> Iterator[Step]:
    return (Step(WORK * step.fraction, step.message, run) for step in steps)


def scored(
    model: nn.Module, split: Split, criterion: Criterion, seed: int = 0, gone: tuple[str, ...] = ()
) -> dict[str, float]:
    """Importance over all pictures of a split, in batches of 100."""
    return importance(model, _batches(model, split), criterion, generator(seed), gone)


def _batches(model: nn.Module, split: Split) -> Iterator[Batch]:
    for rows in portions(split.images, SCORING_BATCH):
        images = input_of(model, split.images[rows])
        yield images, torch.from_numpy(split.labels[rows]).to(images.device)


def groups(model: nn.Module, scope: Scope) -> dict[str, object]:
    """What donors are chosen within, for every site, from the shapes of its hosts' adapters."""
    places = sites(model)
    known = {name: site.parts[OWN].shape for name, site in places.items() if OWN in site.parts}
    by_kind = {places[name].kind: shape for name, shape in known.items()}
    shapes = {name: known.get(name, by_kind.get(site.kind, (0, 0))) for name, site in places.items()}
    return groups_of(shapes, {name: site.kind for name, site in places.items()}, scope)
