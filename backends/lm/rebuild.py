"""Private copies of a shared model in which some Linear layers are replaced; everything else is shared, not copied."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import nn

# The projections of every block, in every Llama-style model of transformers.
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def projections(model: nn.Module) -> dict[str, nn.Linear]:
    """The Linear layers that compression works on, by full name, in order: all projections of all blocks."""
    found = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.rsplit(".", 1)[-1] in PROJECTIONS}
    if not found:
        raise ValueError("no Llama-style projection in this model")
    return found


def rebuild(model: nn.Module, replacement: Callable[[str, nn.Linear], nn.Module]) -> nn.Module:
    """A copy of the module tree whose projections are `replacement(name, linear)`; tensors stay shared.

    The shared model is never written to, so any number of threads may hold different rebuilt copies of it.
    """
    shared: dict[int, object] = {id(t): t for t in _tensors(model)}
    for name in ("config", "generation_config"):
        if hasattr(model, name):
            shared[id(getattr(model, name))] = getattr(model, name)
    linears = projections(model)
    for name, linear in linears.items():
        shared[id(linear)] = replacement(name, linear)  # deepcopy takes what the memo holds instead of copying
    return copy.deepcopy(model, shared)


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def layer_and_matrix(name: str) -> tuple[int, str]:
    """'model.layers.3.mlp.down_proj' -> (3, 'down')."""
    parts = name.split(".")
    layer = next(int(part) for part in parts if part.isdigit())
    return layer, parts[-1].removesuffix("_proj")
