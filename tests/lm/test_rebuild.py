"""Private copies share tensors with a model that they never change."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from backends.lm.load import fingerprint
from backends.lm.rebuild import layer_and_matrix, projections, rebuild
from backends.soco.materialise import Dense
from tests.fakes.language import KINDS, random_tokens, tiny_model

TOKENS = random_tokens(2, 9)


def scaled(model: nn.Module, factor: float) -> nn.Module:
    return rebuild(model, lambda _name, linear: Dense(linear.weight * factor, linear.bias))


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits


@pytest.mark.parametrize("kind", KINDS)
def test_projections_are_all_seven_of_each_block_in_order(kind: str):
    model = tiny_model(kind)
    places = [layer_and_matrix(name) for name in projections(model)]
    assert places == [(i, m) for i in (0, 1) for m in ("q", "k", "v", "o", "gate", "up", "down")]
    linears = [m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n != "lm_head"]
    assert list(projections(model).values()) == linears


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="projection"):
        projections(nn.Sequential(nn.Linear(2, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_weights_give_the_same_bits(kind: str):
    model = tiny_model(kind)
    copy = rebuild(model, lambda _name, linear: Dense(linear.weight, linear.bias))
    assert torch.equal(logits(copy), logits(model))


@pytest.mark.parametrize("kind", KINDS)
def test_all_but_the_replaced_is_shared_and_the_shared_model_stays(kind: str):
    model = tiny_model(kind)
    before, modules = fingerprint(model), [id(m) for m in model.modules()]
    mine = logits(model)
    copy = scaled(model, 0.5)
    theirs = dict(model.named_parameters()) | dict(model.named_buffers())
    for name, value in (dict(copy.named_parameters()) | dict(copy.named_buffers())).items():
        if "_proj." not in name or name.endswith(".bias"):
            assert value.data_ptr() == theirs[name].data_ptr(), name
        else:
            assert value.data_ptr() != theirs[name].data_ptr(), name
    assert copy.config is model.config
    assert (copy.lm_head.weight is copy.model.embed_tokens.weight) == (kind == "llama-tied")
    assert not {id(m) for m in copy.modules()} & set(modules)
    assert not torch.equal(logits(copy), mine)
    assert fingerprint(model) == before
    assert [id(m) for m in model.modules()] == modules
    assert torch.equal(logits(model), mine)
    for linear in projections(model).values():
        assert not linear._forward_hooks
        assert linear.weight.grad is None


def test_the_replacement_is_what_runs():
    """Zero in every output projection leaves the embedding alone: all blocks become the identity."""
    model = tiny_model("llama")
    silent = rebuild(
        model, lambda n, m: Dense(m.weight * (0.0 if n.endswith(("o_proj", "down_proj")) else 1.0), m.bias)
    )
    expected = model.lm_head(model.model.norm(model.model.embed_tokens(TOKENS)))
    torch.testing.assert_close(logits(silent), expected, rtol=0, atol=1e-6)


def test_two_threads_get_their_own_numbers():
    """Rebuilt and run in turn, step by step, over one shared model."""
    model = tiny_model("llama-tied")
    factors = (0.7, 1.3)
    expected = {f: logits(scaled(model, f)) for f in factors}
    turn, wrong = threading.Barrier(2, timeout=60), []

    def work(factor: float) -> None:
        copy = scaled(model, factor)
        for i in range(25):
            turn.wait()
            if i % 8 == 7:
                copy = scaled(model, factor)
            if not torch.equal(logits(copy), expected[factor]):
                wrong.append((factor, i))

    threads = [threading.Thread(target=work, args=(f,)) for f in factors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert not torch.equal(expected[0.7], expected[1.3])
