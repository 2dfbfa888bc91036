"""Layer by layer as in one go, and nothing twice."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from backends.pear.importance import importance
from backends.pear.plan import plan
from backends.pear.share import apply
from backends.runtime.store import ModelStore
from backends.vision.adapters import AdapterSettings, adapted, light_copy, sites
from backends.vision.states import logits_through, sites_by_layer
from backends.vision.training import logits_of
from tests.pear.conftest import batches, host
from tests.vision.test_adapters import MODELS

PICTURES = np.random.default_rng(0).integers(0, 256, (7, 12, 12, 3), np.uint8)
NAMES = ["0", "1", "2", "3"]


def calls(model: torch.nn.Module) -> list[int]:
    """Which layers are run, as they are run."""
    found: list[int] = []
    for i, layer in enumerate(model.base_model.layers):
        layer.register_forward_hook(lambda *_, i=i: found.append(i))
    return found


def test_the_same_logits_and_a_layer_that_is_known_is_not_run() -> None:
    model, states = host(), ModelStore(10**6)
    assert torch.equal(logits_through(model, PICTURES, NAMES, states), logits_of(model, PICTURES))
    other = copy.deepcopy(model)
    sites(other)["layer 2, v"].parts.clear()
    run = calls(other)
    names = [*NAMES[:3], "3 without"]
    assert torch.equal(logits_through(other, PICTURES, names, states), logits_of(other, PICTURES))
    assert run[:2] == [2, 3] and len(run) == 2 + 4
    assert not torch.equal(logits_of(other, PICTURES), logits_of(model, PICTURES))


def test_what_does_not_fit_is_made_again() -> None:
    model, states = host(), ModelStore(1)
    expected = logits_of(model, PICTURES)
    for _ in range(2):
        assert torch.equal(logits_through(model, PICTURES, NAMES, states), expected)
    assert states.held_bytes <= 1


def test_a_shared_part_is_that_of_its_donor() -> None:
    model = host()
    scores = importance(model, batches(1))
    pruned = light_copy(model)
    apply(pruned, plan(scores, dict.fromkeys(scores, 0), 50), "keep-offset")
    assert torch.equal(logits_through(pruned, PICTURES, NAMES, ModelStore(10**6)), logits_of(pruned, PICTURES))


@pytest.mark.parametrize("name", MODELS)
def test_other_transformers(name: str) -> None:
    model = adapted(MODELS[name]().eval(), AdapterSettings(rank=2))
    by_layer = sites_by_layer(model)
    assert by_layer == ([] if name == "swin" else [[f"layer {i}, q", f"layer {i}, v"] for i in range(2)])
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    found = logits_through(model, pictures, [str(i) for i in range(len(by_layer))], ModelStore(10**6))
    assert torch.equal(found, logits_of(model, pictures))
