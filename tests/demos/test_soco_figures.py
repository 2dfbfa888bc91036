"""Figures of the SoCo panel draw what the results say, and plotly takes them."""

from __future__ import annotations

import dataclasses
import html
import json

import numpy as np
import plotly.graph_objects as go
import pytest

from backends.lm.perplexity import Perplexity
from backends.soco.curves import Point, TextCurves
from backends.soco.results import Accounting, Contribution, Measurement, SpectrumView, Speed
from backends.soco.settings import KNOTS, METHODS
from demos import soco_figures as figures


def accounting(amplified: int = 5) -> Accounting:
    ranks = np.array([[3, -1], [4, 1]])
    return Accounting(8, 32, amplified, 0.6, 0.4, 400, 900, 1500, ranks, np.full((2, 2), 8), ("q", "down"), 800, 2000)


COUNTS = np.array([50, 50, 28])


def perplexity(nats: np.ndarray) -> Perplexity:
    return Perplexity(float(nats.sum() / COUNTS.sum()), 0.05, int(COUNTS.sum()), 500, 64, 64, nats, COUNTS)


def measured(method: str = "soco", percent: float = 60, factor: float = 2.0) -> Measurement:
    dense = np.array([100.0, 110, 60])
    other = dense + np.log(factor) * COUNTS * np.array([0.9, 1.1, 1.0])
    return Measurement(method, percent, "trained", "made text", perplexity(other), perplexity(dense), accounting(), 0.2)


def curves() -> TextCurves:
    grown = {key: (i + 1) * 0.1 for i, key in enumerate(METHODS)}
    methods = {
        key: [Point(percent=p, nats=2 + slope * (p / 20) ** 2, error=0.01) for p in (0, *KNOTS)]
        for key, slope in grown.items()
    }
    return TextCurves(label="made", tokens=128, context=64, dense=Point(percent=0, nats=2, error=0.1), methods=methods)


def trace(figure: go.Figure, name: str) -> go.Scatter:
    return next(t for t in figure.data if t.name == name)


@pytest.mark.parametrize("method", METHODS)
def test_the_ring_stands_where_the_measurement_says(method: str):
    now = measured(method)
    figure = figures.curves_figure(curves(), method, now)
    ring = trace(figure, "now")
    assert (ring.x[0], ring.y[0]) == (60, pytest.approx(now.value))
    assert ring.error_y.array[0] == pytest.approx(now.value_error)
    assert {t.name for t in figure.data} == {card.label for card in METHODS.values()} | {"now"}
    for key, card in METHODS.items():
        points = curves().methods[key]
        np.testing.assert_allclose(trace(figure, card.label).y, [p.perplexity for p in points])
    said = [a.text for a in figure.layout.annotations]
    assert sorted(said) == sorted([f"<b>{card.label}</b>" for card in METHODS.values()] + ["<b>dense</b>"])


def test_too_few_tokens_for_an_error_are_said():
    assert "± " in measured().summary()
    one = Perplexity(2.0, float("nan"), 50, 200, 64, 64, np.array([100.0]), np.array([50]))
    alone = Measurement("svd", 40, "truncated", "your text", one, one, accounting(), 0.1)
    assert "nan" not in alone.summary() and "too few tokens" in alone.summary()
    assert figures.curves_figure(None, "svd", alone).to_json()


@pytest.mark.parametrize("factor", [0.9, 1.0, 1e6])
def test_a_number_beyond_the_picture_stays_at_its_edge(factor: float):
    now = measured(factor=factor)
    figure = figures.curves_figure(None, "soco", now)
    assert trace(figure, "now").y[0] == pytest.approx(min(now.value, figures.CEILING * now.dense_value))
    low, high = figure.layout.yaxis.range
    assert factor < 1 or low < np.log10(trace(figure, "now").y[0]) < high


@pytest.mark.parametrize("kept", ["some", "all", "none"])
def test_every_component_is_drawn_once_a_row(kept: str):
    sigma = np.geomspace(3, 1e-4, 12)
    mask = {"some": np.arange(12) % 3 > 0, "all": np.ones(12, bool), "none": np.zeros(12, bool)}[kept]
    scores = np.where(mask, np.linspace(0.5, 1.5, 12), 0.0)
    figure = figures.spectrum_figure(SpectrumView("layer 0, down", sigma, scores, mask))
    for axis, values in (("y", sigma), ("y2", scores)):
        points = sorted((x, y) for t in figure.data if (t.yaxis or "y") == axis for x, y in zip(t.x, t.y, strict=True))
        np.testing.assert_allclose([p[0] for p in points], np.arange(1, 13))
        np.testing.assert_allclose([p[1] for p in points], values, atol=1e-5)
    louder = [t for t in figure.data if t.name == "kept, amplified"]
    assert sum(len(t.x) for t in louder) == 2 * int((scores > 1).sum())


def test_ranks_say_dense_where_a_matrix_stays():
    figure = figures.ranks_figure(accounting())
    assert [list(row) for row in figure.data[0].text] == [["3", "4"], ["dense", "1"]]
    assert "q" in figures.ranks_sentence(accounting())


def test_contributions_and_table():
    result = Contribution(("uniform rank", "allocation and choice", "rescaling"), (0.9, 0.5, 0.4), (0.1, 0.1, 0.1))
    figure = figures.contributions_figure(result)
    assert list(figure.data[0].x) == [0.9, 0.5, 0.4]
    assert figure.layout.yaxis.automargin  # its labels are words
    table = figures.size_table(measured(), Speed(1000.0, 1500.0, 5, 2048))
    assert "1,500" in table and "1,000" in table
    assert "measured" not in figures.size_table(measured(), None)


def test_what_a_text_says_is_escaped():
    page = figures.surprise_html(("<script>", " a"), (1.0, 9.0), (1.0, 2.0))
    assert "<script>" not in page and html.escape("<script>") in page


# ---- A and B ---------------------------------------------------------------------------------------------------------


def test_a_is_drawn_beside_b_with_what_lies_between():
    a, b = measured("svd", 20, 1.2), measured("soco", 60, 2.0)
    figure = figures.curves_figure(curves(), "soco", b, a)
    ring = trace(figure, "A")
    assert (ring.x[0], ring.y[0]) == (20, pytest.approx(a.value))
    said = [note.text for note in figure.layout.annotations]
    assert {"<b>A</b>", "<b>B</b>", f"+{b.value - a.value:.2f}"} <= set(said)
    rise = [
        shape for shape in figure.layout.shapes if shape.x0 == shape.x1 == 60 and shape.y1 == pytest.approx(b.value)
    ]
    assert rise[0].y0 == pytest.approx(a.value)


def test_a_that_is_b_is_marked_once():
    now = measured()
    said = [note.text for note in figures.curves_figure(curves(), "soco", now, now).layout.annotations]
    assert "<b>B</b>" in said and "<b>A</b>" not in said
    assert "the same view" in now.against(now)


def test_the_difference_is_said_with_its_direction():
    small, large = measured(percent=20, factor=1.2), measured(percent=60, factor=2.0)
    up, down = large.against(small), small.against(large)
    assert f"{large.value - small.value:.2f} higher" in up and f"{large.value - small.value:.2f} lower" in down
    assert f"had {small.value:.2f}" in up and f"({large.value / small.value:.2f}×)" in up


def test_another_text_is_not_compared_by_its_perplexity():
    other = dataclasses.replace(measured(percent=20), text_label="a letter")
    said = measured().against(other)
    assert "on other text (a letter)" in said and "higher" not in said


def test_ranks_beside_a_pinned_view_are_differences():
    a = accounting()
    b = Accounting(*[*vars(a).values()][:8], np.array([[5, 2], [4, 8]]), *[*vars(a).values()][9:])
    figure = figures.ranks_figure(b, a)
    assert [list(row) for row in figure.data[0].text] == [
        ["+2", "0"],
        ["−6", "+7"],
    ]  # a matrix that stays dense keeps all eight
    assert figure.data[0].customdata[0][0][0] == "5"
    assert "+3 in all" in figures.ranks_sentence(b, a)


def test_facts_are_json_and_hold_what_is_said():
    now = measured()
    facts = json.loads(json.dumps(now.facts(), allow_nan=False))
    assert facts["summary"] == now.summary() and facts["perplexity"] == pytest.approx(now.value)
    assert facts["ranks"] == {"q": [3, 4], "down": [-1, 1]}
