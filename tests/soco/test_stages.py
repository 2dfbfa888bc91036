"""The three stages on a model of two layers: who is trained, when each stage begins, what the budget says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from backends.lm.load import LanguageModel, fingerprint
from backends.lm.rebuild import projections, rebuild
from backends.soco import stages
from backends.soco.budget import allowance, matrix_cost
from backends.soco.knots import HISTORY, Knot
from backends.soco.layers import scored_model
from backends.soco.materialise import materialise
from backends.soco.pool import Pool
from backends.soco.rescale import make_optimiser
from backends.soco.scores import SCORE_FUNCTIONS, increase_loss
from backends.soco.settings import SocoTraining
from backends.soco.spectra import Factor, decompose
from backends.soco.stages import DEAD_BAND, dead_band_pressure, next_pressure, three_stages
from tests.fakes.language import random_tokens, tiny_model

# Fast enough to reach the target, to drift below it and to come back within a few steps.
SETTINGS = SocoTraining(
    steps=60, batch=2, removed=40, score_lr=0.4, pressure=4.0, growth=1.05, threshold=0.5, explore=0.5, refine=0.7
)
EXPLORE_END, REFINE_END, HARDEN_END = 30, 42, 49


def run(lm: LanguageModel, factors: dict[str, Factor], pool: Pool, settings: SocoTraining) -> tuple[Knot, list]:
    items = list(three_stages(lm, factors, "plain", pool, settings))
    return items[-1], items[:-1]


def column(knot: Knot, name: str) -> np.ndarray:
    return knot.history[:, HISTORY.index(name)]


@pytest.fixture(scope="module")
def trained(models, factors) -> tuple[Knot, list]:
    lm = models("llama", torch.float32)
    before = fingerprint(lm.model)
    pool = Pool(lm, random_tokens(24, 16, seed=2))
    result = run(lm, factors("llama", "plain", torch.float32), pool, SETTINGS)
    assert fingerprint(lm.model) == before, "the shared model must not change"
    assert all(p.grad is None for p in lm.model.parameters())
    return result


def shapes_of(factors: dict[str, Factor]) -> dict[str, tuple[int, int]]:
    return {n: f.shape for n, f in factors.items()}


def check_budget(knot: Knot, shapes: dict, settings: SocoTraining) -> None:
    """Never over, and less than one component under."""
    has_d = settings.deviation == "output"
    assert bool(knot.spectrum.deviation) == has_d
    allowed = allowance(shapes, settings.removed / 100, has_d)
    spent = sum(matrix_cost(int(k.sum()), shapes[n]) for n, k in knot.spectrum.kept.items())
    assert allowed - max(map(sum, shapes.values())) < spent <= allowed
    assert all(k.any() for k in knot.spectrum.kept.values())


# ---- the two rules of the pressure ----------------------------------------------------------------------------------


def test_the_switch_of_stage_two():
    target = 0.4
    for was_on in (False, True):
        assert dead_band_pressure(target, target, was_on) is False
        assert dead_band_pressure(target + 0.1, target, was_on) is False
        assert dead_band_pressure(target - 0.9 * DEAD_BAND, target, was_on) is was_on
        assert dead_band_pressure(target - 1.1 * DEAD_BAND, target, was_on) is True


def test_the_switch_has_hysteresis():
    """Drifting down through the band and back: off until below it, on until the target."""
    path = [0.41, 0.4, 0.3995, 0.3985, 0.3975, 0.3985, 0.3999, 0.4, 0.3985]
    on, seen = True, []
    for now in path:
        on = dead_band_pressure(now, 0.4, on)
        seen.append(on)
    assert seen == [False, False, False, False, True, True, True, False, False]


def test_pressure_grows_while_short_and_relaxes_beyond():
    assert next_pressure(10, 0.2, 0.2, 0.4, 1.06) == pytest.approx(10.6)
    assert next_pressure(10, 0.36, 0.36, 0.4, 1.06) == pytest.approx(10.1)  # within 5 %: a sixth of the growth
    assert next_pressure(10, 0.2, 0.4, 0.4, 1.06) == 10  # enough is already on its way
    assert next_pressure(10, 0.4, 0.4, 0.4, 1.06) == pytest.approx(9.7)
    assert next_pressure(10, 0.5, 0.5, 0.4, 1.06) == pytest.approx(9.7)


def test_pressure_has_limits():
    high = low = 10.0
    for _ in range(2000):
        high, low = next_pressure(high, 0.0, 0.0, 0.4, 1.06), next_pressure(low, 0.5, 0.5, 0.4, 1.06)
        assert 0 < low <= 10 <= high
    assert high == 300
    assert low == next_pressure(low, 0.5, 0.5, 0.4, 1.06) > 0  # a floor from which it can grow again


# ---- who is trained -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "extra"), [("output", "m"), ("none", None), ("spectrum", "p")])
def test_only_scores_and_deviations_are_trained(models, factors, offset: str, extra: str | None):
    lm, made = models("qwen2"), factors("qwen2")
    copy, layers = scored_model(lm.model, made, SCORE_FUNCTIONS["sig2"], offset)
    trainable = {n: p for n, p in copy.named_parameters() if p.requires_grad}
    assert {n.rsplit(".", 1)[1] for n in trainable} == {"theta", "deviation"} - ({"deviation"} if not extra else set())
    p, m = (sum(min(f.shape) for f in made.values()), sum(f.shape[0] for f in made.values()))
    assert sum(t.numel() for t in trainable.values()) == p + {"m": m, "p": p, None: 0}[extra]
    tokens = random_tokens(2, 10)
    increase_loss(copy(input_ids=tokens).logits, lm.model(input_ids=tokens).logits.flip(-1)).backward()
    for name, parameter in copy.named_parameters():
        assert (parameter.grad is not None) == (name in trainable), name
        assert parameter.grad is None or parameter.grad.abs().max() > 0, name
    assert all(b.grad is None for b in copy.buffers())
    settings = SocoTraining(deviation=offset)
    optimised = {id(q) for g in make_optimiser(layers, settings).param_groups for q in g["params"]}
    assert optimised == {id(q) for q in trainable.values()}


class Made(TorchDispatchMode):
    """Shapes of all tensors that come with new memory, forward and backward."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.shapes = known, set()

    def __torch_dispatch__(self, function, _types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in self.known:
                self.shapes.add(tuple(tensor.shape))
        return out


class Merging(torch.nn.Module):
    """What must not happen: W' built in the forward pass."""

    def __init__(self, factor: Factor) -> None:
        super().__init__()
        self.left, self.sigma, self.right = factor.left, factor.sigma, factor.right
        self.theta = torch.nn.Parameter(torch.zeros_like(factor.sigma))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.left * (self.sigma * 2 * torch.sigmoid(self.theta)) @ self.right)


@pytest.mark.parametrize("forbidden", [False, True])
def test_no_dense_weight_is_made_in_training(forbidden: bool):
    """No new tensor of any matrix's shape in the forward or backward pass; a layer that merges is found out."""
    model = tiny_model("llama", hidden=40, inner=52)
    factors = {n: decompose(m.weight, "plain").to(torch.float32) for n, m in projections(model).items()}
    if forbidden:
        copy = rebuild(model, lambda name, _linear: Merging(factors[name]))
    else:
        copy, _ = scored_model(model, factors, SCORE_FUNCTIONS["sig2"])
    tokens = random_tokens(3, 7)
    teacher = model(input_ids=tokens).logits
    tensors = [*copy.parameters(), *copy.buffers(), *(t for f in factors.values() for t in (f.left, f.right))]
    with Made({t.untyped_storage().data_ptr() for t in tensors}) as made:
        increase_loss(copy(input_ids=tokens, use_cache=False).logits, teacher).backward()
    weights = {s for f in factors.values() for s in (f.shape, f.shape[::-1])}
    assert len(made.shapes) > 20
    assert bool(weights & made.shapes) == forbidden


# ---- the run --------------------------------------------------------------------------------------------------------


def test_every_step_is_told_and_kept(trained):
    knot, steps = trained
    assert len(steps) == 60
    assert [s.fraction for s in steps] == pytest.approx([(i + 1) / 60 for i in range(60)])
    assert all("L_inc" in s.message for s in steps)
    assert np.array_equal(np.array([s.partial for s in steps]), knot.history)
    assert knot.history.shape == (60, len(HISTORY))
    assert np.isfinite(knot.history).all()
    assert (column(knot, "L_inc") >= -1e-6).all()
    assert column(knot, "L_inc")[0] == pytest.approx(0, abs=1e-5)  # it starts at the dense model


def test_stages_follow_each_other_on_time(trained):
    knot, _ = trained
    stage, removed = column(knot, "stage"), column(knot, "removed")
    assert set(stage) == {1, 2, 3}
    assert (np.diff(stage) >= 0).all()
    reached = np.flatnonzero(removed >= 0.4)
    assert np.flatnonzero(stage == 2)[0] == min(int(reached[0]), EXPLORE_END)
    assert np.flatnonzero(stage == 3)[0] == REFINE_END
    assert (removed[stage == 1] < 0.4).all()


def test_a_target_out_of_reach_ends_stage_one_at_its_limit(models, factors, pool):
    settings = SETTINGS.model_copy(update={"steps": 20, "score_lr": 1e-4, "batch": 1})
    knot, _ = run(models("llama", torch.float32), factors("llama", "plain", torch.float32), pool(), settings)
    stage = column(knot, "stage")
    assert [int((stage == s).sum()) for s in (1, 2, 3)] == [10, 4, 6]
    check_budget(knot, shapes_of(factors()), settings)


def test_pressure_is_off_at_the_target_and_on_below(trained):
    knot, _ = trained
    stage, removed, pressure = (column(knot, n) for n in ("stage", "removed", "lambda"))
    second = stage == 2
    assert (second & (removed >= 0.4)).sum() >= 3, "otherwise nothing is tested"
    assert (pressure[(stage > 1) & (removed >= 0.4)] == 0.0).all()  # exactly
    assert (pressure[(stage == 1)] > 0).all()
    below = (stage == 2) & (removed < 0.4 - DEAD_BAND)
    assert below.any(), "otherwise nothing is tested"
    assert (pressure[below] > 0).all()
    on = pressure[second] > 0
    assert (on[1:] != on[:-1]).sum() >= 2, "off, on and off again: the oscillation"


def test_stage_two_revives_what_was_over_pruned(trained):
    """With the pressure off, L_inc alone brings scores back: the ratio falls at some step of stage 2."""
    knot, _ = trained
    stage, removed, revived, killed = (column(knot, n) for n in ("stage", "removed", "revived", "killed"))
    assert killed[stage == 1].sum() > 0
    assert revived[stage == 2].sum() > 0
    assert (np.diff(removed[stage == 2]) < 0).any()


def test_the_sparsity_term_belongs_to_stage_three(trained):
    knot, _ = trained
    stage, l_sp = column(knot, "stage"), column(knot, "L_sp")
    assert (l_sp[stage < 3] == 0).all()
    assert (l_sp[REFINE_END:HARDEN_END] > 0).all()
    assert l_sp[HARDEN_END - 1] < l_sp[REFINE_END]  # losers go to zero


def test_the_mask_is_final_after_hardening(trained):
    knot, _ = trained
    assert (column(knot, "removed")[HARDEN_END:] == column(knot, "removed")[-1]).all()
    assert (column(knot, "killed")[HARDEN_END:] == 0).all()
    assert (column(knot, "L_dec")[HARDEN_END:] == 0).all()


def test_the_budget_is_met(trained, factors):
    knot, _ = trained
    check_budget(knot, shapes_of(factors()), SETTINGS)
    assert 0.4 <= column(knot, "removed")[-1] < 0.42


def test_scores_stay_in_their_range_and_dropped_ones_are_zero(trained):
    knot, _ = trained
    for name, scores in knot.spectrum.scores.items():
        kept = knot.spectrum.kept[name]
        assert ((scores >= 0) & (scores <= 2)).all()
        assert (scores[~kept] == 0).all()
    everything = torch.cat([s[knot.spectrum.kept[n]] for n, s in knot.spectrum.scores.items()])
    assert (everything > 1).any(), "some are amplified"
    assert any(d.abs().max() > 0 for d in knot.spectrum.deviation.values())


def test_a_seeded_rerun_is_the_same(trained, models, factors, pool):
    knot, _ = trained
    lm, made = models("llama", torch.float32), factors("llama", "plain", torch.float32)
    torch.manual_seed(123)  # the global generator plays no part
    again, _ = run(lm, made, pool(), SETTINGS)
    np.testing.assert_allclose(again.history, knot.history, atol=1e-6)
    for name, kept in knot.spectrum.kept.items():
        assert torch.equal(again.spectrum.kept[name], kept)
        torch.testing.assert_close(again.spectrum.scores[name], knot.spectrum.scores[name], rtol=0, atol=1e-6)
        torch.testing.assert_close(again.spectrum.deviation[name], knot.spectrum.deviation[name], rtol=0, atol=1e-6)
    other, _ = run(lm, made, pool(), SETTINGS.model_copy(update={"seed": 1}))
    assert not np.allclose(other.history[1:], knot.history[1:], atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"deviation": "none"},
        {"deviation": "spectrum"},
        {"selection": "prefix"},
        {"score": "softplus"},
        {"score": "clamp"},
        {"score": "sig1"},
        {"score": "exp"},
        {"harden": 0.0},
        {"harden": 1.0},
        {"removed": 80},
        {"look_ahead": 0.3},
    ],
    ids=lambda c: "-".join(map(str, *c.items())),
)
def test_every_switch_meets_the_budget(models, factors, pool, changes: dict):
    settings = SocoTraining.model_validate(SETTINGS.model_dump() | {"steps": 15, "batch": 1} | changes)
    lm, made = models("llama-tied", torch.float32), factors("llama-tied", "plain", torch.float32)
    knot, steps = run(lm, made, pool("llama-tied"), settings)
    check_budget(knot, shapes_of(made), settings)
    assert len(steps) == len(knot.history) == 15
    if settings.selection == "prefix":
        assert all((np.diff(k.int().numpy()) <= 0).all() for k in knot.spectrum.kept.values())


def cut(models, factors, pool, monkeypatch) -> tuple[dict, dict, float, float]:
    """What was held at the last step of hardening, what is kept after it, and the loss just before and after."""
    lm, tokens = models("llama", torch.float32), random_tokens(4, 16, seed=9)
    seen: dict = {}
    phase_out, slice_to = stages._phase_out, stages.slice_to

    def loss(trainee) -> float:
        with torch.no_grad():
            return float(increase_loss(trainee.model(input_ids=tokens).logits, lm.model(input_ids=tokens).logits))

    def watched_phase_out(trainee, winners, progress):
        phase_out(trainee, winners, progress)
        seen["held"], seen["progress"] = winners, progress

    def watched_slice(trainee, kept):
        for name, layer in trainee.layers.items():
            layer.hold.copy_(torch.from_numpy(seen["held"][name]).to(layer.hold))
        seen["kept"], seen["before"] = kept, loss(trainee)
        for layer in trainee.layers.values():
            layer.hold.fill_(1.0)
        sliced = slice_to(trainee, kept)
        seen["after"] = loss(sliced)
        return sliced

    monkeypatch.setattr(stages, "_phase_out", watched_phase_out)
    monkeypatch.setattr(stages, "slice_to", watched_slice)
    run(lm, factors("llama", "plain", torch.float32), pool(), SETTINGS)
    assert seen["progress"] == 1  # every loser's score times its sigma is exactly zero before the cut
    return seen["held"], seen["kept"], seen["before"], seen["after"]


def test_the_cut_changes_nothing(models, factors, pool, monkeypatch: pytest.MonkeyPatch):
    """Losers are silent before they are cut away: perplexity moves by less than half a percent."""
    held, kept, before, after = cut(models, factors, pool, monkeypatch)
    moved = sum(int((held[n] != kept[n].numpy()).sum()) for n in held)
    assert abs(after - before) < 0.005, f"{moved} components changed sides at the cut"


def test_what_is_stored_is_what_was_trained(models, factors, pool, monkeypatch: pytest.MonkeyPatch):
    """The knot, materialised, gives the logits of the model that the last step left."""
    lm, made, tokens = models("qwen2"), factors("qwen2"), random_tokens(2, 12, seed=4)
    seen, spectrum_of = {}, stages.spectrum_of

    def watched(trainee, kept, basis):
        with torch.no_grad():
            seen["logits"] = trainee.model(input_ids=tokens).logits
        return spectrum_of(trainee, kept, basis)

    monkeypatch.setattr(stages, "spectrum_of", watched)
    for offset in ("output", "none", "spectrum"):
        settings = SETTINGS.model_copy(update={"steps": 15, "batch": 1, "deviation": offset})
        knot, _ = run(lm, made, pool("qwen2", torch.float64), settings)
        for form in ("merged", "factored"):
            model = materialise(lm.model, made, knot.spectrum, form)
            torch.testing.assert_close(model(input_ids=tokens).logits, seen["logits"], rtol=0, atol=1e-9)
