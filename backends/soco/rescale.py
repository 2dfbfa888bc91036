"""Train scores and deviation of a kept set: the fair control, and the last part of every method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from backends.runtime.steps import Step
from backends.soco.layers import ScoredLinear
from backends.soco.pool import Pool
from backends.soco.scores import increase_loss
from backends.soco.settings import SocoTraining
from backends.soco.spectra import Basis, Factor, Spectrum


@dataclass
class Trainee:
    """A scored private copy of the model, its layers and their optimiser."""

    model: nn.Module
    layers: dict[str, ScoredLinear]
    optimiser: torch.optim.Adam
    settings: SocoTraining

    def thetas(self) -> dict[str, nn.Parameter]:
        return {n: layer.theta for n, layer in self.layers.items()}

    def scores(self) -> dict[str, torch.Tensor]:
        return {n: layer.scores() for n, layer in self.layers.items()}

    def step_rates(self, step: int) -> None:
        """Warm-up of ten steps, then a cosine to a tenth."""
        total = self.settings.steps
        shape = min(1.0, (step + 1) / 10) * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / total)))
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * shape


def make_optimiser(layers: Mapping[str, ScoredLinear], settings: SocoTraining) -> torch.optim.Adam:
    """Adam without weight decay; scores and deviations have their own rates."""
    deviations = [layer.deviation for layer in layers.values() if layer.offset != "none"]
    groups = [{"params": [layer.theta for layer in layers.values()], "peak": settings.score_lr}]
    if deviations:
        groups.append({"params": deviations, "peak": settings.deviation_lr})
    for group in groups:
        group["lr"] = group["peak"]
    return torch.optim.Adam(groups, betas=(0.9, 0.99))


def kl_step(trainee: Trainee, pool: Pool, step: int) -> torch.Tensor:
    """L_inc of one batch, with its graph."""
    rows, teacher = pool.batch(step, trainee.settings.batch, trainee.settings.seed)
    return increase_loss(trainee.model(input_ids=rows, use_cache=False).logits, teacher)


def slice_to(trainee: Trainee, kept: Mapping[str, torch.Tensor]) -> Trainee:
    """The same training with dead components cut away: smaller products, Adam's moments carried over."""
    old_state = {n: trainee.optimiser.state.get(layer.theta, {}) for n, layer in trainee.layers.items()}
    for name, layer in trainee.layers.items():
        keep = kept[name]
        part = Factor(layer.left, layer.sigma, layer.right).part(keep)
        layer.left, layer.sigma, layer.right, layer.hold = part.left, part.sigma, part.right, layer.hold[keep]
        layer.probe = False
        layer.theta = nn.Parameter(layer.theta.detach()[keep].clone())
        if layer.offset == "spectrum":
            layer.deviation = nn.Parameter(layer.deviation.detach()[keep].clone())
    optimiser = make_optimiser(trainee.layers, trainee.settings)
    for name, layer in trainee.layers.items():
        state = old_state[name]
        if state:
            optimiser.state[layer.theta] = {
                "step": state["step"],
                "exp_avg": state["exp_avg"][kept[name]],
                "exp_avg_sq": state["exp_avg_sq"][kept[name]],
            }  # fmt: skip
        if layer.offset == "output" and layer.deviation in trainee.optimiser.state:
            optimiser.state[layer.deviation] = trainee.optimiser.state[layer.deviation]
    return Trainee(trainee.model, trainee.layers, optimiser, trainee.settings)


def train_kept(trainee: Trainee, pool: Pool, first_step: int = 0) -> Iterator[tuple[int, float]]:
    """L_inc alone from `first_step` to the end; yields (step, loss)."""
    for step in range(first_step, trainee.settings.steps):
        trainee.step_rates(step)
        loss = kl_step(trainee, pool, step)
        trainee.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in trainee.optimiser.param_groups for p in g["params"]], 1.0)
        trainee.optimiser.step()
        yield step, float(loss.detach())


class Told(list):
    """The history of a training, row by row as in knots.HISTORY, and the step that each row is told in."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def step(self, number: int, message: str, row: tuple[float, ...]) -> Step:
        """Keep a row; `partial` of the step is the row."""
        self.append(row)
        return Step((number + 1) / self.steps, message, row)


def finish(trainee: Trainee, pool: Pool, first: int, removed: float, told: Told, what: str) -> Iterator[Step]:
    """Train the kept set from step `first` to the end; every step is told."""
    for step, loss in train_kept(trainee, pool, first):
        yield told.step(step, f"{what}, L_inc {loss:.4f} nats", (3, loss, 0.0, 0.0, 0.0, removed, 0, 0))


def spectrum_of(trainee: Trainee, kept: Mapping[str, torch.Tensor], basis: Basis) -> Spectrum:
    """Read the decision off layers that were sliced to `kept`: full-length vectors, zero where nothing is kept."""
    scores, deviation = {}, {}
    for name, layer in trainee.layers.items():
        full = torch.zeros(len(kept[name]), dtype=layer.theta.dtype, device=layer.theta.device)
        full[kept[name]] = layer.scores().detach()
        scores[name] = full
        if layer.offset == "output":
            deviation[name] = layer.deviation.detach().clone()
    return Spectrum(basis, dict(kept), scores, deviation)
