"""Figures and sentences of the SoCo panel, from results alone."""

from __future__ import annotations

import html
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backends.runtime.words import signed
from backends.soco.settings import METHODS
from demos.kit.look import BAD, CONTROL, GOOD, OTHER, OURS, PALETTE, RIVAL
from demos.kit.marks import End, difference, label, label_ends, layout, letters, ring

if TYPE_CHECKING:
    from backends.lm.generate import Continuation
    from backends.soco.curves import TextCurves
    from backends.soco.results import Accounting, Contribution, Measurement, SpectrumView, Speed

# (colour, dash, width); dashes tell apart what shares a colour
LINES = {
    "soco": (OURS, "solid", 3),
    "soco-k": (GOOD, "solid", 2),
    "soco-w": (GOOD, "dot", 2),
    "control": (CONTROL, "solid", 2),
    "svd-llm": (RIVAL, "solid", 2),
    "svd": (OTHER, "solid", 2),
}
CEILING = 8  # times the dense perplexity: beyond that a curve leaves the picture


def curves_figure(
    curves: TextCurves | None, method: str, now: Measurement | None, pinned: Measurement | None = None
) -> go.Figure:
    """Perplexity against the removed share for every method, the dense model as floor, the live point as a ring.

    A visitor's own text has no measured curves, only the ring. `now` is None until the model has answered. `pinned` is
    drawn as A beside the live point B, with what lies between them; on another text only its ratio to dense compares.
    """
    dense = now.dense_value if now else curves.dense.perplexity if curves else 1.0
    ceiling, top, ends, leaving = CEILING * dense, dense * 1.5, [], []
    traces: list[dict] = []
    shapes: list[dict] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": dense, "y1": dense,
         "line": {"dash": "dash", "width": 1.5, "color": OTHER}}
    ]  # fmt: skip
    for key, points in (curves.methods if curves else {}).items():
        colour, dash, width = LINES[key]
        xs, ys = [p.percent for p in points], [p.perplexity for p in points]
        traces.append({
            "x": xs, "y": ys, "mode": "lines+markers", "name": METHODS[key].label,
            "marker": {"size": 5 if key != method else 7},
            "line": {"color": colour, "dash": dash, "width": width + (1.5 if key == method else 0)},
            "hovertemplate": "%{x} % removed<br>perplexity %{y:.2f}<extra>" + METHODS[key].label + "</extra>",
        })  # fmt: skip
        if ys[-1] <= ceiling:
            ends.append((METHODS[key].label, colour, xs[-1], ys[-1]))
        else:
            leaving.append((METHODS[key].label, colour, xs, ys))
        top = max([top, *(y for y in ys if y <= ceiling)])
    top = ceiling if leaving else top
    labels = _label_leaving(leaving, top, dense) + _label_ends([*ends, ("dense", OTHER, 90.0, dense)])
    if now:
        colour = LINES[now.method][0]
        shapes.append({
            "type": "line", "yref": "paper", "x0": now.percent, "x1": now.percent, "y0": 0, "y1": 1, "opacity": 0.35,
            "line": {"width": 1, "color": colour},
        })  # fmt: skip
        y = min(now.value, CEILING * dense)
        error = {"type": "data", "array": [now.value_error], "color": colour, "thickness": 1.5}
        traces.append(ring("now", now.percent, y, colour, 4, _said(now)) | {"error_y": error})
        top = max(top, y)
    if now and pinned:
        height = pinned.value if pinned.text_label == now.text_label else now.dense_value * math.exp(pinned.excess)
        height = min(height, CEILING * dense)
        top = max(top, height)
        said = f"{METHODS[pinned.method].label}, {_said(pinned)}"
        traces.append(ring("A", pinned.percent, height, LINES[pinned.method][0], 2, said))
        shapes += difference(pinned.percent, height, now.percent, y)
        at = pinned.percent, math.log10(height), now.percent, math.log10(y)
        labels += letters(*at, signed(now.value - pinned.value))
    span = math.log10(max(top, dense * 1.5) / dense)
    placed = layout(
        height=430, margin={"l": 56, "r": 96, "t": 12, "b": 48}, shapes=shapes, annotations=labels,
        xaxis={"title": "linear parameters removed (%)", "range": [-1, 91], "dtick": 10},
        yaxis={
            "title": "perplexity (log)", "type": "log",
            "range": [math.log10(dense) - 0.06 * span, math.log10(dense) + 1.06 * span],
            **_log_ticks(dense, dense * 10**span),
        },
    )  # fmt: skip
    return go.Figure(traces, placed)  # in one piece: it is drawn at every move of the slider


def _said(one: Measurement) -> str:
    return f"{one.percent:g} % removed<br>perplexity {one.value:.2f}"


def _label_ends(ends: list[End]) -> list[dict]:
    """Names at the ends of the lines; (name, colour, percent, perplexity) each."""
    logs = [(name, colour, x, math.log10(y)) for name, colour, x, y in ends]
    span = max(end[3] for end in logs) - min(end[3] for end in logs)
    return label_ends(logs, max(0.05 * span, 0.004))


def _log_ticks(low: float, high: float) -> dict:
    """A handful of round values: plotly's own log ticks are too few over half a decade and too small over two."""
    low = max(low, high * 1e-6)
    ratio = high / low
    steps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8] if ratio < 8 else [1, 2, 5] if ratio < 300 else [1]
    values = [s * 10**e for e in range(-7, 7) for s in steps if low * 0.97 <= s * 10**e <= high * 1.03]
    return {"tickvals": values, "ticktext": [f"{v:g}" for v in values]}


def _label_leaving(leaving: list[tuple], top: float, dense: float) -> list[dict]:
    """Names of the lines that leave the picture, left of them, each a step lower than the last: none meet."""
    labels = []
    crossings = sorted((_crossing(xs, ys, top), name, colour, xs, ys) for name, colour, xs, ys in leaving)
    for place, (_, name, colour, xs, ys) in enumerate(crossings):
        height = math.log10(top) - (0.03 + 0.07 * place) * math.log10(top / dense)
        labels.append(label(name, colour, _crossing(xs, ys, 10**height), height, "right"))
    return labels


def _crossing(xs: list[float], ys: list[float], level: float) -> float:
    """Where a rising line reaches a level, in log space."""
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(xs, ys, strict=True)):
        if y0 <= level <= y1:
            return x0 + (x1 - x0) * (math.log(level) - math.log(y0)) / max(math.log(y1) - math.log(y0), 1e-12)
    return xs[-1]


def formula(accounting: Accounting, deviation: bool) -> str:
    """The method's equation and the budget with the present numbers in it, as Markdown with KaTeX."""
    offset = r" + \mathbf{d}" if deviation else ""
    left = f"{accounting.linear_parameters:,}".replace(",", r"\,")
    all_of_it = f"{accounting.linear_parameters / (1 - accounting.removed_linear):,.0f}".replace(",", r"\,")
    share = rf"1-\frac{{{left}}}{{{all_of_it}}} = {accounting.removed_linear:.3f}"
    return f"$$W' = U(\\Sigma \\odot \\mathbf{{S}})V^{{\\top}}{offset}$$\n\n$${share}$$"


def fine_print(now: Measurement) -> str:
    """How it was measured, and what kind of model this is."""
    note = "" if now.curves else " · no measured curves for this text and model"
    return f"{now.protocol()} · bundled, tiny{note}"


def kept_sentence(now: Measurement) -> str:
    """What is left of the spectra, in words."""
    a = now.accounting
    loud = f", {a.amplified:,} of them amplified" if a.amplified else ""
    return f"{a.kept:,} of {a.components:,} components kept{loud}; {now.origin}."


def ranks_figure(accounting: Accounting, pinned: Accounting | None = None) -> go.Figure:
    """Kept components, layer by matrix; a matrix that stays dense says so. Beside a pinned view, the difference."""
    ranks, full = accounting.ranks.T, accounting.full_ranks.T
    share = np.where(ranks < 0, 1.0, ranks / full)
    counts = words = [["dense" if r < 0 else str(r) for r in row] for row in ranks]
    if pinned is not None:
        more = _components(accounting).T - _components(pinned).T
        words = [[signed(m, "d") for m in row] for row in more]
    layers = [f"layer {i}" for i in range(ranks.shape[1])]
    figure = go.Figure(
        go.Heatmap(
            z=np.round(share, 4), x=layers, y=list(accounting.matrices), text=words, texttemplate="%{text}", zmin=0,
            zmax=1,
            colorscale=[[0, "rgba(0,114,178,0.06)"], [1, "rgba(0,114,178,1)"]], showscale=False, xgap=3, ygap=3,
            customdata=np.dstack([counts, full]),
            hovertemplate="%{y}, %{x}<br>%{customdata[0]} of %{customdata[1]} components<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        layout(
            height=300,
            margin={"l": 48, "r": 8, "t": 28, "b": 8},
            xaxis={"side": "top"},
            yaxis={"autorange": "reversed", "showgrid": False, "ticksuffix": " "},
        )
    )
    return figure


def _components(accounting: Accounting) -> np.ndarray:
    """Kept components; all of them where a matrix stays dense."""
    return np.where(accounting.ranks < 0, accounting.full_ranks, accounting.ranks)


def ranks_sentence(accounting: Accounting, pinned: Accounting | None = None) -> str:
    """What the heat map shows, in words."""
    said = _ranks_sentence(accounting)
    if pinned is None:
        return said
    more = _components(accounting) - _components(pinned)
    return f"{said} Written: how many more than in A, {signed(int(more.sum()), ',d')} in all."


def _ranks_sentence(accounting: Accounting) -> str:
    share = np.where(accounting.ranks < 0, 1.0, accounting.ranks / accounting.full_ranks)
    by_layer, by_matrix = share.mean(1), share.mean(0)
    if share.max() - share.min() < 0.05:
        return f"Every matrix keeps about the same share of its components, {100 * share.mean():.0f} %."
    most, least = (accounting.matrices[int(by_matrix.argmax())], accounting.matrices[int(by_matrix.argmin())])
    layers = "All layers keep about the same share of their components"
    if by_layer.max() - by_layer.min() >= 0.02:
        layers = (
            f"Layer {int(by_layer.argmax())} keeps the largest share of its components "
            f"({100 * by_layer.max():.0f} %), layer {int(by_layer.argmin())} the smallest "
            f"({100 * by_layer.min():.0f} %)"
        )
    return (
        f"{layers}; among the matrices {most} keeps most ({100 * by_matrix.max():.0f} %), {least} least "
        f"({100 * by_matrix.min():.0f} %)."
    )


def spectrum_figure(view: SpectrumView) -> go.Figure:
    """One matrix: singular values above, the score of each component below; kept, amplified and dropped apart."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.55, 0.45], vertical_spacing=0.06)
    index = np.arange(1, len(view.sigma) + 1)
    for name, mask, colour in (
        ("dropped", ~view.kept, BAD),
        ("kept, lowered", view.kept & (view.scores < 1), OURS),
        ("kept as it was", view.kept & (view.scores == 1), OTHER),
        ("kept, amplified", view.kept & (view.scores > 1), GOOD),
    ):
        if not mask.any():
            continue
        marker = {"size": 4, "color": colour}
        for line, values in ((1, view.sigma), (2, view.scores)):
            figure.add_scatter(
                x=index[mask], y=np.round(values[mask], 5), mode="markers", name=name, marker=marker, row=line, col=1,
                showlegend=line == 1, legendgroup=name,
                hovertemplate="component %{x}<br>%{y:.4g}<extra>" + name + "</extra>",
            )  # fmt: skip
    figure.add_hline(y=1, line={"dash": "dash", "width": 1, "color": OTHER}, row=2, col=1)
    ticks = _log_ticks(float(view.sigma.min()), float(view.sigma.max()))
    figure.update_layout(
        layout(
            height=350, showlegend=True, margin={"l": 56, "r": 8, "t": 56, "b": 44},
            legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "font": {"size": 13},
                    "itemsizing": "constant"},
            xaxis={}, yaxis={"title": "σ (log)", "type": "log", **ticks},
            xaxis2={"title": "component"},
            yaxis2={"title": "score s"},
        )
    )  # fmt: skip
    return figure


def contributions_figure(result: Contribution) -> go.Figure:
    """Excess over the dense model after each decision."""
    labels = list(result.labels)
    ink, white = PALETTE["ink"][0], "#ffffff"  # on light bars and on dark ones
    figure = go.Figure(
        go.Bar(
            x=list(result.excess), y=labels, orientation="h", marker={"color": [OTHER, OURS, OURS, GOOD]},
            error_x={"type": "data", "array": list(result.errors), "thickness": 1.5}, width=0.55,
            text=[f"{e:.3f}" for e in result.excess], textposition="inside", insidetextanchor="start",
            insidetextfont={"color": [ink, white, white, ink]},
            hovertemplate="%{y}<br>%{x:.4f} nats above dense<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(
        layout(
            height=230, margin={"l": 8, "r": 16, "t": 8, "b": 44},
            xaxis={"title": "nats a token above the dense model"},
            yaxis={"autorange": "reversed", "automargin": True},  # words, of which the longest sets the margin
        )
    )  # fmt: skip
    return figure


def size_table(now: Measurement, speed: Speed | None) -> str:
    """Bytes, parameters, arithmetic and measured speed, dense beside compressed, as an HTML table."""
    a = now.accounting
    rows = [
        ("parameters of the projections", a.linear_parameters / (1 - a.removed_linear), a.linear_parameters, "{:,.0f}"),
        ("parameters of the whole model", a.dense_parameters, a.model_parameters, "{:,.0f}"),
        ("megabytes on disk (bf16)", a.dense_parameters * 2e-6, a.model_parameters * 2e-6, "{:.2f}"),
        ("million operations a token", a.dense_flops * 1e-6, a.flops * 1e-6, "{:.2f}"),
    ]
    if speed:
        rows.append(("tokens a second, measured", speed.dense, speed.compressed, "{:,.0f}"))
    body = "".join(
        f"<tr><th scope='row'>{label}</th><td>{form.format(dense)}</td><td>{form.format(value)}</td>"
        f"<td>{value / dense:.2f}×</td></tr>"
        for label, dense, value, form in rows
    )
    columns = "".join(f"<th scope='col'>{name}</th>" for name in ("dense", METHODS[now.method].label, "ratio"))
    head = f"<tr><td></td>{columns}</tr>"
    return f"<table class='v-table'><thead>{head}</thead><tbody>{body}</tbody></table>"


def continuations_html(prompt: str, pairs: list[tuple[str, str, Continuation]]) -> str:
    """Each (label, colour, continuation) as a paragraph; all text escaped."""
    parts = []
    for name, colour, c in pairs:
        parts.append(
            f"<p class='v-said'><b class='v-key' style='--c:{colour}'>{html.escape(name)}</b> "
            f"<span class='v-prompt'>{html.escape(prompt)}</span>{html.escape(c.text)}</p>"
            f"<p class='v-protocol'>distinct-2 {c.distinct_2:.2f} · distinct-3 {c.distinct_3:.2f} · "
            f"repeated {100 * c.repetition:.0f} %</p>"
        )
    return "".join(parts)


def surprise_html(pieces: tuple[str, ...], nats: tuple[float, ...], dense: tuple[float, ...] | None = None) -> str:
    """A text with each token on a ground as strong as the model's surprise, up to 8 nats."""
    spans = []
    for i, (piece, value) in enumerate(zip(pieces, nats, strict=True)):
        beside = f", dense {dense[i]:.2f}" if dense else ""
        strength = min(1.0, max(0.0, value / 8))
        text = html.escape(piece).replace("\n", "<br>")
        spans.append(f"<span title='{value:.2f} nats{beside}' style='--s:{strength:.2f}'>{text}</span>")
    return f"<div class='v-surprise'>{''.join(spans)}</div>"
