"""A whole second panel, as the README's "add a panel" shows it: the frame does the rest."""

from __future__ import annotations

import plotly.graph_objects as go

from demos.kit.exhibit import Exhibit, Gallery, Guide, Item, Question, Task
from demos.kit.frame import Frame
from demos.kit.look import FIGURE, OTHER, OURS, RIVAL
from demos.kit.panel import Panel
from tests.fakes.spring_method import SpringSettings, SpringTraining, solve


def draw(now, pinned):
    figure = go.Figure(layout=FIGURE)
    other = solve(now.settings.model_copy(update={"method": "euler"}))
    figure.add_scatter(x=now.times, y=now.exact, name="exact", line={"color": OTHER, "dash": "dash"})
    figure.add_scatter(x=other.times, y=other.positions, name="euler", line_color=RIVAL)
    figure.add_scatter(x=now.times, y=now.positions, name=now.settings.method, line={"color": OURS, "width": 3})
    if pinned:
        a = pinned.result
        figure.add_scatter(x=a.times, y=a.positions, name="A", line={"color": OURS, "dash": "dot"})
    return figure.update_layout(height=430, showlegend=True, xaxis_title="time (s)", yaxis_title="position (m)")


def items(context, view):
    for h in (0.1, 0.2, 0.3, 0.4):
        motion = solve(view.settings.model_copy(update={"step": h}))
        yield Item(f"steps of {h:g} s", motion.protocol(), {"error": motion.error}, {"step": h})


def story(arguments, events, folder):
    figure = go.Figure(go.Scatter(y=[event["error"] for event in events]), layout=FIGURE)
    return figure, f"{len(events)} rounds.", sorted(folder.glob("*.csv"))


EXHIBIT = Exhibit(
    key="spring", settings=SpringSettings, controls=("step", "method"), command=("tests.fakes.spring_method",),
    answer=lambda context, view: solve(view.settings), draw=draw,
    formula=lambda now: rf"$$x_{{n+1}} = x_n + {now.settings.step:g}\,v_n$$",
    table=lambda now, pinned: [{"time_s": t, "position_m": x} for t, x in zip(now.times, now.positions, strict=True)],
    what="How far a numerical motion of a damped spring strays from the exact one.",
    notes="**The textbook's**: both integrators. **Ours**: nothing; the damping was inferred.",
    guide=Guide(
        "How far will Euler stray at 0.5 s?", "m", {"step": 0.5, "method": "euler"}, lambda now: now.error,
        lambda now: f"Euler adds energy: {now.error:.2f} m.",
        Question("Which one keeps the energy?", ("Euler", "the symplectic one"), 1, "It turns in phase space."),
    ),
    gallery=Gallery("motions over step sizes", items, 4, lambda context: 0.01),
    task=Task(
        "Again and again", "the same many times", "Run it", "tests.fakes.spring_method", SpringTraining,
        lambda view, rounds: SpringTraining(**view.settings.model_dump(), rounds=rounds),
        lambda s: f"{s.rounds} rounds of {s.method}", lambda *_: [], lambda context, s: 0.05 * s.rounds, story,
        {"rounds": (50, 1000)},
    ),
)  # fmt: skip
PANEL = Panel("spring", "Spring", "Draw", "E. Hairer, 2006", "How far off?", lambda c: Frame(EXHIBIT, c).whole())
