"""The layer that is trained: two skinny products with a spectrum between them, never a dense weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import nn
from torch.nn.functional import linear as apply_linear

from backends.lm.rebuild import rebuild
from backends.soco.scores import ScoreFunction
from backends.soco.spectra import Factor

Offset = Literal["output", "none", "spectrum"]


class ScoredLinear(nn.Module):
    """y = U ((sigma * s * hold) * (V^T x)) + b + d, or with `offset="spectrum"` (sigma * s + d) * hold inside.

    theta (p,) and deviation (m,), or (p,), are trained. hold (p,) is 1 for a component that is in, 0 for one that is
    out and in between while one is phased out; with `probe` an absent component gets the gradient it would have if in.
    """

    def __init__(self, factor: Factor, score: ScoreFunction, bias: torch.Tensor | None, offset: Offset) -> None:
        super().__init__()
        self.score, self.offset = score, offset
        self.register_buffer("left", factor.left, persistent=False)
        self.register_buffer("sigma", factor.sigma, persistent=False)
        self.register_buffer("right", factor.right, persistent=False)
        self.register_buffer("bias", bias, persistent=False)
        self.register_buffer("hold", torch.ones_like(factor.sigma), persistent=False)
        self.theta = nn.Parameter(torch.full_like(factor.sigma, score.start))
        if offset != "none":
            self.deviation = nn.Parameter(torch.zeros_like(factor.left[:, 0] if offset == "output" else factor.sigma))
        self.probe = False

    def scores(self) -> torch.Tensor:
        """(p,), with gradient to theta."""
        s = self.score.value(self.theta)
        return s + self.deviation / self.sigma.clamp_min(1e-12) if self.offset == "spectrum" else s

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.scores()
        held = s * self.hold + (s - s.detach()) * (1 - self.hold) if self.probe else s * self.hold
        y = apply_linear(apply_linear(x, self.right) * (self.sigma * held), self.left, self.bias)
        return y + self.deviation if self.offset == "output" else y


def scored_model(
    model: nn.Module, factors: Mapping[str, Factor], score: ScoreFunction, offset: Offset = "output"
) -> tuple[nn.Module, dict[str, ScoredLinear]]:
    """A private copy of `model` with a ScoredLinear for each projection; only thetas and deviations are trainable."""
    layers: dict[str, ScoredLinear] = {}

    def replacement(name: str, linear: nn.Linear) -> ScoredLinear:
        factor = factors[name].to(linear.weight.dtype, linear.weight.device)
        layers[name] = ScoredLinear(factor, score, linear.bias, offset)
        return layers[name]

    copy = rebuild(model, replacement)
    for name, parameter in copy.named_parameters():
        if not name.endswith((".theta", ".deviation")) and parameter.requires_grad:
            raise ValueError("the shared model must be frozen before it is scored")
    return copy, layers
