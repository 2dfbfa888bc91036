"""A pruned and shared model as one safetensors file: each shared tensor once, and who shares it in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from backends.pear.plan import Plan
from backends.pear.settings import Checkpoint
from backends.pear.share import apply
from backends.runtime.errors import UserError
from backends.runtime.files import whole_file
from backends.vision.adapters import AdapterSettings, adapted, sites, with_head

HEAD = "classifier"


class Header(BaseModel):
    """What the file's header holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    adapters: AdapterSettings
    donors: dict[str, str | None]
    kept: tuple[str, ...]
    off: frozenset[str] = frozenset()
    checkpoint: Checkpoint
    facts: dict[str, Any] = {}

    @property
    def plan(self) -> Plan:
        return Plan(self.donors, self.kept, self.off)


def save_pear(
    model: nn.Module, path: Path, adapters: AdapterSettings, made: Plan, checkpoint: Checkpoint,
    facts: Mapping[str, Any] | None = None, dtype: torch.dtype | None = None, metadata: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Adapters, what is kept of pruned ones, and the classifier; not the backbone.

    facts: plain values that go with it; dtype: that it is rounded to; metadata: further words of the file's header.
    """
    header = Header(
        adapters=adapters, donors=dict(made.donors), kept=made.kept, off=made.off, checkpoint=checkpoint,
        facts=dict(facts or {}),
    )  # fmt: skip
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in _parameters(model):
        if id(value) not in seen:
            seen.add(id(value))
            tensors[name] = value.detach().to(dtype or value.dtype).contiguous().cpu()
    with whole_file(path) as temporary:
        save_file(tensors, temporary, dict(metadata or {}) | {"pear": header.model_dump_json()})


def load_pear(backbone: nn.Module, path: Path, fingerprint: str = "") -> tuple[nn.Module, Header]:
    """The frozen backbone's own tensors in a model with the file's adapters, tied as they were.

    fingerprint: of the backbone, to be compared with the file's. Raises UserError.
    """
    try:
        with safe_open(path, "pt") as file:
            header = Header.model_validate_json((file.metadata() or {}).get("pear", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValidationError, OSError, json.JSONDecodeError) as error:
        raise UserError(f"{path.name} is no file of pruned and shared adapters.") from error
    if fingerprint and header.facts.get("model") != fingerprint:
        raise UserError(f"The adapters {path.name} belong to other weights: remake them, or load those weights.")
    bias = tensors.get(f"{HEAD}.bias")
    classes = len(bias) if bias is not None and bias.ndim == 1 else 0
    model = adapted(with_head(backbone, classes, shared=True), header.adapters, shared=True)
    here = set(sites(model))
    named = {*header.donors, *header.kept, *(donor for donor in header.donors.values() if donor is not None)}
    if named != here or not set(filter(None, header.donors.values())) <= set(header.kept):
        raise UserError(f"{path.name} belongs to a model with other layers.")
    apply(model, header.plan, header.checkpoint)
    seen: set[int] = set()
    for name, value in _parameters(model):
        if id(value) in seen:
            continue
        seen.add(id(value))
        if name not in tensors or tensors[name].shape != value.shape or not tensors[name].isfinite().all():
            raise UserError(f"{path.name} does not fit this model: {name} is missing, of another shape or not finite.")
        value.data.copy_(tensors[name])
    return model, header


def _parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Everything but the backbone, under the site's name; a shared one under each of its sites."""
    found = [
        (f"{site_name}.{name}".replace(", ", ".").replace(" ", "-"), value)
        for site_name, site in sites(model).items()
        for name, value in site.parts.named_parameters()
    ]
    return [*found, *((f"{HEAD}.{name}", value) for name, value in model.classifier.named_parameters())]
