"""What a look at a pruned and shared model returns: plain numbers and arrays, and the sentence that says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from backends.pear.curves import TaskCurves
from backends.pear.plan import Plan
from backends.pear.settings import PearSettings
from backends.pear.share import Accounting
from backends.runtime.words import plain, signed
from backends.vision.training import Scores


@dataclass(frozen=True)
class Seen:
    """A model on some pictures. logits: (n, classes) float32; scores: of them."""

    logits: np.ndarray
    scores: Scores


@dataclass(frozen=True)
class Look:
    """A view's model on the validation pictures, as it is right after the prune, and after training on if it ships.

    whole: the same moment with nothing pruned; importance: of every site, by name, in order of layers; retrained: None
    where no trained file matches the view.
    """

    settings: PearSettings
    task: str
    plan: Plan
    importance: Mapping[str, float]
    now: Seen
    whole: Seen
    retrained: Seen | None
    labels: np.ndarray
    accounting: Accounting
    full: Accounting
    seconds: float
    curves: TaskCurves | None = None

    @property
    def value(self) -> float:
        """Accuracy in percent: after training on where that is known, else right after the prune."""
        return 100 * (self.retrained or self.now).scores.accuracy

    @property
    def percent(self) -> float:
        """The share of adapters that is really pruned."""
        return 100 * len(self.plan.pruned) / len(self.importance)

    @property
    def flipped(self) -> int:
        """Validation pictures that are told otherwise than before the prune."""
        return int((self.now.scores.predicted != self.whole.scores.predicted).sum())

    def summary(self) -> str:
        total, out, hand = len(self.importance), len(self.plan.pruned), self.settings.edits
        now, before = (f"{100 * one.scores.accuracy:.1f} %" for one in (self.now, self.whole))
        start = f"At {self.settings.pruned:g} % pruned{', edited by hand,' if hand else ''}"
        if not out:
            after = f"; trained to the end it is {self.value:.1f} %" if self.retrained else ""
            return f"{start} all {total} adapters are kept: {before} of the validation pictures are right{after}."
        served = len([donor for donor in self.plan.donors.values() if donor])
        places = f"{served} of their places are" if served else "no pruned place is"
        places = "every pruned place is" if served == out else places
        said = (
            f"{start} {out} of {total} adapters are gone, {places} served by another one: right after the prune {now} "
            f"of the validation pictures are right, before it {before}"
        )
        if self.retrained:
            return f"{said}; trained on, {100 * self.retrained.scores.accuracy:.1f} %."
        return f"{said}. No trained-on model ships for this view{'' if hand else ': train it below'}."

    def against(self, pinned: Look) -> str:
        """How this view differs from a pinned one, in words."""
        was = f"{len(pinned.plan.pruned)} pruned, {pinned.value:.1f} %"
        if pinned.settings == self.settings:
            return f"{was}: the same view."
        if pinned.task != self.task:
            return f"{was}, on another task ({pinned.task}): the two do not compare."
        points, numbers = self.value - pinned.value, self.accounting.trainable - pinned.accounting.trainable
        apart = "" if bool(self.retrained) == bool(pinned.retrained) else " (one is trained on, the other is not)"
        size = f"{abs(numbers):,} {'more' if numbers > 0 else 'fewer'}" if numbers else "as many"
        return f"{was}; B is {signed(points, '.1f')} points from it, with {size} trainable numbers{apart}."

    def protocol(self) -> str:
        n, s = len(self.labels), self.settings
        ways = f"checkpoint {s.checkpoint}, importance {s.criterion}, shared: {s.donors}"
        losses = f"loss {self.now.scores.loss:.3f} nats, before the prune {self.whole.scores.loss:.3f}"
        return f"task {self.task}, {n} validation pictures, {losses} · {ways} · {1000 * self.seconds:.0f} ms"

    def facts(self) -> dict[str, Any]:
        """Every number, as JSON; the answer of the HTTP endpoint and of `--facts`."""
        a = self.accounting
        return {
            "summary": self.summary(), "protocol": self.protocol(), "task": self.task, "pruned": self.percent,
            "accuracy": self.now.scores.accuracy, "loss": self.now.scores.loss,
            "accuracy_before": self.whole.scores.accuracy, "loss_before": self.whole.scores.loss,
            "accuracy_trained_on": self.retrained and self.retrained.scores.accuracy,
            "loss_trained_on": self.retrained and self.retrained.scores.loss, "flipped": self.flipped,
            "importance": dict(self.importance), "donors": dict(self.plan.donors), "kept": list(self.plan.kept),
            "trainable": a.trainable, "stored": a.stored, "multiplications": a.multiplications, "head": a.head,
        }  # fmt: skip


@dataclass(frozen=True)
class MovedPicture:
    """A validation picture before and right after a prune. image: (side, side, 3) uint8; beliefs: probabilities of the
    right class."""

    image: np.ndarray
    label: str
    said: str
    said_before: str
    belief: float
    belief_before: float


@dataclass(frozen=True)
class Tested:
    """The same view on the test pictures: before the prune, right after it, and trained on where that ships; never:
    trained to the end with nothing pruned."""

    pictures: int
    whole: Scores
    now: Scores
    retrained: Scores | None
    never: Scores | None = None

    def summary(self) -> str:
        on = f", trained on {100 * self.retrained.accuracy:.1f} %" if self.retrained else ""
        return (
            f"On {self.pictures:,} test pictures: before the prune {100 * self.whole.accuracy:.1f} %, right after it "
            f"{100 * self.now.accuracy:.1f} %{on}."
        )


@dataclass(frozen=True)
class Judged:
    """Every adapter's predicted and true change of the validation loss when it alone is switched off.

    scores: by criterion; changes: nats, signed; (sites,) each.
    """

    names: tuple[str, ...]
    scores: Mapping[str, np.ndarray]
    changes: np.ndarray

    def rank_correlation(self, criterion: str) -> float:
        """Spearman's, of a score with the size of the true change."""
        return float(spearmanr(self.scores[criterion], np.abs(self.changes)).statistic)

    def summary(self) -> str:
        words = {"random": "random (one draw)"}
        parts = ", ".join(f"{words.get(name, name)} {plain(self.rank_correlation(name))}" for name in self.scores)
        worst = int(self.changes.argmax())
        costs = f"The costliest to lose is {self.names[worst]}: {signed(self.changes[worst], '.3f')} nats."
        if self.changes[worst] <= 0:
            costs = "None of them is missed on these pictures."
        return f"Rank correlation with what really happens to the loss: {parts} (1: the same order). {costs}"


@dataclass(frozen=True)
class Gauge:
    """Ranks, 1 the highest, before and after A is multiplied and B divided by one number at some sites; the function of
    the model is the same. change: of its logits, the largest; each pair: (before, after), (sites,) each."""

    names: tuple[str, ...]
    factor: float
    magnitude: tuple[np.ndarray, np.ndarray]
    taylor: tuple[np.ndarray, np.ndarray]
    change: float

    def summary(self) -> str:
        moved = [int((before != after).sum()) for before, after in (self.magnitude, self.taylor)]
        return (
            f"A times {self.factor:g}, B divided by it at every other place: logits change by {self.change:.1e}. "
            f"By magnitude {moved[0]} of {len(self.names)} adapters change places, by Taylor {moved[1]} (ranked on the "
            "validation pictures)."
        )


@dataclass(frozen=True)
class Moved:
    """What a pruned place had and what it got: Frobenius norms of both products, and their cosine; (pruned,) each."""

    names: tuple[str, ...]
    donors: tuple[str, ...]
    kept: np.ndarray
    given: np.ndarray
    cosine: np.ndarray

    def summary(self) -> str:
        if not self.names:
            return "No place is served by another adapter, so nothing has moved."
        times = float(np.median(self.given / np.maximum(self.kept, 1e-12)))
        cosine = float(np.mean(self.cosine))
        apart = (
            "they say different things"
            if abs(cosine) < 0.5
            else "they resemble each other"
            if cosine > 0
            else "they say the opposite"
        )
        return (
            f"The shared adapters are {times:.1f} times as large (median) as what the pruned ones had learnt; their "
            f"cosine is {signed(cosine, '.2f')} on average: {apart}."
        )
