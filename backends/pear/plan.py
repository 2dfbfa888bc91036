"""Who goes and who takes the place: plain numbers in, plain names out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backends.pear.settings import Donors, Scope


@dataclass(frozen=True)
class Plan:
    """donors: pruned site -> the site whose adapter takes its place, None where nobody does; kept: in falling order."""

    donors: Mapping[str, str | None]
    kept: tuple[str, ...]

    @property
    def pruned(self) -> tuple[str, ...]:
        return tuple(self.donors)


def plan(
    scores: Mapping[str, float], groups: Mapping[str, object], ratio: float, donors: Donors = "highest",
    rng: np.random.Generator | None = None,
) -> Plan:  # fmt: skip
    """Prune the m = round(ratio / 100 * M) least important; the k-th lowest gets the k-th highest of the kept.

    groups: what a donor has to have in common with the site it serves (its shape, perhaps its kind). Where there are
    more pruned sites than donors, the donors are gone through again. Ties go by the order of the sites.
    """
    names = list(scores)
    rising = sorted(names, key=lambda name: (scores[name], names.index(name)))
    pruned, kept = rising[: round(ratio / 100 * len(names))], rising[round(ratio / 100 * len(names)) :]
    if donors == "none":
        return Plan(dict.fromkeys(pruned), tuple(kept[::-1]))
    order = {"highest": kept[::-1], "lowest": kept, "random": kept}[donors]
    if donors == "random":
        order = [order[i] for i in (rng or np.random.default_rng(0)).permutation(len(order))]
    served: dict[object, int] = {}
    chosen: dict[str, str | None] = {}
    for name in pruned:
        able = [other for other in order if groups[other] == groups[name]]
        turn = served.get(groups[name], 0)
        chosen[name] = able[turn % len(able)] if able else None
        served[groups[name]] = turn + 1
    return Plan(chosen, tuple(kept[::-1]))


def groups_of(shapes: Mapping[str, tuple[int, int]], kinds: Mapping[str, str], scope: Scope) -> dict[str, object]:
    """Equal shapes may stand in for each other; in scope "same-kind" only q for q and v for v."""
    return {name: (shape, kinds[name] if scope == "same-kind" else None) for name, shape in shapes.items()}
