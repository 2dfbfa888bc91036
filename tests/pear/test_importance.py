"""Identities of the Taylor score: to 1e-10 in double precision, to 1e-4 in single."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from backends.pear.importance import importance, own_adapters
from backends.runtime.seeds import generator
from backends.vision.adapters import AdapterSettings, adapted, sites
from tests.pear.conftest import backbone, batches, host

DOUBLE = torch.float64
PRECISIONS = pytest.mark.parametrize(("dtype", "rel"), [(DOUBLE, 1e-10), (torch.float32, 1e-4)])


def inner_products(form: str, dtype: torch.dtype) -> dict[str, tuple[float, float]]:
    """<down, dL/d down> and <up, dL/d up> of one batch."""
    model = host(form, dtype)
    images, labels = batches(1, dtype)[0]
    F.cross_entropy(model(pixel_values=images).logits, labels).backward()
    weights = {name: (a.down.weight, a.up.weight) for name, a in own_adapters(model).items()}
    return {name: tuple((w * w.grad).sum().item() for w in pair) for name, pair in weights.items()}


@PRECISIONS
@pytest.mark.parametrize("form", ["lora", "bottleneck"])
def test_down_and_up_say_the_same(form: str, dtype: torch.dtype, rel: float) -> None:
    for down, up in inner_products(form, dtype).values():
        assert down == pytest.approx(up, rel=rel) and down != 0


@PRECISIONS
def test_it_is_the_inner_product_with_the_gradient_of_the_weight(dtype: torch.dtype, rel: float) -> None:
    model = host(dtype=dtype)
    images, labels = batches(1, dtype)[0]
    places = sites(model)
    for site in places.values():
        site.host.weight.requires_grad_(True)
    F.cross_entropy(model(pixel_values=images).logits, labels).backward()
    for site in places.values():
        a = site.parts["own"]
        product = a.settings.scale * a.up.weight @ a.down.weight
        assert (a.down.weight * a.down.weight.grad).sum().item() == pytest.approx(
            (product * site.host.weight.grad).sum().item(), rel=rel
        )


def test_the_score_is_the_mean_of_absolute_sums_over_down_and_up() -> None:
    model, given = host(dtype=DOUBLE), batches(3, DOUBLE)
    sums: dict[str, list[float]] = {name: [] for name in own_adapters(model)}
    for images, labels in given:
        model.zero_grad()
        F.cross_entropy(model(pixel_values=images).logits, labels).backward()
        for name, a in own_adapters(model).items():
            sums[name].append(sum((w * w.grad).sum().item() for w in (a.down.weight, a.up.weight)))
    for criterion, of in (("taylor", lambda values: [abs(v) for v in values]), ("taylor-signed", list)):
        scores = importance(model, given, criterion)
        for name, values in sums.items():
            assert scores[name] == pytest.approx(sum(of(values)) / 3, rel=1e-10)


@PRECISIONS
def test_the_gauge_changes_magnitude_alone(dtype: torch.dtype, rel: float) -> None:
    model, given = host(dtype=dtype), batches(2, dtype)
    before = {c: importance(model, given, c) for c in ("taylor", "magnitude")}
    first = next(iter(own_adapters(model).values()))
    first.down.weight.data *= 3
    first.up.weight.data /= 3
    after = {c: importance(model, given, c) for c in ("taylor", "magnitude")}
    for name, score in before["taylor"].items():
        assert after["taylor"][name] == pytest.approx(score, rel=rel)
    assert after["magnitude"] != before["magnitude"]


def test_fresh_adapters_have_no_score() -> None:
    model = adapted(backbone(), AdapterSettings(rank=4), generator(0))
    scores = importance(model, batches(2))
    assert len(scores) == 8 and set(scores.values()) == {0.0}
    assert min(importance(model, batches(2), "magnitude").values()) > 0


def test_it_predicts_the_change_of_the_loss_for_small_adapters() -> None:
    model, (images, labels) = host(dtype=DOUBLE), batches(1, DOUBLE)[0]
    for site in sites(model).values():
        site.parts["own"].up.weight.data *= 1e-4
    scores = importance(model, [(images, labels)], "taylor-signed")

    def loss() -> float:
        with torch.no_grad():
            return float(F.cross_entropy(model(pixel_values=images).logits, labels))

    whole = loss()
    for name, site in sites(model).items():
        own = site.parts["own"]
        del site.parts["own"]
        # the sum over down and up counts the change twice, to first order
        assert whole - loss() == pytest.approx(scores[name] / 2, rel=2e-2, abs=1e-9)
        site.parts["own"] = own


def test_random_follows_from_its_generator_and_training_mode_is_put_back() -> None:
    model = host().train()
    one, two = (importance(model, [], "random", generator(4)) for _ in range(2))
    assert one == two and model.training
    importance(model, batches(1))
    assert model.training and all(p.grad is None for p in model.parameters())
