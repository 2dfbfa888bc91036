"""The bundled transformer, and what it is asked for while it is pretrained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from backends.vision.render import MOMENTS, MOST_DISTRACTORS, Pictures
from backends.vision.settings import Architecture

WEIGHTS = {"class": 1.0, "geometry": 3.0, "distractors": 0.5, "masks": 2.0, "look": 2.0}  # of the losses
BEND = 0.1  # error from which on a regression's loss grows linearly
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
    """The transformer with five heads: class, geometry and distractors from the class token, masks and look of each
    patch from its own token."""

    def __init__(self, arch: Architecture, classes: int) -> None:
        super().__init__()
        self.arch = arch
        self.model = ViTForImageClassification(vit_config(arch, classes))
        self.geometry = nn.Linear(arch.width, MOMENTS)
        self.distractors = nn.Linear(arch.width, MOST_DISTRACTORS + 1)
        self.masks = nn.Linear(arch.width, 2 * arch.patch**2)
        self.look = nn.Linear(arch.width, 4)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """images: (batch, 3, side, side) in [0, 1]."""
        hidden = self.model.vit(pixel_values=2 * images - 1).last_hidden_state  # (batch, 1 + patches, width)
        token, patches = hidden[:, 0], hidden[:, 1:]
        return {
            "class": self.model.classifier(token),
            "geometry": self.geometry(token),
            "distractors": self.distractors(token),
            "masks": self.masks(patches),
            "look": self.look(patches),
        }


def losses(said: dict[str, torch.Tensor], true: Pictures, patch: int) -> dict[str, torch.Tensor]:
    """Each head's own loss, unweighted."""
    said = {name: value.float() for name, value in said.items()}
    squares = F.unfold(true.masks, patch, stride=patch).mT  # (batch, patches, 2 * patch^2)
    return {
        "class": F.cross_entropy(said["class"], true.labels, label_smoothing=SMOOTHING),
        "geometry": F.smooth_l1_loss(said["geometry"], true.geometry, beta=BEND),
        "distractors": F.cross_entropy(said["distractors"], true.distractors),
        "masks": F.binary_cross_entropy_with_logits(said["masks"], squares),
        "look": F.smooth_l1_loss(said["look"], looks(true.images, patch), beta=BEND),
    }


def looks(images: torch.Tensor, patch: int) -> torch.Tensor:
    """Mean colour and contrast (the standard deviation of grey, times four) of each patch: (batch, patches, 4)."""
    colour = F.avg_pool2d(images, patch)
    grey = images.mean(1, keepdim=True)
    spread = (F.avg_pool2d(grey.square(), patch) - F.avg_pool2d(grey, patch).square()).clamp(min=0).sqrt()
    return torch.cat([colour, 4 * spread], 1).flatten(2).mT


def total(parts: dict[str, torch.Tensor], targets: str) -> torch.Tensor:
    """What is trained on: all heads, or the class alone."""
    names = WEIGHTS if targets == "all" else ("class",)
    return sum((WEIGHTS[name] * parts[name] for name in names), torch.zeros((), device=parts["class"].device))
