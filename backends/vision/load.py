"""Load an image classifier from a checked folder: any ViT, DeiT or Swin of transformers, frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    DeiTForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
    SwinForImageClassification,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from backends.runtime.errors import UserError
from backends.runtime.weights import fingerprint, frozen, read_as
from backends.vision.probe import HALF, Colour

KINDS = {"vit": ViTForImageClassification, "deit": DeiTForImageClassification, "swin": SwinForImageClassification}
SIDES = 8, 512  # pixels; a task's pictures are all held in memory
_RATES = ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate")


@dataclass(frozen=True)
class VisionModel:
    """A frozen image classifier in float32, in evaluation mode.

    side: of its square pictures, in pixels; mean, std: of red, green and blue in [0, 1], also in the model's config as
    image_mean and image_std, where `probe.input_of` finds them; fingerprint: of the weights.
    """

    model: PreTrainedModel
    name: str
    side: int
    mean: Colour
    std: Colour
    fingerprint: str
    device: torch.device

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def load_vision_model(folder: Path, name: str, device: torch.device | str = "cpu") -> VisionModel:
    """Read `folder` (already checked, see runtime.hub). Raises UserError.

    A backbone without a classifier gets one of zeros: every task brings its own. Dropout is switched off for good: it
    would perturb frozen weights with randomness that no seed of a training decides.
    """
    with read_as(name, "an image classifier"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        side = _side(config, name)
        config.update({rate: 0.0 for rate in _RATES if hasattr(config, rate)} | {"num_labels": config.num_labels or 1})
        model, told = KINDS[config.model_type].from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
        mean, std = _normalisation(folder)
    _complete(model, told["missing_keys"], name)
    model.config.image_mean, model.config.image_std = mean, std
    frozen(model, name, device)
    return VisionModel(model, name, side, mean, std, fingerprint(model), torch.device(device))


def _side(config: PretrainedConfig, name: str) -> int:
    if config.model_type not in KINDS:
        raise UserError(f"{name} is a model of type {config.model_type}: choose a ViT, DeiT or Swin classifier.")
    size = config.image_size
    height, width = size if isinstance(size, list | tuple) else (size, size)
    if height != width or not SIDES[0] <= height <= SIDES[1] or config.num_channels != 3:
        raise UserError(
            f"{name} does not look at square colour pictures of {SIDES[0]} to {SIDES[1]} pixels: choose another model."
        )
    return height


def _normalisation(folder: Path) -> tuple[Colour, Colour]:
    """Mean and standard deviation that pixels in [0, 1] are normalised with. Raises ValueError for senseless ones."""
    if not (folder / "preprocessor_config.json").exists():
        return HALF, HALF
    processor = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)
    if not processor.do_normalize:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = (tuple(map(float, values)) for values in (processor.image_mean, processor.image_std))
    if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise ValueError("mean or deviation of three colours make no sense")
    return mean, std


def _complete(model: PreTrainedModel, missing: set[str], name: str) -> None:
    """Nothing but the classifier may be missing; transformers would draw the rest at random and say so in a log."""
    if lacking := sorted(key for key in missing if not key.startswith("classifier.")):
        raise UserError(f"{name} lacks weights, {lacking[0]} among them: choose another model or copy it again.")
    if missing:
        nn.init.zeros_(model.classifier.weight)
        nn.init.zeros_(model.classifier.bias)
