"""What a person asks of a workbench: numbers that agree with each other and with the tensors behind them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.lm import texts
from backends.lm.generate import continue_text
from backends.lm.load import LanguageModel, fingerprint
from backends.lm.perplexity import perplexity, rolling_windows
from backends.lm.rebuild import layer_and_matrix, projections, rebuild
from backends.lm.texts import EvaluationText, visitors_text
from backends.runtime.errors import UserError
from backends.runtime.store import ModelStore
from backends.soco import knots, run, workbench
from backends.soco.budget import by_importance
from backends.soco.knots import Knot, rounded, save_knot, to_log2
from backends.soco.materialise import Dense, stored_parameters
from backends.soco.settings import METHODS, SocoTraining
from backends.soco.spectra import Spectrum, decompose
from backends.soco.statistics import collect
from backends.soco.train import train_knot
from backends.soco.workbench import Workbench
from tests.fakes.language import KINDS, SENTENCES, tiny_language_model

TEXT = EvaluationText("stories", "made stories", tuple(f"{a} {b}" for a in SENTENCES[:4] for b in SENTENCES[2:]))
TRAINED = [m for m, card in METHODS.items() if card.trained]


def trained_knot(bench: Workbench, method: str, percent: int, seed: int = 0) -> Knot:
    """What a training would have left: the method's basis, any components, rescaled, with a deviation."""
    rng = np.random.default_rng(seed)
    worth = {n: rng.gamma(0.5, 1, min(s)) for n, s in bench.shapes.items()}
    masks = knots.by_importance(worth, bench.shapes, percent / 100, True)
    kept = {n: torch.from_numpy(m) for n, m in masks.items()}
    scores = {n: torch.from_numpy(rng.uniform(0.5, 1.5, len(k))).float() for n, k in kept.items()}
    offsets = {n: torch.from_numpy(rng.normal(0, 0.1, s[0])).float() for n, s in bench.shapes.items()}
    spectrum = rounded(Spectrum(METHODS[method].basis, kept, scores, offsets))
    importance = to_log2({n: torch.from_numpy(w) for n, w in worth.items()})
    facts = {"model": bench.lm.fingerprint, "selection": "importance", "method": method}
    facts |= {"calibration": texts.calibration().fingerprint}
    return Knot(spectrum, importance, np.zeros((1, 8)), facts)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration text of the test's own, trained scores and cache in its folder, quick looks at 72 tokens."""
    calibration = EvaluationText("calibration", "made calibration", tuple(SENTENCES[i % 6] * 3 for i in range(60)))
    monkeypatch.setattr(texts, "calibration", lambda: calibration)
    monkeypatch.setattr(workbench, "STATISTICS_WINDOWS", 16)
    monkeypatch.setattr(workbench, "QUICK_TOKENS", 72)
    monkeypatch.setattr(knots, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))


def bench_of(lm: LanguageModel) -> Workbench:
    """A workbench whose four trained methods have scores for 40 %."""
    bench = Workbench(lm, "tiny")
    for method in TRAINED:
        save_knot(trained_knot(bench, method, 40), knots.knot_path("tiny", method, 40))
    return bench


@pytest.fixture(params=["llama-tied"])
def bench(request: pytest.FixtureRequest) -> Workbench:
    return bench_of(tiny_language_model(request.param))


# ---- measuring ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("quick", [True, False])
def test_nothing_removed_is_the_dense_model(bench: Workbench, method: str, quick: bool):
    measured = run.measure(bench, method, 0, TEXT, quick)
    expected = perplexity(bench.lm.model, bench.windows(TEXT, quick))
    assert measured.perplexity.nats == measured.dense.nats == expected.nats
    assert measured.excess == 0
    assert measured.origin == "dense"
    a = measured.accounting
    assert (a.removed_linear, a.removed_model, a.amplified) == (0, 0, 0)
    assert a.kept == a.components
    assert a.model_parameters == a.dense_parameters == bench.lm.parameters
    assert a.flops == a.dense_flops


@pytest.mark.parametrize("method", METHODS)
def test_a_measurement_is_that_of_the_compressed_model(bench: Workbench, method: str):
    measured = run.measure(bench, method, 40, TEXT)
    spectrum = bench.decide(method, 40).spectrum
    assert spectrum.basis == METHODS[method].basis
    for form in ("merged", "factored"):
        value = perplexity(bench.compress(spectrum, form), bench.windows(TEXT, quick=True))
        assert measured.perplexity.value == pytest.approx(value.value, rel=1e-5)
    assert measured.perplexity.tokens == measured.dense.tokens == 72
    assert abs(measured.excess) > 1e-3
    assert 0.4 <= measured.accounting.removed_linear < 0.42
    assert measured.origin == ("trained" if METHODS[method].trained else "truncated")


def test_changed_weights_change_the_number(bench: Workbench):
    other = tiny_language_model("llama-tied")
    other.model.model.layers[0].mlp.up_proj.weight.data[3, 5] += 0.7
    other = replace(other, fingerprint=fingerprint(other.model))
    numbers = [run.measure(Workbench(lm, "none"), "svd", 40, TEXT).perplexity.nats for lm in (bench.lm, other)]
    again = run.measure(Workbench(tiny_language_model("llama-tied"), "none"), "svd", 40, TEXT)
    assert again.perplexity.nats == numbers[0] != numbers[1]


def test_a_refinement_ends_at_the_whole_measurement(bench: Workbench):
    steps = list(run.refine(bench, "soco", 40, TEXT))
    whole = run.measure(bench, "soco", 40, TEXT, quick=False)
    assert len(steps) > 1
    last = steps[-1]
    assert last.fraction == 1
    assert last.partial.perplexity.nats == pytest.approx(whole.perplexity.nats, rel=1e-12)
    assert last.partial.dense.nats == pytest.approx(whole.dense.nats, rel=1e-12)
    assert whole.perplexity.tokens == sum(len(bench.lm.encode(d)) for d in TEXT.documents)
    for step in steps:  # dense and compressed on the same windows
        assert step.partial.dense.tokens == step.partial.perplexity.tokens
    windows = bench.windows(TEXT)
    first = steps[0].partial
    rows = len(first.perplexity.window_nats)
    part = type(windows)(windows.inputs[:rows], windows.targets[:rows], 0, windows.context, windows.stride)
    assert first.dense.nats == pytest.approx(perplexity(bench.lm.model, part).nats, rel=1e-9)


def test_quick_looks_compute_in_the_quick_format_and_whole_texts_do_not(bench: Workbench):
    bench.quick_format = torch.bfloat16
    quick, whole = run.measure(bench, "soco", 40, TEXT), run.measure(bench, "soco", 40, TEXT, quick=False)
    assert {quick.perplexity.number_format, quick.dense.number_format} == {"bfloat16"}
    assert {whole.perplexity.number_format, whole.dense.number_format} == {"float32"}
    last = [step.partial for step in run.refine(bench, "soco", 40, TEXT)][-1]
    assert last.perplexity.number_format == last.dense.number_format == "float32"
    reference = run.measure(bench_of(bench.lm), "soco", 40, TEXT)
    assert quick.excess == pytest.approx(reference.excess, abs=5e-3)
    assert "bfloat16" in quick.protocol()


def test_scores_for_other_calibration_text_say_so(bench: Workbench):
    bench.once("calibration text", lambda: "another")
    assert run.measure(bench, "soco-k", 40, TEXT).origin == "trained, in a basis from other text"
    assert run.measure(bench, "soco", 40, TEXT).origin == "trained"  # the plain basis is the weights' own


def test_the_bench_knows_which_bases_are_there(bench: Workbench):
    assert not bench.has_factors("whitened")
    bench.factors("whitened")
    assert bench.has_factors("whitened") and not bench.has_factors("plain")


def test_sentences_say_the_numbers(bench: Workbench):
    measured = run.measure(bench, "soco-w", 40, TEXT)
    said = measured.summary()
    for word in ("40 %", METHODS["soco-w"].label, f"{measured.perplexity.value:.2f}", f"{measured.dense.value:.2f}"):
        assert word in said
    assert "72 tokens of made stories, context 24, stride 24" in measured.protocol()
    assert f"{measured.perplexity.bits_per_byte:.3f} bits per byte" in measured.protocol()


# ---- accounting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llama-tied", "llama"])
@pytest.mark.parametrize("method", ["soco", "svd-llm"])
@pytest.mark.parametrize("percent", [10, 40, 63])
def test_accounting_counts_the_tensors(kind: str, method: str, percent: int):
    bench = Workbench(tiny_language_model(kind), "tiny")
    spectrum = (
        trained_knot(bench, method, percent).spectrum
        if METHODS[method].trained
        else bench.decide(method, percent).spectrum
    )
    a = run.account(bench, spectrum)
    model = bench.compress(spectrum, "factored")
    assert a.linear_parameters == stored_parameters(model)
    assert a.model_parameters == sum(p.numel() for p in model.parameters())
    assert a.dense_parameters == sum(p.numel() for p in bench.lm.model.parameters())
    dense = sum(m * n for m, n in bench.shapes.values())
    assert a.removed_linear == pytest.approx(1 - a.linear_parameters / dense, abs=1e-12)
    assert a.removed_model == pytest.approx(1 - a.model_parameters / a.dense_parameters, abs=1e-12)
    assert a.kept == sum(int(k.sum()) for k in spectrum.kept.values())
    assert a.components == sum(min(s) for s in bench.shapes.values())
    assert a.amplified == sum(int((spectrum.scores[n][k] > 1).sum()) for n, k in spectrum.kept.items())
    assert a.matrices == ("q", "k", "v", "o", "gate", "up", "down")
    for name, kept in spectrum.kept.items():
        layer, matrix = layer_and_matrix(name)
        place = layer, a.matrices.index(matrix)
        submodule = model.get_submodule(name)
        assert a.full_ranks[place] == len(kept)
        assert a.ranks[place] == (len(submodule.inner) if hasattr(submodule, "inner") else -1)


@pytest.mark.parametrize("kind", ["llama-tied", "llama"])
def test_flops_are_two_a_multiplied_weight(kind: str):
    """Every matrix that a token is multiplied by, the output head included, the lookup of the embedding not."""
    bench = Workbench(tiny_language_model(kind), "tiny")
    spectrum = bench.decide("svd", 40).spectrum
    for decided, a in ((bench.compress(spectrum, "factored"), "flops"), (bench.lm.model, "dense_flops")):
        matrices = [p for n, p in decided.named_parameters(remove_duplicate=False) if p.dim() == 2]
        counted = 2 * sum(p.numel() for p in matrices if p is not decided.model.embed_tokens.weight)
        counted += 2 * decided.lm_head.weight.numel() * (kind == "llama-tied")
        assert getattr(run.account(bench, spectrum), a) == counted


def test_biases_of_the_model_stay_in_the_whole_and_out_of_the_share():
    """Where a projection has a bias of its own, the deviation goes into it: the count is at most too high by that."""
    bench = Workbench(tiny_language_model("qwen2"), "tiny")
    spectrum = trained_knot(bench, "soco", 40).spectrum
    a, model = run.account(bench, spectrum), bench.compress(spectrum, "factored")
    biases = sum(p.numel() for n, p in bench.lm.model.named_parameters() if n.endswith(".bias"))
    assert biases > 0
    assert a.model_parameters - sum(p.numel() for p in model.parameters()) == biases
    plain = bench.decide("svd", 40).spectrum
    counted = sum(p.numel() for p in bench.compress(plain, "factored").parameters())
    assert run.account(bench, plain).model_parameters == counted


# ---- contributions, spectra, text -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_contributions_end_at_the_measurement(bench: Workbench, method: str):
    made = run.contributions(bench, method, 40, TEXT)
    measured = run.measure(bench, method, 40, TEXT)
    assert made.labels == ("uniform rank", "allocation and choice", "rescaling", "deviation")
    assert made.excess[-1] == pytest.approx(measured.excess, abs=1e-9)
    if not METHODS[method].trained:  # uniform truncation chooses, rescales and adds nothing
        assert made.excess == pytest.approx([measured.excess] * 4, abs=1e-9)
    if method == "control":  # the fake knot of the control is chosen freely, so only the start is plain truncation
        assert made.excess[0] != made.excess[1]
    assert all(e > 0 for e in made.errors)
    assert made.summary()


def test_contributions_start_at_uniform_truncation_of_the_same_size(bench: Workbench):
    made = run.contributions(bench, "soco", 40, TEXT)
    masks = workbench.uniform(bench.shapes, 0.4, True)
    start = workbench.unscored("plain", {n: torch.from_numpy(m) for n, m in masks.items()})
    value = perplexity(bench.compress(start, "padded"), bench.windows(TEXT, quick=True))
    assert made.excess[0] == pytest.approx(value.nats - bench.dense_perplexity(TEXT, quick=True).nats, abs=1e-9)


def test_a_view_shows_the_decision(bench: Workbench):
    for layer, matrix, name in (
        (0, "k", "model.layers.0.self_attn.k_proj"),
        (1, "down", "model.layers.1.mlp.down_proj"),
    ):
        spectrum = bench.decide("soco", 40).spectrum
        view = run.view_spectrum(bench, "soco", 40, layer, matrix)
        assert view.name == f"layer {layer}, {matrix}"
        np.testing.assert_array_equal(view.kept, spectrum.kept[name].numpy())
        np.testing.assert_array_equal(view.scores, spectrum.scores[name].numpy() * view.kept)
        np.testing.assert_allclose(view.sigma, bench.factors("plain")[name].sigma)
        every = f"all {len(view.sigma)} components"
        assert (every if view.kept.all() else f"{view.kept.sum()} of {len(view.sigma)}") in view.summary()
    dense = run.view_spectrum(bench, "soco", 0, 1, "up")
    assert dense.kept.all()
    assert (dense.scores == 1).all()


STRINGS = (
    SENTENCES[0],
    "caf\u00e9 \U0001f469\u200d\U0001f467 \u4e2d\u6587 end",
    "a\0b \ufffd c",
    " leading",
    SENTENCES[1] * 3,
)


@pytest.mark.parametrize("text", STRINGS)
@pytest.mark.parametrize("method", [None, "soco"])
def test_surprise_is_the_perplexity_piece_by_piece(bench: Workbench, text: str, method: str | None):
    made = run.surprise(bench, method, 40, text)
    assert "".join(made.pieces) == text
    assert len(made.pieces) == len(made.nats)
    windows = rolling_windows([bench.lm.encode(text)], bench.lm.prefix, bench.lm.context)
    model = bench.compress(bench.decide(method, 40).spectrum) if method else bench.lm.model
    value = perplexity(model, windows)
    assert sum(made.nats) == pytest.approx(value.nats * value.tokens, rel=1e-6)
    assert len(made.nats) == value.tokens


def test_surprise_stops_at_its_limit(bench: Workbench):
    text = SENTENCES[3] * 4
    whole, part = run.surprise(bench, None, 0, text), run.surprise(bench, None, 0, text, limit=30)
    assert len(part.nats) == 30
    assert text.startswith("".join(part.pieces))
    np.testing.assert_allclose(part.nats[:24], whole.nats[:24], rtol=1e-4)  # the first window
    value = perplexity(bench.lm.model, rolling_windows([bench.lm.encode(text)[:30]], bench.lm.prefix, 24))
    assert sum(part.nats) == pytest.approx(30 * value.nats, rel=1e-6)


def test_a_limit_inside_a_character_leaves_it_out(bench: Workbench):
    """Four bytes of an unseen character are four tokens: three of them spell nothing yet."""
    made = run.surprise(bench, None, 0, "\U0001f600\U0001f600", limit=7)
    assert made.pieces == ("", "", "", "\U0001f600", "", "", "")


def test_continuations_are_the_models_own(bench: Workbench):
    spectrum = bench.decide("soco", 40).spectrum
    made = run.continuation(bench, "soco", 40, "The keeper", 8, 3, 1.0)
    assert made == continue_text(bench.lm, bench.compress(spectrum), "The keeper", 8, 3, 1.0)
    dense = continue_text(bench.lm, bench.lm.model, "The keeper", 8, 3, 1.0)
    assert run.continuation(bench, None, 40, "The keeper", 8, 3, 1.0) == dense
    assert run.continuation(bench, "soco", 0, "The keeper", 8, 3, 1.0) == dense


def test_speed_is_measured(bench: Workbench):
    made = run.speed(bench, "svd", 60, repeats=2)
    assert made.dense > 0
    assert made.compressed > 0
    assert made.tokens == 8 * bench.lm.context
    assert "median of 2" in made.summary()


# ---- the bench ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_shared_model_is_never_changed(kind: str):
    bench = bench_of(tiny_language_model(kind))
    for method in METHODS:
        run.measure(bench, method, 40, TEXT)
    run.contributions(bench, "soco-k", 40, TEXT)
    assert fingerprint(bench.lm.model) == bench.lm.fingerprint


def test_positions_between_two_knots_are_pruned_from_the_lower(bench: Workbench):
    at, between = bench.decide("soco", 40), bench.decide("soco", 47)
    assert (at.origin, between.origin) == ("trained", "pruned from 40 %")
    assert all((between.spectrum.kept[n] <= k).all() for n, k in at.spectrum.kept.items())
    assert run.account(bench, between.spectrum).removed_linear >= 0.47


def test_what_is_not_there_is_said(bench: Workbench):
    assert bench.trained("soco") == (40,)
    for percent in (5, 39):
        with pytest.raises(UserError, match="from 40 %"):
            bench.decide("soco", percent)
    with pytest.raises(UserError, match="no trained scores"):
        Workbench(bench.lm, "none").decide("soco", 40)
    with pytest.raises(UserError, match="other weights"):
        Workbench(tiny_language_model("llama-tied", seed=4), "tiny").decide("soco", 40)


def test_statistics_from_the_cache_are_those_that_were_made(bench: Workbench, tmp_path: Path):
    made = {b: bench.factors(b) for b in ("whitened", "two-sided")}
    files = list((tmp_path / "cache").rglob("statistics-*"))
    assert len(files) == 2  # of the dense model and of the truncated one
    assert all(bench.lm.fingerprint in file.name for file in files)
    read = Workbench(bench.lm, "tiny")
    for basis, factors in made.items():
        for name, factor in factors.items():
            torch.testing.assert_close(read.factors(basis)[name].sigma, factor.sigma, rtol=0, atol=0)
            torch.testing.assert_close(read.factors(basis)[name].left, factor.left, rtol=0, atol=0)


def test_the_two_sided_basis_weighs_errors_where_the_compressed_model_is(bench: Workbench):
    """Curvature read off the model that the dense model's own two-sided basis truncates to 40 %."""
    windows = bench.windows_for_calibration()[: workbench.STATISTICS_WINDOWS]
    dense = collect(bench.lm.model, windows)
    linears = projections(bench.lm.model)
    first = {n: decompose(m.weight, "two-sided", dense.gram(n), dense.curvatures[n]) for n, m in linears.items()}
    masks = by_importance({n: f.sigma.numpy() ** 2 for n, f in first.items()}, bench.shapes, 0.6, deviation=False)
    weights = {}
    for name, factor in first.items():
        kept = torch.from_numpy(masks[name])
        part = factor.part(kept)
        weights[name] = (part.left * part.sigma @ part.right).float()
    truncated = rebuild(bench.lm.model, lambda name, linear: Dense(weights[name], linear.bias))
    expected = collect(truncated, windows).curvatures
    made = bench.curvatures_under_compression()
    for name, linear in linears.items():
        torch.testing.assert_close(made[name], expected[name], rtol=1e-3, atol=1e-3 * float(expected[name].abs().max()))
        assert float((made[name] - dense.curvatures[name]).norm() / dense.curvatures[name].norm()) > 0.05
        factor = decompose(linear.weight, "two-sided", bench.statistics().gram(name), made[name])
        torch.testing.assert_close(bench.factors("two-sided")[name].sigma, factor.sigma.float())


def test_a_torn_cache_is_made_again(bench: Workbench, tmp_path: Path):
    expected = bench.statistics()
    (file,) = (tmp_path / "cache").rglob("statistics-dense-*")
    file.write_bytes(file.read_bytes()[:500])
    again = Workbench(bench.lm, "tiny").statistics()
    name = next(iter(expected.curvatures))
    torch.testing.assert_close(again.gram(name), expected.gram(name), rtol=1e-6, atol=1e-12)
    assert file.stat().st_size > 500


@pytest.mark.parametrize("basis", ["plain", "whitened", "two-sided"])
def test_factors_come_from_the_disk_at_the_next_start(bench: Workbench, tmp_path: Path, basis: str, monkeypatch):
    made = bench.factors(basis)
    (file,) = (tmp_path / "cache").rglob(f"factors-{basis}-*")
    again = Workbench(bench.lm, "tiny")
    with monkeypatch.context() as closed:
        closed.setattr(workbench, "decompose", lambda *_: pytest.fail("decomposed again"))
        read = again.factors(basis)
    assert list(read) == list(made) == list(bench.shapes)  # scores are stored one matrix after the other
    for name, factor in made.items():
        for part in ("left", "sigma", "right"):
            assert torch.equal(getattr(read[name], part), getattr(factor, part))
        assert read[name].left.t().is_contiguous()  # `part` copies runs
        weight = projections(bench.lm.model)[name].weight
        torch.testing.assert_close(factor.left * factor.sigma @ factor.right, weight, rtol=1e-4, atol=1e-4)
    file.write_bytes(file.read_bytes()[:-100])
    torch.testing.assert_close(Workbench(bench.lm, "tiny").factors(basis)[name].sigma, made[name].sigma)


def test_factors_on_disk_are_of_these_weights_and_this_text(bench: Workbench, tmp_path: Path):
    bench.factors("whitened")
    other = Workbench(replace(bench.lm, fingerprint="other"), "tiny")
    other.factors("whitened")
    assert len(list((tmp_path / "cache").rglob("factors-whitened-*"))) == 2


def test_decisions_are_kept_within_bounds(bench: Workbench):
    assert bench.decide("soco", 40) is bench.decide("soco", 40.0)
    most = int(2.5 * bench.decide("svd", 10).nbytes)
    bench._decisions = ModelStore(most)
    for percent in range(10, 60):
        bench.decide("svd", percent)
        assert bench._decisions.held_bytes <= most


def test_training_windows_are_not_those_of_the_statistics(bench: Workbench):
    windows = bench.windows_for_calibration()
    pool = bench.pool().windows
    assert len(windows) == 16 + len(pool)
    assert torch.equal(pool, windows[16:])


def test_a_part_is_made_once_for_all_threads(bench: Workbench):
    made, start = [], threading.Barrier(4, timeout=60)

    def make() -> object:
        made.append(threading.get_ident())
        return object()

    got: list[object] = []

    def work() -> None:
        start.wait()
        got.append(bench.once("a part", make))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, got))) == 1


def test_a_visitors_text_is_not_kept(bench: Workbench):
    first, second = visitors_text(SENTENCES[0] * 2), visitors_text(SENTENCES[1])
    before = bench._parts.keys
    numbers = [run.measure(bench, "svd", 40, t).perplexity.nats for t in (first, second)]
    assert numbers[0] != numbers[1]
    assert all("yours" not in map(str, key) for key in bench._parts.keys - before if isinstance(key, tuple))
    assert run.measure(bench, "svd", 0, second).dense.tokens == len(bench.lm.encode(SENTENCES[1]))


@pytest.mark.parametrize("method", TRAINED)
def test_a_training_ends_in_a_knot_that_the_bench_takes(bench: Workbench, method: str):
    settings = SocoTraining(method=method, removed=40, steps=10, batch=1, exchange_every=2)
    *told, knot = train_knot(bench, settings)
    assert len(told) == 10
    assert knot.facts["method"] == method
    assert knot.facts["model"] == bench.lm.fingerprint
    assert knot.facts["settings"] == settings.model_dump()
    assert knot.spectrum.basis == METHODS[method].basis
    again = rounded(knot.spectrum)
    assert all(torch.equal(again.scores[n], s) for n, s in knot.spectrum.scores.items())
    save_knot(knot, knots.knot_path("tiny", method, 40))
    fresh = Workbench(bench.lm, "tiny")
    measured = run.measure(fresh, method, 40, TEXT)
    assert 100 * measured.accounting.removed_linear == pytest.approx(knot.facts["removed"], abs=1e-9)
    expected = perplexity(bench.compress(knot.spectrum, "padded"), bench.windows(TEXT, quick=True))
    assert measured.perplexity.nats == pytest.approx(expected.nats, rel=1e-9)
