"""What the cells of benchmarks.adapters say: means, intervals, how good the scores were, and what was promised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import spearmanr

from benchmarks.adapter_cells import Cell
from benchmarks.adapter_trials import METHODS, PROBE, group
from benchmarks.report import Claim

ALL, STRUCTURED = "all tasks", "structured tasks"
RESAMPLES = 2000


class Table:
    """All cells that count, and the statistics over them; accuracies and differences in percent."""

    def __init__(self, cells: dict[tuple[str, str], list[Cell]]) -> None:
        self.cells = cells
        self.tasks = list(dict.fromkeys(task for task, _ in cells))
        self.methods = list(dict.fromkeys(method for _, method in cells))
        structured = [task for task in self.tasks if group(task) == "structured"]
        self.scopes = {task: [task] for task in self.tasks} | {ALL: self.tasks}
        self.scopes |= {STRUCTURED: structured} if structured else {}
        self._draws: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def hits(self, task: str, method: str) -> np.ndarray:
        """(seeds, pictures) 0 or 100; a method without seeds counts as the same for each."""
        seeds = max(len(found) for (one, _), found in self.cells.items() if one == task)
        found = np.stack([100.0 * cell.hits for cell in self.cells[task, method]])
        return np.broadcast_to(found, (seeds, found.shape[1]))

    def mean(self, method: str, scope: str = ALL) -> float:
        """Over seeds, then over the scope's tasks."""
        return float(np.mean([self.hits(task, method).mean() for task in self.scopes[scope]]))

    def lead(self, method: str, rival: str, scope: str = ALL) -> float:
        return self.mean(method, scope) - self.mean(rival, scope)

    def interval(self, method: str, scope: str = ALL, rival: str | None = None) -> tuple[float, float]:
        """95 % of the mean, or of the difference to a rival on the same pictures and seeds, both drawn again."""
        drawn = []
        for task in self.scopes[scope]:
            values = self.hits(task, method) - (self.hits(task, rival) if rival else 0.0)
            seeds, pictures = self._weights(task, values.shape)
            drawn.append(((seeds @ values) * pictures).sum(1))
        low, high = np.percentile(np.mean(drawn, 0), [2.5, 97.5])
        return float(low), float(high)

    def _weights(self, task: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(draws, seeds) and (draws, pictures): how often each was drawn, as a share."""
        if task not in self._draws:
            draw = np.random.default_rng(self.tasks.index(task))
            self._draws[task] = tuple(draw.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in shape)
        return self._draws[task]

    def rows(self) -> list[dict]:
        """One for each scope and method."""
        return [self._row(scope, method) for scope in self.scopes for method in self.methods]

    def _row(self, scope: str, method: str) -> dict:
        cells = [cell for task in self.scopes[scope] for cell in self.cells[task, method]]
        low, high = self.interval(method, scope)
        row = {"what": "accuracy", "task": scope, "method": method, "label": METHODS[method].label,
               "accuracy": self.mean(method, scope), "low": low, "high": high}  # fmt: skip
        if "lora" in self.methods:
            low, high = self.interval(method, scope, "lora")
            row |= {"to_lora": self.lead(method, "lora", scope), "to_lora_low": low, "to_lora_high": high}
        for name in ("trainable", "stored", "seconds"):
            row[name] = float(np.mean([getattr(cell, name) for cell in cells]))
        return row | ({"lr": cells[0].lr, "seeds": len(cells)} if scope in self.tasks else {})


# ---- did the score know? ---------------------------------------------------------------------------------------------


def agreement(diagnosis: dict, criterion: str) -> float:
    """Spearman's rank correlation of a score with what removing an adapter alone really changes."""
    change = np.abs(np.array(diagnosis["alone"]) - diagnosis["whole"])
    return float(spearmanr(change, diagnosis["scores"][criterion]).statistic)


def diagnoses(table: Table, tasks: Iterable[str]) -> list[dict]:
    """One a task and seed."""
    return [cell.diagnosis for task in tasks for cell in table.cells.get((task, "pear"), ()) if cell.diagnosis]


def score_rows(table: Table) -> list[dict]:
    """Agreement by criterion, and the losses right after removing halves; means over seeds."""
    rows = []
    for scope in (*table.tasks, ALL):
        if not (found := diagnoses(table, table.scopes[scope])):
            continue
        row: dict = {"what": "scores", "task": scope}
        for criterion in ("taylor", "magnitude", "random"):
            row[criterion] = float(np.mean([agreement(one, criterion) for one in found]))
        for half in ("whole", "lowest", "random", "highest"):
            row[f"loss_{half}"] = float(np.mean([np.mean(one[half]) for one in found]))
        rows.append(row)
    return rows


# ---- what was promised -----------------------------------------------------------------------------------------------


def claims(table: Table, must: bool = True) -> list[Claim]:
    """The acceptance list, in figures. must: False where these are not the tasks that the promises are about."""
    return [*score_claims(diagnoses(table, table.tasks), must), *accuracy_claims(table, must)]


def score_claims(found: Sequence[dict], must: bool) -> list[Claim]:
    """About Pear's importance, at the moment of the prune."""
    if not found:
        return []
    taylor, magnitude = (
        float(np.mean([agreement(one, name) for one in found])) for name in ("taylor", "magnitude")
    )  # fmt: skip
    below = 100 * float(np.mean([one["lowest"] <= np.mean(one["random"]) for one in found]))
    apart = 100 * float(np.mean([one["lowest"] < one["highest"] for one in found]))
    return [
        Claim("Spearman of Taylor with the true change of the loss, mean", taylor, ">=", 0.5, must),
        Claim("the same, Taylor minus magnitude", taylor - magnitude, ">=", -0.05, must),
        Claim("lowest half removed costs at most what random halves cost, % of runs", below, ">=", 80, must),
        Claim("lowest half removed costs less than the highest, % of runs", apart, ">=", 95, must),
    ]


def accuracy_claims(table: Table, must: bool) -> list[Claim]:
    """Paired differences of test accuracy, in points, over all tasks and seeds; claims whose methods are there."""
    made, have = [], set(table.methods)
    for method, rival, least, promised in (
        ("pear", "lora", -1.0, must), ("pear", "prune", -0.3, must), ("pear", "pear-none", -0.3, must),
        ("pear-25", "lora", -0.5, False),
    ):  # fmt: skip
        if {method, rival} <= have:
            name = f"{METHODS[method].label} minus {METHODS[rival].label}, points"
            made.append(Claim(name, table.lead(method, rival), ">=", least, promised))
    if {"pear", "lora-half", "adalora"} <= have:
        better = max(table.mean("lora-half"), table.mean("adalora"))
        name = f"{METHODS['pear'].label} minus the better of LoRA and AdaLoRA of its size, points"
        made.append(Claim(name, table.mean("pear") - better, ">=", -1.0, must))
    trained = [method for method in table.methods if method != PROBE]
    if PROBE in have and trained and STRUCTURED in table.scopes:
        least = min(table.lead(method, PROBE, STRUCTURED) for method in trained)
        made.append(Claim("the least trained method minus the probe, structured tasks, points", least, ">=", 3.0, must))
    return made
