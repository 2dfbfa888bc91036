"""benchmarks.adapters: cells that survive, rates chosen fairly, one trial of each method, a whole quick run."""

from __future__ import annotations

import dataclasses
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from backends.pear.importance import importance
from backends.runtime.errors import UserError
from backends.vision.adapters import sites
from backends.vision.load import VisionModel
from backends.vision.probe import HALF, as_input
from backends.vision.tasks import TaskData
from backends.vision.training import FitSettings, evaluate
from benchmarks import adapter_trials, adapters, report, tables
from benchmarks.adapter_cells import Cell, CellFile, packed
from benchmarks.adapter_trials import METHODS
from benchmarks.adapters import Trials, chosen
from tests.benchmarks.conftest import cell
from tests.fakes.pictures import corners_task
from tests.pear.conftest import backbone, host

SHORT = FitSettings(epochs=3, batch=16)
SITES, WIDTH = 8, 16


@pytest.fixture(scope="module")
def task() -> TaskData:
    return corners_task()


@pytest.fixture
def vision() -> VisionModel:
    return VisionModel(backbone(), "local:tiny", 12, HALF, HALF, "0123", torch.device("cpu"))


# ---- cells -----------------------------------------------------------------------------------------------------------


def test_cells_come_back_and_a_torn_line_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cells.jsonl"
    first, second, third = cell(seed=0), cell(seed=1, diagnosis={"whole": 1.0}), cell("digits", "probe", lr=None)
    one, other = CellFile(path), CellFile(path)  # two processes
    one.add(first)
    other.add(second)
    assert path.read_bytes().count(b"\n") == 2 and CellFile(path).cells == {first.key: first, second.key: second}
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    torn = CellFile(path)
    assert torn.get(first.key) == first and torn.get(second.key) is None
    torn.add(third)
    assert CellFile(path).cells == {first.key: first, third.key: third}
    assert [json.loads(line)["method"] for line in path.read_text().splitlines()[::2]] == ["lora", "probe"]


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    def write(method: str) -> None:
        file = CellFile(tmp_path / "cells.jsonl")
        for seed in range(40):
            file.add(cell(method=method, seed=seed))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, "abcd"))
    assert len(CellFile(tmp_path / "cells.jsonl").cells) == 160


@pytest.mark.parametrize("count", [1, 8, 797])
def test_bits_are_packed_and_unpacked(count: int) -> None:
    correct = np.random.default_rng(count).random(count) < 0.5
    assert np.array_equal(dataclasses.replace(cell(), pictures=count, correct=packed(correct)).hits, correct)


# ---- trials ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, task: TaskData) -> list[tuple]:
    """Every task is the small one; the list of trials that are made, none of which trains."""
    made: list[tuple] = []
    best = {0: 4e-3, 1: 2e-3, 2: 8e-3}

    def trial(model: torch.nn.Module, data: TaskData, settings: FitSettings, key: tuple) -> Cell:
        made.append(key)
        _, _, seed, lr, *rest = key
        return cell(*key[:3], lr=lr, settings=rest[0], model=rest[1], validation=0.9 if lr == best[seed] else 0.8)

    monkeypatch.setattr(adapter_trials, "open_task", lambda key, side, folder: task)
    monkeypatch.setattr(adapter_trials, "trial", trial)
    return made


def test_the_first_seed_chooses_and_a_second_run_makes_nothing(
    vision: VisionModel, asked: list[tuple], tmp_path: Path
) -> None:
    def again(settings: FitSettings = SHORT, model: VisionModel = vision) -> Trials:
        return Trials(model, settings, (0, 1, 2), tmp_path, CellFile(tmp_path / "cells.jsonl"))

    found = again().finished("count", "pear")
    assert [(one.seed, one.lr) for one in found] == [(0, 4e-3), (1, 4e-3), (2, 4e-3)]  # not what is best on theirs
    assert [key[2:4] for key in asked] == [(0, 2e-3), (0, 4e-3), (0, 8e-3), (1, 4e-3), (2, 4e-3)]
    assert again().finished("count", "pear") == found and len(asked) == 5
    assert len(again().finished("count", "probe")) == 1 and asked[-1][3] is None
    others = [again(SHORT.model_copy(update={"epochs": 4})), again(model=dataclasses.replace(vision, fingerprint="9"))]
    for other in others:
        before = len(asked)
        other.finished("count", "pear")
        assert len(asked) == before + 5


def test_parts_make_every_cell_once(
    vision: VisionModel, asked: list[tuple], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "open_model", lambda *_, **__: vision)
    monkeypatch.setattr(adapters, "CELLS", tmp_path / "cells.jsonl")
    for part in ("1/2", "2/2"):
        monkeypatch.setattr(sys, "argv", ["adapters", "--threads", "1", "--part", part, "--tasks", "count", "digits"])
        adapters.main()
    trained = len(METHODS) - 1
    assert len(asked) == len(set(asked)) == len(CellFile(adapters.CELLS).cells) == 2 * (5 * trained + 1)


@pytest.mark.parametrize(("losses", "best"), [((1.0, 0.5, 0.7), 1), ((0.5, 0.5, 0.5), 0)])
def test_equal_accuracies_are_decided_by_the_loss(losses: tuple[float, ...], best: int) -> None:
    cells = [cell(lr=rate, validation_loss=loss) for rate, loss in zip(adapter_trials.RATES, losses, strict=True)]
    assert chosen(cells) is cells[best]
    assert chosen([*cells, cell(lr=1.0, validation=0.6, validation_loss=9.0)]).lr == 1.0


def test_every_trained_method_has_as_many_rates() -> None:
    assert {len(one.rates) for key, one in METHODS.items() if key != "probe"} == {3}


SIZES = {  # trained, stored
    "probe": (0, 0), "lora": (SITES * 8 * 2 * WIDTH, 0), "lora-half": (SITES * 4 * 2 * WIDTH, 0),
    "adalora": (SITES * 4 * (2 * WIDTH + 1), 0), "pear": (SITES // 2 * 8 * 2 * WIDTH,) * 2,
    "pear-none": (SITES // 2 * 8 * 2 * WIDTH, 0), "prune": (SITES // 2 * 8 * 2 * WIDTH, 0),
    "pear-25": (6 * 8 * 2 * WIDTH, 2 * 8 * 2 * WIDTH),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_trial_of_each_method(method: str, task: TaskData) -> None:
    key = ("count", method, 1, METHODS[method].rates[0], "s", "m")
    found = adapter_trials.trial(backbone(), task, SHORT, key)
    assert found.key == key and found.pictures == 50 and found.test == found.hits.mean()
    assert found.validation > 0.3 and (found.diagnosis is not None) == (method == "pear")
    if method in SIZES:
        assert (found.trainable, found.stored) == SIZES[method]
    assert adapter_trials.trial(backbone(), task, SHORT, key).correct == found.correct


def test_looking_at_the_prune_changes_nothing(task: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("count", "pear", 0, 4e-3, "s", "m")
    looked = adapter_trials.trial(backbone(), task, SHORT, key)
    monkeypatch.setattr(adapter_trials, "diagnose", lambda *_: None)
    plain = adapter_trials.trial(backbone(), task, SHORT, key)
    same = dataclasses.replace(looked, diagnosis=None, seconds=plain.seconds)
    assert looked.diagnosis is not None and same == plain


def test_what_is_said_of_the_scores(task: TaskData) -> None:
    model = host()
    model.classifier.requires_grad_(True)
    before = evaluate(model, task.validation).loss
    found = adapter_trials.diagnose(model, task, 0)
    names = found["sites"]
    assert names == list(sites(model)) and found["whole"] == pytest.approx(before) and len(found["random"]) == 5
    batches = [(as_input(task.train.images), torch.from_numpy(task.train.labels))]
    assert found["scores"]["taylor"] == pytest.approx(list(importance(model, batches).values()), rel=1e-4)
    order = np.argsort(found["scores"]["taylor"])
    own = {name: site.parts["own"] for name, site in sites(model).items()}
    for kind, gone in (("lowest", order[:4]), ("highest", order[4:])):
        other = host()
        for i in gone:
            sites(other)[names[i]].parts["own"].up.weight.data.zero_()
        assert found[kind] == pytest.approx(evaluate(other, task.validation).loss, rel=1e-4)
    assert all(site.parts["own"] is own[name] for name, site in sites(model).items())
    assert evaluate(model, task.validation).loss == before


def test_speed_is_measured_on_both() -> None:
    pace = adapter_trials.throughput(backbone(), 12, batch=4, repeats=3)
    assert list(pace) == ["answer", "learn"]
    assert all(set(one) == {"pear", "lora"} and min(one.values()) > 0 for one in pace.values())


# ---- real sets -------------------------------------------------------------------------------------------------------


def test_a_real_set_is_cut_and_resized(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    parts = {"train": 900, "val": 30, "test": 40}
    arrays = {f"x_{part}": draw.integers(0, 256, (count, 8, 8), dtype=np.uint8) for part, count in parts.items()}
    arrays |= {f"y_{part}": np.arange(count) % 3 for part, count in parts.items()}
    np.savez_compressed(tmp_path / "mnist.npz", class_names=np.array(["a", "b", "c"]), **arrays)
    found = adapter_trials.open_task("mnist", 12, tmp_path)
    assert (len(found.train), len(found.validation), len(found.test)) == (800, 30, 40)
    assert found.train.images.shape == (800, 12, 12, 3) and found.classes == ("a", "b", "c")
    again = adapter_trials.fingerprint(found)
    found.test.images[0, 0, 0, 0] ^= 1
    assert adapter_trials.fingerprint(found) != again


def test_absent_sets_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VITRINE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["adapters", "--real", "--threads", "1"])
    adapters.main()
    assert capsys.readouterr().out.startswith(f"Left out, because {tmp_path / 'images'} does not hold them: cifar10,")


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_a_quick_run_from_the_command_line_to_the_readmes_table(
    vision: VisionModel, task: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone().save_pretrained(tmp_path / "models" / "tiny")
    monkeypatch.setattr(adapter_trials, "open_task", lambda key, side, folder: task)
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    command = ["adapters", "--quick", "--threads", "1", "--model", "local:tiny", "--models", str(tmp_path / "models")]
    monkeypatch.setattr(sys, "argv", command)
    before = adapters.CELLS.exists() and adapters.CELLS.stat().st_size
    adapters.main()
    assert (adapters.CELLS.exists() and adapters.CELLS.stat().st_size) == before  # a look leaves no cells
    body = json.loads((tmp_path / "adapters-quick.json").read_text())
    assert {row["what"] for row in body["rows"]} == {"accuracy", "scores", "speed"}
    assert len(body["claims"]) == 12 and body["settings"]["trials"] == len(METHODS)
    text = tables.adapters("adapters-quick")
    lines = text.splitlines()
    assert lines[0].startswith("| method | count | all tasks | structured tasks |")
    assert [line.split(" | ")[0] for line in lines[2 : 2 + len(METHODS)]] == [f"| {m.label}" for m in METHODS.values()]
    with pytest.raises(UserError):
        monkeypatch.setattr(sys, "argv", [*command[:-3], "local:none", *command[-2:]])
        adapters.main()
