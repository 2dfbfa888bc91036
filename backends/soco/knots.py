"""Trained spectra as small files: what ships, and what a slider position between two of them is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from backends.runtime.errors import UserError
from backends.runtime.files import ASSETS, whole_file
from backends.soco.budget import Shapes, by_importance, removed, uniform
from backends.soco.settings import KNOTS
from backends.soco.spectra import Spectrum


@dataclass(frozen=True)
class Knot:
    """A trained spectrum. importance (p,): log2 nats (or score) that say what would go next; history: (steps, columns).

    facts: method, removed (in %), settings, fingerprints and what the training saw.
    """

    spectrum: Spectrum
    importance: dict[str, torch.Tensor]
    history: np.ndarray
    facts: dict = field(default_factory=dict)


# Columns of `history`; lambda is the weight of L_dec.
HISTORY = ("stage", "L_inc", "L_dec", "L_sp", "lambda", "removed", "killed", "revived")


def rounded(spectrum: Spectrum) -> Spectrum:
    """As it will be stored: half precision. Everything is evaluated after this, so the file says what was measured."""
    half = {n: s.detach().cpu().half().float() * spectrum.kept[n].cpu() for n, s in spectrum.scores.items()}
    deviation = {n: d.detach().cpu().half().float() for n, d in spectrum.deviation.items()}
    return Spectrum(spectrum.basis, {n: k.cpu() for n, k in spectrum.kept.items()}, half, deviation)


def knot_path(model: str, method: str, percent: int) -> Path:
    return ASSETS / "soco" / model / f"{method}-{percent}.safetensors"


def save_knot(knot: Knot, path: Path) -> None:
    names = list(knot.spectrum.kept)
    tensors = {
        "kept": torch.cat([knot.spectrum.kept[n].cpu() for n in names]),
        "scores": torch.cat([knot.spectrum.scores[n].cpu() for n in names]).half(),
        "importance": torch.cat([knot.importance[n].cpu() for n in names]).half(),
        "history": torch.from_numpy(knot.history.astype(np.float32)),
    }
    if knot.spectrum.deviation:
        tensors["deviation"] = torch.cat([knot.spectrum.deviation[n].cpu() for n in names]).half()
    header = {"basis": knot.spectrum.basis, "facts": json.dumps(knot.facts)}
    with whole_file(path) as temporary:
        save_file(tensors, temporary, header)


def load_knot(path: Path, shapes: Shapes) -> Knot:
    """Raises UserError if the file is torn or belongs to a model of other shapes."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        basis, facts = header["basis"], json.loads(header["facts"])
        kept, scores, importance, history = (tensors[k] for k in ("kept", "scores", "importance", "history"))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"The trained scores {path.name} cannot be read: remake them with python -m backends.soco.train."
        ) from error
    widths, outputs = [min(s) for s in shapes.values()], [m for m, _ in shapes.values()]

    def split(values: torch.Tensor, sizes: list[int]) -> dict[str, torch.Tensor]:
        if len(values) != sum(sizes):
            raise UserError(f"The trained scores {path.name} belong to a model of other shapes: remake them.")
        return dict(zip(shapes, values.split(sizes), strict=True))

    deviation = split(tensors["deviation"].float(), outputs) if "deviation" in tensors else {}
    spectrum = Spectrum(basis, split(kept, widths), split(scores.float(), widths), deviation)
    return Knot(spectrum, split(importance.float(), widths), history.numpy(), facts)


def lower_knot(percent: float, trained: Sequence[int] = KNOTS) -> int | None:
    """The nearest trained ratio that is not above `percent`."""
    return max((k for k in trained if k <= percent + 1e-9), default=None)


def pruned(knot: Knot, shapes: Shapes, percent: float) -> Spectrum:
    """The knot, its least important components dropped until `percent` of the parameters are gone; not retrained."""
    spectrum = knot.spectrum
    ratio, deviation = percent / 100, bool(spectrum.deviation)
    if knot.facts.get("selection") == "uniform":
        masks = uniform(shapes, ratio, deviation)
    else:
        importance = {
            n: np.where(spectrum.kept[n].numpy(), np.exp2(i.numpy().astype(np.float64)), 0.0)
            for n, i in knot.importance.items()
        }
        masks = by_importance(importance, shapes, ratio, deviation)
    kept = {n: torch.from_numpy(m) & spectrum.kept[n] for n, m in masks.items()}
    return Spectrum(spectrum.basis, kept, spectrum.scores, spectrum.deviation)


def removed_share(spectrum: Spectrum, shapes: Shapes) -> float:
    return removed({n: k.numpy() for n, k in spectrum.kept.items()}, shapes, bool(spectrum.deviation))


def to_log2(importance: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Importances span ten decades: stored as log2, clamped to what half precision holds."""
    return {n: i.detach().double().clamp_min(2.0**-60).log2().float() for n, i in importance.items()}
