"""A small real transformer with trained-looking adapters, and pictures for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

from backends.runtime.seeds import generator
from backends.vision.adapters import AdapterSettings, adapted, sites

Batch = tuple[torch.Tensor, torch.Tensor]


def backbone(dtype: torch.dtype = torch.float32) -> ViTForImageClassification:
    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=12,
                       patch_size=4, num_labels=3)  # fmt: skip
    model = ViTForImageClassification(config).to(dtype)
    for value in model.parameters():  # a fresh one's small weights would hide what an adapter does
        value.data += 0.1 * torch.randn(value.shape, generator=generator(1), dtype=dtype)
    return model.requires_grad_(False).eval()


def host(form: str = "lora", dtype: torch.dtype = torch.float32, **changes: object) -> nn.Module:
    """The backbone with adapters whose `up` is not zero, as after training."""
    draw = generator(2)
    model = adapted(backbone(dtype), AdapterSettings(form=form, **{"rank": 4} | changes), draw)
    for site in sites(model).values():
        up = site.parts["own"].up.weight
        up.data = 0.3 * torch.randn(up.shape, generator=draw, dtype=torch.float32)
    return model.to(dtype).eval()


def batches(count: int = 3, dtype: torch.dtype = torch.float32) -> list[Batch]:
    draw = generator(3)
    return [
        (torch.randn(5, 3, 12, 12, generator=draw).to(dtype), torch.randint(3, (5,), generator=draw))
        for _ in range(count)
    ]


@pytest.fixture
def images() -> torch.Tensor:
    return batches(1)[0][0]
