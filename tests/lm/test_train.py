"""Training of the bundled model: the order of the windows, the rates, and a run that was stopped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.lm import train as training
from backends.lm.settings import Architecture, TrainSettings
from backends.lm.tokenizer import save_tokens
from backends.lm.train import batch_at, held_out_loss, learning_rate, next_token_loss, parameter_groups, train
from tests.fakes.language import tiny_tokenizer

TINY = Architecture(vocabulary=320, hidden=32, layers=2, heads=4, key_value_heads=2, intermediate=48, context=16)
SETTINGS = TrainSettings(steps=6, save_every=3, compile=False)


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_each_epoch_shows_every_window_once(batch: int):
    """Tokens that count upwards tell where a row was cut."""
    context, tokens = 5, np.arange(103)
    windows = (len(tokens) - context - 1) // context
    rows = torch.cat([batch_at(step, tokens, batch, context, seed=3) for step in range(6 * windows)]).numpy()
    assert (np.diff(rows, axis=1) == 1).all()
    shifts = []
    for epoch in range(6):
        starts = np.sort(rows[epoch * windows : (epoch + 1) * windows, 0])
        shifts.append(starts[0])
        assert 0 <= starts[0] < context
        assert (np.diff(starts) == context).all()
        assert starts[-1] + context < len(tokens)
    assert len(set(shifts)) > 1


def test_windows_depend_on_seed_and_step_alone():
    tokens = np.random.default_rng(0).integers(0, 300, 400).astype(np.uint16)
    order = list(range(60))
    forward = {step: batch_at(step, tokens, 4, 8, seed=1) for step in order}
    np.random.default_rng(1).shuffle(order)
    for step in order:  # out of order, with another seed in between
        batch_at(step, tokens, 4, 8, seed=2)
        assert torch.equal(batch_at(step, tokens, 4, 8, seed=1), forward[step])
    assert not torch.equal(batch_at(0, tokens, 4, 8, seed=2), forward[0])
    assert len(training._orders) <= 2


@pytest.mark.parametrize("total", [1, 6, 100, 1999, 7400])
def test_rates_rise_linearly_and_fall_as_a_cosine(total: int):
    rates = np.array([learning_rate(step, total, 2.0) for step in range(total)])
    warm_up = min(200, max(1, total // 10))
    np.testing.assert_allclose(rates[:warm_up], 2.0 * np.arange(1, warm_up + 1) / warm_up, rtol=1e-12)
    assert rates.max() == pytest.approx(2.0)
    assert (np.diff(rates[warm_up:]) < 0).all()
    assert learning_rate(total, total, 2.0) == pytest.approx(0.04, rel=1e-12) or total == 1
    middle = (warm_up + total) / 2
    if total > 1 and middle == int(middle):
        assert learning_rate(int(middle), total, 2.0) == pytest.approx(2.0 * 0.51, rel=1e-12)


def test_only_matrices_decay():
    model = training.LlamaForCausalLM(training.llama_config(TINY, 0))
    matrices, vectors = parameter_groups(model, 0.1)
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    named = {id(p): n for n, p in model.named_parameters()}
    assert {named[id(p)] for p in vectors["params"]} == {n for n in named.values() if "norm" in n}
    assert len(matrices["params"]) + len(vectors["params"]) == len(named)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder as `prepare` leaves it, of random tokens."""
    rng = np.random.default_rng(0)
    save_tokens(rng.integers(0, 320, 3000).astype(np.uint16), tmp_path / "training.npy")
    save_tokens(rng.integers(0, 320, 400).astype(np.uint16), tmp_path / "held-out.npy")
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters()}


class StoppedError(Exception):
    pass


def test_a_stopped_run_ends_where_an_uninterrupted_one_does(work: Path, monkeypatch: pytest.MonkeyPatch):
    straight, facts = train(SETTINGS, TINY, work)
    expected = weights(straight)
    checkpoint = work / "checkpoint-cpu.safetensors"
    checkpoint.unlink()

    save = training.save_checkpoint

    def save_and_stop(*arguments):
        save(*arguments)
        raise StoppedError

    monkeypatch.setattr(training, "save_checkpoint", save_and_stop)
    with pytest.raises(StoppedError):
        train(SETTINGS, TINY, work)
    monkeypatch.setattr(training, "save_checkpoint", save)
    torch.manual_seed(99)  # whatever happened in between
    resumed, resumed_facts = train(SETTINGS, TINY, work)
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    figures = [[(e["tokens"], e["train"], e["held_out"]) for e in f["log"]] for f in (facts, resumed_facts)]
    assert figures[0] == figures[1]
    assert [e[0] for e in figures[0]] == [3 * 16 * 16, 6 * 16 * 16]
    assert list(work.glob(".*")) == []  # no half-written file

    # A finished run is only read.
    again, _ = train(SETTINGS, TINY, work)
    assert all(torch.equal(v, expected[n]) for n, v in weights(again).items())


def test_training_learns_and_its_seed_matters(work: Path):
    tokens = np.tile(np.arange(7, dtype=np.uint16), 500)
    save_tokens(tokens, work / "training.npy")
    save_tokens(tokens, work / "held-out.npy")
    first, facts = train(SETTINGS.model_copy(update={"steps": 30, "save_every": 15}), TINY, work)
    assert facts["log"][0]["held_out"] > facts["log"][1]["held_out"]
    assert facts["log"][1]["held_out"] < math.log(320) - 1
    (work / "checkpoint-cpu.safetensors").unlink()
    other, _ = train(SETTINGS.model_copy(update={"seed": 1}), TINY, work)
    assert not torch.equal(other.lm_head.weight, first.lm_head.weight)


def test_losses_are_mean_nats_a_token():
    model = training.LlamaForCausalLM(training.llama_config(TINY, 0)).eval()
    tokens = np.random.default_rng(0).integers(0, 320, 100).astype(np.uint16)
    log_p = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, 96, 16):  # six whole windows
            row = torch.from_numpy(tokens[start : start + 17].astype(np.int64))
            logits = model(input_ids=row[None, :-1]).logits[0].float()
            log_p += torch.log_softmax(logits, -1)[torch.arange(16), row[1:]].tolist()
        rows = torch.from_numpy(tokens[:17].astype(np.int64))[None]
        assert float(next_token_loss(model, rows)) == pytest.approx(-np.mean(log_p[:16]), rel=1e-5)
    assert held_out_loss(model, tokens, 16) == pytest.approx(-np.mean(log_p), rel=1e-3)  # bf16 rounds by batch


def test_tiers_and_size_are_as_described():
    cpu, gpu = TrainSettings(tier="cpu"), TrainSettings(tier="gpu")
    assert cpu.total_steps * cpu.batch * 256 == pytest.approx(30e6, rel=0.02)
    assert gpu.total_steps * gpu.batch * 256 == pytest.approx(311e6, rel=0.02)
    model = training.LlamaForCausalLM(training.llama_config(Architecture(), 0))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(5.83e6, rel=0.001)
