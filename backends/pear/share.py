"""Pruned adapters make room for shared ones; what they had learnt is kept in one of four ways.

At a pruned site with K = s B A of the pruned adapter, frozen, and the donor's s B_j A_j (at the prune: index 0):

    none         W + s B_j A_j
    keep         W + K + s B_j A_j                         the plainest reading of the paper's knowledge checkpoint
    keep-offset  W + K + s (B_j A_j - B_j0 A_j0)           nothing changes at the moment of the prune
    blend        W + l K + (1 - l) s B_j A_j, l learnt from 0.5

The paper's own formula could not be obtained: which of these it is, is inferred (see the panel's note).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from backends.pear.plan import Plan
from backends.pear.settings import Checkpoint
from backends.runtime.errors import UserError
from backends.vision.adapters import OWN, Adapter, Site, sites

KEPT, OFFSET = "kept", "offset"


class Signed(nn.Module):
    """A frozen adapter, added or taken away."""

    def __init__(self, adapter: Adapter, sign: float) -> None:
        super().__init__()
        self.adapter, self.sign = copy.deepcopy(adapter).requires_grad_(False), sign

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., d_in). No dropout: what is kept is kept whole."""
        return self.sign * self.adapter.eval()(x)

    def train(self, mode: bool = True) -> Signed:
        """The frozen adapter stays in evaluation mode."""
        super().train(mode)
        self.adapter.eval()
        return self


class Blend(nn.Module):
    """l K(x) + (1 - l) donor(x)."""

    def __init__(self, kept: Adapter, donor: Adapter) -> None:
        super().__init__()
        self.kept, self.donor = Signed(kept, 1.0), donor
        self.share = nn.Parameter(torch.tensor(0.5, device=kept.down.weight.device, dtype=kept.down.weight.dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (..., d_in)."""
        return self.share * self.kept(x) + (1 - self.share) * self.donor(x)


def apply(model: nn.Module, made: Plan, checkpoint: Checkpoint, before: Plan | None = None) -> None:
    """Prune and share on a private model. Shared adapters are the same module, not copies of it.

    before: the part of the plan that is done already.
    """
    places, done = sites(model), before.donors if before else {}
    donors = {name: places[donor].parts[OWN] for name, donor in made.donors.items() if donor is not None}
    gone = {name: places[name].parts[OWN] for name in made.pruned if name not in done}
    for name, adapter in gone.items():
        _replace(places[name], adapter, donors.get(name), "none" if name in made.off else checkpoint)


def _replace(site: Site, gone: Adapter, donor: Adapter | None, checkpoint: Checkpoint) -> None:
    site.parts = nn.ModuleDict()
    if checkpoint == "blend" and donor is not None:
        site.parts["blend"] = Blend(gone, donor)
        return
    if donor is not None:
        site.parts[OWN] = donor
    if checkpoint != "none":
        site.parts[KEPT] = Signed(gone, 1.0)
    if checkpoint == "keep-offset" and donor is not None:
        site.parts[OFFSET] = Signed(donor, -1.0)


@torch.no_grad()
def folded(model: nn.Module) -> nn.Module:
    """A private copy whose LoRA parts are folded into the projections: the same answers at no extra cost.

    Raises UserError for bottlenecks, which are not linear.
    """
    model = copy.deepcopy(model).eval()
    for path, site in [(path, m) for path, m in model.named_modules() if isinstance(m, Site)]:
        host = site.host
        for part in site.parts.values():
            for weight, adapter in _terms(part):
                if adapter.settings.form != "lora":
                    raise UserError("Only LoRA can be folded into the weights: a bottleneck is not linear.")
                host.weight += weight * adapter.settings.scale * adapter.up.weight @ adapter.down.weight
        parent, _, leaf = path.rpartition(".")
        setattr(model.get_submodule(parent), leaf, host)
    return model


def _terms(part: nn.Module) -> list[tuple[float | torch.Tensor, Adapter]]:
    """A part as a weighted sum of adapters."""
    if isinstance(part, Blend):
        return [(part.share, part.kept.adapter), (1 - part.share, part.donor)]
    return [(part.sign, part.adapter)] if isinstance(part, Signed) else [(1.0, part)]


@dataclass(frozen=True)
class Accounting:
    """Numbers. trainable: of adapters, each shared one once, and blends; stored: frozen ones that have to be kept as
    well; multiplications: extra ones a token, over all sites; head: the classifier's, trained too."""

    trainable: int
    stored: int
    multiplications: int
    head: int


def account(model: nn.Module) -> Accounting:
    """What a model with adapters costs beside its frozen backbone."""
    parameters = {id(p): p for site in sites(model).values() for p in site.parts.parameters()}
    trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
    frozen = sum(p.numel() for p in parameters.values() if not p.requires_grad)
    work = sum(m.size for site in sites(model).values() for m in site.parts.modules() if isinstance(m, Adapter))
    head = sum(p.numel() for p in model.classifier.parameters())
    return Accounting(trained, frozen, work, head)
