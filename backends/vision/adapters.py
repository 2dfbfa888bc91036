"""Adapters beside the projections of a vision transformer: LoRA on q and v, or a bottleneck beside each MLP.

    model = adapted(model, AdapterSettings(rank=8))
    for name, site in sites(model).items():  # "layer 0, q", ...
        ...

A site adds s * up(f(down(x))) to what its host answers; f is the identity for LoRA and ReLU for a bottleneck. Any ViT,
DeiT or Swin of transformers has such hosts. LoRA sites travel to and from PEFT's own format.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file
from torch import nn

from backends.runtime.errors import UserError
from backends.runtime.files import whole_file

Form = Literal["lora", "bottleneck"]
HOSTS: dict[Form, dict[str, str]] = {"lora": {"q": "q_proj", "v": "v_proj"}, "bottleneck": {"mlp": "mlp"}}
OWN = "own"  # the part of a site that is trained


class AdapterSettings(BaseModel):
    """What is attached."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    form: Form = Field("lora", title="Adapter", description="LoRA on q and v, or a bottleneck beside the MLP")
    rank: int = Field(8, ge=1, le=256, title="Rank")
    scale: float = Field(2.0, gt=0, le=100, title="Scale s", description="what an adapter's answer is multiplied by")
    dropout: float = Field(0.0, ge=0, lt=1, title="Dropout on an adapter's input")


class Adapter(nn.Module):
    """s * up(f(down(dropout(x)))): (..., d_in) -> (..., d_out). `up` starts at zero: a fresh one adds nothing."""

    def __init__(self, inputs: int, outputs: int, settings: AdapterSettings) -> None:
        super().__init__()
        self.settings = settings
        self.down = nn.Linear(inputs, settings.rank, bias=False)
        self.up = nn.Linear(settings.rank, outputs, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., d_in)."""
        inner = self.down(F.dropout(x, self.settings.dropout, self.training))
        inner = inner if self.settings.form == "lora" else F.relu(inner)
        return self.settings.scale * self.up(inner)

    @property
    def shape(self) -> tuple[int, int]:
        """(d_in, d_out): what another adapter has to have to take its place."""
        return self.down.in_features, self.up.out_features

    @property
    def size(self) -> int:
        return self.down.weight.numel() + self.up.weight.numel()


class Site(nn.Module):
    """A host and what is added to its answer, by name; no part, no change."""

    def __init__(self, host: nn.Module, kind: str) -> None:
        super().__init__()
        self.host, self.kind = host, kind
        self.parts = nn.ModuleDict()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the host, plus every part."""
        answer = self.host(x)
        for part in self.parts.values():
            answer = answer + part(x)
        return answer


def light_copy(model: nn.Module) -> nn.Module:
    """A copy whose modules are its own and whose tensors are the original's."""
    return copy.deepcopy(model, {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())})


def adapted(
    model: nn.Module, settings: AdapterSettings, draw: torch.Generator | None = None, shared: bool = False
) -> nn.Module:
    """A private copy of a frozen model with a fresh adapter at every site; its classifier is trained too.

    shared: the copy keeps the original's tensors, frozen already, but for the classifier's. Raises UserError where a
    model has no such host.
    """
    if shared:
        model = light_copy(model)
        model.classifier = copy.deepcopy(model.classifier)
    else:
        model = copy.deepcopy(model).requires_grad_(False)
    kinds = {name: kind for kind, name in HOSTS[settings.form].items()}
    hosts = [(name, m) for name, m in model.named_modules() if name.rpartition(".")[2] in kinds]
    if not hosts:
        raise UserError(f"This model has no {' or '.join(kinds)} to adapt: choose a ViT, DeiT or Swin classifier.")
    for name, host in hosts:
        site = Site(host, kinds[name.rpartition(".")[2]])
        adapter = Adapter(*_width(host), settings)
        if draw is not None:
            bound = 1 / adapter.down.in_features**0.5  # as a fresh Linear is drawn, and PEFT's LoRA
            adapter.down.weight.data.uniform_(-bound, bound, generator=draw)
        site.parts[OWN] = adapter.to(next(host.parameters()).device)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, site)
    model.classifier.requires_grad_(True)
    return model


def with_head(model: nn.Module, classes: int, shared: bool = False) -> nn.Module:
    """A private copy with a fresh classifier of `classes`, zero at first: every class is as likely. shared: the copy
    keeps the original's other tensors."""
    model = light_copy(model) if shared else copy.deepcopy(model)
    old = model.classifier
    head = nn.Linear(old.in_features, classes, device=old.weight.device, dtype=old.weight.dtype)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    model.classifier = head
    return model


def _width(host: nn.Module) -> tuple[int, int]:
    """(d_in, d_out) of a projection, or of an MLP by its first and last layer."""
    if isinstance(host, nn.Linear):
        return host.in_features, host.out_features
    layers = [m for m in host.modules() if isinstance(m, nn.Linear)]
    return layers[0].in_features, layers[-1].out_features


def sites(model: nn.Module) -> dict[str, Site]:
    """The sites in their order, by layer and kind: "layer 0, q"."""
    found: dict[str, Site] = {}
    for _, site in _places(model):
        layer = sum(name.endswith(f", {site.kind}") for name in found)
        found[f"layer {layer}, {site.kind}"] = site
    return found


def _places(model: nn.Module) -> Iterator[tuple[str, Site]]:
    return ((path, m) for path, m in model.named_modules() if isinstance(m, Site))


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Every parameter that is trained, each once, however many sites share it."""
    return [p for p in model.parameters() if p.requires_grad]


def save_as_peft(model: nn.Module, folder: Path) -> None:
    """LoRA sites in PEFT's own format: adapter_model.safetensors and adapter_config.json.

    Raises UserError for other forms, or where a site holds more than its own adapter.
    """
    from peft import LoraConfig

    tensors: dict[str, torch.Tensor] = {}
    settings: AdapterSettings | None = None
    for path, site in _places(model):
        adapter = site.parts[OWN] if list(site.parts) == [OWN] else None
        if not isinstance(adapter, Adapter) or adapter.settings.form != "lora":
            raise UserError("PEFT's format holds plain LoRA: save this model as safetensors instead.")
        settings = adapter.settings
        for letter, layer in (("A", adapter.down), ("B", adapter.up)):
            tensors[f"base_model.model.{path}.lora_{letter}.weight"] = layer.weight.detach().contiguous()
    if settings is None:
        raise UserError("This model has no adapter to save.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in model.classifier.state_dict().items():
        tensors[f"base_model.model.classifier.{name}"] = value
    with whole_file(folder / "adapter_model.safetensors") as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    LoraConfig(
        r=settings.rank, lora_alpha=settings.scale * settings.rank, lora_dropout=settings.dropout,
        target_modules=sorted(HOSTS["lora"].values()), modules_to_save=["classifier"],
    ).save_pretrained(folder)  # fmt: skip


def load_from_peft(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Put the weights of a PEFT LoRA file into the sites of `model`. Raises UserError where one is missing or of
    another shape."""
    places = dict(_places(model))
    for path, site in places.items():
        for letter, layer in (("A", site.parts[OWN].down), ("B", site.parts[OWN].up)):
            value = tensors.get(f"base_model.model.{path}.lora_{letter}.weight")
            if value is None or value.shape != layer.weight.shape:
                raise UserError(
                    f"This adapter file does not fit the model: {_plain(path)} is missing or of another shape."
                )
            layer.weight.data.copy_(value)


def _plain(path: str) -> str:
    return re.sub(r"[^\w.]", "?", path)
