"""Figures, grid and tables of the Pear panel, from results alone."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from backends.pear.curves import METHODS
from backends.pear.settings import prune_at
from backends.runtime.words import plain, signed
from demos.kit.look import BAD, CONTROL, GOOD, OTHER, OURS, RIVAL
from demos.kit.marks import difference, label_ends, layout, letters, ring

if TYPE_CHECKING:
    from backends.pear.curves import TaskCurves
    from backends.pear.plan import Plan
    from backends.pear.results import Gauge, Judged, Look, Moved, Tested

LINES = {"pear": (OURS, "solid"), "prune": (CONTROL, "solid"), "lora": (RIVAL, "solid"), "full": (GOOD, "dash"),
         "probe": (OTHER, "dash")}  # fmt: skip
LEVELS = ("full", "probe")  # they prune nothing: a level, not a curve
SHORT = {"pear": "Pear", "prune": "not shared", "lora": "LoRA, equal size", "full": "full tuning", "probe": "probe"}
COURSES = {"never pruned": (OTHER, "dash"), "keep": (OURS, "solid"), "keep-offset": ("#8C6D31", "solid"),
           "blend": ("#8F73C9", "solid"), "none": (BAD, "solid")}  # fmt: skip
TENSORS = (OURS, RIVAL, GOOD, CONTROL, BAD, "#56B4E9", "#8C6D31", "#8F73C9", OTHER)  # of the adapters that serve
STATES = {"own": "its own adapter", "shared": "pruned, served by", "alone": "pruned, served by nobody",
          "off": "switched off, nothing of it stays"}  # fmt: skip


def trade_off_figure(curves: TaskCurves | None, now: Look | None, pinned: Look | None = None) -> go.Figure:
    """Validation accuracy against the pruned share: measured curves after training on, this view's rings on them."""
    traces, shapes, ends, seen = [], [], [], []
    for key, points in (curves.methods if curves else {}).items():
        colour, dash = LINES[key]
        ys = [100 * p.validation for p in points]
        seen += ys
        if key in LEVELS:
            shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": ys[0], "y1": ys[0],
                           "line": {"dash": dash, "width": 1.5, "color": colour}})  # fmt: skip
        else:
            hover = "%{x:g} % pruned, %{customdata:,} trainable<br>%{y:.1f} %<extra>" + METHODS[key] + "</extra>"
            traces.append({
                "x": [p.pruned for p in points], "y": ys, "mode": "lines+markers", "name": METHODS[key],
                "customdata": [p.trainable for p in points], "marker": {"size": 7 if key == "pear" else 5},
                "line": {"color": colour, "dash": dash, "width": 3 if key == "pear" else 2}, "hovertemplate": hover,
            })  # fmt: skip
        ends.append((SHORT[key], colour, 75.0, ys[-1]))
    notes: list[dict] = []
    if now:
        seen += _rings(traces, shapes, now)
    if now and pinned and pinned.task == now.task:
        traces.append(ring("A", pinned.percent, pinned.value, OURS, 2, _said(pinned)))
        seen.append(pinned.value)
        shapes += difference(pinned.percent, pinned.value, now.percent, now.value)
        notes += letters(pinned.percent, pinned.value, now.percent, now.value, signed(now.value - pinned.value, ".1f"))
    low, high = min(seen, default=0.0), max(seen, default=100.0)
    furthest = max([75.0, *(one.percent for one in (now, pinned) if one)])
    room = max(0.08 * (high - low), 1.0)
    placed = layout(
        height=520, margin={"l": 56, "r": 128, "t": 12, "b": 48}, shapes=shapes,
        annotations=[*label_ends(ends, 0.055 * (high - low + 2 * room)), *notes],
        xaxis={"title": "adapters pruned (%)", "range": [-2, furthest + 2], "dtick": 25},
        yaxis={"title": "validation pictures right (%)", "range": [low - room, high + room]},
    )  # fmt: skip
    return go.Figure(traces, placed)


def _rings(traces: list[dict], shapes: list[dict], now: Look) -> list[float]:
    """This view: a thin ring right after the prune, a thick one trained on where that is known; both heights."""
    after = 100 * now.now.scores.accuracy
    if now.retrained:
        shapes.append({"type": "line", "x0": now.percent, "x1": now.percent, "y0": after, "y1": now.value,
                       "line": {"dash": "dot", "width": 1.5, "color": OURS}})  # fmt: skip
        traces.append(ring("trained on", now.percent, now.value, OURS, 4, _said(now)))
    out = f"{len(now.plan.pruned)} of {len(now.importance)} pruned ({now.settings.pruned:g} % asked for)"
    said = f"{out}, nothing trained since<br>{after:.1f} %"
    thin = {"size": 11, "color": "rgba(255,255,255,0.9)", "line": {"color": OURS, "width": 2}}
    small = {"marker": thin} if now.retrained else {}
    traces.append(ring("right after the prune", now.percent, after, OURS, 4, said) | small)
    return [after, now.value]


def _said(one: Look) -> str:
    return f"{one.percent:.0f} % pruned<br>{one.value:.1f} % right"


def formula(now: Look) -> str:
    """Importance and what stands at a pruned place, with the present numbers, as Markdown with KaTeX."""
    out, total = len(now.plan.pruned), len(now.importance)
    had, got = r"s B_iA_i", "s B_jA_j"
    terms = {"keep": [had, got], "keep-offset": [had, "s (B_jA_j - B_{j0}A_{j0})"], "none": [got],
             "blend": [rf"\tfrac12 {had}", rf"\tfrac12 {got}"]}[now.settings.checkpoint]  # fmt: skip
    if now.plan.donors and not any(now.plan.donors.values()):
        terms = [] if now.settings.checkpoint == "none" else [had]  # nobody serves a pruned place
    first = r"$$I_i = \tfrac1N \sum_k \bigl| \langle \theta_i, \nabla_{\theta_i} L_k \rangle \bigr|$$"
    second = f"$$W_i' = {' + '.join(['W_i', *terms])}$$"
    return f"{first}\n\n{second}\n\n$$m = {out} \\text{{ of }} {total}$$"


def cost_sentence(now: Look) -> str:
    """What is trained and stored, in words."""
    a, b = now.accounting, now.full
    stored = f"; {a.stored:,} frozen ones are stored as well" if a.stored else ""
    return f"{a.trainable:,} trainable numbers instead of {b.trainable:,}{stored}."


def fine_print(now: Look) -> str:
    """How it was measured, and what the curves are."""
    c = now.curves
    if c is None:
        return f"{now.protocol()} · no measured curves for this model · bundled, tiny"
    when = f"pruned after epoch {prune_at(c.settings)[0][0]} of {c.settings.epochs}"
    return f"{now.protocol()} · {when} · curves: trained on, seed {c.settings.seed}, {c.date} · bundled, tiny"


# ---- the grid --------------------------------------------------------------------------------------------------------


def state_of(plan: Plan, site: str) -> str:
    """ "own", "shared", "off", or "alone": pruned, but nobody serves its place."""
    if site not in plan.donors:
        return "own"
    return "off" if site in plan.off else "shared" if plan.donors[site] else "alone"


def grid_html(now: Look) -> str:
    """Layers by positions: a button for each adapter, as dark as it is important; one colour is one tensor."""
    sites = list(now.importance)
    ranks = {name: i + 1 for i, name in enumerate(sorted(sites, key=lambda n: -now.importance[n]))}
    top = max(max(now.importance.values()), 1e-12)
    serving = [name for name in now.plan.kept if name in now.plan.donors.values()]
    colours = {name: TENSORS[i % len(TENSORS)] for i, name in enumerate(serving)}
    kinds = list(dict.fromkeys(name.partition(", ")[2] for name in sites))
    layers = list(dict.fromkeys(name.partition(", ")[0] for name in sites))
    head = "".join(f"<th scope='col'>{layer.removeprefix('layer ')}</th>" for layer in layers)
    rows = []
    for kind in kinds:
        cells = (_cell(now, f"{layer}, {kind}", ranks, top, colours) for layer in layers)
        rows.append(f"<tr><th scope='row'>{kind}</th>{''.join(cells)}</tr>")
    table = f"<thead><tr><th scope='col'>layer</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<table class='v-grid'>{table}</table>"


def _cell(now: Look, site: str, ranks: Mapping[str, int], top: float, colours: Mapping[str, str]) -> str:
    if site not in now.importance:
        return "<td></td>"
    state, donor = state_of(now.plan, site), now.plan.donors.get(site)
    words = f"{STATES[state]} {donor}" if state == "shared" else STATES[state]
    told = f"{site}: importance {now.importance[site]:.3g}, rank {ranks[site]} of {len(ranks)}; {words}"
    tensor = colours.get(donor or site, "")
    colour = f"--c:{tensor};" if tensor else ""
    small = f"← {_short(donor)}" if state == "shared" else {"own": "", "off": "off", "alone": "gone"}[state]
    share = max(0.0, now.importance[site]) / top
    return (
        f"<td><button type='button' class='v-cell v-{state}{' v-tied' if tensor else ''}' data-site='{site}' "
        f"style='{colour}--s:{share:.3f}' title='{told}' aria-label='{told}'>"
        f"<b>{ranks[site]}</b><span>{small}</span></button></td>"
    )


def _short(site: str | None) -> str:
    return html.escape((site or "").removeprefix("layer ").replace(", ", " "))


def grid_sentence(now: Look) -> str:
    """What the grid shows, in words."""
    best = max(now.importance, key=lambda n: now.importance[n])
    least = min(now.importance, key=lambda n: now.importance[n])
    serving = [d for d in now.plan.donors.values() if d]
    served = f" {len(set(serving))} of the kept ones serve {len(serving)} other places." if serving else ""
    hand = f" Decided by hand: {now.settings.edits}." if now.settings.edits else ""
    return f"Most important is {best}, least {least}.{served}{hand} Press a cell: its own, shared, off, its own again."


# ---- beside the number -----------------------------------------------------------------------------------------------


def judged_figure(now: Judged) -> go.Figure:
    """Each adapter's score against what its removal really costs, one plot a criterion."""
    names = list(now.scores)
    figure = make_subplots(rows=1, cols=len(names), shared_yaxes=True, horizontal_spacing=0.03)
    true = np.abs(now.changes)
    for i, (name, colour) in enumerate(zip(names, (OURS, RIVAL, OTHER), strict=True), 1):
        figure.add_scatter(
            x=now.scores[name], y=true, mode="markers", marker={"size": 9, "color": colour}, name=name,
            text=list(now.names), hovertemplate="%{text}<br>score %{x:.3g}, loss %{y:.3f}<extra></extra>",
            row=1, col=i,
        )  # fmt: skip
        figure.update_xaxes(title_text=f"{name}<br>ρ = {plain(now.rank_correlation(name))}", nticks=3, row=1, col=i)
    figure.update_layout(layout(height=276, margin={"l": 56, "r": 8, "t": 8, "b": 60}))
    figure.update_yaxes(title_text="true |Δ loss| (nats)", row=1, col=1)
    return figure


def courses_figure(curves: TaskCurves) -> go.Figure:
    """Validation loss through the prune for each way of keeping; the jump at the prune is drawn as it happened."""
    figure, cut = go.Figure(), None
    for name, course in curves.paths.items():
        colour, dash = COURSES[name]
        xs, ys = list(range(1, len(course.loss) + 1)), list(course.loss)
        if course.prune is not None:
            cut = course.prune
            xs[cut:cut], ys[cut:cut] = [cut, cut], [course.before, course.after]
        figure.add_scatter(
            x=xs, y=ys, mode="lines", name=name, line={"color": colour, "dash": dash, "width": 2},
            hovertemplate="epoch %{x}: %{y:.3f} nats<extra>" + name + "</extra>",
        )  # fmt: skip
    if cut is not None:
        figure.add_vline(cut, line={"color": OTHER, "width": 1, "dash": "dot"})
    figure.update_layout(
        layout(height=320, margin={"l": 56, "r": 8, "t": 40, "b": 44}, showlegend=True,
               legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0},
               xaxis={"title": "epoch"}, yaxis={"title": "validation loss (nats)"})
    )  # fmt: skip
    return figure


def courses_sentence(curves: TaskCurves) -> str:
    """The jumps and the ends, in words."""
    pruned = {name: c for name, c in curves.paths.items() if c.prune is not None}
    jumps = ", ".join(f"{name} {signed(c.after - c.before, '.3f')}" for name, c in pruned.items())
    cut = max(c.prune for c in pruned.values()) if pruned else 0
    ends = ", ".join(f"{name} {min(c.loss[cut:]):.3f}" for name, c in curves.paths.items())
    return f"Half of the adapters go at the dotted line. The loss jumps: {jumps} nats. Its lowest after it: {ends}."


def moved_figure(moved: Moved) -> go.Figure:
    """Sizes of what a pruned place had and got; in words, their cosine."""
    names = [f"{_short(name)}<br>{signed(c)}" for name, c in zip(moved.names, moved.cosine, strict=True)]
    figure = go.Figure()
    figure.add_bar(x=names, y=moved.kept, name="what it had learnt", marker={"color": OTHER},
                   hovertemplate="%{y:.3f}<extra>had</extra>")  # fmt: skip
    figure.add_bar(x=names, y=moved.given, name="what it was given", marker={"color": OURS},
                   customdata=np.column_stack([[_short(d) for d in moved.donors], np.round(moved.cosine, 3)])
                   if names else None,
                   hovertemplate="from %{customdata[0]}: %{y:.3f}, cosine %{customdata[1]}<extra></extra>")  # fmt: skip
    figure.update_layout(
        layout(height=296, margin={"l": 56, "r": 8, "t": 40, "b": 60}, showlegend=True, barmode="group",
               legend={"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0},
               xaxis={"title": "pruned place, and the cosine of both", "type": "category"},
               yaxis={"title": "Frobenius norm"})
    )  # fmt: skip
    return figure


def cost_table(now: Look, tested: Tested | None) -> str:
    """Everything that is paid and got, all adapters beside this view, as an HTML table."""
    a, b = now.accounting, now.full
    rows = [
        ("trainable numbers of adapters", f"{b.trainable:,}", f"{a.trainable:,}"),
        ("frozen numbers stored as well", f"{b.stored:,}", f"{a.stored:,}"),
        ("trainable numbers of the classifier", f"{b.head:,}", f"{a.head:,}"),
        ("extra multiplications a token", f"{b.multiplications:,}", f"{a.multiplications:,}"),
        ("the same once folded: LoRA is linear", "0", "0"),
        ("validation loss at the prune, nats", f"{now.whole.scores.loss:.3f}", f"{now.now.scores.loss:.3f}"),
        ("validation pictures right, at the prune", *_percent(now.whole.scores.accuracy, now.now.scores.accuracy)),
    ]
    if tested:
        rows.append((f"{tested.pictures:,} test pictures, at the prune",
                     *_percent(tested.whole.accuracy, tested.now.accuracy)))  # fmt: skip
        if tested.retrained:
            never = f"{100 * tested.never.accuracy:.1f} %" if tested.never else ""
            rows.append(("the same, trained on", never, f"{100 * tested.retrained.accuracy:.1f} %"))
    body = "".join(f"<tr><th scope='row'>{name}</th><td>{one}</td><td>{two}</td></tr>" for name, one, two in rows)
    head = "<tr><td></td><th scope='col'>all kept</th><th scope='col'>this view</th></tr>"
    return f"<table class='v-table'><thead>{head}</thead><tbody>{body}</tbody></table>"


def _percent(*values: float) -> list[str]:
    return [f"{100 * value:.1f} %" for value in values]


def gauge_figure(gauge: Gauge) -> go.Figure:
    """Ranks before and after: lines that cross are adapters that changed places."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=("magnitude", "Taylor"), horizontal_spacing=0.12)
    for column, (before, after) in enumerate((gauge.magnitude, gauge.taylor), 1):
        for i, name in enumerate(gauge.names):
            moved = before[i] != after[i]
            figure.add_scatter(
                x=["as trained", "rescaled"], y=[before[i], after[i]], mode="lines+markers", name=name,
                line={"color": BAD if moved else OTHER, "width": 2.5 if moved else 1.5},
                hovertemplate=f"{name}: rank %{{y}}<extra></extra>", row=1, col=column,
            )  # fmt: skip
    figure.update_layout(layout(height=320, margin={"l": 56, "r": 16, "t": 36, "b": 32}, xaxis={}, xaxis2={}))
    figure.update_yaxes(autorange="reversed", dtick=2, title_text="rank", row=1, col=1)
    figure.update_yaxes(autorange="reversed", dtick=2, row=1, col=2)
    return figure
