"""Randomness is a generator that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator; the global one is never touched."""
    import torch

    return torch.Generator(device=device).manual_seed(seed)
