"""What a run returns: plain numbers and arrays, and the sentence that says them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.lm.perplexity import Perplexity, paired_error
from backends.soco.curves import TextCurves
from backends.soco.settings import METHODS


@dataclass(frozen=True)
class Accounting:
    """Where parameters went. ranks: (layers, matrices) kept components, -1 where a matrix stays dense."""

    kept: int
    components: int
    amplified: int
    removed_linear: float  # share of the projections' parameters that is gone, deviation charged
    removed_model: float  # share of the whole model's
    linear_parameters: int
    model_parameters: int
    dense_parameters: int
    ranks: np.ndarray
    full_ranks: np.ndarray  # (layers, matrices)
    matrices: tuple[str, ...]
    flops: int  # per token, factored, projections and output head
    dense_flops: int


@dataclass(frozen=True)
class Measurement:
    """A method at a ratio on a text, beside the dense model on the same tokens.

    anchor: the dense model's nats on the whole text, if they are known. A quick look at part of the text then tells the
    ratio to dense, which hardly depends on which part it was, and `value` is that ratio times the anchor's perplexity.
    """

    method: str
    percent: float
    origin: str
    text_label: str
    perplexity: Perplexity
    dense: Perplexity
    accounting: Accounting
    seconds: float
    anchor: float | None = None
    curves: TextCurves | None = None  # of every method, measured before on the same text and weights

    @property
    def dense_value(self) -> float:
        """The dense model's perplexity that this one is drawn beside."""
        return math.exp(self.dense.nats if self.anchor is None else self.anchor)

    @property
    def value(self) -> float:
        """Perplexity: dense times the paired ratio (a ratio estimate where only part of the text was read)."""
        return self.dense_value * math.exp(min(self.excess, 700.0))

    @property
    def value_error(self) -> float:
        """Standard error of `value`, from the paired differences to dense."""
        return self.value * paired_error(self.perplexity, self.dense)

    @property
    def excess(self) -> float:
        """ln(ppl / dense ppl), nats a token."""
        return self.perplexity.nats - self.dense.nats

    def summary(self) -> str:
        if self.percent == 0:
            return f"Nothing is removed: this is the dense model, perplexity {self.value:.2f}."
        error = self.value_error / self.dense_value
        known = f" ± {error:.3f}" if math.isfinite(error) else ""
        alone = "" if known else " (too few tokens for a standard error)"
        return (
            f"At {self.percent:g} % removed, {METHODS[self.method].label} reaches perplexity {self.value:.2f}, "
            f"{self.value / self.dense_value:.3f}{known} times the dense model's {self.dense_value:.2f}{alone}."
        )

    def against(self, pinned: Measurement) -> str:
        """How this view differs from a pinned one, in words."""
        a, b = pinned.accounting, self.accounting
        was = f"{METHODS[pinned.method].label} at {pinned.percent:g} % had {pinned.value:.2f}"
        if (pinned.method, pinned.percent, pinned.text_label) == (self.method, self.percent, self.text_label):
            return f"{was}: the same view."
        if pinned.text_label != self.text_label:
            return f"{was} on other text ({pinned.text_label}): only the ratios to dense compare."
        change = self.value - pinned.value
        higher = f"{abs(change):.2f} {'higher' if change >= 0 else 'lower'} ({self.value / pinned.value:.2f}×)"
        share = b.linear_parameters / a.linear_parameters - 1
        size = "as large" if abs(share) < 0.0005 else f"{100 * abs(share):.1f} % {'larger' if share > 0 else 'smaller'}"
        return f"{was}; B is {higher} and its projections are {size}."

    def facts(self) -> dict[str, Any]:
        """Every number by name, as JSON: the answer of the HTTP endpoint and of `--json`."""
        p, a = self.perplexity, self.accounting
        error = self.value_error
        return {
            "summary": self.summary(), "protocol": self.protocol(), "method": self.method, "removed": self.percent,
            "origin": self.origin, "text": self.text_label, "perplexity": self.value,
            "perplexity_error": error if math.isfinite(error) else None, "dense": self.dense_value,
            "ratio": self.value / self.dense_value, "excess_nats": self.excess, "bits_per_byte": p.bits_per_byte,
            "tokens": p.tokens, "measured": p.value, "measured_dense": self.dense.value, "kept": a.kept,
            "components": a.components, "amplified": a.amplified, "removed_linear": a.removed_linear,
            "removed_model": a.removed_model, "linear_parameters": a.linear_parameters,
            "model_parameters": a.model_parameters, "dense_parameters": a.dense_parameters, "flops": a.flops,
            "dense_flops": a.dense_flops,
            "ranks": {matrix: a.ranks[:, i].tolist() for i, matrix in enumerate(a.matrices)},
        }  # fmt: skip

    def protocol(self) -> str:
        p = self.perplexity
        scaled = "" if self.anchor is None else "ratio to dense measured on "
        return (
            f"{scaled}{p.protocol(self.text_label)}: {p.value:.2f} against {self.dense.value:.2f}, "
            f"{p.bits_per_byte:.3f} bits per byte · {self.origin} · {1000 * self.seconds:.0f} ms"
        )


@dataclass(frozen=True)
class SpectrumView:
    """One matrix's components: sigma, score (0 where dropped), kept; (p,) each."""

    name: str
    sigma: np.ndarray
    scores: np.ndarray
    kept: np.ndarray

    def summary(self) -> str:
        kept = int(self.kept.sum())
        louder = int((self.scores[self.kept] > 1).sum())
        last = int(np.flatnonzero(self.kept)[-1]) + 1 if kept else 0
        order = "the largest ones" if last == kept else f"not only the largest: the last one kept is number {last}"
        if kept == len(self.sigma):
            return f"{self.name}: all {kept} components are kept; {louder} of them are amplified."
        return f"{self.name}: {kept} of {len(self.sigma)} components are kept, {order}; {louder} of them are amplified."


@dataclass(frozen=True)
class Contribution:
    """Excess nats of one decision after another, from uniform truncation to the whole method."""

    labels: tuple[str, ...]
    excess: tuple[float, ...]
    errors: tuple[float, ...]  # standard errors of `excess`, paired with the dense model by window

    def summary(self) -> str:
        total = self.excess[0] - self.excess[-1]
        if total <= 0:
            return f"Nothing is gained here: {self.excess[0]:.3f} nats before, {self.excess[-1]:.3f} after."
        parts = [
            f"{label} {100 * (before - after) / total:.0f} %"
            for label, before, after in zip(self.labels[1:], self.excess, self.excess[1:], strict=False)
        ]
        return f"Of {total:.3f} nats gained over uniform truncation: " + ", ".join(parts) + "."


@dataclass(frozen=True)
class Speed:
    """Prefill throughput of dense and compressed, measured in turn in one run; tokens a second, medians."""

    dense: float
    compressed: float
    repeats: int
    tokens: int

    def summary(self) -> str:
        return (
            f"{self.compressed:,.0f} tokens a second, {self.compressed / self.dense:.2f} times the dense model's "
            f"{self.dense:,.0f} (prefill of {self.tokens:,} tokens, median of {self.repeats}, measured in turn)."
        )
