"""How a learning rate goes over a training."""

from __future__ import annotations

import math


def warm_cosine(step: int, total: int, warm_up: int, floor: float = 0.02) -> float:
    """The share of the peak: linear over `warm_up` steps (a tenth of a short run), then a cosine down to `floor`."""
    warm_up = min(warm_up, max(1, total // 10))
    if step < warm_up:
        return (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
