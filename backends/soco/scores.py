r"""The score of a component and the three losses that move it.

    W' = U (Sigma * S) V^T + d        S = diag(score(theta))

    L_inc = mean over tokens of KL( softmax(z_dense) || softmax(z_S) )              keeps the function, raises scores
    L_dec = sum_l (m+n) sum_i g(s_li) / sum_l m n,   g(s) = s / (s + eps)           lowers scores, in units of the ratio
    L_sp  = sum_l (m+n) sum_{i not in the budget's cut} s_li / sum_l m n                polarises: losers to zero

Source: SoCo (arXiv 2502.15092). The roles of the three terms are the paper's; their exact forms are inferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn.functional import log_softmax

ScoreName = Literal["sig2", "sig1", "softplus", "clamp", "exp", "raw"]


@dataclass(frozen=True)
class ScoreFunction:
    """score = value(theta); `start` is the theta at which the score is 1, or as near as the range allows."""

    value: Callable[[torch.Tensor], torch.Tensor]
    start: float
    theta_for: Callable[[torch.Tensor], torch.Tensor]


def _logit(u: torch.Tensor) -> torch.Tensor:
    return torch.logit(u, eps=1e-6)


# sig2: 2 sigmoid, may amplify up to 2 and starts at exactly 1; sig1 cannot amplify and starts at 0.982.
SCORE_FUNCTIONS: dict[str, ScoreFunction] = {
    "sig2": ScoreFunction(lambda t: 2 * torch.sigmoid(t), 0.0, lambda s: _logit(s / 2)),
    "sig1": ScoreFunction(torch.sigmoid, 4.0, _logit),
    "softplus": ScoreFunction(
        torch.nn.functional.softplus, 0.5413248546129181, lambda s: torch.log(torch.expm1(s.clamp_min(1e-6)))
    ),
    "clamp": ScoreFunction(lambda t: t.clamp_min(0), 1.0, lambda s: s.clone()),
    "raw": ScoreFunction(lambda t: t, 1.0, lambda s: s.clone()),
    "exp": ScoreFunction(torch.exp, 0.0, lambda s: torch.log(s.clamp_min(1e-6))),
}


def increase_loss(student_logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """L_inc: KL(teacher || student), nats a token. Both (..., vocabulary)."""
    teacher = log_softmax(teacher_logits, -1)
    student = log_softmax(student_logits, -1)
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def decrease_loss(
    scores: Mapping[str, torch.Tensor],
    shapes: Mapping[str, tuple[int, int]],
    epsilon: float = 0.1,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> torch.Tensor:
    """L_dec: a concave count of kept parameters, as a share of the dense ones. `weights` (p,): ours, see curvature."""
    total = sum(m * n for m, n in shapes.values())
    terms = []
    for name, s in scores.items():
        g = s / (s + epsilon)
        terms.append(sum(shapes[name]) * (g if weights is None else g * weights[name]).sum())
    return torch.stack(terms).sum() / total


def sparsity_loss(
    scores: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, int]], losers: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """L_sp: what the scores outside the budget's cut still weigh. `losers` (p,): true for those."""
    total = sum(m * n for m, n in shapes.values())
    terms = [sum(shapes[name]) * (s * losers[name]).sum() for name, s in scores.items()]
    return torch.stack(terms).sum() / total
