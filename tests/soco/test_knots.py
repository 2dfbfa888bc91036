"""Trained spectra as files, and the slider positions between two of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from backends.runtime.errors import UserError
from backends.soco.budget import allowance, by_importance, matrix_cost, uniform
from backends.soco.knots import HISTORY, Knot, load_knot, lower_knot, pruned, removed_share, rounded, save_knot, to_log2
from backends.soco.spectra import Spectrum

SHAPES = {
    "model.layers.0.q": (24, 24),
    "model.layers.0.k": (8, 24),
    "model.layers.0.up": (40, 24),
    "model.layers.1.down": (24, 40),
}


def drawn(ratio: float = 0.4, deviation: bool = True, selection: str = "importance", seed: int = 0) -> Knot:
    """As training leaves it: a mask within the budget, scores around 1, worths over ten decades."""
    rng = np.random.default_rng(seed)
    worth = {n: 10 ** rng.uniform(-8, 2, min(s)) for n, s in SHAPES.items()}
    masks = (
        uniform(SHAPES, ratio, deviation) if selection == "uniform" else by_importance(worth, SHAPES, ratio, deviation)
    )
    kept = {n: torch.from_numpy(m) for n, m in masks.items()}
    scores = {n: torch.from_numpy(rng.normal(1, 0.3, len(k))).float() * k for n, k in kept.items()}
    offsets = {n: torch.from_numpy(rng.normal(0, 0.1, s[0])).float() for n, s in SHAPES.items()} if deviation else {}
    importance = to_log2({n: torch.from_numpy(worth[n]) * scores[n] ** 2 for n in SHAPES})
    history = rng.random((30, len(HISTORY)))
    facts = {"selection": selection, "removed": 100 * ratio, "model": "abc", "settings": {"steps": 30}}
    return Knot(rounded(Spectrum("whitened", kept, scores, offsets)), importance, history, facts)


def spent(spectrum: Spectrum) -> int:
    return sum(matrix_cost(int(k.sum()), SHAPES[n]) for n, k in spectrum.kept.items())


@pytest.mark.parametrize("deviation", [False, True])
def test_a_saved_knot_is_read_as_it_was(tmp_path: Path, deviation: bool):
    knot = drawn(deviation=deviation)
    save_knot(knot, tmp_path / "soco" / "tiny" / "soco-40.safetensors")
    read = load_knot(tmp_path / "soco" / "tiny" / "soco-40.safetensors", SHAPES)
    assert read.spectrum.basis == "whitened"
    assert read.facts == knot.facts
    assert list(read.spectrum.kept) == list(SHAPES)
    assert set(read.spectrum.deviation) == (set(SHAPES) if deviation else set())
    for name in SHAPES:
        assert torch.equal(read.spectrum.kept[name], knot.spectrum.kept[name])
        assert torch.equal(read.spectrum.scores[name], knot.spectrum.scores[name])
        assert not deviation or torch.equal(read.spectrum.deviation[name], knot.spectrum.deviation[name])
        torch.testing.assert_close(read.importance[name], knot.importance[name], rtol=1e-3, atol=0)
    np.testing.assert_allclose(read.history, knot.history, rtol=1e-6)
    assert list(tmp_path.rglob(".*")) == []


def test_saving_what_was_read_changes_nothing(tmp_path: Path):
    save_knot(drawn(), tmp_path / "a.safetensors")
    save_knot(load_knot(tmp_path / "a.safetensors", SHAPES), tmp_path / "b.safetensors")
    first, second = (load_file(tmp_path / f"{n}.safetensors") for n in "ab")
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_rounding_is_idempotent_and_small():
    rng = np.random.default_rng(0)
    knot = drawn()
    loud = {n: torch.from_numpy(rng.normal(1, 0.3, len(k))).float() for n, k in knot.spectrum.kept.items()}
    once = rounded(Spectrum("plain", knot.spectrum.kept, loud, knot.spectrum.deviation))
    twice = rounded(once)
    for name, kept in knot.spectrum.kept.items():
        assert torch.equal(once.scores[name], twice.scores[name])
        assert torch.equal(once.deviation[name], twice.deviation[name])
        assert (once.scores[name][~kept] == 0).all()
        torch.testing.assert_close(once.scores[name][kept], loud[name][kept], rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("selection", ["importance", "scores", "uniform"])
@pytest.mark.parametrize("deviation", [False, True])
@pytest.mark.parametrize("ratio", [0.1, 0.4, 0.6])
def test_at_its_own_ratio_a_knot_is_itself(tmp_path: Path, selection: str, deviation: bool, ratio: float):
    """The same kept set, after a round trip through half precision too."""
    knot = drawn(ratio, deviation, selection)
    save_knot(knot, tmp_path / "k.safetensors")
    for same in (knot, load_knot(tmp_path / "k.safetensors", SHAPES)):
        again = pruned(same, SHAPES, 100 * ratio)
        assert all(torch.equal(again.kept[n], k) for n, k in knot.spectrum.kept.items())
        assert again.scores is same.spectrum.scores
        assert again.deviation is same.spectrum.deviation


@pytest.mark.parametrize("selection", ["importance", "uniform"])
@pytest.mark.parametrize("deviation", [False, True])
def test_pruning_drops_the_least_and_meets_the_budget(selection: str, deviation: bool):
    knot = drawn(0.3, deviation, selection)
    before = knot.spectrum.kept
    for percent in (31, 35, 42, 55, 68):
        spectrum = pruned(knot, SHAPES, percent)
        assert all((spectrum.kept[n] <= knot.spectrum.kept[n]).all() for n in SHAPES), "a subset of the knot"
        assert all((spectrum.kept[n] <= before[n]).sum() for n in SHAPES)
        allowed = allowance(SHAPES, percent / 100, deviation)
        assert allowed - max(map(sum, SHAPES.values())) < spent(spectrum) <= allowed
        assert removed_share(spectrum, SHAPES) >= percent / 100 - 1e-9
        assert all(k.any() for k in spectrum.kept.values())
        if selection == "uniform":
            assert all((np.diff(k.int().numpy()) <= 0).all() for k in spectrum.kept.values())
        before = spectrum.kept


def test_pruning_follows_importance_within_a_matrix():
    knot = drawn(0.3)
    spectrum = pruned(knot, SHAPES, 55)
    for name, kept in spectrum.kept.items():
        gone = knot.spectrum.kept[name] & ~kept
        if gone.any():
            assert knot.importance[name][kept].min() >= knot.importance[name][gone].max()


def test_a_share_that_is_reported_counts_the_deviation():
    knot = drawn(0.4, deviation=True)
    dense = sum(m * n for m, n in SHAPES.values())
    offsets = sum(m for m, _ in SHAPES.values())
    assert removed_share(knot.spectrum, SHAPES) == pytest.approx(
        1 - (spent(knot.spectrum) + offsets) / dense, rel=1e-12
    )
    without = knot.spectrum.without_deviation()
    assert removed_share(without, SHAPES) == pytest.approx(1 - spent(without) / dense, rel=1e-12)


def test_the_nearest_trained_ratio_below():
    assert [lower_knot(p) for p in (0, 9.9, 10, 15, 39, 40, 89, 90)] == [None, None, 10, 10, 30, 40, 80, 90]
    assert [lower_knot(p, (20, 60)) for p in (19, 20, 59, 60, 90)] == [None, 20, 20, 60, 60]


def test_importances_survive_half_precision():
    """Twenty decades keep their order; the smallest are clamped, not lost."""
    worth = {"a": torch.tensor([1e-17, 1e-10, 1.0, 1e3])}
    halved = to_log2(worth)["a"].half().float()
    assert (halved.diff() > 0).all()
    assert torch.isfinite(to_log2({"a": torch.zeros(3)})["a"].half()).all()


# ---- files that are not knots ---------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_knot(drawn(), tmp_path / "soco-40.safetensors")
    return tmp_path / "soco-40.safetensors"


@pytest.mark.parametrize("keep", [0, 7, 200, 0.6, 0.99])
def test_a_torn_file_is_refused(saved: Path, keep: float):
    data = saved.read_bytes()
    saved.write_bytes(data[: keep if keep >= 1 else int(len(data) * keep)])
    with pytest.raises(UserError, match="soco-40"):
        load_knot(saved, SHAPES)


def test_absent_and_foreign_files_are_refused(tmp_path: Path):
    with pytest.raises(UserError, match="none"):
        load_knot(tmp_path / "none.safetensors", SHAPES)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match="foreign"):
        load_knot(tmp_path / "foreign.safetensors", SHAPES)
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors", {"facts": "{}", "basis": "plain"})
    with pytest.raises(UserError, match="foreign"):
        load_knot(tmp_path / "foreign.safetensors", SHAPES)


@pytest.mark.parametrize("missing", ["kept", "scores", "importance", "history"])
def test_a_file_that_lacks_something_is_refused(saved: Path, missing: str):
    tensors = load_file(saved)
    del tensors[missing]
    save_file(tensors, saved, {"basis": "plain", "facts": "{}"})
    with pytest.raises(UserError, match="soco-40"):
        load_knot(saved, SHAPES)


@pytest.mark.parametrize("header", [{"facts": "{}"}, {"basis": "plain"}, {"basis": "plain", "facts": "{"}, None])
def test_a_file_without_its_facts_is_refused(saved: Path, header: dict | None):
    save_file(load_file(saved), saved, header)
    with pytest.raises(UserError, match="soco-40"):
        load_knot(saved, SHAPES)


@pytest.mark.parametrize(
    "shapes",
    [
        {n: (m, k) for n, (m, k) in list(SHAPES.items())[:-1]},
        {n: (m + 1, k + 1) for n, (m, k) in SHAPES.items()},
        {n: (k, m) for n, (m, k) in SHAPES.items()},  # the same number of components, other outputs
        SHAPES | {"more": (3, 3)},
    ],
)
def test_other_shapes_are_refused(saved: Path, shapes: dict):
    with pytest.raises(UserError, match="shapes"):
        load_knot(saved, shapes)
