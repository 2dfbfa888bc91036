"""A training as one safetensors file: weights, moments, and facts in its header. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import safe_open
from safetensors.torch import save_file

from backends.runtime.files import whole_file

if TYPE_CHECKING:
    import torch

WEIGHT = "model"


def save_checkpoint(
    path: Path, model: torch.nn.Module, optimisers: Sequence[torch.optim.Optimizer], facts: dict[str, Any]
) -> None:
    """Written whole or not at all. The optimisers' states must be tensors."""
    tensors = {}
    for name, value in model.named_parameters():
        tensors[f"{WEIGHT}.{name}"] = value
        for optimiser in optimisers:
            tensors |= {f"{moment}.{name}": state for moment, state in optimiser.state.get(value, {}).items()}
    whole = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with whole_file(path) as temporary:
        save_file(whole, temporary, {"facts": json.dumps(facts)})


def load_checkpoint(path: Path, model: torch.nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Put weights and moments back; returns the facts that were saved with them."""
    with safe_open(path, "pt") as file:
        moments: dict[str, list[str]] = {}
        for kind, name in (key.split(".", 1) for key in file.keys()):  # noqa: SIM118
            moments.setdefault(name, []).append(kind)
        for name, value in model.named_parameters():
            value.data.copy_(file.get_tensor(f"{WEIGHT}.{name}"))
            state = {m: file.get_tensor(f"{m}.{name}").to(value.device) for m in moments[name] if m != WEIGHT}
            for optimiser in optimisers:
                if any(value is p for group in optimiser.param_groups for p in group["params"]):
                    optimiser.state[value] = state
        return json.loads(file.metadata()["facts"])
