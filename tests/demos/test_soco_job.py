"""The figure and the sentences of a training, from what it told."""

from __future__ import annotations

from demos.soco_job import told, training_figure

ROWS = [[1, 0.1, 1.0, 0.0, 0.3, 0.0, 3, 0], [2, 0.2, 0.8, 0.0, 0.3, 0.35, 900, 2], [3, 0.4, 0.0, 0.1, 0.0, 0.4, 0, 0]]
RESULT = {"perplexity": 12.3, "removed": 40.01, "dense": 9.2, "protocol": "72 tokens"}


def test_the_figure_draws_what_was_told():
    figure = training_figure(ROWS, 40)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["L_inc"].y) == [0.1, 0.2, 0.4]
    assert list(traces["removed"].y) == [0, 35, 40]
    assert list(traces["dropped"].y) == [-3, -900, 0]
    assert list(traces["came back"].y) == [0, 2, 0]
    assert [a.text for a in figure.layout.annotations] == ["explore", "refine", "decide"]
    assert any(shape.y0 == shape.y1 == 40 for shape in figure.layout.shapes)


def test_the_sentence_counts_and_compares():
    assert told(ROWS[:1], None) == "3 components were dropped and 0 came back in 1 steps."
    said = told(ROWS, RESULT | {"shipped": 11.9, "shipped_origin": "trained"})
    assert "903 components were dropped and 2 came back in 3 steps" in said
    assert "Perplexity 12.30 at 40.01 % removed, dense 9.20; the scores that ship (trained) reach 11.90." in said
    assert "ship" not in told(ROWS, RESULT)
