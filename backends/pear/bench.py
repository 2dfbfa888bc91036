"""One vision transformer with the adapters that ship for it: tasks, importance, plans, looks, each made once.

Shared by all visitors and never changed by them: what a visitor asks for is put on a private copy.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from scipy.special import softmax
from scipy.stats import rankdata
from torch import nn

from backends.pear.curves import TaskCurves, read_curves, stage_path, trained_path
from backends.pear.files import Header, load_pear, save_pear
from backends.pear.importance import importance, own_adapters
from backends.pear.plan import Plan, edited, plan
from backends.pear.results import Gauge, Judged, Look, Moved, MovedPicture, Seen, Tested
from backends.pear.run import groups, scored
from backends.pear.settings import Criterion, PearSettings, read_edits
from backends.pear.share import Accounting, account, apply
from backends.runtime.errors import UserError
from backends.runtime.once import Once
from backends.runtime.seeds import generator
from backends.runtime.store import ModelStore
from backends.vision.adapters import OWN, light_copy, sites
from backends.vision.load import VisionModel
from backends.vision.states import logits_through, sites_by_layer
from backends.vision.tasks import TASKS, Part, Split, load_split
from backends.vision.training import logits_of, scores_of

LOOKS = 8_000_000  # bytes of logits that are kept
STATES = 90_000_000  # bytes of states between layers: of every adapter, of this view, and of the one before
JUDGED: tuple[Criterion, ...] = ("taylor", "magnitude", "random")
T = TypeVar("T")


@dataclass
class Bench:
    """Lazily built parts around one frozen backbone. name: of the folder of what ships for it."""

    vision: VisionModel
    name: str
    _parts: Once = field(default_factory=Once)
    _looks: ModelStore = field(default_factory=lambda: ModelStore(LOOKS))
    _states: ModelStore = field(default_factory=lambda: ModelStore(STATES))

    def once(self, key: object, make: Callable[[], T]) -> T:
        """A part of the bench, made at its first use and kept with it."""
        return self._parts.get(key, make)

    # ---- what ships -------------------------------------------------------------------------------------------------

    def split(self, task: str, part: Part) -> Split:
        return self.once(("split", task, part), lambda: load_split(task, part, self.vision.side))

    def curves(self, task: str) -> TaskCurves | None:
        """The task's measured curves, if they were measured on these very weights."""

        def read() -> TaskCurves | None:
            try:
                found = read_curves(self.name, task)
            except UserError:
                return None
            return found if found.model == self.vision.fingerprint else None

        return self.once(("curves", task), read)

    def stage(self, task: str) -> tuple[nn.Module, Header]:
        """The model at the prune, nothing pruned yet. Raises UserError where nothing ships for this backbone."""
        return self.once(("stage", task), lambda: self._load(stage_path(self.name, task)))

    def trained(self, task: str, checkpoint: str, percent: float) -> tuple[nn.Module, Header] | None:
        """The model that was trained on after such a prune, if it ships."""
        path = trained_path(self.name, task, checkpoint, percent)
        return self.once(("trained", path.name), lambda: self._load(path)) if path.exists() else None

    def _load(self, path: Path) -> tuple[nn.Module, Header]:
        if not path.exists():
            raise UserError(f"No adapters ship for {self.name}: choose the bundled model, or train your own.")
        model, header = load_pear(self.vision.model, path, self.vision.fingerprint)
        return model.eval(), header

    # ---- what a view decides ----------------------------------------------------------------------------------------

    def importance(self, task: str, criterion: Criterion, seed: int = 0) -> dict[str, float]:
        """Every adapter's score at the prune, over all training pictures; the shipped file holds it for seed 0."""

        def make() -> dict[str, float]:
            model, header = self.stage(task)
            if criterion in header.facts.get("importance", {}):
                return header.facts["importance"][criterion]
            return scored(model, self.split(task, "train"), criterion, seed)

        if criterion != "random":
            return self.once(("importance", task, criterion), make)
        return importance(self.stage(task)[0], (), "random", generator(seed))  # a seed more must not stay in memory

    def plan(self, s: PearSettings) -> Plan:
        """Who is pruned and who serves, the edits by hand included."""
        scores, within = self.importance(s.task, s.criterion, s.seed), groups(self.stage(s.task)[0], s.scope)
        made = plan(scores, within, s.pruned, s.donors, np.random.default_rng(s.seed))
        edits = read_edits(s.edits)
        return edited(made, edits, scores, within, s.donors, np.random.default_rng(s.seed)) if edits else made

    def pruned(self, s: PearSettings, made: Plan) -> nn.Module:
        """A private copy of the stage's model, pruned and shared. The frozen backbone itself is not copied."""
        model = light_copy(self.stage(s.task)[0])
        apply(model, made, s.checkpoint)
        return model

    def after(self, s: PearSettings, made: Plan) -> nn.Module | None:
        """The shipped model that was trained on after exactly this prune, if there is one."""
        found = self.trained(s.task, s.checkpoint, s.pruned)
        if found is None or (found[1].plan.donors, found[1].plan.off) != (made.donors, made.off):
            return None
        return found[0]

    # ---- what is seen -----------------------------------------------------------------------------------------------

    def look(self, s: PearSettings) -> Look:
        """The one answer of slider, grid, command line, HTTP and MCP."""
        started = time.perf_counter()
        made, labels = self.plan(s), self.split(s.task, "validation").labels
        cost = self.once(("cost", s.task), lambda: account(self.stage(s.task)[0]))
        now = self.seen(s, made, "validation")
        return Look(
            s, s.task, made, self.importance(s.task, s.criterion, s.seed), now, self.whole(s.task, "validation"),
            self.seen_after(s, made, "validation"), labels, self.cost(s, made), cost,
            time.perf_counter() - started, self.curves(s.task),
        )  # fmt: skip

    def cost(self, s: PearSettings, made: Plan) -> Accounting:
        """What the view's model would train, store and compute."""
        return account(self.pruned(s, made))

    def whole(self, task: str, part: Part) -> Seen:
        """With every adapter, at the same moment."""
        return self._seen(f"{task} whole {part}", task, part, lambda: self.stage(task)[0], Plan({}, ()))

    def seen(self, s: PearSettings, made: Plan, part: Part) -> Seen:
        """Right after the prune."""
        if not made.donors:
            return self.whole(s.task, part)
        key = f"{s.task} {s.checkpoint} {_said(made, made.donors)} {part}"
        return self._seen(key, s.task, part, lambda: self.pruned(s, made), made, s.checkpoint)

    def seen_after(self, s: PearSettings, made: Plan, part: Part) -> Seen | None:
        """After training on."""
        model = self.after(s, made)
        kind = f"{s.checkpoint} {s.pruned:g}" if s.pruned else "never"
        return None if model is None else self._seen(f"{s.task} after {kind} {part}", s.task, part, lambda: model)

    def _seen(
        self, key: str, task: str, part: Part, model: Callable[[], nn.Module], made: Plan | None = None,
        checkpoint: str = "",
    ) -> Seen:  # fmt: skip
        """made: what alone sets the model apart from the stage's; its layers begin alike then, up to the first that
        was changed."""

        def make() -> Seen:
            split = self.split(task, part)
            if made is None or part != "validation":  # what is looked at again and again
                logits = logits_of(model(), split.images)
            else:
                names = self._state_names(task, made, checkpoint)
                logits = logits_through(model(), split.images, names, self._states)
            return Seen(logits.numpy(), scores_of(logits, split.labels))

        return self._looks.get(key, make, lambda seen: 2 * seen.logits.nbytes)

    def _state_names(self, task: str, made: Plan, checkpoint: str) -> list[str]:
        """For each layer, everything that the state of the validation pictures before it depends on."""
        layers = self.once(("layers", task), lambda: sites_by_layer(self.stage(task)[0]))
        names, changed = [], []
        for i, here in enumerate(layers):
            names.append(f"{task} {i} {checkpoint if changed else ''} {_said(made, changed)}")
            changed += [name for name in here if name in made.donors]
        return names

    def tested(self, s: PearSettings) -> Tested:
        """The same view on the test pictures, which chose nothing."""
        made = self.plan(s)
        after = self.seen_after(s, made, "test")
        never = self.seen_after(PearSettings(task=s.task, pruned=0), Plan({}, ()), "test")
        return Tested(
            len(self.split(s.task, "test")), self.whole(s.task, "test").scores, self.seen(s, made, "test").scores,
            after and after.scores, never and never.scores,
        )  # fmt: skip

    def save(self, s: PearSettings, path: Path, metadata: Mapping[str, str] | None = None) -> None:
        """The view's adapters and classifier; trained on, where that ships."""
        made = self.plan(s)
        model = self.after(s, made) or self.pruned(s, made)
        facts = {"model": self.vision.fingerprint, "backbone": self.vision.name, "task": s.task}
        facts |= {"classes": list(TASKS[s.task].classes)}
        save_pear(model, path, self.stage(s.task)[1].adapters, made, s.checkpoint, facts, metadata=metadata)

    def moved_most(self, s: PearSettings, count: int) -> list[MovedPicture]:
        """The validation pictures whose belief in the right class the prune changed most, those that flipped first."""
        split, names = self.split(s.task, "validation"), TASKS[s.task].classes
        before, now = self.whole(s.task, "validation"), self.seen(s, self.plan(s), "validation")
        beliefs = [softmax(seen.logits, axis=1)[np.arange(len(split)), split.labels] for seen in (before, now)]
        flips = before.scores.predicted != now.scores.predicted
        order = np.lexsort((-np.abs(beliefs[1] - beliefs[0]), ~flips))[:count]
        return [
            MovedPicture(
                split.images[i], names[split.labels[i]], names[now.scores.predicted[i]],
                names[before.scores.predicted[i]], float(beliefs[1][i]), float(beliefs[0][i]),
            )
            for i in order
        ]  # fmt: skip

    def judged(self, task: str) -> Judged:
        """Was the score right? Each adapter switched off alone."""
        names = list(sites(self.stage(task)[0]))
        scores = {c: np.array([self.importance(task, c)[name] for name in names]) for c in JUDGED}
        whole, changes = self.whole(task, "validation").scores.loss, []
        for name in names:
            alone = Plan({name: None}, tuple(other for other in names if other != name), frozenset([name]))
            changes.append(self.seen(PearSettings(task=task), alone, "validation").scores.loss - whole)
        return Judged(tuple(names), scores, np.array(changes))

    def gauge(self, task: str, factor: float) -> Gauge:
        """Multiply A and divide B at every other site: the same function, other numbers. Which ranking survives?"""
        model = self.stage(task)[0]
        other = copy.deepcopy(model)
        with torch.no_grad():
            for site in list(sites(other).values())[::2]:
                site.parts[OWN].down.weight *= factor
                site.parts[OWN].up.weight /= factor
        some = self.split(task, "validation")
        ranks = {c: [_ranks(scored(m, some, c)) for m in (model, other)] for c in ("magnitude", "taylor")}
        apart = (logits_of(model, some.images) - logits_of(other, some.images)).abs().max()
        pairs = {c: (before, after) for c, (before, after) in ranks.items()}
        return Gauge(tuple(sites(model)), factor, pairs["magnitude"], pairs["taylor"], float(apart))

    @torch.no_grad()
    def moved(self, s: PearSettings, made: Plan) -> Moved:
        """What pruned places had and what they got."""
        products = {n: (a.settings.scale * a.up.weight @ a.down.weight).double()
                    for n, a in own_adapters(self.stage(s.task)[0]).items()}  # fmt: skip
        pairs = [(name, donor) for name, donor in made.donors.items() if donor]
        had, got = ([products[pair[i]] for pair in pairs] for i in (0, 1))
        kept, given = (np.array([float(p.norm()) for p in side]) for side in (had, got))
        inner = np.array([float((a * b).sum()) for a, b in zip(had, got, strict=True)])
        names, donors = zip(*pairs, strict=True) if pairs else ((), ())
        return Moved(names, donors, kept, given, inner / np.maximum(kept * given, 1e-12))


def _said(made: Plan, names: Iterable[str]) -> str:
    """What a plan does with these pruned sites."""
    return str(sorted((name, made.donors[name] or "", name in made.off) for name in names))


def _ranks(scores: Mapping[str, float]) -> np.ndarray:
    """1 for the highest, in the order of the names."""
    return rankdata([-score for score in scores.values()], method="ordinal")
