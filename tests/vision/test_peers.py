"""PEFT's methods and full fine-tuning start where our adapters start, and learn in the same loop."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from backends.runtime.seeds import generator
from backends.vision.adapters import AdapterSettings, adapted, sites, trainable, with_head
from backends.vision.peers import everything, size, with_peft_adalora, with_peft_lora
from backends.vision.tasks import TaskData
from backends.vision.training import FitSettings, evaluate, fit
from tests.fakes.pictures import corners_task
from tests.pear.conftest import backbone, batches

SHORT = FitSettings(epochs=4, batch=16, lr=1e-2)
STEPS = 6  # an epoch: 96 pictures in batches of 16
SITES, WIDTH, CLASSES = 8, 16, 3


@pytest.fixture(scope="module")
def task() -> TaskData:
    return corners_task()


def ours(rank: int) -> torch.nn.Module:
    return adapted(with_head(backbone(), CLASSES), AdapterSettings(rank=rank), generator(5))


def test_lora_of_peft_is_ours(task: TaskData) -> None:
    """Drawn from the same seed, they answer the same after two epochs; so does a third one with copied weights."""
    settings = SHORT.model_copy(update={"epochs": 2, "seed": 5})
    model, twin = ours(4), with_peft_lora(backbone(), CLASSES, 4, 2.0, seed=5)
    assert not twin.base_model.model.classifier.weight.any()
    for one in (model, twin):
        list(fit(one, task, settings))
    assert twin.base_model.model.classifier.weight.any()
    images, _ = batches(1)[0]
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values=images).logits, twin(pixel_values=images).logits, rtol=0, atol=1e-4
        )
    third = with_peft_lora(backbone(), CLASSES, 4, 2.0).eval()
    for layer, site in zip([m for m in third.modules() if hasattr(m, "lora_A")], sites(model).values(), strict=True):
        layer.lora_A["default"].weight.data.copy_(site.parts["own"].down.weight)
        layer.lora_B["default"].weight.data.copy_(site.parts["own"].up.weight)
    third.base_model.model.classifier.load_state_dict(model.classifier.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values=images).logits, third(pixel_values=images).logits, rtol=0, atol=1e-5
        )


def test_what_is_trained_is_counted_exactly() -> None:
    head = CLASSES * WIDTH + CLASSES
    lora = with_peft_lora(backbone(), CLASSES, 2, 2.0)
    assert size(lora) == SITES * 2 * 2 * WIDTH == size(ours(2))
    assert sum(p.numel() for p in trainable(lora)) == size(lora) + head
    whole = everything(backbone(), CLASSES)
    assert size(whole) + head == sum(p.numel() for p in whole.parameters())
    assert not trainable(backbone())  # theirs are private copies
    half = with_peft_adalora(backbone(), CLASSES, 2, 2.0, 4, STEPS)
    assert half.size == size(half.model) == SITES * 3 * (2 * WIDTH + 1)


def test_starts_follow_from_the_seed_and_leave_the_global_one_alone() -> None:
    plain = backbone()
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    for make in (
        lambda seed: with_peft_lora(plain, CLASSES, 2, 2.0, seed),
        lambda seed: with_peft_adalora(plain, CLASSES, 2, 2.0, 4, STEPS, seed).model,
    ):
        one, same, other = (trainable(make(seed)) for seed in (0, 0, 1))
        assert all(torch.equal(p, q) for p, q in zip(one, same, strict=True))
        assert not torch.equal(one[0], other[0])
    assert torch.equal(torch.rand(1), expected)


def test_adalora_has_the_penalty_that_peft_adds_to_a_models_own_loss() -> None:
    made = with_peft_adalora(backbone(), CLASSES, 2, 2.0, 4, STEPS).model
    plain = copy.deepcopy(made)  # hooks are not copied
    draw = generator(3)
    for one, two in zip(trainable(made), trainable(plain), strict=True):
        two.data.copy_(one.data.add_(0.1 * torch.randn(one.shape, generator=draw)))
    images, labels = batches(1)[0]
    F.cross_entropy(made(pixel_values=images).logits, labels).backward()
    plain.base_model(pixel_values=images, labels=labels).loss.backward()
    for one, two in zip(trainable(made), trainable(plain), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-6)


def test_adalora_ends_at_its_ranks_and_only_then_is_an_epoch_chosen(task: TaskData) -> None:
    made = with_peft_adalora(backbone(), CLASSES, 2, 2.0, SHORT.epochs, STEPS)
    *_, last = fit(made.model, task, SHORT, made.changes, made.after)
    fitted = last.partial
    assert made.size == SITES * 2 * (2 * WIDTH + 1)
    values = torch.cat([m.lora_E["default"] for m in made.model.modules() if hasattr(m, "lora_E")])
    assert int((values != 0).sum()) == SITES * 2
    assert list(fitted.changed) == [2] and fitted.chosen >= 2
    assert fitted.changed[2][0] == pytest.approx(fitted.changed[2][1])  # nothing changes there
    assert fitted.train[-1] < fitted.train[0]


def test_everything_learns_in_the_same_loop(task: TaskData) -> None:
    model = everything(backbone(), CLASSES)
    list(fit(model, task, SHORT.model_copy(update={"lr": 2e-3})))
    assert evaluate(model, task.test).accuracy > 0.5
