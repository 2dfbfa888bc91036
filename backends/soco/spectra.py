r"""Three ways to write a weight as a sum of rank-one components, and what a compressed spectrum is.

    plain      W   = U diag(sigma) V^T                       (SVD; SoCo's own basis)
    whitened   W L = U diag(sigma) Q^T,  V^T = Q^T L^{-1}      with L L^T = E[x x^T]  (SVD-LLM)
    two-sided  R W L = P diag(sigma) Q^T,  U = R^{-1} P        with R^T R = E[g g^T]  (ours, "K")

x is the layer's input and g the gradient of the log-likelihood at its output, so in the two-sided basis the loss that
removing a component causes is, to second order, sigma^2 / 2 nats a token (Kronecker-factored Fisher) at the model that
g was taken from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch

Basis = Literal["plain", "whitened", "two-sided"]


@dataclass(frozen=True)
class Factor:
    """W = left @ diag(sigma) @ right. left (m, p), sigma (p,) descending, right (p, n), p = min(m, n)."""

    left: torch.Tensor
    sigma: torch.Tensor
    right: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.left.shape[0], self.right.shape[1]

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> Factor:
        """In this format and place; each component of `left` lies in one piece, so that `part` copies runs."""
        left, sigma, right = (t.to(device, dtype) for t in (self.left, self.sigma, self.right))
        return Factor(left.t().contiguous().t(), sigma.contiguous(), right.contiguous())

    def part(self, kept: torch.Tensor) -> Factor:
        """A copy of only the components where `kept` (p,) is true."""
        chosen = kept.nonzero()[:, 0]
        left = self.left.t().index_select(0, chosen).t()
        return Factor(left, self.sigma.index_select(0, chosen), self.right.index_select(0, chosen))


@dataclass(frozen=True)
class Spectrum:
    """What a method decided, matrix by matrix: everything a compressed model is made of, beside the factors.

    kept: (p,) bool; scores: (p,), read where kept; deviation: (m,) added to the output, or absent.
    """

    basis: Basis
    kept: dict[str, torch.Tensor]
    scores: dict[str, torch.Tensor]
    deviation: dict[str, torch.Tensor]

    def without_deviation(self) -> Spectrum:
        return replace(self, deviation={})

    def without_scores(self) -> Spectrum:
        """All kept scores at 1: selection alone, as plain truncation."""
        return replace(self, scores={name: torch.ones_like(s) for name, s in self.scores.items()})


def unscored(basis: Basis, kept: Mapping[str, torch.Tensor]) -> Spectrum:
    """A truncation in which nothing is learned."""
    return Spectrum(basis, dict(kept), {n: torch.ones(len(k)) for n, k in kept.items()}, {})


def decompose(
    weight: torch.Tensor, basis: Basis, gram: torch.Tensor | None = None, curvature: torch.Tensor | None = None
) -> Factor:
    """Factor one weight (m, n) in float64. gram: E[x x^T] (n, n); curvature: E[g g^T] (m, m)."""
    w = weight.detach().double().cpu()
    low = _cholesky(gram) if basis != "plain" else None  # (n, n), lower
    high = _cholesky(curvature).T if basis == "two-sided" else None  # (m, m), upper
    scaled = w if low is None else w @ low
    scaled = scaled if high is None else high @ scaled
    left, sigma, right = torch.linalg.svd(scaled, full_matrices=False)
    if low is not None:
        right = torch.linalg.solve_triangular(low, right, upper=False, left=False)
    if high is not None:
        left = torch.linalg.solve_triangular(high, left, upper=True)
    return Factor(left, sigma, right)


def _cholesky(matrix: torch.Tensor | None, damping: float = 1e-6) -> torch.Tensor:
    """Lower factor of the matrix plus `damping` times its mean diagonal: some inputs may never vary."""
    if matrix is None:
        raise ValueError("this basis needs the calibration statistics")
    m = matrix.double()
    mean = m.diagonal().mean().clamp_min(1e-30)
    eye = torch.eye(len(m), dtype=m.dtype)
    for step in range(6):
        factor, failed = torch.linalg.cholesky_ex(m + damping * 10**step * mean * eye)
        if not failed:
            return factor
    raise ValueError("the calibration statistics are not positive definite")
