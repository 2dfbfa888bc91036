"""What adapter methods are compared with: LoRA and AdaLoRA of the library PEFT, and everything trained.

    for step in fit(with_peft_lora(backbone, 8, rank=8, scale=2.0), task, settings):
        print(step.message)

Each is a private copy of the backbone with the classifier of `with_head`, zero at first, that is trained too. PEFT's
LoRA starts from the very weights that `adapted` draws from the same seed.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass

import torch
from peft import AdaLoraConfig, LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.adalora import AdaLoraLayer
from peft.tuners.lora import LoraLayer
from torch import nn

from backends.runtime.seeds import generator
from backends.vision.adapters import HOSTS, with_head
from backends.vision.training import After, Change

TARGETS = sorted(HOSTS["lora"].values())
MORE = 1.5  # AdaLoRA's ranks at first, as a multiple of the mean rank in the end
FREE, SETTLED = 0.1, 0.5  # shares of the steps: until ranks are first cut, and after which they stay
EVERY = 10  # steps between two cuts
NAME = "default"  # of an adapter, in PEFT


def everything(backbone: nn.Module, classes: int) -> nn.Module:
    """Full fine-tuning: all weights and a fresh classifier are trained."""
    return with_head(backbone, classes).requires_grad_(True)


def with_peft_lora(backbone: nn.Module, classes: int, rank: int, scale: float, seed: int = 0) -> PeftModel:
    """LoRA on q and v, lora_alpha = scale * rank."""
    model = _with_peft(backbone, classes, LoraConfig(r=rank, lora_alpha=scale * rank, target_modules=TARGETS))
    draw = generator(seed)
    for layer in _layers(model, LoraLayer):
        weight = layer.lora_A[NAME].weight
        bound = 1 / weight.shape[1] ** 0.5
        weight.data.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=draw))
    return model


@dataclass(frozen=True)
class AdaLora:
    """`fit(one.model, task, settings, one.changes, one.after)`.

    changes: none to the model; but only epochs at the final ranks may be chosen, as with every method that changes.
    """

    model: PeftModel
    changes: dict[int, Change]
    after: After

    @property
    def size(self) -> int:
        """Trained numbers that the ranks have left, the classifier's not counted; all of them before the last cut."""
        left = self.model.peft_config[NAME].rank_pattern or {}
        cut = sum(pattern.count(False) * self._width(name) for name, pattern in left.items())
        return size(self.model) - cut

    def _width(self, name: str) -> int:
        """Numbers of one rank of the layer that has these singular values."""
        layer = self.model.base_model.model.get_submodule(name.partition(".lora_E")[0])
        return layer.in_features + layer.out_features + 1


def with_peft_adalora(
    backbone: nn.Module, classes: int, rank: int, scale: float, epochs: int, steps_an_epoch: int, seed: int = 0
) -> AdaLora:
    """AdaLoRA on q and v: ranks are cut from 1.5 times `rank` to `rank` on average, where it matters least.

    Its penalty ||P P^T - I|| (Frobenius, weight 0.5) counts; PEFT itself adds it only to a loss that the model returns.
    """
    settled = min(max(1, round(SETTLED * epochs)), max(1, epochs - 1))
    steps = epochs * steps_an_epoch
    config = AdaLoraConfig(
        init_r=round(MORE * rank), target_r=rank, lora_alpha=scale * round(MORE * rank), target_modules=TARGETS,
        total_step=steps, tinit=round(FREE * steps), tfinal=steps - settled * steps_an_epoch, deltaT=EVERY,
    )  # fmt: skip
    model = _with_peft(backbone, classes, config)
    draw, layers = generator(seed), _layers(model, AdaLoraLayer)
    pulled = [(layer.lora_A[NAME], layer.lora_B[NAME]) for layer in layers]
    for vectors in (vectors for pair in pulled for vectors in pair):
        vectors.data.copy_(0.02 * torch.randn(vectors.shape, generator=draw))  # as PEFT draws them
        vectors.register_hook(functools.partial(_penalised, vectors, config.orth_reg_weight / (2 * len(pulled))))
    return AdaLora(model, {settled: lambda model: None}, model.base_model.update_and_allocate)


def _penalised(vectors: nn.Parameter, weight: float, grad: torch.Tensor) -> torch.Tensor:
    """The gradient with that of weight * ||P P^T - I||, P the vectors as rows."""
    rows = vectors.detach() if vectors.shape[0] < vectors.shape[1] else vectors.detach().mT
    away = rows @ rows.mT - torch.eye(len(rows), device=rows.device)
    pull = 2 * weight * away @ rows / away.norm()
    return grad + (pull if vectors.shape[0] < vectors.shape[1] else pull.mT)


def size(model: nn.Module) -> int:
    """Trained numbers, the classifier's not counted."""
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "classifier." not in name)


def _with_peft(backbone: nn.Module, classes: int, config: PeftConfig) -> PeftModel:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks transformers under a name that has been replaced
        model = get_peft_model(with_head(backbone, classes), config)
    model.base_model.model.classifier.requires_grad_(True)
    return model


def _layers(model: nn.Module, kind: type) -> list[nn.Module]:
    """In the order of the sites."""
    return [m for m in model.modules() if isinstance(m, kind)]
