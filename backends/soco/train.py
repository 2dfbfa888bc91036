"""Remake the trained scores: `python -m backends.soco.train` (all methods, all ratios; finished ones are skipped)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import torch
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backends.lm import texts
from backends.lm.load import load_language_model
from backends.runtime.device import choose_device, limit_threads
from backends.runtime.files import ASSETS
from backends.runtime.steps import Step
from backends.soco.curvature import dec_weights, train_selection, two_sided_importance
from backends.soco.knots import Knot, knot_path, load_knot, removed_share, rounded, save_knot
from backends.soco.recipes import training_for
from backends.soco.settings import KNOTS, METHODS, SocoTraining, TrainedMethod
from backends.soco.spectra import Basis
from backends.soco.stages import three_stages
from backends.soco.statistics import component_fisher
from backends.soco.workbench import STATISTICS_WINDOWS, Workbench


def fisher_half(bench: Workbench, basis: Basis) -> dict[str, torch.Tensor]:
    """Half the diagonal Fisher information of every component of a basis: predicted nats of dropping it."""

    def make() -> dict[str, torch.Tensor]:
        windows = bench.windows_for_calibration()[:STATISTICS_WINDOWS]
        fisher = component_fisher(bench.lm.model, bench.factors(basis), windows)
        return {n: 0.5 * f for n, f in fisher.items()}

    return bench.once(("fisher", basis), make)


def train_knot(bench: Workbench, settings: SocoTraining) -> Iterator[Step | Knot]:
    """One training; yields a step with its row of the history, and at last the knot, rounded as it will be stored."""
    basis: Basis = settings.basis or METHODS[settings.method].basis
    factors, pool = bench.factors(basis), bench.pool()
    started = time.perf_counter()
    if settings.method == "soco":
        weights = None
        if settings.weighting == "fisher":
            weights = dec_weights(fisher_half(bench, basis), bench.shapes, settings.removed / 100)
        work = three_stages(bench.lm, factors, basis, pool, settings, weights)
    else:
        importance = None
        if settings.method == "soco-k":
            importance = (
                two_sided_importance(bench.factors("two-sided")) if basis == "two-sided" else fisher_half(bench, basis)
            )
        elif settings.method == "soco-w":
            importance = fisher_half(bench, basis)
        work = train_selection(bench.lm, factors, basis, pool, settings, importance)
    for item in work:
        if not isinstance(item, Knot):
            yield item
            continue
        spectrum = rounded(item.spectrum)
        facts = item.facts | {
            "method": settings.method,
            "settings": settings.model_dump(),
            "model": bench.lm.fingerprint,
            "calibration": texts.calibration().fingerprint,
            "removed": 100 * removed_share(spectrum, bench.shapes),
            "seconds": round(time.perf_counter() - started, 1),
        }
        yield Knot(spectrum, item.importance, item.history, facts)


class Command(BaseSettings):
    """Train the scores that ship with the bundled model."""

    model_config = SettingsConfigDict(extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True)
    methods: list[TrainedMethod] = Field(["soco-k", "control", "soco-w", "soco"], title="Methods")
    ratios: list[int] = Field(list(KNOTS), title="Removed, %")
    model: str = Field("pydoc-llama", title="Name of a bundled model")
    device: str = "auto"
    threads: int | None = None
    again: bool = Field(False, title="Remake what is there")


def main() -> None:
    command = Command()
    limit_threads(command.threads)
    folder = ASSETS / "models" / command.model
    bench = Workbench(
        load_language_model(folder, f"bundled:{command.model}", choose_device(command.device)), command.model
    )
    for percent in sorted(command.ratios, key=lambda p: (p % 20 != 0, p)):
        for method in command.methods:
            settings = training_for(method, percent)
            if command.again or shipped(bench, settings) is None:
                _make(bench, settings, knot_path(command.model, method, percent))


def shipped(bench: Workbench, settings: SocoTraining) -> Knot | None:
    """The stored knot, if it came from these settings on these weights."""
    path = knot_path(bench.name, settings.method, int(settings.removed))
    if settings.removed % 1 or not path.exists():
        return None
    knot = load_knot(path, bench.shapes)
    wanted = {"settings": settings.model_dump(), "model": bench.lm.fingerprint}
    return knot if wanted.items() <= knot.facts.items() else None


def _make(bench: Workbench, settings: SocoTraining, path: Path) -> None:
    for item in train_knot(bench, settings):
        if isinstance(item, Knot):
            save_knot(item, path)
            print(f"{path.name}: {item.facts['removed']:.2f} % removed, {item.facts['seconds']} s", flush=True)


if __name__ == "__main__":
    main()
