"""Pretraining: what is trained on, and that a stopped run ends where an uninterrupted one does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backends.runtime.seeds import generator
from backends.vision import formulas
from backends.vision import pretrain as training
from backends.vision.model import WEIGHTS, FormulaLearner, losses, total
from backends.vision.render import pictures
from backends.vision.settings import Architecture, FormulaSettings, PretrainSettings

TINY = Architecture(image=24, patch=6, width=16, layers=2, heads=2)
FEW = FormulaSettings(classes=6, variants=2, points=256, shown=120)
SHORT = PretrainSettings(steps=6, save_every=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.ARCHITECTURES, "cpu", TINY)
    monkeypatch.setattr(PretrainSettings, "batch", property(lambda self: 8))


def test_masks_and_look_are_asked_for_patch_by_patch() -> None:
    batch = pictures(formulas.clouds(FEW), 3, 24, FEW.shown, generator(0))
    said = FormulaLearner(TINY, 6)(batch.images)
    right = {name: value.detach().clone() for name, value in said.items()}
    squares = batch.masks.reshape(3, 2, 4, 6, 4, 6).permute(0, 2, 4, 1, 3, 5).reshape(3, 16, 72)  # by rows of patches
    right["masks"] = 40 * (squares - 0.5)
    patches = batch.images.reshape(3, 3, 4, 6, 4, 6).permute(0, 2, 4, 3, 5, 1).reshape(3, 16, 36, 3)
    spread = patches.mean(3).std(2, correction=0)
    right["look"] = torch.cat([patches.mean(2), 4 * spread[..., None]], 2)
    parts, others = losses(right, batch, 6), losses(said, batch, 6)
    assert all(parts[name] < 1e-6 < others[name] for name in ("masks", "look"))


def test_the_control_is_trained_on_the_class_alone() -> None:
    batch = pictures(formulas.clouds(FEW), 4, 24, FEW.shown, generator(0))
    parts = losses(FormulaLearner(TINY, 6)(batch.images), batch, 6)
    assert total(parts, "class") == parts["class"]
    assert total(parts, "all").item() == pytest.approx(sum(WEIGHTS[n] * v.item() for n, v in parts.items()), rel=1e-5)


def test_muon_has_the_matrices_of_the_blocks_alone() -> None:
    learner = FormulaLearner(TINY, 6)
    muon, adam = training.optimisers(learner, SHORT)
    named = {id(p): n for n, p in learner.named_parameters()}
    mine = [named[id(p)] for group in muon.param_groups for p in group["params"]]
    assert len(mine) == 2 * 6 and all(".layers." in name or ".layer." in name for name in mine)
    others = [named[id(p)] for group in adam.param_groups for p in group["params"]]
    assert set(mine) | set(others) == set(named.values()) and not set(mine) & set(others)


def test_a_stopped_run_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    straight, facts = training.pretrain(SHORT, FEW, tmp_path / "one")
    training.pretrain(SHORT, FEW, tmp_path / "two", until=4)
    torch.manual_seed(99)
    resumed, again = training.pretrain(SHORT, FEW, tmp_path / "two")
    for (name, one), other in zip(straight.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other), name
    assert [e["step"] for e in again["log"]] == [e["step"] for e in facts["log"]] == [2, 4, 6]


def test_what_is_seen_in_a_patch_is_learnt_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PretrainSettings, "batch", property(lambda self: 32))
    _, facts = training.pretrain(PretrainSettings(steps=60, save_every=20), FEW, tmp_path)
    first, last = facts["log"][0], facts["log"][-1]
    assert last["look"] < 0.8 * first["look"] and last["masks"] < 0.95 * first["masks"]


def test_projections_are_separate() -> None:
    names = [name for name, _ in FormulaLearner(TINY, 6).model.named_modules()]
    assert sum(name.endswith(("q_proj", "k_proj", "v_proj")) for name in names) == 3 * TINY.layers
