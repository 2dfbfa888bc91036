"""The training loop: the same run from the same seed, the best epoch kept, a change in the middle of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backends.pear.importance import importance
from backends.pear.plan import plan
from backends.pear.share import apply
from backends.runtime.seeds import generator
from backends.vision import training
from backends.vision.adapters import AdapterSettings, adapted, sites, trainable, with_head
from backends.vision.probe import as_input, features_of, pixels, probe
from backends.vision.tasks import Split, TaskData
from backends.vision.training import FitSettings, Fitted, evaluate, fit
from tests.fakes.pictures import corners_task
from tests.pear.conftest import backbone

SHORT = FitSettings(epochs=4, batch=16, lr=1e-2)


@pytest.fixture(scope="module")
def task() -> TaskData:
    return corners_task()


def fresh() -> torch.nn.Module:
    return adapted(with_head(backbone(), 3), AdapterSettings(rank=2), generator(0))


def run(model: torch.nn.Module, task: TaskData, **more: object) -> Fitted:
    *_, last = fit(model, task, SHORT, **more)
    assert last.fraction == 1
    return last.partial


def test_it_learns_and_the_same_seed_gives_the_same_run(task: TaskData) -> None:
    one, two = fresh(), fresh()
    first, again = run(one, task), run(two, task)
    assert first.train == again.train and first.accuracy == again.accuracy
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), two.parameters(), strict=True))
    assert first.train[-1] < 0.8 * first.train[0] and evaluate(one, task.test).accuracy > 0.5


def test_the_best_epoch_is_kept(task: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of four is said to be best; the weights are those that stood then."""
    said, weights = iter([0.3, 0.9, 0.9, 0.5]), []

    def scored(model, split, batch=200):
        weights.append([p.detach().clone() for p in trainable(model)])
        return training.Scores(1.0, next(said), np.zeros(1, bool), np.zeros(1, int))

    monkeypatch.setattr(training, "evaluate", scored)
    model = fresh()
    assert run(model, task).chosen == 1
    assert all(torch.equal(p, q) for p, q in zip(trainable(model), weights[1], strict=True))


def test_a_change_goes_on_with_the_schedule_and_the_moments(task: TaskData) -> None:
    moments: list[tuple[bool, float]] = []
    model = fresh()

    def prune(changed: torch.nn.Module) -> None:
        batches = [(as_input(task.train.images), torch.from_numpy(task.train.labels))]
        scores = importance(changed, batches)
        apply(changed, plan(scores, dict.fromkeys(scores, 0), 50), "keep-offset")

    original = training._continued

    def continued(before, changed, settings):
        made = original(before, changed, settings)
        moments.extend((p in made.state, float(made.state[p]["step"])) for p in trainable(changed))
        assert sum(p.numel() for g in made.param_groups for p in g["params"]) < sum(
            p.numel() for g in before.param_groups for p in g["params"]
        )
        return made

    training._continued = continued
    try:
        fitted = run(model, task, changes={2: prune})
    finally:
        training._continued = original
    assert moments and all(there and steps == 12 for there, steps in moments)  # two epochs of six steps
    before, after = fitted.changed[2]
    assert before == pytest.approx(after, abs=1e-5) and fitted.chosen >= 2
    assert len({id(site.parts["own"]) for site in sites(model).values()}) == 4


def test_evaluation_counts_and_puts_the_mode_back(task: TaskData) -> None:
    model = fresh().train()
    found = evaluate(model, task.test)
    assert model.training and found.accuracy == found.correct.mean()
    assert found.loss == pytest.approx(np.log(3), abs=1e-5)  # a fresh head says every class is as likely


def test_a_probe_finds_what_is_there_and_pixels_are_its_rival(task: TaskData) -> None:
    found, rival = probe(features_of(backbone()), task), probe(pixels, task)
    assert found.test == found.correct.mean() > 0.6 and rival.test > 0.9
    noise = TaskData("noise", task.classes, *(Split(s.images, np.random.default_rng(9).permutation(s.labels))
                                              for s in (task.train, task.validation, task.test)))  # fmt: skip
    assert probe(pixels, noise).test < 0.6
