"""Figures, grid and tables of the Pear panel draw what the results say."""

from __future__ import annotations

import html.parser
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from backends.pear import results
from backends.pear.curves import Course, Point, TaskCurves
from backends.pear.plan import Plan
from backends.pear.results import Gauge, Judged, Look, Moved, Seen
from backends.pear.settings import PearSettings, PearTraining
from backends.pear.share import Accounting
from backends.vision.training import scores_of
from demos import pear_figures as figures
from demos.pear_job import told, training_figure
from demos.pear_words import explain

SITES = tuple(f"layer {i}, {kind}" for i in range(3) for kind in "qv")
IMPORTANCE = dict(zip(SITES, (0.1, 0.6, 0.2, 0.5, 0.3, 0.4), strict=True))
LABELS = np.array([0, 1, 0, 1, 0])


def seen(right: int) -> Seen:
    """The first `right` of five pictures are right."""
    told = np.where(np.arange(5) < right, LABELS, 1 - LABELS)
    logits = np.eye(2, dtype=np.float32)[told]
    return Seen(logits, scores_of(torch.from_numpy(logits), LABELS))


def curves() -> TaskCurves:
    points = {key: [Point(pruned=p, trainable=100 - p, validation=0.9 - p / 500, test=0.8) for p in (0, 25, 50, 75)]
              for key in ("pear", "prune", "lora")}  # fmt: skip
    points |= {key: [Point(pruned=0, trainable=0, validation=v, test=v)] for key, v in (("full", 0.95), ("probe", 0.5))}
    way = {"loss": (1.0, 0.8, 0.6, 0.5), "accuracy": (0.2, 0.4, 0.6, 0.7)}
    paths = {"never pruned": Course(**way), "keep": Course(**way, prune=2, before=0.8, after=1.1)}
    return TaskCurves(model="f", date="2026-01-01", command="c", settings=PearTraining(), pictures=(8, 5, 5), classes=2,
                      methods=points, paths=paths)  # fmt: skip


def look(**changes: object) -> Look:
    """Half pruned, three places served; four of five right after the prune, five before, all five trained on."""
    donors = {SITES[0]: SITES[1], SITES[2]: SITES[3], SITES[4]: SITES[5]}
    made = Plan(donors, (SITES[1], SITES[3], SITES[5]))
    full, now = Accounting(600, 0, 600, 10), Accounting(300, 300, 900, 10)
    one = Look(PearSettings(), "count", made, IMPORTANCE, seen(3), seen(5), seen(4), LABELS, now, full, 0.1, curves())
    return replace(one, **changes)


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


def test_the_rings_stand_where_the_measurement_says() -> None:
    figure = figures.trade_off_figure(curves(), look())
    after, on = trace(figure, "right after the prune"), trace(figure, "trained on")
    assert (after.x[0], after.y[0], on.x[0], on.y[0]) == (50, pytest.approx(60), 50, pytest.approx(80))
    np.testing.assert_allclose(trace(figure, "Pear").y, [90, 85, 80, 75])
    named = [note.text for note in figure.layout.annotations]
    assert named == [f"<b>{name}</b>" for name in ("probe", "Pear", "not shared", "LoRA, equal size", "full tuning")]
    heights = [note.y for note in figure.layout.annotations]
    assert (np.diff(heights) > 1).all()  # no two names on each other
    low, high = figure.layout.yaxis.range
    assert low < 50 and high > 95


def test_without_a_trained_model_there_is_one_ring() -> None:
    figure = figures.trade_off_figure(None, look(retrained=None, curves=None))
    assert [t.name for t in figure.data] == ["right after the prune"] and figure.to_json()
    assert look(retrained=None).value == pytest.approx(60)


def test_a_is_drawn_beside_b_with_what_lies_between() -> None:
    every = Accounting(600, 0, 600, 10)
    a = look(plan=Plan({}, SITES), retrained=seen(5), settings=PearSettings(pruned=0), accounting=every)
    figure = figures.trade_off_figure(curves(), look(), a)
    assert trace(figure, "A").y[0] == 100
    assert {"<b>A</b>", "<b>B</b>", "−20.0"} <= {note.text for note in figure.layout.annotations}
    assert "−20.0 points" in look().against(a) and "300 fewer trainable" in look().against(a)
    assert "the same view" in look().against(look())
    other = look(task="digits", settings=PearSettings(task="digits"))
    assert (
        "do not compare" in look().against(other) and len(figures.trade_off_figure(curves(), look(), other).data) == 5
    )


class Cells(html.parser.HTMLParser):
    """The buttons of a grid, by site."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "button":
            self.found[dict(attrs)["data-site"]] = dict(attrs)


def test_a_cell_says_rank_state_and_donor_and_shares_its_donors_colour() -> None:
    cells = Cells(figures.grid_html(look())).found
    assert set(cells) == set(SITES)
    first, donor = cells[SITES[0]], cells[SITES[1]]
    assert "v-shared" in first["class"] and "rank 6 of 6; pruned, served by layer 0, v" in first["aria-label"]
    assert "v-own" in donor["class"] and "importance 0.6, rank 1 of 6" in donor["aria-label"]
    colours = [cell["style"].split(";")[0] for cell in (first, donor, cells[SITES[3]])]
    assert colours[0] == colours[1] != colours[2]
    off = look(plan=Plan({SITES[0]: None}, SITES[1:], frozenset(SITES[:1])))
    assert "v-off" in Cells(figures.grid_html(off)).found[SITES[0]]["class"]
    nobody = look(plan=Plan({SITES[0]: None}, SITES[1:]))
    assert "v-alone" in Cells(figures.grid_html(nobody)).found[SITES[0]]["class"]
    assert "$$W_i' = W_i + s B_iA_i$$" in figures.formula(nobody)  # nobody serves: what it had learnt alone
    assert "Most important is layer 0, v, least layer 0, q." in figures.grid_sentence(look())


def test_the_score_is_drawn_against_the_truth() -> None:
    changes = np.array([0.1, -0.2, 0.3, 0.4])
    scores = {
        "taylor": np.array([1.0, 2, 3, 4]),
        "magnitude": np.array([4.0, 3, 2, 1]),
        "random": np.array([1, 4.0, 2, 3]),
    }
    found = Judged(SITES[:4], scores, changes)
    assert found.rank_correlation("taylor") == pytest.approx(1) and found.rank_correlation(
        "magnitude"
    ) == pytest.approx(-1)
    figure = figures.judged_figure(found)
    np.testing.assert_allclose(figure.data[0].y, np.abs(changes))
    assert "taylor<br>ρ = 1.00" in figure.layout.xaxis.title.text and "layer 1, v: +0.400 nats" in found.summary()


def test_the_curve_jumps_where_it_was_pruned() -> None:
    figure = figures.courses_figure(curves())
    assert list(trace(figure, "keep").y) == [1.0, 0.8, 0.8, 1.1, 0.6, 0.5]
    assert list(trace(figure, "keep").x) == [1, 2, 2, 2, 3, 4]
    assert "keep +0.300 nats. Its lowest after it: never pruned 0.500" in figures.courses_sentence(curves())


def test_what_moved_and_what_it_costs() -> None:
    found = Moved(SITES[:2], SITES[2:4], np.array([1.0, 2]), np.array([2.0, 2]), np.array([0.1, -0.1]))
    assert list(figures.moved_figure(found).data[1].y) == [2, 2] and "1.5 times as large" in found.summary()
    nothing = Moved((), (), np.array([]), np.array([]), np.array([]))
    assert figures.moved_figure(nothing).to_json() and "nothing has moved" in nothing.summary()
    tested = results.Tested(1000, seen(5).scores, seen(3).scores, seen(4).scores)
    table = figures.cost_table(look(), tested)
    assert "<td>600</td><td>300</td>" in table and "1,000 test pictures" in table and "80.0 %" in table
    assert "300 trainable numbers instead of 600; 300 frozen ones" in figures.cost_sentence(look())


def test_lines_that_cross_are_those_that_changed_places() -> None:
    same, other = np.array([1, 2, 3]), np.array([2, 1, 3])
    figure = figures.gauge_figure(Gauge(SITES[:3], 3.0, (same, other), (same, same), 1e-6))
    crossing = [t.line.color for t in figure.data].count(figures.BAD)
    assert crossing == 2


TERMS = {"keep": "s B_iA_i + s B_jA_j", "none": "W_i + s B_jA_j", "keep-offset": "B_{j0}A_{j0}",
         "blend": r"\tfrac12 s B_jA_j"}  # fmt: skip


@pytest.mark.parametrize(("checkpoint", "term"), TERMS.items())
def test_the_formula_says_what_is_kept(checkpoint: str, term: str) -> None:
    said = figures.formula(look(settings=PearSettings(checkpoint=checkpoint)))
    assert term in said and r"3 \text{ of } 6" in said


def test_sentences_have_the_numbers() -> None:
    assert look().summary() == (
        "At 50 % pruned 3 of 6 adapters are gone, every pruned place is served by another one: right after the prune "
        "60.0 % of the validation pictures are right, before it 100.0 %; trained on, 80.0 %."
    )
    assert (
        "At 0 % pruned all 6 adapters are kept" in look(plan=Plan({}, SITES), settings=PearSettings(pruned=0)).summary()
    )
    assert "80.0 %" in explain(look()) and "reaches 80.0 %" in explain(look())


def test_a_training_is_drawn_and_told() -> None:
    rows = [
        {"epoch": e, "train": 1 / e, "loss": 1.1 / e, "accuracy": e / 5, "pruned": [],
         "changed": {"1": [0.9, 1.2]} if e > 1 else {}}
        for e in (1, 2, 3)
    ]  # fmt: skip
    figure = training_figure(rows)
    assert list(trace(figure, "validation, right").y) == pytest.approx([20, 40, 60])
    assert any(shape.x0 == shape.x1 == 1 for shape in figure.layout.shapes)
    result = {"test": 0.66, "pictures": 1000, "chosen": 3, "validation": 0.6, "trainable": 300, "stored": 10,
              "seconds": 51.0, "notes": "Left out: 3 copies."}  # fmt: skip
    said = told(rows, result)
    assert "from 0.900 to 1.200" in said and "66.0 % of 1,000 test pictures" in said and said.endswith("3 copies.")
    assert told(rows[:1], None) == ""
