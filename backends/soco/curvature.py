r"""Ours: measured curvature decides where rank goes, training rescales and repairs. Not the paper's.

SoCo+K  two-sided basis; a component's importance is sigma^2 / 2, already in nats: F_i = sigma_i^2.
SoCo+W  whitened basis; importance F_i / 2 from the diagonal Fisher information.

What is kept is trained, and in the first part of the training components are exchanged by

    kept  I_i = F_i s_i^2 / 2 - a_i      dropped  I_i = -F_i s_i^2 / 2 - a_i      a_i = EMA[ s_i dKL/ds_i ], shrunk

a_i is mostly noise from single batches, so it counts only as far as it exceeds its own standard error.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from backends.lm.load import LanguageModel
from backends.runtime.steps import Step
from backends.soco.budget import Shapes, by_importance, uniform
from backends.soco.knots import Knot, to_log2
from backends.soco.layers import ScoredLinear, scored_model
from backends.soco.pool import Pool
from backends.soco.rescale import Told, Trainee, finish, kl_step, make_optimiser, slice_to, spectrum_of
from backends.soco.scores import SCORE_FUNCTIONS
from backends.soco.settings import SocoTraining
from backends.soco.spectra import Basis, Factor
from backends.soco.stages import ratio_of

Importance = dict[str, torch.Tensor]


def two_sided_importance(factors: dict[str, Factor]) -> Importance:
    """Predicted loss of dropping each component, nats a token: sigma^2 / 2 in the two-sided basis."""
    return {n: 0.5 * f.sigma.double() ** 2 for n, f in factors.items()}


def dec_weights(importance: Importance, shapes: Shapes, ratio: float) -> dict[str, torch.Tensor]:
    """Ours, for L_dec: press each score against its measured price instead of all alike.

    w_i = clip(price c / I_i, 1e-3, 10), price: median over matrices of the smallest kept I / c at the target ratio.
    """
    arrays = {n: i.cpu().numpy() for n, i in importance.items()}
    kept = by_importance(arrays, shapes, ratio, True)
    price = float(np.median([arrays[n][kept[n]].min() / sum(shapes[n]) for n in shapes]))
    return {n: (price * sum(shapes[n]) / i.clamp_min(1e-30)).clamp(1e-3, 10).float() for n, i in importance.items()}


def train_selection(
    lm: LanguageModel,
    factors: dict[str, Factor],
    basis: Basis,
    pool: Pool,
    settings: SocoTraining,
    importance: Importance | None,
) -> Iterator[Step | Knot]:
    """Select by importance and exchange, or uniformly without one; then train s and d of what is kept by L_inc."""
    shapes = {n: f.shape for n, f in factors.items()}
    ratio, has_d = settings.removed / 100, settings.deviation == "output"
    arrays = None if importance is None else {n: i.cpu().numpy() for n, i in importance.items()}
    masks = uniform(shapes, ratio, has_d) if arrays is None else by_importance(arrays, shapes, ratio, has_d)
    kept = {n: torch.from_numpy(m) for n, m in masks.items()}
    model, layers = scored_model(lm.model, factors, SCORE_FUNCTIONS["raw"], settings.deviation)
    trainee = Trainee(model, layers, make_optimiser(layers, settings), settings)
    told = Told(settings.steps)
    first = 0
    if importance is not None:
        first = int(settings.exchange_until * settings.steps)
        for step, loss, kept, moved in exchange(trainee, pool, dict(kept), importance, shapes, first):  # noqa: B020
            row = (2, loss, 0.0, 0.0, 0.0, ratio_of(kept, shapes, has_d), *moved)
            yield told.step(step, f"exchanging, {sum(moved)} moved, L_inc {loss:.4f} nats", row)
    trainee = slice_to(trainee, kept)
    at_end = ratio_of(kept, shapes, has_d)
    yield from finish(trainee, pool, first, at_end, told, "training what is kept")
    spectrum = spectrum_of(trainee, kept, basis)
    if importance is None:
        price = {n: (s.abs() > 0).float() for n, s in spectrum.scores.items()}
    else:
        price = {n: importance[n] * spectrum.scores[n].cpu().double() ** 2 for n in importance}
    facts = {"selection": "uniform" if importance is None else "importance"}
    yield Knot(spectrum, to_log2(price), np.array(told), facts)


class _Signal:
    """Running mean of s dKL/ds of every component, shrunk by its own uncertainty."""

    def __init__(self, decay: float = 0.97) -> None:
        self.decay, self.count = decay, 0
        self.mean: dict[str, torch.Tensor] = {}
        self.square: dict[str, torch.Tensor] = {}

    def add(self, layers: dict[str, ScoredLinear]) -> None:
        self.count += 1
        for name, layer in layers.items():
            a = (layer.scores() * layer.theta.grad).detach()  # raw scores: theta is s
            for store, value in ((self.mean, a), (self.square, a * a)):
                store[name] = value * (1 - self.decay) + self.decay * store.get(name, torch.zeros_like(value))

    def shrunk(self, name: str) -> torch.Tensor:
        """a max(0, 1 - 2 var / a^2), with the variance of an exponential mean of `count` terms."""
        b, bias = self.decay, 1 - self.decay**self.count
        mean, square = self.mean[name] / bias, self.square[name] / bias
        variance = (square - mean**2).clamp_min(0) * (1 - b) / (1 + b) / bias * (1 + b**self.count)
        return mean * (1 - 2 * variance / (mean**2).clamp_min(1e-30)).clamp_min(0)


def exchange(
    trainee: Trainee, pool: Pool, kept: dict[str, torch.Tensor], fisher_half: Importance, shapes: Shapes, until: int
) -> Iterator[tuple[int, float, dict[str, torch.Tensor], tuple[int, int]]]:
    """Train while the kept set is revised, the budget exact at each step; yields (step, loss, kept, moved)."""
    settings, signal = trainee.settings, _Signal()
    _hold(trainee, kept)
    for layer in trainee.layers.values():
        layer.probe = True
    for step in range(until):
        trainee.step_rates(step)
        loss = kl_step(trainee, pool, step)
        trainee.optimiser.zero_grad()
        loss.backward()
        signal.add(trainee.layers)
        for name, layer in trainee.layers.items():
            layer.theta.grad *= kept[name].to(layer.theta.grad)  # a dropped score waits at its last value
        torch.nn.utils.clip_grad_norm_([p for g in trainee.optimiser.param_groups for p in g["params"]], 1.0)
        trainee.optimiser.step()
        moved = (0, 0)
        if (step + 1) % settings.exchange_every == 0:
            revised = _revise(trainee, kept, fisher_half, signal, shapes)
            moved = (
                sum(int((kept[n] & ~revised[n]).sum()) for n in kept),
                sum(int((~kept[n] & revised[n]).sum()) for n in kept),
            )
            kept = revised
            _hold(trainee, kept)
        yield step, float(loss.detach()), kept, moved


def _hold(trainee: Trainee, kept: dict[str, torch.Tensor]) -> None:
    for name, layer in trainee.layers.items():
        layer.hold.copy_(kept[name].to(layer.hold))
        if layer.theta in trainee.optimiser.state:  # what Adam remembers would move a score that is out
            trainee.optimiser.state[layer.theta]["exp_avg"] *= layer.hold


def _revise(trainee, kept, fisher_half, signal: _Signal, shapes: Shapes) -> dict[str, torch.Tensor]:
    importance = {}
    for name, layer in trainee.layers.items():
        curve = fisher_half[name].to(layer.theta) * layer.scores().detach() ** 2
        sign = torch.where(kept[name].to(curve.device), 1.0, -1.0)
        importance[name] = (sign * curve - signal.shrunk(name)).double().cpu().numpy()
    # by_importance wants non-negative worths; a negative one is never worth its price.
    masks = by_importance(
        {n: np.maximum(i, 0) for n, i in importance.items()},
        shapes,
        trainee.settings.removed / 100,
        trainee.settings.deviation == "output",
    )
    return {n: torch.from_numpy(m) for n, m in masks.items()}
