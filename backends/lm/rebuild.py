"""Private copies of a shared model in which some Linear layers are replaced; everything else is shared, not copied."""

from __future__ import annotations

import copy
from collections.abc import Callable

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
    made: dict[int, nn.Module] = {id(linear): replacement(name, linear) for name, linear in projections(model).items()}
    return _twin(model, made)


def _twin(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    """The same module with lists of its own: of children (twins themselves, or what is `made`), tensors and hooks."""
    if id(module) not in made:
        twin = made[id(module)] = copy.copy(module)
        for name, value in vars(module).items():
            if isinstance(value, dict):
                vars(twin)[name] = copy.copy(value)
        for name, child in module.named_children():
            twin._modules[name] = _twin(child, made)
    return made[id(module)]


def layer_and_matrix(name: str) -> tuple[int, str]:
    """'model.layers.3.mlp.down_proj' -> (3, 'down')."""
    parts = name.split(".")
    layer = next(int(part) for part in parts if part.isdigit())
    return layer, parts[-1].removesuffix("_proj")
