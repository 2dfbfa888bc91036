r"""What calibration text tells about a model: Gram matrices, output curvature, Fisher information of components.

    G = E[x x^T]      Gamma = E[g g^T]      F_i = E_seq[ (sum_t d log p(y_t) / d s_i)^2 ] / T

x: a projection's input; g: the gradient of log p(y) at its output; y is sampled from the model itself, so these are the
true Fisher information, not the empirical one. With z = V^T x and h = U^T g, d log p / d s_i = sigma_i sum_t z_i h_i.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from backends.lm.rebuild import projections, rebuild
from backends.runtime.gently import breathe
from backends.runtime.seeds import generator
from backends.soco.materialise import Dense
from backends.soco.spectra import Factor


@dataclass(frozen=True)
class Statistics:
    """grams[source] (n, n), curvatures[name] (m, m), float64 means a token; source_of[name] names a shared input."""

    grams: dict[str, torch.Tensor]
    curvatures: dict[str, torch.Tensor]
    source_of: dict[str, str]
    tokens: int

    def gram(self, name: str) -> torch.Tensor:
        return self.grams[self.source_of[name]]


class _Tap:
    """Hooks on every projection that hand out its input and, after backward, the gradient at its output."""

    def __init__(self, model: nn.Module) -> None:
        self.inputs: dict[str, torch.Tensor] = {}
        self.gradients: dict[str, torch.Tensor] = {}
        self._handles = [m.register_forward_hook(self._hook(n)) for n, m in projections(model).items()]

    def _hook(self, name: str):
        def keep(_module, args, output):
            self.inputs[name] = args[0].detach()
            if output.requires_grad:
                output.register_hook(lambda gradient: self.gradients.__setitem__(name, gradient.detach()))

        return keep

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def sampled_passes(
    model: nn.Module, windows: torch.Tensor, seed: int, batch: int = 8, gradients: bool = True
) -> Iterator[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]]:
    """For each batch of (windows, time) tokens: inputs and log-likelihood gradients of all projections, (b, t, .).

    Labels are drawn from the model. Works on a private copy, so the shared model gets no hook.
    """
    private = rebuild(model, lambda _name, linear: Dense(linear.weight, linear.bias))
    embedding = private.get_input_embeddings()
    tap = _Tap(private)
    draw = generator(seed)
    try:
        for rows in windows.split(batch):
            breathe()
            with torch.set_grad_enabled(gradients):
                # The gradient has to start somewhere although every weight is frozen: at the embeddings.
                hidden = embedding(rows).detach().requires_grad_(gradients)
                logits = private(inputs_embeds=hidden, use_cache=False).logits
                if gradients:
                    probability = logits.detach().float().softmax(-1).flatten(0, 1).cpu()
                    labels = torch.multinomial(probability, 1, generator=draw).to(rows.device)
                    likelihood = logits.flatten(0, 1).log_softmax(-1).gather(1, labels).sum()
                    likelihood.backward()
            yield tap.inputs, tap.gradients
    finally:
        tap.close()


def collect(model: nn.Module, windows: torch.Tensor, seed: int = 0, curvature: bool = True) -> Statistics:
    """Gram matrices (and output curvature) of every projection over (windows, time) tokens."""
    grams: dict[str, torch.Tensor] = {}
    curvatures: dict[str, torch.Tensor] = {}
    source_of: dict[str, str] = {}
    for inputs, gradients in sampled_passes(model, windows, seed, gradients=curvature):
        previous, source = None, ""
        for name, x in inputs.items():
            if x is not previous and (previous is None or x.data_ptr() != previous.data_ptr()):
                previous, source = x, name
                flat = x.flatten(0, 1)
                _add(grams, name, flat.T @ flat)
            source_of[name] = source
        for name, g in gradients.items():
            flat = g.flatten(0, 1)
            _add(curvatures, name, flat.T @ flat)
    tokens = windows.numel()
    return Statistics(
        {n: g / tokens for n, g in grams.items()}, {n: c / tokens for n, c in curvatures.items()}, source_of, tokens
    )


def _add(sums: dict[str, torch.Tensor], name: str, value: torch.Tensor) -> None:
    value = value.double().cpu()
    sums[name] = value if name not in sums else sums[name].add_(value)


def component_fisher(
    model: nn.Module, factors: Mapping[str, Factor], windows: torch.Tensor, seed: int = 0
) -> dict[str, torch.Tensor]:
    """F_i of each component's score at the dense model, (p,) float64, nats a token for a unit change of s, squared."""
    fisher: dict[str, torch.Tensor] = {}
    moved = {n: f.to(next(model.parameters()).dtype, windows.device) for n, f in factors.items()}
    for inputs, gradients in sampled_passes(model, windows, seed):
        for name, g in gradients.items():
            factor = moved[name]
            per_token = (inputs[name] @ factor.right.T) * (g @ factor.left)  # (batch, time, p)
            per_sequence = factor.sigma * per_token.sum(1)  # (batch, p)
            _add(fisher, name, (per_sequence**2).sum(0))
    return {name: f / windows.numel() for name, f in fisher.items()}
