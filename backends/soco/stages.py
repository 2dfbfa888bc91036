r"""SoCo's one continuous run in three stages (arXiv 2502.15092). What no source tells is a switch of SocoTraining.

    stage 1  explore   L_inc + lambda L_dec                          until the hard ratio R_now first reaches R
    stage 2  refine    L_inc + lambda 1[R_now < R] L_dec             pressure off at R: what was over-pruned revives
    stage 3  decide    L_inc + lambda_sp L_sp, losers phased out     then the kept scores and d alone

R_now = removed share if every component with a score below the threshold were dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from backends.lm.load import LanguageModel
from backends.runtime.steps import Step
from backends.soco.budget import Shapes, by_score, removed
from backends.soco.knots import Knot, to_log2
from backends.soco.layers import scored_model
from backends.soco.pool import Pool
from backends.soco.rescale import Told, Trainee, finish, kl_step, make_optimiser, slice_to, spectrum_of
from backends.soco.scores import SCORE_FUNCTIONS, decrease_loss, sparsity_loss
from backends.soco.settings import SocoTraining
from backends.soco.spectra import Basis, Factor

DEAD_BAND = 0.002  # of the ratio, within which stage 2 leaves the pressure as it is
THETA_LIMIT = 4.5  # keeps killed scores revivable: the sigmoid's slope vanishes beyond


def dead_band_pressure(now: float, target: float, was_on: bool) -> bool:
    """Stage 2's switch: off at or above the target, on again once the ratio has drifted below the band."""
    if now >= target:
        return False
    return True if now < target - DEAD_BAND else was_on


def next_pressure(pressure: float, now: float, leading: float, target: float, growth: float) -> float:
    """lambda of L_dec: grows while what is leaving falls short of the target, more gently near it, else relaxes."""
    if now >= target:
        return max(1e-3, pressure * 0.97)
    if leading >= target:
        return pressure
    near = leading > target - 0.05
    return min(300.0, pressure * (1 + (growth - 1) / 6 if near else growth))


@dataclass
class _Ratio:
    """Hard ratios of the current scores."""

    shapes: Shapes
    deviation: bool
    prefix: bool

    def masks(self, scores: dict[str, np.ndarray], threshold: float) -> dict[str, np.ndarray]:
        kept = {n: s > threshold for n, s in scores.items()}
        if self.prefix:
            kept = {n: np.arange(len(k)) < k.sum() for n, k in kept.items()}
        return kept

    def removed(self, scores: dict[str, np.ndarray], threshold: float) -> float:
        return removed(self.masks(scores, threshold), self.shapes, self.deviation)


def three_stages(
    lm: LanguageModel,
    factors: dict[str, Factor],
    basis: Basis,
    pool: Pool,
    settings: SocoTraining,
    weights: dict[str, torch.Tensor] | None = None,
) -> Iterator[Step | Knot]:
    """Yields a step with its row of the history, and at last the knot. `weights`: of L_dec, ours (see curvature.py)."""
    shapes = {n: f.shape for n, f in factors.items()}
    target, has_d = settings.removed / 100, settings.deviation == "output"
    model, layers = scored_model(lm.model, factors, SCORE_FUNCTIONS[settings.score], settings.deviation)
    trainee = Trainee(model, layers, make_optimiser(layers, settings), settings)
    ratio = _Ratio(shapes, has_d, settings.selection == "prefix")
    told = Told(settings.steps)
    pressure, pressing, stage = settings.pressure, True, 1
    explore_end, refine_end = int(settings.explore * settings.steps), int(settings.refine * settings.steps)
    harden_end = refine_end + int(settings.harden * (settings.steps - refine_end))
    kept_before = ratio.masks(_numpy(trainee.scores()), settings.threshold)
    for step in range(harden_end):
        trainee.step_rates(step)
        scores = _numpy(trainee.scores())
        now = ratio.removed(scores, settings.threshold)
        leading = ratio.removed(scores, settings.look_ahead) if settings.look_ahead else now
        if stage == 1 and (now >= target or step >= explore_end):
            stage = 2
        if stage < 3 and step >= refine_end:
            stage = 3
        if stage == 1:
            pressure = next_pressure(pressure, now, leading, target, settings.growth)
            pressing = True
        else:
            pressing = dead_band_pressure(now, target, pressing)
        if stage == 3:
            winners = _winners(scores, shapes, target, has_d, settings)
            _phase_out(trainee, winners, (step - refine_end + 1) / max(1, harden_end - refine_end))
        parts = _losses(trainee, pool, step, shapes, settings, weights, stage)
        loss = parts["L_inc"]
        if pressing:
            loss = loss + pressure * parts["L_dec"]
        if stage == 3:
            loss = loss + (5 + 15 * (step - refine_end) / max(1, harden_end - refine_end)) * parts["L_sp"]
        _apply(trainee, loss)
        kept = ratio.masks(_numpy(trainee.scores()), settings.threshold)
        killed = sum(int((kept_before[n] & ~kept[n]).sum()) for n in kept)
        revived = sum(int((~kept_before[n] & kept[n]).sum()) for n in kept)
        kept_before = kept
        values = [float(parts[k].detach()) for k in ("L_inc", "L_dec", "L_sp")]
        row = (stage, *values, pressure if pressing else 0.0, now, killed, revived)
        yield told.step(step, f"stage {stage}, {100 * now:.1f} % removed, L_inc {values[0]:.4f} nats", row)
    scores = _numpy(trainee.scores())
    final = {n: torch.from_numpy(m) for n, m in _winners(scores, shapes, target, has_d, settings).items()}
    for layer in layers.values():
        layer.hold.fill_(1.0)
    trainee = slice_to(trainee, final)
    at_end = ratio_of(final, shapes, has_d)
    yield from finish(trainee, pool, harden_end, at_end, told, "stage 3, fine-tuning what is kept")
    spectrum = spectrum_of(trainee, final, basis)
    # What would go next: the lowest final score; times its cost, because pruning divides by it.
    importance = {n: s.abs() * sum(shapes[n]) for n, s in spectrum.scores.items()}
    yield Knot(spectrum, to_log2(importance), np.array(told), {"selection": "scores"})


def _numpy(scores: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {n: s.detach().cpu().numpy() for n, s in scores.items()}


def ratio_of(kept: dict[str, torch.Tensor], shapes: Shapes, deviation: bool) -> float:
    return removed({n: k.cpu().numpy() for n, k in kept.items()}, shapes, deviation)


def _winners(scores, shapes: Shapes, target: float, has_d: bool, settings: SocoTraining) -> dict[str, np.ndarray]:
    """The components that fit the budget exactly, by score."""
    masks = by_score(scores, shapes, target, has_d)
    if settings.selection == "prefix":
        masks = {n: np.arange(len(m)) < m.sum() for n, m in masks.items()}
    return masks


def _phase_out(trainee: Trainee, winners: dict[str, np.ndarray], progress: float) -> None:
    for name, layer in trainee.layers.items():
        mask = torch.from_numpy(winners[name]).to(layer.hold)
        layer.hold.copy_(mask + (1 - mask) * (1 - min(1.0, progress)))


def _losses(trainee, pool, step, shapes, settings, weights, stage) -> dict[str, torch.Tensor]:
    scores = trainee.scores()
    losers = {n: layer.hold < 1 for n, layer in trainee.layers.items()}
    return {
        "L_inc": kl_step(trainee, pool, step),
        "L_dec": decrease_loss(scores, shapes, settings.epsilon, weights),
        "L_sp": sparsity_loss(scores, shapes, losers) if stage == 3 else torch.zeros(()),
    }


def _apply(trainee: Trainee, loss: torch.Tensor) -> None:
    trainee.optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for g in trainee.optimiser.param_groups for p in g["params"]], 1.0)
    trainee.optimiser.step()
    if trainee.settings.score in ("sig2", "sig1"):
        with torch.no_grad():
            for layer in trainee.layers.values():
                layer.theta.clamp_(-THETA_LIMIT, THETA_LIMIT)
