"""One language model on the bench: its factors, calibration statistics, texts and trained scores, each made once.

Shared by all visitors and never changed by them: what a visitor asks for becomes a private compressed copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from backends.lm import texts
from backends.lm.load import LanguageModel
from backends.lm.perplexity import Perplexity, Windows, perplexity, rolling_windows
from backends.lm.rebuild import projections
from backends.runtime.errors import UserError
from backends.runtime.gently import breathe
from backends.runtime.kept import remembered
from backends.runtime.once import Once
from backends.runtime.store import ModelStore
from backends.soco.budget import Shapes, by_importance, uniform
from backends.soco.curvature import two_sided_importance
from backends.soco.kept import load_factors, load_statistics, save_factors, save_statistics
from backends.soco.knots import Knot, knot_path, load_knot, lower_knot, pruned
from backends.soco.materialise import Form, materialise
from backends.soco.pool import Pool, calibration_windows
from backends.soco.settings import KNOTS, METHODS
from backends.soco.spectra import Basis, Factor, Spectrum, decompose, unscored
from backends.soco.statistics import Statistics, collect

STATISTICS_WINDOWS = 128
CURVATURE_AT = 60  # percent removed
POOL_WINDOWS = 1024
QUICK_TOKENS = 2048
DECISIONS = 32_000_000  # bytes of decisions that are kept, about 100
T = TypeVar("T")


@dataclass(frozen=True)
class Decision:
    """A spectrum and how it came about: "trained", "truncated", or "pruned from 40 %"."""

    spectrum: Spectrum
    origin: str

    @property
    def nbytes(self) -> int:
        """Memory of its tensors."""
        parts = (self.spectrum.kept, self.spectrum.scores, self.spectrum.deviation)
        return sum(tensor.nbytes for part in parts for tensor in part.values())


@dataclass
class Workbench:
    """Lazily built parts around one frozen language model.

    name: of its folder of trained scores. quick_format: what quick looks multiply in, the model's own if None.
    """

    lm: LanguageModel
    name: str
    quick_format: torch.dtype | None = None
    _decisions: ModelStore = field(default_factory=lambda: ModelStore(DECISIONS))
    _parts: Once = field(default_factory=Once)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """A part of the bench, made at its first use and kept with it."""
        return self._parts.get(key, make)

    @property
    def shapes(self) -> Shapes:
        return self.once(
            "shapes", lambda: {n: (m.out_features, m.in_features) for n, m in projections(self.lm.model).items()}
        )

    # ---- calibration ------------------------------------------------------------------------------------------------

    def windows_for_calibration(self) -> torch.Tensor:
        return self.once("calibration", lambda: calibration_windows(self.lm, texts.calibration(), self.lm.context))

    def statistics(self) -> Statistics:
        """Gram matrices and output curvatures of the dense model on 128 calibration windows; kept on disk."""
        return self._collected("dense", lambda: self.lm.model)

    def curvatures_under_compression(self) -> Mapping[str, torch.Tensor]:
        """Ours: output curvatures of the model truncated by the dense model's own, 60 % removed.

        What an error costs where errors have been made already differs from what the first one costs.
        """

        def truncated() -> torch.nn.Module:
            dense = self.statistics()
            factors = self._factors("two-sided", dense, dense.curvatures)
            worth = {n: i.numpy() for n, i in two_sided_importance(factors).items()}
            masks = by_importance(worth, self.shapes, CURVATURE_AT / 100, deviation=False)
            kept = {n: torch.from_numpy(m) for n, m in masks.items()}
            return materialise(self.lm.model, factors, unscored("two-sided", kept))

        return self._collected(f"truncated-{CURVATURE_AT}", truncated).curvatures

    def _collected(self, label: str, model: Callable[[], torch.nn.Module]) -> Statistics:
        """In memory only while they are needed: they weigh more than the factors that are made of them."""
        name = f"soco/statistics-{label}-{self.lm.fingerprint}-{texts.calibration().fingerprint}"
        with self._parts.alone(name):
            return remembered(
                name,
                lambda: collect(model(), self.windows_for_calibration()[:STATISTICS_WINDOWS]),
                save_statistics,
                load_statistics,
            )

    def pool(self) -> Pool:
        """Training windows: those after the ones that the statistics saw."""
        windows = self.windows_for_calibration()
        return self.once("pool", lambda: Pool(self.lm, windows[STATISTICS_WINDOWS:][:POOL_WINDOWS]))

    def factors(self, basis: Basis) -> dict[str, Factor]:
        """All projections in one basis, in the model's own number format; kept on disk."""
        weight = next(iter(projections(self.lm.model).values())).weight

        def make() -> dict[str, Factor]:
            statistics = None if basis == "plain" else self.statistics()
            return self._factors(basis, statistics, self.curvatures_under_compression() if basis == "two-sided" else {})

        def made() -> dict[str, Factor]:
            words = ["soco/factors", basis, str(weight.dtype).removeprefix("torch."), self.lm.fingerprint]
            words += [] if basis == "plain" else [texts.calibration().fingerprint]
            found = remembered("-".join(words), make, save_factors, load_factors)
            return {name: found[name].to(weight.dtype, weight.device) for name in self.shapes}  # in the model's order

        return self.once(("factors", basis), made)

    def has_factors(self, basis: Basis) -> bool:
        """Whether `factors` answers at once; the first time on a machine it takes up to a minute."""
        return ("factors", basis) in self._parts

    def _factors(
        self, basis: Basis, statistics: Statistics | None, curvatures: Mapping[str, torch.Tensor]
    ) -> dict[str, Factor]:
        made = {}
        for name, linear in projections(self.lm.model).items():
            breathe()
            gram = statistics.gram(name) if statistics else None
            factor = decompose(linear.weight, basis, gram, curvatures.get(name))
            made[name] = factor.to(linear.weight.dtype, linear.weight.device)
        return made

    # ---- what a method decides --------------------------------------------------------------------------------------

    def knot(self, method: str, percent: int) -> Knot:
        """Trained scores that ship with this model. Raises UserError if the file is torn or of other weights."""

        def make() -> Knot:
            path = knot_path(self.name, method, percent)
            knot = load_knot(path, self.shapes)
            if knot.facts.get("model") != self.lm.fingerprint:
                raise UserError(f"The trained scores {path.name} belong to other weights: remake them.")
            return knot

        return self.once(("knot", method, percent), make)

    def trained(self, method: str) -> tuple[int, ...]:
        """The ratios, in percent, for which trained scores ship."""
        return self.once(
            ("trained", method), lambda: tuple(k for k in KNOTS if knot_path(self.name, method, k).exists())
        )

    def decide(self, method: str, percent: float) -> Decision:
        """What `method` keeps when `percent` of the parameters go; the last hundred or so are kept."""
        key = f"{method} {float(percent)}"
        return self._decisions.get(key, lambda: self._decide(method, percent), lambda decision: decision.nbytes)

    def _decide(self, method: str, percent: float) -> Decision:
        card = METHODS[method]
        if not card.trained:
            masks = uniform(self.shapes, percent / 100, deviation=False)
            return Decision(unscored(card.basis, {n: torch.from_numpy(m) for n, m in masks.items()}), "truncated")
        trained = self.trained(method)
        if not trained:
            raise UserError(f"{card.label} has no trained scores for this model: choose SVD or SVD-LLM.")
        lower = lower_knot(percent, trained)
        if lower is None:
            raise UserError(f"{card.label} is trained from {trained[0]} % on: move the slider there or choose SVD-LLM.")
        knot = self.knot(method, lower)
        elsewhere = "" if card.basis == "plain" or self._calibrated_alike(knot) else ", in a basis from other text"
        if abs(lower - percent) < 1e-9:
            return Decision(knot.spectrum, f"trained{elsewhere}")
        return Decision(pruned(knot, self.shapes, percent), f"pruned from {lower} %{elsewhere}")

    def _calibrated_alike(self, knot: Knot) -> bool:
        """Another Python or other packages carry other documentation: the bases turn a little under the scores."""
        here = self.once("calibration text", lambda: texts.calibration().fingerprint)
        return knot.facts.get("calibration") == here

    def compress(self, spectrum: Spectrum, form: Form = "merged") -> torch.nn.Module:
        """A private compressed copy."""
        return materialise(self.lm.model, self.factors(spectrum.basis), spectrum, form)

    # ---- texts ------------------------------------------------------------------------------------------------------

    def windows(self, text: texts.EvaluationText, quick: bool = False) -> Windows:
        """A text cut for rolling perplexity; `quick`: 2,048 tokens evenly spread over it."""

        def make() -> Windows:
            documents = [self.lm.encode(d) for d in text.documents]
            return rolling_windows(documents, self.lm.prefix, self.lm.context, text_bytes=text.bytes)

        # A visitor's text is not kept: the bench lives as long as the server.
        whole = make() if text.key == "yours" else self.once(("windows", text.key), make)
        return whole.sample(QUICK_TOKENS) if quick else whole

    def perplexity(self, model: torch.nn.Module, text: texts.EvaluationText, quick: bool = False) -> Perplexity:
        """Of the dense or a compressed model on all of a text, or at a quick look."""
        return perplexity(model, self.windows(text, quick), number_format=self.quick_format if quick else None)

    def dense_perplexity(self, text: texts.EvaluationText, quick: bool = False) -> Perplexity:
        def make() -> Perplexity:
            return self.perplexity(self.lm.model, text, quick)

        return make() if text.key == "yours" else self.once(("dense", text.key, quick), make)
