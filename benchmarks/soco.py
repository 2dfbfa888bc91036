"""SoCo, our variants and their rivals at equal budget: `python -m benchmarks.soco [--quick]`.

Every trained method gets the same windows, steps and batch; three seeds shuffle the training windows, and the first is
what ships (at ratios that nothing is claimed for, it is the only one). Excess is
ln(ppl / dense ppl), nats a token, on the same windows; intervals are paired bootstraps over windows, seeds averaged.
Which of our variants counts as the best is decided by its loss on the training windows, not on what is reported.
Finished cells are kept in the cache folder, so a stopped run goes on where it was, and `--part 1/2 --threads 1` beside
`--part 2/2 --threads 1` makes them on two cores before the run that puts them together.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
from dataclasses import dataclass

import numpy as np
import torch

from backends.lm import texts
from backends.lm.perplexity import Perplexity, Windows, perplexity, rolling_windows
from backends.runtime.device import choose_device, limit_threads
from backends.runtime.files import ROOT, cache_folder, whole_file
from backends.soco import run
from backends.soco.knots import Knot, removed_share
from backends.soco.recipes import training_for
from backends.soco.service import open_bench
from backends.soco.settings import METHODS
from backends.soco.train import shipped, train_knot
from backends.soco.workbench import Workbench
from benchmarks.report import Claim, public_data, write

TRAINED = ("soco-k", "soco-w", "soco", "control")
OURS = ("soco-k", "soco-w")
RATIOS = (20, 40, 60, 80)
CLAIMED = (40, 60, 80)
# The files that a trained score depends on
DECISIVE = ("budget", "curvature", "knots", "layers", "materialise", "pool", "rescale", "scores", "settings", "spectra",
            "stages", "statistics", "train", "workbench")  # fmt: skip
WIKITEXT = public_data() / "text" / "wikitext2.test.raw.txt.gz"
TOKENS = 32_768


@dataclass(frozen=True)
class Cell:
    """One method, ratio and seed: summed nats of each window by text, and what it cost."""

    nats: dict[str, np.ndarray]
    removed: float
    final_kl: float
    seconds: float


def evaluation_windows(bench: Workbench) -> dict[str, Windows]:
    """Held-out documentation and, where it is present, the WikiText-2 test text; 32,768 tokens of each."""
    found = {"held-out": bench.windows(texts.held_out()).sample(TOKENS)}
    if WIKITEXT.exists():
        with gzip.open(WIKITEXT, "rt", encoding="utf-8") as file:
            text = file.read()
        whole = rolling_windows(
            [bench.lm.encode(text)], bench.lm.prefix, bench.lm.context, text_bytes=len(text.encode())
        )
        found["wikitext-2"] = whole.sample(TOKENS)
    return found


def cell(bench: Workbench, windows: dict[str, Windows], method: str, percent: int, seed: int, steps: int) -> Cell:
    """Train (or truncate) and evaluate, or read what an earlier run left."""
    settings = training_for(method, percent, seed, steps=steps) if METHODS[method].trained else None
    facts = [bench.lm.fingerprint, TOKENS, method, percent, seed, settings and settings.model_dump(), _code()]
    path = cache_folder() / "benchmarks" / f"soco-{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as kept:
            nats = {name: kept[name] for name in windows if name in kept}
            if len(nats) == len(windows):
                return Cell(nats, *kept["facts"])
    final_kl, seconds = float("nan"), 0.0
    if settings is None:
        spectrum = bench.decide(method, percent).spectrum
    else:
        knot = shipped(bench, settings) or next(k for k in train_knot(bench, settings) if isinstance(k, Knot))
        spectrum, final_kl = knot.spectrum, float(np.mean(knot.history[-20:, 1]))
        seconds = knot.facts["seconds"]
    model = bench.compress(spectrum)
    nats = {name: perplexity(model, w).window_nats for name, w in windows.items()}
    made = Cell(nats, removed_share(spectrum, bench.shapes), final_kl, seconds)
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, facts=np.array([made.removed, final_kl, seconds]), **nats)
    print(f"{method} {percent} % seed {seed}: {seconds:.0f} s", flush=True)
    return made


def _code() -> str:
    """Cells of another version of the method are not reused; recipes are in the key themselves."""
    digest = hashlib.sha256()
    for name in DECISIVE:
        digest.update((ROOT / "backends" / "soco" / f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


class Table:
    """All cells of a run, and the statistics over them."""

    def __init__(self, dense: dict[str, Perplexity], windows: dict[str, Windows]) -> None:
        self.dense, self.windows = dense, windows
        self.cells: dict[tuple[str, int], list[Cell]] = {}

    def loss(self, method: str, percent: int, text: str) -> np.ndarray:
        """(windows,) nats above dense, mean over seeds."""
        return np.mean([c.nats[text] for c in self.cells[method, percent]], 0) - self.dense[text].window_nats

    def excess(self, method: str, percent: int, text: str) -> float:
        return float(self.loss(method, percent, text).sum() / self.dense[text].tokens)

    def interval(
        self, percent: int, text: str, method: str, rival: str | None, resamples: int = 2000
    ) -> tuple[float, float]:
        """95 % interval of the excess, or of its ratio to a rival's, from windows drawn again together."""
        ours, counts = self.loss(method, percent, text), self.dense[text].window_tokens
        below = counts if rival is None else self.loss(rival, percent, text)
        rows = np.random.default_rng(0).integers(0, len(ours), (resamples, len(ours)))
        low, high = np.percentile(ours[rows].sum(1) / below[rows].sum(1), [2.5, 97.5])
        return float(low), float(high)

    def best_of_ours(self, percent: int) -> str:
        return min((m for m in OURS), key=lambda m: np.mean([c.final_kl for c in self.cells[m, percent]]))

    def rows(self) -> list[dict]:
        made = []
        for text in self.windows:
            for method, percent in self.cells:
                low, high = self.interval(percent, text, method, None)
                ratio = self.interval(percent, text, method, "control") if method != "control" else (1.0, 1.0)
                cells = self.cells[method, percent]
                excess = self.excess(method, percent, text)
                made.append(
                    {
                        "text": text, "removed": percent, "method": METHODS[method].label, "seeds": len(cells),
                        "perplexity": float(np.exp(self.dense[text].nats + excess)), "excess": excess,
                        "excess_low": low, "excess_high": high,
                        "of_control": excess / self.excess("control", percent, text),
                        "of_control_low": ratio[0], "of_control_high": ratio[1],
                        "budget_miss": max(abs(c.removed - percent / 100) for c in cells),
                        "seconds": float(np.mean([c.seconds for c in cells])),
                    }
                )  # fmt: skip
        return made


def claims(table: Table) -> list[Claim]:
    """The acceptance list, in figures. Upper ends of intervals are claimed where a bound is promised."""
    made = []
    for text in table.windows:
        for percent in (p for p in CLAIMED if ("control", p) in table.cells):
            best = table.best_of_ours(percent)
            at = f"{text} {percent} %"
            for rival, limit, must in (("control", 0.7, True), ("svd-llm", 0.5, True), ("control", 0.5, False)):
                high = table.interval(percent, text, best, rival)[1]
                name = f"{at}: {METHODS[best].label} excess over {METHODS[rival].label}'s, upper 95 %"
                made.append(Claim(name, high, "<=", limit, must))
            high = table.interval(percent, text, "soco", "control")[1]
            made.append(Claim(f"{at}: SoCo excess over Fair control's, upper 95 %", high, "<", 1.0, must=False))
            if percent >= 60:
                order = [table.excess(m, percent, text) for m in (best, "control", "svd-llm", "svd")]
                rising = float(all(a < b for a, b in itertools.pairwise(order)))
                made.append(Claim(f"{at}: ours < fair control < SVD-LLM < SVD", rising, "==", 1.0))
    cells = [(percent, c) for (_, percent), found in table.cells.items() for c in found]
    made.append(Claim("largest budget miss", max(abs(c.removed - p / 100) for p, c in cells), "<=", 0.001))
    made.append(Claim("smallest removed minus target", min(c.removed - p / 100 for p, c in cells), ">=", 0.0))
    return made


def lm_eval_gap(bench: Workbench) -> float:
    """Relative difference of our perplexity and lm-evaluation-harness's on the same documents and model."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    documents = list(texts.stories().documents)
    harness = HFLM(
        pretrained=bench.lm.model,
        tokenizer=bench.lm.tokenizer,
        max_length=bench.lm.context,
        batch_size=8,
        add_bos_token=False,
    )
    asked = [Instance("loglikelihood_rolling", {}, (d,), i) for i, d in enumerate(documents)]
    theirs = -sum(harness.loglikelihood_rolling(asked, disable_tqdm=True))
    ours = perplexity(bench.lm.model, bench.windows(texts.stories()))
    return abs(float(np.exp(theirs / ours.tokens)) / ours.value - 1)


def _count(method: str, percent: int, seeds: int) -> int:
    """Seeds of a cell of the table: one where nothing is left to chance or nothing is claimed."""
    return seeds if METHODS[method].trained and percent in CLAIMED else 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one seed, 60 %% only, 40 steps: a look, not a result")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--part", default="", metavar="I/N", help="only make every N-th cell, for a later whole run")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    limit_threads(options.threads)
    torch.manual_seed(0)
    bench = open_bench(device=str(choose_device(options.device)))
    windows = evaluation_windows(bench)
    table = Table({n: perplexity(bench.lm.model, w) for n, w in windows.items()}, windows)
    seeds, steps = (1, 40) if options.quick else (options.seeds, options.steps)
    percents = (60,) if options.quick else RATIOS
    asked = [(m, p, seed) for p in percents for m in METHODS for seed in range(_count(m, p, seeds))]
    if options.part:
        part, parts = map(int, options.part.split("/"))
        for method, percent, seed in asked[part - 1 :: parts]:
            cell(bench, windows, method, percent, seed, steps)
        return
    for method, percent, seed in asked:
        made = cell(bench, windows, method, percent, seed, steps)
        table.cells.setdefault((method, percent), []).append(made)
    found = claims(table)
    found.append(Claim("perplexity against lm-evaluation-harness, relative", lm_eval_gap(bench), "<=", 0.001))
    pace = run.speed(bench, table.best_of_ours(60), 60, repeats=15)
    found.append(Claim("prefill tokens/s at 60 %, factored over dense", pace.compressed / pace.dense, ">=", 1.3))
    settings = {"seeds": seeds, "steps": steps, "tokens": {n: w.tokens for n, w in windows.items()}}
    settings |= {"model": bench.lm.fingerprint, "dense": {n: d.value for n, d in table.dense.items()}}
    write("soco-quick" if options.quick else "soco", settings, table.rows(), found)


if __name__ == "__main__":
    main()
