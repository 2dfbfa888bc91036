"""Logits of models that begin alike: the states between layers are kept, and what models share is computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import DeiTForImageClassification, ViTForImageClassification

from backends.runtime.gently import breathe
from backends.runtime.store import ModelStore
from backends.vision.adapters import sites
from backends.vision.probe import input_of, portions
from backends.vision.training import BREATH, logits_of

SINGLE = (ViTForImageClassification, DeiTForImageClassification)  # one list of layers, one class token


def sites_by_layer(model: nn.Module) -> list[list[str]]:
    """For each layer that can be gone through alone, the names of its sites; [] for other models, such as Swin."""
    if not isinstance(model, SINGLE):
        return []
    inside = [set(layer.modules()) for layer in model.base_model.layers]
    return [[name for name, site in sites(model).items() if site in modules] for modules in inside]


@torch.no_grad()
def logits_through(model: nn.Module, images: np.ndarray, names: Sequence[str], states: ModelStore) -> torch.Tensor:
    """(n, classes) float32 on the CPU: what `logits_of` says.

    model: in evaluation mode. names: for each layer, what the state before it is kept as; equal names promise equal
    pictures and equal layers before. No names: the model is run as a whole.
    """
    if not names:
        return logits_of(model, images)
    inner = model.base_model

    def before(layer: int) -> torch.Tensor:
        """(n, tokens, width), kept."""
        return states.get(names[layer], lambda: after(layer - 1), lambda state: state.nbytes)

    def after(layer: int) -> torch.Tensor:
        """In portions: what a layer makes on its way is many times as large as a state, and freed memory stays."""
        state, found = before(layer) if layer >= 0 else None, []
        for rows in portions(images, BREATH):
            breathe()
            found.append(
                inner.embeddings(input_of(model, images[rows])) if state is None else inner.layers[layer](state[rows])
            )
        return torch.cat(found)

    last = inner.layernorm(after(len(names) - 1))
    return model.classifier(last[:, 0]).float().cpu()
