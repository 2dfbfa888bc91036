"""What a person can ask of a compressed model. Pure functions of the workbench, a text and settings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from backends.lm.generate import Continuation, continue_text
from backends.lm.perplexity import Perplexity, format_name, paired_error, rolling_windows, summarise, window_nats
from backends.lm.rebuild import layer_and_matrix
from backends.lm.texts import EvaluationText
from backends.runtime.gently import breathe
from backends.runtime.steps import Step
from backends.soco.budget import dense_cost, matrix_cost, total_cost, uniform
from backends.soco.knots import Knot
from backends.soco.results import Accounting, Contribution, Measurement, SpectrumView, Speed
from backends.soco.settings import METHODS, SocoSettings
from backends.soco.spectra import Spectrum, unscored
from backends.soco.workbench import Decision, Workbench


def account(bench: Workbench, spectrum: Spectrum) -> Accounting:
    """Parameters, ranks and arithmetic of a decision."""
    shapes, deviation = bench.shapes, bool(spectrum.deviation)
    counts = {n: int(k.sum()) for n, k in spectrum.kept.items()}
    linear = total_cost({n: k.numpy() for n, k in spectrum.kept.items()}, shapes, deviation)
    places = {n: layer_and_matrix(n) for n in shapes}
    matrices = tuple(dict.fromkeys(matrix for _, matrix in places.values()))
    layers = 1 + max(layer for layer, _ in places.values())
    ranks, full = np.zeros((layers, len(matrices)), int), np.zeros((layers, len(matrices)), int)
    flops = 0
    for name, (layer, matrix) in places.items():
        m, n = shapes[name]
        cost = matrix_cost(counts[name], (m, n))
        ranks[layer, matrices.index(matrix)] = -1 if cost == m * n else counts[name]
        full[layer, matrices.index(matrix)] = min(m, n)
        flops += 2 * cost
    head = bench.lm.model.get_output_embeddings().weight.numel() * 2
    dense = dense_cost(shapes)
    amplified = sum(int((spectrum.scores[n][k] > 1).sum()) for n, k in spectrum.kept.items())
    whole = bench.lm.parameters
    return Accounting(
        sum(counts.values()), sum(map(min, shapes.values())), amplified, 1 - linear / dense, (dense - linear) / whole,
        linear, whole - dense + linear, whole, ranks, full, matrices, flops + head, 2 * dense + head,
    )  # fmt: skip


def measure(
    bench: Workbench,
    method: str,
    percent: float,
    text: EvaluationText,
    quick: bool = True,
    anchor: float | None = None,
) -> Measurement:
    """Compress, run the model on the text's tokens, and set the dense model beside it (`anchor`: see Measurement)."""
    started = time.perf_counter()
    decision = _decide(bench, method, percent)
    model = _reader(bench, decision)
    value = bench.perplexity(model, text, quick)
    seconds = time.perf_counter() - started
    return _measurement(bench, method, percent, text, value, decision, seconds, quick, anchor)


def measure_knot(bench: Workbench, knot: Knot, text: EvaluationText, origin: str) -> Measurement:
    """Scores that were trained just now, on the whole text, beside the dense model."""
    started = time.perf_counter()
    decision = Decision(knot.spectrum, origin)
    value = bench.perplexity(_reader(bench, decision), text)
    method, percent, seconds = knot.facts["method"], knot.facts["settings"]["removed"], time.perf_counter() - started
    return _measurement(bench, method, percent, text, value, decision, seconds, False, None)


def refine(
    bench: Workbench, method: str, percent: float, text: EvaluationText, anchor: float | None = None
) -> Iterator[Step]:
    """The same on every token of the text; yields after each batch of windows, the running measurement as partial."""
    started = time.perf_counter()
    decision = _decide(bench, method, percent)
    model = _reader(bench, decision)
    windows = bench.windows(text)
    sums: list[np.ndarray] = []
    done = 0
    for rows in window_nats(model, windows):
        sums.append(rows.sum(1))
        done += len(rows)
        value = summarise(np.concatenate(sums), windows, format_name(model))
        seconds = time.perf_counter() - started
        running = _measurement(
            bench,
            method,
            percent,
            text,
            value,
            decision,
            seconds,
            False,
            None if done == len(windows.inputs) else anchor,
        )
        yield Step(done / len(windows.inputs), f"{value.tokens:,} of {windows.tokens:,} tokens", running)


def _decide(bench: Workbench, method: str, percent: float) -> Decision | None:
    return None if percent == 0 else bench.decide(method, percent)


def _reader(bench: Workbench, decision: Decision | None) -> torch.nn.Module:
    """The model that reads a text: two skinny layers beat one merged weight there at every ratio."""
    return bench.lm.model if decision is None else bench.compress(decision.spectrum, "padded")


def _measurement(bench, method, percent, text, value: Perplexity, decision, seconds, quick, anchor) -> Measurement:
    spectrum = decision.spectrum if decision else _everything(bench)
    dense = bench.dense_perplexity(text, quick)
    if dense.tokens != value.tokens:  # a refinement on its way: compare on the windows that are done
        sums = dense.window_nats[: len(value.window_nats)]
        dense = summarise(sums, bench.windows(text, quick), dense.number_format)
    origin = decision.origin if decision else "dense"
    return Measurement(method, percent, origin, text.label, value, dense, account(bench, spectrum), seconds, anchor)


def _everything(bench: Workbench) -> Spectrum:
    return unscored("plain", {n: torch.ones(min(s), dtype=torch.bool) for n, s in bench.shapes.items()})


def view_spectrum(bench: Workbench, method: str, percent: float, layer: int, matrix: str) -> SpectrumView:
    """The components of one projection under a method's decision."""
    name = next((n for n in bench.shapes if layer_and_matrix(n) == (layer, matrix)), next(iter(bench.shapes)))
    decision = _decide(bench, method, percent)
    basis = METHODS[method].basis if decision else "plain"
    spectrum = decision.spectrum if decision else _everything(bench)
    sigma = bench.factors(basis)[name].sigma.float().cpu().numpy()
    kept = spectrum.kept[name].numpy()
    place = layer_and_matrix(name)
    return SpectrumView(f"layer {place[0]}, {place[1]}", sigma, spectrum.scores[name].numpy() * kept, kept)


def contributions(bench: Workbench, method: str, percent: float, text: EvaluationText) -> Contribution:
    """What choosing, rescaling and the deviation each take off the loss, one after the other, on the quick tokens."""
    decided = bench.decide(method, percent).spectrum
    has_d = bool(decided.deviation)
    masks = uniform(bench.shapes, percent / 100, has_d)
    start = unscored(decided.basis, {n: torch.from_numpy(m) for n, m in masks.items()})
    chosen = replace(decided.without_deviation(), scores={n: torch.ones(len(k)) for n, k in decided.kept.items()})
    steps = [("uniform rank", start), ("allocation and choice", chosen), ("rescaling", decided.without_deviation())]
    steps.append(("deviation", decided))
    dense = bench.dense_perplexity(text, quick=True)
    excess, errors = [], []
    for _, spectrum in steps:
        value = bench.perplexity(bench.compress(spectrum, "padded"), text, quick=True)
        excess.append(value.nats - dense.nats)
        errors.append(paired_error(value, dense))
    return Contribution(tuple(label for label, _ in steps), tuple(excess), tuple(errors))


def continuation(
    bench: Workbench, method: str | None, percent: float, prompt: str, tokens: int, seed: int, temperature: float
) -> Continuation:
    """A continuation by the compressed model, or by the dense one if there is no method."""
    decision = _decide(bench, method, percent) if method else None
    model = bench.compress(decision.spectrum) if decision else bench.lm.model
    return continue_text(bench.lm, model, prompt, tokens, seed, temperature)


def continuation_seconds(bench: Workbench) -> float:
    """What one continuation of usual length takes here, measured once; the plain basis is always there."""

    def measured() -> float:
        usual, started = SocoSettings(), time.perf_counter()
        continuation(bench, "svd", usual.removed, usual.prompt, usual.tokens, usual.seed, usual.temperature)
        return time.perf_counter() - started

    return bench.once("continuation seconds", measured)


@torch.no_grad()
def speed(bench: Workbench, method: str, percent: float, repeats: int = 5) -> Speed:
    """Tokens a second of the dense and the factored model over eight windows, in turn, so that noise hits both."""
    decision = _decide(bench, method, percent)
    compressed = bench.compress(decision.spectrum, "factored") if decision else bench.lm.model
    rows = bench.windows_for_calibration()[:8]
    times: dict[str, list[float]] = {"dense": [], "compressed": []}
    for repeat in range(repeats + 1):
        breathe()
        for name, model in (("dense", bench.lm.model), ("compressed", compressed)):
            if rows.is_cuda:
                torch.cuda.synchronize()
            started = time.perf_counter()
            model(input_ids=rows, use_cache=False)
            if rows.is_cuda:
                torch.cuda.synchronize()
            if repeat:  # the first round warms up
                times[name].append(time.perf_counter() - started)
    rate = {name: rows.numel() / statistics.median(values) for name, values in times.items()}
    return Speed(rate["dense"], rate["compressed"], repeats, rows.numel())


@dataclass(frozen=True)
class Surprise:
    """A text piece by piece with its nats: pieces (t,), nats (t,), in order."""

    pieces: tuple[str, ...]
    nats: tuple[float, ...]


def surprise(bench: Workbench, method: str | None, percent: float, text: str, limit: int = 400) -> Surprise:
    """How surprised the compressed model is by each of the first `limit` tokens of a text."""
    ids = bench.lm.encode(text)[:limit]
    windows = rolling_windows([ids], bench.lm.prefix, bench.lm.context)
    decision = _decide(bench, method, percent) if method else None
    model = _reader(bench, decision)
    nats = np.concatenate([rows for rows in window_nats(model, windows)])
    values = nats[windows.targets >= 0]
    pieces = _pieces(bench, ids)
    return Surprise(pieces, tuple(float(v) for v in values))


def _pieces(bench: Workbench, ids: list[int]) -> tuple[str, ...]:
    """Text of each token; bytes of a character that is split over tokens go to the last of them."""
    pieces, before = [], ""
    for end in range(1, len(ids) + 1):
        whole = bench.lm.tokenizer.decode(ids[:end])
        if whole.endswith("\ufffd"):
            pieces.append("")
        else:
            pieces.append(whole[len(before) :])
            before = whole
    return tuple(pieces)
