"""What was tuned, per method: the changes to SocoTraining's defaults with which the shipped scores are trained."""

from __future__ import annotations

from backends.soco.settings import SocoTraining

# The stages at their defaults collapse: lambda = 3 alone removes 60 %, and Adam lets all scores fall at one speed.
# Grown from a small lambda, until enough scores are on their way down, L_dec takes the components in the order of
# their curvature: what it drops at 60 % costs 1.1 times the least that the Fisher information allows.
RECIPES: dict[str, dict[str, object]] = {
    "soco": {
        "score_lr": 0.12, "pressure": 0.3, "growth": 1.08, "look_ahead": 0.5, "explore": 0.45, "refine": 0.55,
        "harden": 0.15,
    },
    "soco-k": {"deviation_lr": 0.03},
    "soco-w": {},
    "control": {"deviation_lr": 0.03},
}  # fmt: skip


def training_for(method: str, percent: float, seed: int = 0, **changes: object) -> SocoTraining:
    """The recipe of a shipped knot, with `changes`."""
    return SocoTraining.model_validate({"method": method, "removed": percent, "seed": seed} | RECIPES[method] | changes)
