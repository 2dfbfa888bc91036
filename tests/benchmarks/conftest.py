"""Cells that are made up; one thread for small products."""

from __future__ import annotations

import numpy as np

from benchmarks.adapter_cells import Cell, packed
from tests.fakes.threads import one_thread  # noqa: F401

PICTURES = 1000


def cell(task: str = "count", method: str = "lora", seed: int = 0, right: float = 0.8, **more: object) -> Cell:
    """A made-up one; `right`: the share of its test pictures, the first ones."""
    hits = np.arange(PICTURES) < round(right * PICTURES)
    values = {"lr": 4e-3, "settings": "s", "model": "m", "validation": 0.5, "validation_loss": 1.0,
              "test": float(hits.mean()), "test_loss": 1.0, "trainable": 8, "stored": 0, "seconds": 1.0}  # fmt: skip
    return Cell(task, method, seed, pictures=PICTURES, correct=packed(hits), **values | more)
