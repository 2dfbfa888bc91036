"""The bundled transformer, and what it is asked for while it is pretrained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from backends.vision.render import MOST_DISTRACTORS, Pictures
from backends.vision.settings import Architecture

WEIGHTS = {"class": 1.0, "geometry": 3.0, "distractors": 0.5, "mask": 2.0}  # of the losses
SMOOTHING = 0.1


def vit_config(arch: Architecture, classes: int) -> ViTConfig:
    return ViTConfig(
        image_size=arch.image,
        patch_size=arch.patch,
        hidden_size=arch.width,
        num_hidden_layers=arch.layers,
        num_attention_heads=arch.heads,
        intermediate_size=4 * arch.width,
        num_labels=classes,
    )


class FormulaLearner(nn.Module):
    """The transformer with four heads: class, geometry and distractors from the class token, mask from the patches."""

    def __init__(self, arch: Architecture, classes: int) -> None:
        super().__init__()
        self.arch = arch
        self.model = ViTForImageClassification(vit_config(arch, classes))
        self.geometry = nn.Linear(arch.width, 5)
        self.distractors = nn.Linear(arch.width, MOST_DISTRACTORS + 1)
        self.mask = nn.Linear(arch.width, arch.patch**2)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """images: (batch, 3, side, side) in [0, 1]."""
        hidden = self.model.vit(pixel_values=2 * images - 1).last_hidden_state  # (batch, 1 + patches, width)
        token, patches = hidden[:, 0], hidden[:, 1:]
        return {
            "class": self.model.classifier(token),
            "geometry": self.geometry(token),
            "distractors": self.distractors(token),
            "mask": self.mask(patches),
        }


def losses(said: dict[str, torch.Tensor], true: Pictures, patch: int) -> dict[str, torch.Tensor]:
    """Each head's own loss, unweighted."""
    said = {name: value.float() for name, value in said.items()}
    squares = F.unfold(true.mask[:, None], patch, stride=patch).mT  # (batch, patches, patch^2)
    return {
        "class": F.cross_entropy(said["class"], true.labels, label_smoothing=SMOOTHING),
        "geometry": F.smooth_l1_loss(said["geometry"], true.geometry),
        "distractors": F.cross_entropy(said["distractors"], true.distractors),
        "mask": F.binary_cross_entropy_with_logits(said["mask"], squares),
    }


def total(parts: dict[str, torch.Tensor], targets: str) -> torch.Tensor:
    """What is trained on: all heads, or the class alone."""
    names = WEIGHTS if targets == "all" else ("class",)
    return sum((WEIGHTS[name] * parts[name] for name in names), torch.zeros((), device=parts["class"].device))
