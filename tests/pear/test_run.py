"""One run: the prune in its middle, several prunes, nothing pruned as plain LoRA, a branch as the run itself."""

from __future__ import annotations

import pytest
import torch

from backends.pear.importance import own_adapters
from backends.pear.run import PearRun, beginning, prune, prune_at, scored, train
from backends.pear.settings import PearTraining
from backends.vision.adapters import OWN, sites, trainable
from backends.vision.tasks import TaskData
from backends.vision.training import evaluate, fit
from tests.fakes.pictures import corners_task
from tests.pear.conftest import backbone

SHORT = PearTraining(epochs=4, batch=16, lr=1e-2, rank=2, prune_after=0.5)


@pytest.fixture(scope="module")
def task() -> TaskData:
    return corners_task()


def done(settings: PearTraining, task: TaskData) -> PearRun:
    *_, last = train(backbone(), task, settings)
    assert last.fraction == 1
    return last.partial


def test_it_prunes_shares_and_trains_on(task: TaskData) -> None:
    run = done(SHORT, task)
    assert len(run.plan.pruned) == 4 and len(run.plan.kept) == 4 and list(run.fitted.changed) == [2]
    assert set(run.plan.pruned) == set(sorted(run.scores, key=run.scores.get)[:4])
    places = sites(run.model)
    assert all(places[name].parts[OWN] is places[donor].parts[OWN] for name, donor in run.plan.donors.items())
    assert run.accounting.trainable == 4 * 2 * (16 + 16) and run.fitted.chosen >= 2
    assert run.test.accuracy == evaluate(run.model, task.test).accuracy > 0.5


def test_the_same_seed_gives_the_same_run(task: TaskData) -> None:
    one, two = done(SHORT, task), done(SHORT, task)
    assert one.fitted.train == two.fitted.train and one.plan == two.plan and one.test.loss == two.test.loss
    assert done(SHORT.model_copy(update={"seed": 1}), task).fitted.train != one.fitted.train


def test_nothing_pruned_is_plain_lora_bit_for_bit(task: TaskData) -> None:
    run = done(SHORT.model_copy(update={"pruned": 0}), task)
    plain = beginning(backbone(), task, SHORT)
    for _ in fit(plain.model, task, plain.settings):
        pass
    assert all(torch.equal(p, q) for p, q in zip(trainable(run.model), trainable(plain.model), strict=True))


def test_a_branch_goes_on_as_the_run_itself_would(task: TaskData) -> None:
    stem = beginning(backbone(), task, SHORT)
    for _ in stem.run(2):
        pass
    branch, frozen = stem.branch(), [p.detach().clone() for p in stem.model.parameters()]
    plan, _ = prune(branch, SHORT, 50)
    for _ in branch.run():
        pass
    branch.choose()
    whole = done(SHORT, task)
    assert plan == whole.plan and branch.fitted.train == whole.fitted.train
    assert all(torch.equal(p, q) for p, q in zip(branch.model.parameters(), whole.model.parameters(), strict=True))
    assert all(torch.equal(p, q) for p, q in zip(stem.model.parameters(), frozen, strict=True))  # the stem stands still


def test_several_prunes_add_up_and_spare_those_that_serve(task: TaskData) -> None:
    settings = SHORT.model_copy(update={"times": 2, "epochs": 8, "prune_after": 0.25})
    assert [epoch for epoch, _ in prune_at(settings)] == [2, 3] and prune_at(settings)[-1][1] == 50
    run = done(settings, task)
    assert len(run.plan.pruned) == 4 and list(run.fitted.changed) == [2, 3]
    assert not set(run.plan.donors.values()) & set(run.plan.pruned)
    assert set(own_adapters(run.model, run.plan.pruned)) == set(run.plan.kept)
    assert len({id(site.parts[OWN]) for site in sites(run.model).values()}) == 4


def test_what_was_pruned_is_not_scored_again(task: TaskData) -> None:
    training = beginning(backbone(), task, SHORT)
    for _ in training.run(2):
        pass
    plan, before = prune(training, SHORT, 25)
    after = scored(training.model, task.train, "taylor", gone=plan.pruned)
    assert set(after) == set(before) - set(plan.pruned)
