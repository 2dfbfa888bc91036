"""A training as a job: told step by step, its scores saved, its result measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic_settings import CliApp

from backends.lm import texts
from backends.lm.texts import EvaluationText
from backends.runtime.command import start
from backends.soco import knots, learn, service, workbench
from backends.soco.knots import HISTORY, load_knot, save_knot
from backends.soco.recipes import RECIPES
from backends.soco.workbench import Workbench
from tests.fakes.language import SENTENCES, tiny_language_model
from tests.soco.test_run import trained_knot

TEXT = EvaluationText("held-out", "made text", tuple(SENTENCES[i % 5] * 4 for i in range(12)))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    calibration = EvaluationText("calibration", "made calibration", tuple(SENTENCES[i % 6] * 3 for i in range(60)))
    monkeypatch.setattr(texts, "calibration", lambda: calibration)
    monkeypatch.setattr(texts, "held_out", lambda: TEXT)
    monkeypatch.setattr(workbench, "STATISTICS_WINDOWS", 16)
    monkeypatch.setattr(knots, "ASSETS", tmp_path / "assets")
    monkeypatch.setenv("VITRINE_CACHE", str(tmp_path / "cache"))
    made = Workbench(tiny_language_model("llama-tied"), "tiny")
    monkeypatch.setattr(service, "open_bench", lambda *_: made)
    save_knot(trained_knot(made, "soco", 40), knots.knot_path("tiny", "soco", 40))
    return made


def command(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["learn", *arguments])
    start(learn.Command, learn.learn)


def test_every_step_is_a_line_and_the_last_one_holds_the_result(bench, tmp_path, capsys, monkeypatch):
    command("--method", "soco", "--removed", "45", "--steps", "12", "--out", str(tmp_path), monkeypatch=monkeypatch)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    rows = [event["row"] for event in events if "row" in event]
    assert len(rows) == 12 and all(len(row) == len(HISTORY) for row in rows)
    fractions = [event["fraction"] for event in events]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    result = events[-1]["result"]
    knot = load_knot(tmp_path / "soco-45.safetensors", bench.shapes)
    np.testing.assert_allclose(knot.history, rows, rtol=1e-5)
    assert result["removed"] == knot.facts["removed"] == pytest.approx(45, abs=1)
    assert result["settings"]["score_lr"] == RECIPES["soco"]["score_lr"]
    expected = bench.perplexity(bench.compress(knot.spectrum, "padded"), TEXT)
    assert result["perplexity"] == pytest.approx(expected.value, rel=1e-9)
    assert result["shipped_origin"] == "pruned from 40 %"


def test_what_is_named_goes_before_the_recipe(tmp_path):
    arguments = ["--method", "soco", "--score-lr", "0.5", "--removed", "55", "--out", str(tmp_path)]
    settings = learn.asked(CliApp.run(learn.Command, cli_args=arguments))
    assert (settings.score_lr, settings.growth, settings.removed) == (0.5, RECIPES["soco"]["growth"], 55)


def test_the_expected_time_grows_with_the_steps(bench):
    short, long = (learn.expected_seconds(bench, learn.training_for("soco", 40, steps=s)) for s in (100, 400))
    assert learn.STARTS < short < long
    assert (long - learn.STARTS) == pytest.approx(4 * (short - learn.STARTS))


def test_a_ratio_without_shipped_scores_still_trains(bench, tmp_path, capsys, monkeypatch):
    command("--method", "soco", "--removed", "20", "--steps", "10", "--out", str(tmp_path), monkeypatch=monkeypatch)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["result"]
    assert result["perplexity"] > 0 and "shipped" not in result
