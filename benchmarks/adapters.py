"""Pear beside PEFT's LoRA and AdaLoRA, its own ablations and a linear probe: `python -m benchmarks.adapters [--quick]`.

The bundled vision transformer learns small tasks, ours or (`--real`) those of ../shared/data. Every trained method gets
the same loop and the same number of learning rates, chosen by validation accuracy on the first seed, the lower loss
where two are equal. Every trial is a line of results/adapters-cells.jsonl, so a stopped run goes on where it was, and
`--part 1/2 --threads 1` beside `--part 2/2 --threads 1` makes them on two cores before the run that puts them together.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from backends.pear.settings import Task
from backends.runtime.device import limit_threads
from backends.vision.load import VisionModel
from backends.vision.service import DEFAULT_REFERENCE, open_model
from backends.vision.tasks import TaskData
from backends.vision.training import FitSettings
from benchmarks import adapter_trials as trials
from benchmarks.adapter_cells import Cell, CellFile, Key
from benchmarks.adapter_table import RESAMPLES, Table, claims, score_rows
from benchmarks.adapter_trials import METHODS, PROBE, REAL
from benchmarks.report import RESULTS, Claim, write

CELLS = RESULTS / "adapters-cells.jsonl"
WORDS = {
    "trainable": "numbers trained, the classifier's not counted; AdaLoRA's at its final ranks",
    "stored": "frozen numbers that have to be kept for the task as well: Pear's knowledge checkpoint",
    "interval": f"95 %, percentile bootstrap, {RESAMPLES} draws of test pictures and seeds, methods paired",
    "adalora": "PEFT's, its orthogonality penalty put in; an epoch is chosen among those at the final ranks",
    "random": "mean of five draws",
}


class Trials:
    """What is asked for: each trial read from the file, else made and added to it."""

    def __init__(self, vision: VisionModel, settings: FitSettings, seeds: Sequence[int], folder: Path, file: CellFile,
                 tuned: bool = True) -> None:  # fmt: skip
        self.vision, self.settings, self.seeds, self.folder, self.file = vision, settings, seeds, folder, file
        self.tuned = tuned
        self.used: set[Key] = set()
        self._tasks: dict[str, tuple[TaskData, str]] = {}

    def finished(self, task: str, method: str) -> list[Cell]:
        """One cell a seed, at the rate that is best on the first seed; a probe has no seeds."""
        best = chosen([self.cell(task, method, self.seeds[0], lr) for lr in self.rates(method)])
        others = self.seeds[1:] if method != PROBE else ()
        return [best, *(self.cell(task, method, seed, best.lr) for seed in others)]

    def rates(self, method: str) -> tuple[float | None, ...]:
        """That are chosen among; the middle one where nothing is tuned."""
        rates = METHODS[method].rates
        return rates if self.tuned else rates[len(rates) // 2 :][:1]

    def cell(self, task: str, method: str, seed: int, lr: float | None) -> Cell:
        data, known = self._task(task)
        settings = trials.settings_hash(method, self.settings, known)
        key = (task, method, seed, lr, settings, self.vision.fingerprint)
        self.used.add(key)
        if (found := self.file.get(key)) is None:
            found = trials.trial(self.vision.model, data, self.settings, key)
            self.file.add(found)
            print(f"{task} {method} seed {seed} rate {lr}: {100 * found.test:.1f} %, {found.seconds:.0f} s", flush=True)
        return found

    def _task(self, key: str) -> tuple[TaskData, str]:
        if key not in self._tasks:
            made = trials.open_task(key, self.vision.side, self.folder)
            self._tasks[key] = made, trials.fingerprint(made)
        return self._tasks[key]


def chosen(cells: Sequence[Cell]) -> Cell:
    """By validation accuracy; the lower loss among equal ones, then the first."""
    return max(cells, key=lambda one: (one.validation, -(one.validation_loss or 0.0)))


def report(name: str, asked: Trials, tasks: Sequence[str], must: bool) -> None:
    """Make what is missing, measure the speed, write the result."""
    table = Table({(task, method): asked.finished(task, method) for task in tasks for method in METHODS})
    speeds = [
        {"what": "speed", "unit": "pictures/s, nothing folded", "work": work} | pace
        | {"ratio": pace["pear"] / pace["lora"]}
        for work, pace in trials.throughput(asked.vision.model, asked.vision.side).items()
    ]  # fmt: skip
    words = "Pear's pictures/s over those of PEFT's LoRA, {}"
    quick = [Claim(words.format(f"{one['work']}ing"), one["ratio"], ">=", 0.9, must=False) for one in speeds]
    found = [*claims(table, must), *quick]
    settings = {
        "model": asked.vision.name, "fingerprint": asked.vision.fingerprint, "tasks": list(tasks),
        "seeds": list(asked.seeds), "fit": asked.settings.model_dump(exclude={"lr", "seed"}),
        "rank": trials.RANK, "scale": trials.SCALE, "rates": {method: asked.rates(method) for method in METHODS},
        "trials": len(asked.used), "words": WORDS,
    }  # fmt: skip
    write(name, settings, [*table.rows(), *score_rows(table), *speeds], found)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one task, seed, rate, two epochs: a look, not a result")
    parser.add_argument("--real", action="store_true", help="the sets of ../shared/data/images instead of our tasks")
    parser.add_argument("--tasks", nargs="+", choices=[*get_args(Task), *REAL], help="only these")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="the first one chooses the rates")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--part", default="", metavar="I/N", help="only make every N-th method of a task, for later")
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where the real sets lie")
    parser.add_argument("--model", default=DEFAULT_REFERENCE)
    parser.add_argument("--models", type=Path, default=None, metavar="DIR", help="what local:NAME is looked for in")
    return parser.parse_args()


def main() -> None:
    asked = options()
    limit_threads(asked.threads)
    folder = asked.data or trials.data_folder()
    tasks = asked.tasks or (list(REAL) if asked.real else list(get_args(Task)))
    if lacking := [key for key in tasks if key in REAL and not (folder / f"{key}.npz").exists()]:
        print(f"Left out, because {folder} does not hold them: {', '.join(lacking)}.")
    tasks = [key for key in tasks if key not in lacking]
    if not tasks:
        return
    vision = open_model(asked.model, models=asked.models)
    with tempfile.TemporaryDirectory() as scratch:
        if asked.quick:
            file, seeds, tasks = CellFile(Path(scratch) / CELLS.name), asked.seeds[:1], tasks[:1]
            made = Trials(vision, FitSettings(epochs=2), seeds, folder, file, tuned=False)
        else:
            made = Trials(vision, FitSettings(), asked.seeds, folder, CellFile(CELLS))
        if asked.part:
            part, parts = map(int, asked.part.split("/"))
            for task, method in [(task, method) for task in tasks for method in METHODS][part - 1 :: parts]:
                made.finished(task, method)
            return
        ours = not any(key in REAL for key in tasks)
        name = "adapters-quick" if asked.quick else "adapters" if ours else "adapters-real"
        report(name, made, tasks, must=ours)


if __name__ == "__main__":
    main()
