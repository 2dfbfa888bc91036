"""Who goes and who takes the place: plain numbers in, plain names out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backends.pear.settings import Donors, Edit, Scope


@dataclass(frozen=True)
class Plan:
    """donors: pruned site -> the site whose adapter takes its place, None where nobody does; kept: in falling order;
    off: pruned sites of which nothing stays, whatever the knowledge checkpoint."""

    donors: Mapping[str, str | None]
    kept: tuple[str, ...]
    off: frozenset[str] = frozenset()

    @property
    def pruned(self) -> tuple[str, ...]:
        return tuple(self.donors)


def plan(
    scores: Mapping[str, float], groups: Mapping[str, object], ratio: float, donors: Donors = "highest",
    rng: np.random.Generator | None = None, before: Plan | None = None, last: float | None = None,
) -> Plan:  # fmt: skip
    """Prune the m = round(ratio / 100 * M) least important; the k-th lowest gets the k-th highest of the kept.

    groups: for every site, what a donor has to have in common with it (its shape, perhaps its kind). Where there are
    more pruned sites than donors, the donors are gone through again. Ties go by the order of the sites. before: an
    earlier prune, which stays as it is; an adapter that already serves others is not pruned. last: the ratio of
    the last prune, if this is not it: no more adapters serve than may be left then.
    """
    earlier = dict(before.donors) if before else {}
    names = [name for name in groups if name not in earlier]
    serving = set(earlier.values())
    count = round(ratio / 100 * len(groups)) - len(earlier)
    pruned = [name for name in _rising(scores, names) if name not in serving][: max(0, count)]
    kept = [name for name in _rising(scores, names) if name not in pruned][::-1]
    left = len(groups) - round((ratio if last is None else last) / 100 * len(groups))
    return Plan(earlier | assign(pruned, kept, groups, donors, rng, earlier.values(), left), tuple(kept))


def edited(
    base: Plan, edits: Mapping[str, Edit], scores: Mapping[str, float], groups: Mapping[str, object],
    donors: Donors = "highest", rng: np.random.Generator | None = None,
) -> Plan:  # fmt: skip
    """A plan with single sites decided by hand; donors are then assigned anew. Sites that do not exist are ignored."""
    edits = {name: state for name, state in edits.items() if name in groups}
    out = (set(base.pruned) | edits.keys()) - {name for name, state in edits.items() if state == "own"}
    rising = _rising(scores, groups)
    kept = [name for name in rising[::-1] if name not in out]
    off = frozenset(name for name, state in edits.items() if state == "off")
    served = assign([name for name in rising if name in out and name not in off], kept, groups, donors, rng)
    return Plan({name: served.get(name) for name in rising if name in out}, tuple(kept), off)


def assign(
    pruned: Sequence[str], kept: Sequence[str], groups: Mapping[str, object], donors: Donors,
    rng: np.random.Generator | None = None, serving: Iterable[str | None] = (), most: int | None = None,
) -> dict[str, str | None]:  # fmt: skip
    """Each pruned site's donor. kept: in falling order; serving: donors of earlier, whose turn comes after the idle;
    most: different donors there may be in all."""
    if donors == "none":
        return dict.fromkeys(pruned)
    order = list({"highest": kept, "lowest": kept[::-1], "random": kept[::-1]}[donors])
    if donors == "random":
        order = [order[i] for i in (rng or np.random.default_rng(0)).permutation(len(order))]
    busy = list(serving)
    if most is not None:
        idle = [name for name in order if name not in busy][: max(0, most - len(set(busy) - {None}))]
        order = [name for name in order if name in busy or name in idle]
    order = sorted(order, key=busy.count)  # stable: among equally busy ones the order stays
    turns: dict[object, int] = {}
    chosen: dict[str, str | None] = {}
    for name in pruned:
        able = [other for other in order if groups[other] == groups[name]]
        turn = turns.get(groups[name], 0)
        chosen[name] = able[turn % len(able)] if able else None
        turns[groups[name]] = turn + 1
    return chosen


def groups_of(shapes: Mapping[str, tuple[int, int]], kinds: Mapping[str, str], scope: Scope) -> dict[str, object]:
    """Equal shapes may stand in for each other; in scope "same-kind" only q for q and v for v."""
    return {name: (shape, kinds[name] if scope == "same-kind" else None) for name, shape in shapes.items()}


def _rising(scores: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Least important first; equal ones in their order."""
    return sorted(names, key=lambda name: scores[name])
