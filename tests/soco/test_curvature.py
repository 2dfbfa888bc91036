"""Statistics and importances against brute force, and the exchange that follows them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from backends.lm.load import fingerprint
from backends.lm.rebuild import projections
from backends.runtime.seeds import generator
from backends.soco.budget import allowance, by_importance, matrix_cost, uniform
from backends.soco.curvature import _Signal, dec_weights, exchange, train_selection, two_sided_importance
from backends.soco.knots import HISTORY, Knot
from backends.soco.layers import scored_model
from backends.soco.rescale import Trainee, make_optimiser, slice_to, spectrum_of, train_kept
from backends.soco.scores import SCORE_FUNCTIONS, increase_loss
from backends.soco.settings import SocoTraining
from backends.soco.statistics import collect, component_fisher
from tests.fakes.language import KINDS, random_tokens

BATCH = 8  # windows that the statistics take at once: labels are drawn batch by batch
SETTINGS = SocoTraining(method="soco-w", steps=20, batch=2, removed=40, exchange_every=4, exchange_until=0.6)


def drawn_labels(model: torch.nn.Module, windows: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The labels that the statistics sample for these windows, (windows, time)."""
    draw, rows = generator(seed), []
    for part in windows.split(BATCH):
        with torch.no_grad():
            p = model(input_ids=part).logits.float().softmax(-1)
        rows.append(torch.multinomial(p.flatten(0, 1), 1, generator=draw).view(part.shape))
    return torch.cat(rows)


def log_likelihood(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.log_softmax(-1).gather(-1, labels[..., None]).sum()


# ---- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_component_fisher_is_the_square_of_each_sequences_gradient(models, factors, kind: str):
    """One backward pass a sequence through the scored layers, by autograd alone."""
    lm, made, windows = models(kind), factors(kind, "whitened"), random_tokens(BATCH + 2, 7, seed=3)
    labels = drawn_labels(lm.model, windows)
    copy, layers = scored_model(lm.model, made, SCORE_FUNCTIONS["raw"], "none")
    expected = {n: torch.zeros_like(layer.theta) for n, layer in layers.items()}
    for row, label in zip(windows, labels, strict=True):
        total = log_likelihood(copy(input_ids=row[None]).logits, label[None])
        gradients = torch.autograd.grad(total, [layer.theta for layer in layers.values()])
        for name, gradient in zip(layers, gradients, strict=True):
            expected[name] += gradient**2 / windows.numel()
    fisher = component_fisher(lm.model, made, windows)
    for name in layers:
        torch.testing.assert_close(fisher[name], expected[name], rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_gram_and_curvature_are_means_of_outer_products(models, factors, kind: str):
    """Inputs and output gradients read off with hooks of the test's own, one sequence at a time."""
    lm, windows = models(kind), random_tokens(BATCH + 2, 7, seed=4)
    labels = drawn_labels(lm.model, windows)
    copy, layers = scored_model(lm.model, factors(kind), SCORE_FUNCTIONS["raw"], "output")
    grams, curvatures, inputs = {}, {}, {}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _m, args, out, name=name: inputs.update({name: (args[0][0].detach(), out)}))
    for row, label in zip(windows, labels, strict=True):
        total = log_likelihood(copy(input_ids=row[None]).logits, label[None])
        outs = torch.autograd.grad(total, [out for _, out in inputs.values()])
        for (name, (x, _)), g in zip(inputs.items(), outs, strict=True):
            grams[name] = grams.get(name, 0) + x.T @ x / windows.numel()
            curvatures[name] = curvatures.get(name, 0) + g[0].T @ g[0] / windows.numel()
    made = collect(lm.model, windows)
    assert made.tokens == windows.numel()
    for name in layers:
        torch.testing.assert_close(made.gram(name), grams[name], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(made.curvatures[name], curvatures[name], rtol=1e-7, atol=1e-10)


def test_inputs_that_are_shared_are_counted_once(statistics):
    made = statistics()
    groups: dict[str, set[str]] = {}
    for name, source in made.source_of.items():
        groups.setdefault(source, set()).add(name.rsplit(".", 1)[1])
    by_layer = [{"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"gate_proj", "up_proj"}, {"down_proj"}]
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, by_layer * 2))
    assert set(made.grams) == set(groups)


def test_statistics_leave_the_model_alone(models):
    lm = models("qwen2", torch.float32)
    before = fingerprint(lm.model)
    without = collect(lm.model, random_tokens(3, 9), curvature=False)
    with_gradients = collect(lm.model, random_tokens(3, 9))
    assert without.curvatures == {}
    assert all(torch.equal(without.grams[n], g) for n, g in with_gradients.grams.items())
    assert fingerprint(lm.model) == before
    assert all(not m._forward_hooks and m.weight.grad is None for m in projections(lm.model).values())


def test_statistics_are_seeded(models):
    lm, windows = models("llama", torch.float32), random_tokens(4, 9)
    first, again, other = (collect(lm.model, windows, seed) for seed in (1, 1, 2))
    name = next(iter(first.curvatures))
    assert torch.equal(first.curvatures[name], again.curvatures[name])
    assert not torch.equal(first.curvatures[name], other.curvatures[name])
    assert torch.equal(first.gram(name), other.gram(name))


class Meter:
    """KL from the dense model, nats a token, on the windows that the statistics saw."""

    def __init__(self, lm, factors: dict) -> None:
        self.tokens = random_tokens(16, 24, seed=1)
        self.copy, self.layers = scored_model(lm.model, factors, SCORE_FUNCTIONS["raw"], "none")
        with torch.no_grad():
            self.dense = lm.model(input_ids=self.tokens).logits

    @torch.no_grad()
    def with_score(self, name: str, i: int, score: float) -> float:
        """With one component's score changed."""
        self.layers[name].theta[i] = score
        kl = float(increase_loss(self.copy(input_ids=self.tokens).logits, self.dense))
        self.layers[name].theta[i] = 1
        return kl


def some_components(factors: dict, count: int) -> list[tuple[str, int]]:
    rng = np.random.default_rng(0)
    return [(n, int(i)) for n, f in factors.items() for i in rng.permutation(len(f.sigma))[:count]]


def test_fisher_predicts_the_kl_of_a_small_change(models, factors):
    """KL = F ds^2 / 2 a token: the sampled F is within its own noise of the measured curvature."""
    lm, made = models(), factors("llama", "whitened")
    meter, windows = Meter(lm, made), random_tokens(16, 24, seed=1)
    runs = [component_fisher(lm.model, made, windows, seed) for seed in range(30)]
    places = some_components(made, 2)
    predicted = np.array([np.mean([float(r[n][i]) for r in runs]) for n, i in places])
    measured = [(meter.with_score(n, i, 1.001) + meter.with_score(n, i, 0.999)) / 1e-6 for n, i in places]
    # The relative error of a mean of 480 squares of normal numbers is sqrt(2 / 480) = 6.5 %.
    np.testing.assert_allclose(predicted, measured, rtol=0.26)
    assert np.mean(predicted / measured) == pytest.approx(1, abs=0.05)


def test_two_sided_importance_orders_what_dropping_costs(models, factors):
    """sigma^2 / 2 against the KL of leaving one component out, over all matrices."""
    made = factors("llama", "two-sided")
    importance, meter = two_sided_importance(made), Meter(models(), made)
    places = some_components(made, 5)
    predicted = [float(importance[n][i]) for n, i in places]
    measured = [meter.with_score(n, i, 0) for n, i in places]
    assert min(measured) > 0
    assert spearmanr(predicted, measured).statistic > 0.5
    assert 0.2 < np.median(np.array(predicted) / measured) < 5  # nats, not only an order


def test_two_sided_importance_is_half_the_square(factors):
    made = factors("llama", "two-sided", torch.float32)
    for name, importance in two_sided_importance(made).items():
        np.testing.assert_allclose(importance, made[name].sigma.double().numpy() ** 2 / 2, rtol=1e-12)


def test_weights_of_l_dec_press_the_unimportant_harder(factors):
    made = factors()
    shapes = {n: f.shape for n, f in made.items()}
    rng = np.random.default_rng(0)
    importance = {n: torch.from_numpy(10 ** rng.uniform(-9, 3, len(f.sigma))) for n, f in made.items()}
    weights = dec_weights(importance, shapes, 0.4)
    masks = by_importance({n: i.numpy() for n, i in importance.items()}, shapes, 0.4, True)
    for name, w in weights.items():
        assert ((w >= 1e-3 * 0.999) & (w <= 10)).all()
        order = importance[name].argsort()
        assert (w[order].diff() <= 0).all()
    free = [(n, (weights[n] > 1e-3) & (weights[n] < 10)) for n in shapes]
    prices = [weights[n][f].double() * importance[n][f] / sum(shapes[n]) for n, f in free]
    price = torch.cat(prices)
    torch.testing.assert_close(price, price[0].expand_as(price), rtol=1e-5, atol=0)
    smallest = [float(importance[n][torch.from_numpy(masks[n])].min()) / sum(shapes[n]) for n in shapes]
    assert float(price[0]) == pytest.approx(np.median(smallest), rel=1e-5)


# ---- the exchange ---------------------------------------------------------------------------------------------------


class Noise:
    """A layer whose s dKL/ds is what the test says."""

    def __init__(self, values: torch.Tensor) -> None:
        self.theta = torch.ones_like(values).requires_grad_()
        self.theta.grad = values

    def scores(self) -> torch.Tensor:
        return self.theta


def test_a_steady_signal_is_believed_and_noise_is_not():
    signal, draw = _Signal(), generator(0)
    for _ in range(100):
        noise = torch.randn(400, generator=draw)
        signal.add({"steady": Noise(torch.full((3,), -0.7)), "noise": Noise(noise), "both": Noise(noise + 2)})
    torch.testing.assert_close(signal.shrunk("steady"), torch.full((3,), -0.7), rtol=1e-4, atol=0)
    raw = signal.mean["noise"] / (1 - 0.97**100)
    assert (signal.shrunk("noise") == 0).float().mean() > 0.7  # P(|z| < sqrt 2) = 0.84
    assert (signal.shrunk("noise").abs() <= raw.abs()).all()
    assert float(signal.shrunk("both").mean()) == pytest.approx(2, abs=0.1)


def test_the_running_mean_has_no_bias_from_its_start():
    signal = _Signal(decay=0.9)
    values = [torch.tensor([float(v)]) for v in (3, 1, 4, 1, 5)]
    for value in values:
        signal.add({"a": Noise(value)})
    weights = np.array([0.9 ** (4 - i) for i in range(5)])
    mean = float((weights * [3, 1, 4, 1, 5]).sum() / weights.sum())
    spread = float((weights * np.square([3, 1, 4, 1, 5])).sum() / weights.sum()) - mean**2
    variance = spread * float((weights**2).sum() / weights.sum() ** 2)  # of a weighted mean
    expected = mean * max(0, 1 - 2 * variance / mean**2)
    assert float(signal.shrunk("a")) == pytest.approx(expected, rel=1e-4)


def trainee_of(models, factors, settings: SocoTraining, basis: str = "whitened", dtype=torch.float32) -> Trainee:
    lm, made = models("llama", dtype), factors("llama", basis, dtype)
    copy, layers = scored_model(lm.model, made, SCORE_FUNCTIONS["raw"], settings.deviation)
    return Trainee(copy, layers, make_optimiser(layers, settings), settings)


def spent(kept: dict, shapes: dict) -> int:
    return sum(matrix_cost(int(k.sum()), shapes[n]) for n, k in kept.items())


def first_choice(models, factors, poor: bool) -> tuple[dict, dict]:
    """Half the Fisher information, and the components that it chooses; `poor`: those it would choose last."""
    lm, made = models("llama", torch.float32), factors("llama", "whitened", torch.float32)
    fisher = {n: 0.5 * f for n, f in component_fisher(lm.model, made, random_tokens(16, 16, seed=2)).items()}
    worth = {n: 1 / f.numpy() if poor else f.numpy() for n, f in fisher.items()}
    masks = by_importance(worth, {n: f.shape for n, f in made.items()}, 0.4, True)
    return fisher, {n: torch.from_numpy(m) for n, m in masks.items()}


def exchanged(models, factors, pool, poor: bool):
    """Yields (trainee, kept, moved, loss) after each step of an exchange."""
    fisher, kept = first_choice(models, factors, poor)
    trainee = trainee_of(models, factors, SETTINGS)
    shapes = {n: f.shape for n, f in factors().items()}
    for _, loss, now, moved in exchange(trainee, pool(), kept, fisher, shapes, 12):
        yield trainee, now, moved, loss


@pytest.mark.parametrize("poor", [False, True])
def test_the_exchange_keeps_to_the_budget_at_every_step(models, factors, pool, poor: bool):
    shapes = {n: f.shape for n, f in factors().items()}
    allowed = allowance(shapes, 0.4, True)
    total = 0
    for step, (trainee, kept, moved, loss) in enumerate(exchanged(models, factors, pool, poor)):
        assert allowed - max(map(sum, shapes.values())) < spent(kept, shapes) <= allowed
        assert np.isfinite(loss)
        assert moved == (0, 0) or (step + 1) % SETTINGS.exchange_every == 0
        for name, layer in trainee.layers.items():
            assert torch.equal(layer.hold, kept[name].to(layer.hold))
        total += sum(moved)
    assert step == 11
    assert total > 0 or not poor


def test_a_dropped_score_waits_at_its_last_value(models, factors, pool):
    """Neither its own gradient nor what Adam remembers of it moves a component that is out."""
    before, out, waited = None, {}, 0
    for trainee, kept, _moved, _loss in exchanged(models, factors, pool, poor=True):
        now = {n: layer.theta.detach().clone() for n, layer in trainee.layers.items()}
        if before is not None:
            for name, gone in out.items():
                assert torch.equal(now[name][gone], before[name][gone])
                waited += int((now[name][gone] != 1).sum())
        before, out = now, {n: ~k for n, k in kept.items()}
    assert waited > 0, "components that were trained and then dropped"


def test_a_poor_choice_is_mended(models, factors, pool):
    """From the least important components, the exchange ends lower than training alone after as many steps."""
    with_exchange = [loss for *_, loss in exchanged(models, factors, pool, poor=True)]
    trainee = trainee_of(models, factors, SETTINGS.model_copy(update={"steps": 12}))
    alone = [loss for _, loss in train_kept(slice_to(trainee, first_choice(models, factors, True)[1]), pool())]
    assert with_exchange[0] == pytest.approx(alone[0], rel=1e-4)
    assert np.mean(with_exchange[-3:]) < np.mean(alone[-3:])


# ---- cutting and training -------------------------------------------------------------------------------------------


def test_slicing_keeps_outputs_and_momenta(models, factors, pool):
    settings = SETTINGS
    trainee = trainee_of(models, factors, settings, dtype=torch.float64)
    for _ in train_kept(trainee, pool("llama", torch.float64), first_step=17):
        pass
    kept = {n: torch.arange(len(la.theta)) % 3 != 1 for n, la in trainee.layers.items()}
    for name, layer in trainee.layers.items():
        layer.hold.copy_(kept[name].to(layer.hold))
    tokens = random_tokens(2, 10, seed=8)
    with torch.no_grad():
        before = trainee.model(input_ids=tokens).logits
    states = {n: trainee.optimiser.state[la.theta] for n, la in trainee.layers.items()}
    states = {n: {k: v.clone() for k, v in s.items()} for n, s in states.items()}
    offsets = {n: trainee.optimiser.state[la.deviation]["exp_avg"].clone() for n, la in trainee.layers.items()}
    sliced = slice_to(trainee, kept)
    with torch.no_grad():
        torch.testing.assert_close(sliced.model(input_ids=tokens).logits, before, rtol=0, atol=1e-10)
    for name, layer in sliced.layers.items():
        assert layer.left.shape[1] == layer.right.shape[0] == len(layer.theta) == int(kept[name].sum())
        state = sliced.optimiser.state[layer.theta]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert torch.equal(state[moment], states[name][moment][kept[name]])
        assert state["step"] == 3
        assert torch.equal(sliced.optimiser.state[layer.deviation]["exp_avg"], offsets[name])
    spectrum = spectrum_of(sliced, kept, "whitened")
    for name, layer in sliced.layers.items():
        assert torch.equal(spectrum.scores[name][kept[name]], layer.theta.detach())
        assert (spectrum.scores[name][~kept[name]] == 0).all()


def test_training_alone_lowers_the_loss(models, factors, pool):
    """The fair control: kept components at uniform rank, scores and offsets trained."""
    settings = SETTINGS.model_copy(update={"method": "control", "steps": 30})
    trainee = trainee_of(models, factors, settings)
    shapes = {n: f.shape for n, f in factors().items()}
    kept = {n: torch.from_numpy(m) for n, m in uniform(shapes, 0.4, True).items()}
    losses = [loss for _, loss in train_kept(slice_to(trainee, kept), pool())]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


@pytest.mark.parametrize("method", ["soco-k", "soco-w", "control"])
@pytest.mark.parametrize("deviation", ["output", "none", "spectrum"])
def test_every_method_ends_in_a_knot_within_the_budget(models, factors, pool, method: str, deviation: str):
    basis = {"soco-k": "two-sided"}.get(method, "whitened")
    lm, made = models("llama", torch.float32), factors("llama", basis, torch.float32)
    shapes = {n: f.shape for n, f in made.items()}
    settings = SocoTraining.model_validate(
        SETTINGS.model_dump() | {"method": method, "deviation": deviation, "steps": 10}
    )
    importance = None
    if method == "soco-k":
        importance = two_sided_importance(made)
    elif method == "soco-w":
        importance = {n: 0.5 * f for n, f in component_fisher(lm.model, made, random_tokens(8, 16, seed=2)).items()}
    *told, knot = train_selection(lm, made, basis, pool(), settings, importance)
    assert isinstance(knot, Knot)
    assert len(told) == len(knot.history) == 10
    has_d = deviation == "output"
    allowed = allowance(shapes, 0.4, has_d)
    assert allowed - max(map(sum, shapes.values())) < spent(knot.spectrum.kept, shapes) <= allowed
    removed = knot.history[:, HISTORY.index("removed")]
    assert ((removed >= 0.4 - 1e-9) & (removed < 0.42)).all()  # from the first step to the last
    if method != "soco-w":
        worth = importance and {n: i.numpy() for n, i in importance.items()}
        chosen = by_importance(worth, shapes, 0.4, has_d) if worth else uniform(shapes, 0.4, has_d)
        assert all((knot.spectrum.kept[n].numpy() == m).all() for n, m in chosen.items())
    for name, scores in knot.spectrum.scores.items():
        assert (scores[~knot.spectrum.kept[name]] == 0).all()
        assert (knot.importance[name][knot.spectrum.kept[name]] > -60).all()
