"""Score functions and the three losses, against their definitions and finite differences."""

from __future__ import annotations

import math

import pytest
import scipy.special
import torch
from torch.autograd import gradcheck

from backends.soco.layers import ScoredLinear, scored_model
from backends.soco.scores import SCORE_FUNCTIONS, decrease_loss, increase_loss, sparsity_loss
from tests.fakes.language import KINDS, random_tokens

RANGES = {
    "sig2": (0, 2),
    "sig1": (0, 1),
    "softplus": (0, math.inf),
    "clamp": (0, math.inf),
    "exp": (0, math.inf),
    "raw": (-math.inf, math.inf),
}
SHAPES = {"a": (5, 9), "b": (7, 4)}


def normal(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_all_score_functions_are_named():
    assert set(RANGES) == set(SCORE_FUNCTIONS)


@pytest.mark.parametrize("name", RANGES)
def test_scores_stay_in_their_range_and_rise(name: str):
    low, high = RANGES[name]
    s = SCORE_FUNCTIONS[name].value(torch.linspace(-30, 30, 1001, dtype=torch.float64))
    assert (s >= low).all()
    assert (s <= high).all()
    assert (s.diff() >= 0).all()
    if high == 2:
        assert s.max() > 1.99, "kept components can be amplified"


@pytest.mark.parametrize("name", RANGES)
def test_training_starts_at_the_dense_model(name: str):
    function = SCORE_FUNCTIONS[name]
    start = float(function.value(torch.tensor(function.start, dtype=torch.float64)))
    assert start == (pytest.approx(1 / (1 + math.exp(-4))) if name == "sig1" else pytest.approx(1, abs=1e-12))
    if name == "sig2":
        assert float(function.value(torch.tensor(function.start))) == 1.0  # to the bit


@pytest.mark.parametrize("name", RANGES)
def test_theta_for_inverts(name: str):
    function = SCORE_FUNCTIONS[name]
    s = torch.linspace(0.01, 0.99 if name == "sig1" else 1.9, 50, dtype=torch.float64)
    torch.testing.assert_close(function.value(function.theta_for(s)), s, rtol=1e-9, atol=1e-9)
    end = function.value(function.theta_for(torch.tensor([0.0], dtype=torch.float64)))
    assert float(end) == pytest.approx(0, abs=1e-5)


# ---- L_inc ----------------------------------------------------------------------------------------------------------


def test_l_inc_is_scipys_kl():
    student, teacher = normal(2, 5, 11), normal(2, 5, 11, seed=1) * 3
    p, q = torch.softmax(teacher, -1).numpy(), torch.softmax(student, -1).numpy()
    expected = scipy.special.rel_entr(p, q).sum(-1).mean()
    assert float(increase_loss(student, teacher)) == pytest.approx(expected, rel=1e-12)
    assert float(increase_loss(teacher, student)) != pytest.approx(expected, rel=1e-2)


def test_l_inc_is_zero_only_where_the_distributions_agree():
    logits = normal(4, 11)
    assert float(increase_loss(logits, logits)) == 0
    assert abs(float(increase_loss(logits + 5, logits))) < 1e-15
    for seed in range(20):
        assert float(increase_loss(normal(4, 11, seed=seed), normal(4, 11, seed=seed + 50))) > 0


def test_l_inc_survives_certainty():
    """Logits so far apart that probabilities vanish: nats stay finite and right."""
    student, teacher = torch.tensor([[0.0, 2000.0]]), torch.tensor([[2000.0, 0.0]])
    assert float(increase_loss(student, teacher)) == pytest.approx(2000)


def test_l_inc_gradient():
    student, teacher = normal(3, 6).requires_grad_(), normal(3, 6, seed=1)
    assert gradcheck(lambda z: increase_loss(z, teacher), student, eps=1e-6, atol=1e-6)
    # d KL / d z = (softmax(z) - softmax(teacher)) / tokens
    (gradient,) = torch.autograd.grad(increase_loss(student, teacher), student)
    expected = (torch.softmax(student, -1) - torch.softmax(teacher, -1)) / 3
    torch.testing.assert_close(gradient, expected.detach(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_l_inc_is_zero_at_the_dense_model(models, factors, kind: str, dtype: torch.dtype, limit: float):
    """And so is its gradient: the dense model is where it is least."""
    lm, tokens = models(kind, dtype), random_tokens(3, 16)
    teacher = lm.model(input_ids=tokens).logits
    copy, layers = scored_model(lm.model, factors(kind, "plain", dtype), SCORE_FUNCTIONS["sig2"])
    loss = increase_loss(copy(input_ids=tokens).logits, teacher)
    assert abs(float(loss.detach())) <= limit
    loss.backward()
    with torch.no_grad():
        for layer in layers.values():
            layer.theta += 0.3
    away = increase_loss(copy(input_ids=tokens).logits, teacher)
    at_dense = max(float(layer.theta.grad.abs().max()) for layer in layers.values())
    away.backward()
    assert float(away.detach()) > 1e-3
    assert at_dense < 1e-3 * max(float(layer.theta.grad.abs().max()) for layer in layers.values())


def model_losses(models, factors, name: str, offset: str):
    """A scored fp64 model away from its start, and a function that gives its three losses."""
    lm, tokens = models(), random_tokens(2, 10)
    teacher = lm.model(input_ids=tokens).logits
    made = factors()
    copy, layers = scored_model(lm.model, made, SCORE_FUNCTIONS[name], offset)
    shapes = {n: f.shape for n, f in made.items()}
    for i, layer in enumerate(layers.values()):
        layer.theta.data += 0.4 * normal(*layer.theta.shape, seed=i).clamp(-1.5, 1.5)
        if offset != "none":
            layer.deviation.data += 0.05 * normal(*layer.deviation.shape, seed=100 + i)

    def losses() -> dict[str, torch.Tensor]:
        scores = {n: layer.scores() for n, layer in layers.items()}
        losers = {n: torch.arange(len(s)) % 2 == 1 for n, s in scores.items()}
        return {
            "L_inc": increase_loss(copy(input_ids=tokens, use_cache=False).logits, teacher),
            "L_dec": decrease_loss(scores, shapes),
            "L_sp": sparsity_loss(scores, shapes, losers),
        }

    return layers, losses


@pytest.mark.parametrize(
    ("name", "offset"),
    [("sig2", "output"), ("softplus", "none"), ("exp", "spectrum"), ("raw", "output"), ("sig1", "none")],
)
def test_gradients_of_a_model_equal_finite_differences(models, factors, name: str, offset: str):
    """All three losses by theta (and L_inc by d), central differences in float64."""
    layers, losses = model_losses(models, factors, name, offset)
    step, chosen = 1e-5, [(n, i) for n in list(layers)[::3] for i in (0, 3, -1)]
    places = [(layers[n].theta, i) for n, i in chosen]
    places += [(layers[n].deviation, i) for n, i in chosen[::2] if offset != "none"]
    for loss in ("L_inc", "L_dec", "L_sp"):
        parameters = [p for p, _ in places]
        gradients = torch.autograd.grad(losses()[loss], parameters, allow_unused=True)
        for (parameter, i), gradient in zip(places, gradients, strict=True):
            with torch.no_grad():
                kept = float(parameter[i])
                values = []
                for sign in (1, -1):
                    parameter[i] = kept + sign * step
                    values.append(float(losses()[loss].detach()))
                parameter[i] = kept
            expected = (values[0] - values[1]) / (2 * step)
            assert (0.0 if gradient is None else float(gradient[i])) == pytest.approx(expected, rel=1e-6, abs=1e-7)


# ---- L_dec and L_sp -------------------------------------------------------------------------------------------------


def test_l_dec_by_hand():
    scores = {"a": torch.tensor([1.0, 0.3]).double(), "b": torch.tensor([0.0, 2.0]).double()}
    g = [1 / 1.1, 0.3 / 0.4, 0.0, 2 / 2.1]
    assert float(decrease_loss(scores, SHAPES)) == pytest.approx((14 * (g[0] + g[1]) + 11 * (g[2] + g[3])) / 73)
    weights = {"a": torch.tensor([2.0, 0.0]).double(), "b": torch.tensor([5.0, 1.0]).double()}
    assert float(decrease_loss(scores, SHAPES, weights=weights)) == pytest.approx((14 * 2 * g[0] + 11 * g[3]) / 73)


def test_l_dec_counts_kept_parameters_in_the_limit():
    scores = {"a": torch.tensor([1.0, 0.0, 0.4, 0.0, 2.0]), "b": torch.tensor([0.0, 0.0, 1.0, 0.7])}
    assert float(decrease_loss(scores, SHAPES, 1e-7)) == pytest.approx((3 * 14 + 2 * 11) / 73, rel=1e-5)


def test_l_dec_gradient():
    a, b = normal(5).abs().requires_grad_(), normal(4, seed=1).abs().requires_grad_()
    assert gradcheck(lambda a, b: decrease_loss({"a": a, "b": b}, SHAPES), (a, b), eps=1e-6, atol=1e-6)
    (gradient,) = torch.autograd.grad(decrease_loss({"a": a, "b": b}, SHAPES), a)
    torch.testing.assert_close(gradient, 14 * 0.1 / (a.detach() + 0.1) ** 2 / 73, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", [n for n in RANGES if n != "raw"])
def test_l_dec_lowers_every_score(name: str):
    """A gradient of at least zero on every score, wherever it stands; and it falls as the score rises."""
    scores = {"a": torch.linspace(0, RANGES[name][1] if RANGES[name][1] < 9 else 5, 200, dtype=torch.float64)}
    s = scores["a"].requires_grad_()
    (gradient,) = torch.autograd.grad(decrease_loss({"a": s}, {"a": (5, 9)}), s)
    assert (gradient > 0).all()
    assert (gradient.diff() < 0).all()
    theta = torch.linspace(-6, 6, 200, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(decrease_loss({"a": SCORE_FUNCTIONS[name].value(theta)}, {"a": (5, 9)}), theta)
    assert (gradient >= 0).all()


def test_l_sp_presses_losers_alone():
    a = torch.tensor([0.05, 0.5, 0.3, 1.2], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([0.31, 0.2], dtype=torch.float64, requires_grad=True)
    # Not a matter of the score alone: b's matrix keeps a lower one than a loses.
    losers = {"a": torch.tensor([True, False, True, False]), "b": torch.tensor([True, False])}
    loss = sparsity_loss({"a": a, "b": b}, SHAPES, losers)
    assert float(loss.detach()) == pytest.approx((14 * 0.35 + 11 * 0.31) / 73)
    loss.backward()
    torch.testing.assert_close(a.grad, torch.tensor([14.0, 0, 14, 0]).double() / 73)
    torch.testing.assert_close(b.grad, torch.tensor([11.0, 0]).double() / 73)


def test_l_sp_gradient():
    a = (normal(5).abs() + 0.2).requires_grad_()
    assert gradcheck(lambda a: sparsity_loss({"a": a}, {"a": (5, 9)}, {"a": a.detach() < 0.6}), a, eps=1e-6, atol=1e-6)


# ---- the layer ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", ["output", "none", "spectrum"])
def test_the_layer_is_the_formula(factors, offset: str):
    """U ((sigma s hold) V^T x) + b + d; with d inside the spectrum (sigma s + d) hold."""
    factor = factors()["model.layers.0.self_attn.k_proj"]
    p, (m, n) = len(factor.sigma), factor.shape
    layer = ScoredLinear(factor, SCORE_FUNCTIONS["sig2"], normal(m), offset)
    layer.theta.data, layer.hold[:] = normal(p, seed=1), torch.linspace(0, 1, p)
    gain = factor.sigma * 2 * torch.sigmoid(layer.theta)
    out = normal(m)
    if offset == "output":
        layer.deviation.data = normal(m, seed=2)
        out = out + layer.deviation
    if offset == "spectrum":
        layer.deviation.data = normal(p, seed=2)
        gain = gain + layer.deviation
    x = normal(2, 3, n, seed=3)
    weight = factor.left @ torch.diag(gain * layer.hold) @ factor.right
    torch.testing.assert_close(layer(x), x @ weight.T + out)


def test_a_probe_sees_what_an_absent_component_would_do(factors):
    """The output is that without it; the gradient of its score is that with it."""
    factor = factors()["model.layers.0.self_attn.k_proj"]
    layer = ScoredLinear(factor, SCORE_FUNCTIONS["raw"], None, "none")
    layer.theta.data = 1 + 0.2 * normal(len(factor.sigma), seed=1)
    layer.hold[::2] = 0
    x, wanted = normal(7, factor.shape[1]), normal(7, factor.shape[0], seed=4)
    silent = layer(x)
    (without,) = torch.autograd.grad((silent * wanted).sum(), layer.theta)
    layer.probe = True
    torch.testing.assert_close(layer(x), silent)
    (gradient,) = torch.autograd.grad((layer(x) * wanted).sum(), layer.theta)
    expected = factor.sigma * ((x @ factor.right.T) * (wanted @ factor.left)).sum(0)
    torch.testing.assert_close(gradient, expected)
    assert (without[::2] == 0).all()
    torch.testing.assert_close(without[1::2], gradient[1::2])
