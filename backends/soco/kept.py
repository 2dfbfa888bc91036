"""The files of what is computed once on a machine: calibration statistics, all projections' factors in a basis."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from backends.runtime.files import whole_file
from backends.soco.spectra import Factor
from backends.soco.statistics import Statistics


def save_statistics(statistics: Statistics, path: Path) -> None:
    """As float32."""
    tensors = {f"gram.{n}": t.float() for n, t in statistics.grams.items()}
    tensors |= {f"curvature.{n}": t.float() for n, t in statistics.curvatures.items()}
    facts = json.dumps({"source_of": statistics.source_of, "tokens": statistics.tokens})
    with whole_file(path) as temporary:
        save_file(tensors, temporary, {"facts": facts})


def load_statistics(path: Path) -> Statistics:
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name).double() for name in file.keys()}  # noqa: SIM118
    grams = {n.removeprefix("gram."): t for n, t in tensors.items() if n.startswith("gram.")}
    curvatures = {n.removeprefix("curvature."): t for n, t in tensors.items() if n.startswith("curvature.")}
    return Statistics(grams, curvatures, facts["source_of"], facts["tokens"])


def save_factors(factors: dict[str, Factor], path: Path) -> None:
    """In their own number format."""
    tensors = {}
    for name, factor in factors.items():
        parts = {"left": factor.left.t(), "sigma": factor.sigma, "right": factor.right}
        tensors |= {f"{part}.{name}": t.cpu().contiguous() for part, t in parts.items()}
    with whole_file(path) as temporary:
        save_file(tensors, temporary)


def load_factors(path: Path) -> dict[str, Factor]:
    """On the CPU they stay in the file until they are used: the system reads, and may forget, their pages."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    names = [name.removeprefix("sigma.") for name in tensors if name.startswith("sigma.")]
    return {
        name: Factor(tensors[f"left.{name}"].t(), tensors[f"sigma.{name}"], tensors[f"right.{name}"]) for name in names
    }
