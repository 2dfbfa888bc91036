"""The bench that visitors share: a view's numbers are those of its model, and nobody changes what others see."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.pear import curves, learn, train
from backends.pear.bench import Bench
from backends.pear.files import load_pear, save_pear
from backends.pear.plan import Plan, edited, plan
from backends.pear.run import beginning, prune, scored
from backends.pear.settings import PearSettings, PearTraining, read_edits, write_edits
from backends.pear.share import account
from backends.runtime.command import start
from backends.runtime.errors import UserError
from backends.vision.adapters import AdapterSettings, sites
from backends.vision.load import VisionModel
from backends.vision.tasks import load_task
from backends.vision.training import Training, evaluate
from tests.pear.conftest import backbone

SHORT = PearTraining(task="digits", epochs=3, rank=2, lr=1e-2)
VIEW = PearSettings(task="digits", pruned=50)


@pytest.fixture(scope="module")
def vision() -> VisionModel:
    model = backbone()
    model.config.image_mean = model.config.image_std = (0.5, 0.5, 0.5)
    return VisionModel(model, "bundled:tiny", 12, (0.5,) * 3, (0.5,) * 3, "f" * 16, torch.device("cpu"))


@pytest.fixture(scope="module")
def shipped(vision: VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the training command leaves, from a shorter training."""
    folder = tmp_path_factory.mktemp("assets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curves, "ASSETS", folder)
        patch.setattr(train, "KNOTS", (50,))
        made = train.make(vision, "tiny", load_task("digits", 12), SHORT)
        curves.curves_path("tiny", "digits").write_text(made.model_dump_json(), encoding="utf-8")
    return folder


@pytest.fixture
def bench(vision: VisionModel, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(curves, "ASSETS", shipped)
    return Bench(vision, "tiny")


def test_a_look_says_what_its_model_does(bench: Bench, vision: VisionModel, tmp_path: Path) -> None:
    now = bench.look(VIEW)
    assert now.percent == 50 and len(now.plan.pruned) == 4
    bench.save(VIEW, tmp_path / "view.safetensors", {"recipe": "kept"})
    again, header = load_pear(vision.model, tmp_path / "view.safetensors")
    validation = bench.split("digits", "validation")
    assert evaluate(again, validation).accuracy == now.retrained.scores.accuracy
    assert header.plan.donors == now.plan.donors and header.facts["classes"] == list("0123456789")
    pruned = bench.pruned(VIEW, now.plan)
    assert evaluate(pruned, validation).loss == pytest.approx(now.now.scores.loss, abs=1e-6)
    assert now.accounting == account(pruned) and now.full.trainable == 8 * 2 * 32
    assert f"{100 * now.now.scores.accuracy:.1f} %" in now.summary() and now.facts()["pruned"] == 50


def test_the_offset_changes_nothing_right_after_the_prune(bench: Bench) -> None:
    kept = bench.look(VIEW.model_copy(update={"checkpoint": "keep-offset"}))
    np.testing.assert_allclose(kept.now.logits, kept.whole.logits, atol=1e-4)
    gone = bench.look(VIEW.model_copy(update={"checkpoint": "none"}))
    assert np.abs(gone.now.logits - gone.whole.logits).max() > 1e-2


def test_the_curves_belong_to_the_weights(bench: Bench, vision: VisionModel, shipped: Path) -> None:
    found = bench.look(VIEW).curves
    assert [p.pruned for p in found.methods["pear"]] == [0, 50]
    assert found.methods["pear"][1].validation == bench.look(VIEW).retrained.scores.accuracy
    assert found.methods["lora"][1].trainable == found.methods["pear"][1].trainable
    assert found.paths["keep-offset"].after == pytest.approx(found.paths["keep-offset"].before, abs=1e-4)
    other = Bench(VisionModel(*[*vars(vision).values()][:5], "0" * 16, vision.device), "tiny")
    assert other.curves("digits") is None
    with pytest.raises(UserError, match="other weights"):
        other.look(VIEW)


def test_other_adapters_give_other_numbers(
    bench: Bench, vision: VisionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bench.look(VIEW)
    model, header = load_pear(vision.model, curves.stage_path("tiny", "digits"))
    for site in sites(model).values():
        site.parts["own"].up.weight.data *= 3
    monkeypatch.setattr(curves, "ASSETS", tmp_path)
    settings = AdapterSettings(rank=2)
    save_pear(model, curves.stage_path("tiny", "digits"), settings, header.plan, "keep", header.facts)
    after = Bench(vision, "tiny").look(VIEW)
    assert after.now.scores.loss != before.now.scores.loss and after.retrained is None
    assert "train it below" in after.summary()


def test_stored_scores_are_those_that_are_computed(bench: Bench) -> None:
    model, header = bench.stage("digits")
    stored = header.facts["importance"]["taylor"]
    found = scored(model, bench.split("digits", "train"), "taylor")
    np.testing.assert_allclose([found[n] for n in stored], list(stored.values()), rtol=0.05)  # stored in half precision
    assert bench.importance("digits", "taylor") == stored
    assert bench.importance("digits", "random", 1) != bench.importance("digits", "random", 2)


def test_each_adapter_is_judged_by_its_own_removal(bench: Bench) -> None:
    found = bench.judged("digits")
    assert len(found.names) == 8 and set(found.scores) == {"taylor", "magnitude", "random"}
    name = found.names[3]
    alone = bench.look(PearSettings(task="digits", pruned=0, edits=write_edits({name: "off"}, [name])))
    assert alone.now.scores.loss - alone.whole.scores.loss == pytest.approx(found.changes[3], abs=1e-6)
    assert -1 <= found.rank_correlation("taylor") <= 1 and found.names[3] in alone.plan.off


def test_the_gauge_moves_magnitude_and_not_taylor(bench: Bench) -> None:
    found = bench.gauge("digits", 5)
    assert found.change < 1e-3
    assert np.array_equal(*found.taylor) and not np.array_equal(*found.magnitude)
    assert all(np.array_equal(*pair) for pair in (bench.gauge("digits", 1).magnitude, bench.gauge("digits", 1).taylor))


def test_what_moved_is_measured_on_the_products(bench: Bench) -> None:
    made = bench.plan(VIEW)
    found = bench.moved(VIEW, made)
    model = bench.stage("digits")[0]
    adapter = sites(model)[found.names[0]].parts["own"]
    assert found.kept[0] == pytest.approx(
        float((2 * adapter.up.weight @ adapter.down.weight).norm().detach()), rel=1e-5
    )
    assert set(found.names) == set(made.donors) and (np.abs(found.cosine) <= 1 + 1e-9).all()


def test_two_visitors_never_change_each_other(bench: Bench, vision: VisionModel) -> None:
    views = [VIEW.model_copy(update={"pruned": p, "checkpoint": c}) for p in (25, 50, 75) for c in ("keep", "none")]
    alone = {view: Bench(vision, "tiny").look(view).now.scores.loss for view in views}
    wrong: list[PearSettings] = []

    def visit(order: list[PearSettings]) -> None:
        wrong.extend(view for view in order if bench.look(view).now.scores.loss != alone[view])

    threads = [threading.Thread(target=visit, args=(views[::step] * 2,)) for step in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---- edits by hand ---------------------------------------------------------------------------------------------------


def test_edits_decide_single_sites() -> None:
    names = [f"layer {i}, {kind}" for i in range(4) for kind in "qv"]
    scores = {name: float(i) for i, name in enumerate(names)}
    base = plan(scores, dict.fromkeys(names, 0), 50)
    edits = read_edits("0q:own,3v:off,3q:shared,9q:off")
    made = edited(base, edits, scores, dict.fromkeys(names, 0))
    assert "layer 0, q" in made.kept and made.donors["layer 3, v"] is None and made.off == {"layer 3, v"}
    assert made.donors["layer 3, q"] in made.kept and "layer 9, q" not in made.donors
    assert set(made.kept) | set(made.donors) == set(names)
    assert edited(base, {}, scores, dict.fromkeys(names, 0)) == base
    assert read_edits(write_edits(edits, names)) == {n: s for n, s in edits.items() if n in names}
    with pytest.raises(UserError, match="too many edits"):
        write_edits(dict.fromkeys((f"layer {i}, q" for i in range(99)), "shared"), [f"layer {i}, q" for i in range(99)])


def test_what_is_off_leaves_nothing_whatever_the_checkpoint(bench: Bench) -> None:
    every = Plan(dict.fromkeys(bench.importance("digits", "taylor")), (), frozenset(sites(bench.stage("digits")[0])))
    model = bench.pruned(VIEW, every)
    assert all(not site.parts for site in sites(model).values()) and account(model).stored == 0


# ---- the command lines -----------------------------------------------------------------------------------------------


def test_a_training_is_told_line_by_line(
    bench: Bench, vision: VisionModel, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backends.vision.service.open_model", lambda *_: vision)
    words = ["--task", "digits", "--pruned", "25", "--epochs", "3", "--rank", "2", "--lr", "0.01"]
    monkeypatch.setattr(sys, "argv", ["learn", *words, "--out", str(tmp_path)])
    start(learn.Command, learn.learn)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [event["row"] for event in events if "row" in event]
    assert [row["epoch"] for row in rows] == [1, 2, 3] and len(rows[-1]["pruned"]) == 2
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    result = events[-1]["result"]
    model, _ = load_pear(vision.model, tmp_path / result["file"])
    assert evaluate(model, bench.split("digits", "test")).accuracy == result["test"]
    assert learn.expected_seconds(vision, SHORT) > learn.STARTS


@pytest.fixture(scope="module")
def stem(vision: VisionModel) -> Training:
    training = beginning(vision.model, load_task("digits", 12), SHORT)
    for _ in training.run(1):
        pass
    return training


@pytest.mark.parametrize("donors", ["highest", "lowest", "random", "none"])
@pytest.mark.parametrize("criterion", ["taylor", "taylor-signed", "magnitude", "random"])
def test_a_plan_of_the_panel_is_that_of_a_training(bench: Bench, stem: Training, criterion: str, donors: str) -> None:
    chosen = {"criterion": criterion, "donors": donors}
    made, scores = prune(stem.branch(), SHORT.model_copy(update=chosen), 50)
    assert bench.plan(VIEW.model_copy(update=chosen)).donors == made.donors
    assert bench.importance("digits", criterion) == pytest.approx(scores)


def test_a_shared_backbone_is_one(bench: Bench, vision: VisionModel) -> None:
    """Eight files a task are loaded: each must not bring its own copy of the frozen weights."""
    model, _ = bench.stage("digits")
    own = {id(p) for p in vision.model.parameters()}
    frozen = [p for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen and all(id(p) in own for p in frozen)
    assert not any(id(p) in own for p in model.classifier.parameters())


@pytest.mark.parametrize("wrong", [{"epochs": 1}, {"epochs": 3, "times": 5, "pruned": 50}])
def test_a_prune_needs_an_epoch_before_it(wrong: dict) -> None:
    with pytest.raises(ValueError, match="too few epochs"):
        PearTraining(**wrong)
