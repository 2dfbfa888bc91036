"""What figures have in common: the house's layout, names at the ends of lines, A and B and what lies between them.

Heights are in the axis' own units: log10 of the value on a logarithmic axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from demos.kit.look import FIGURE, PALETTE

End = tuple[str, str, float, float]  # name, colour, x, height
INK = PALETTE["grey"][0]


def layout(**changes: object) -> go.Layout:
    """The house's figure style with changes merged one level deep."""
    merged: dict = {key: dict(value) if isinstance(value, dict) else value for key, value in FIGURE.items()}
    for key, value in changes.items():
        merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    return go.Layout(merged)


def ring(name: str, x: float, y: float, colour: str, width: float, said: str) -> dict:
    """A large open ring: where a view lies. said: when it is pointed at."""
    return {
        "x": [x], "y": [y], "mode": "markers", "name": name,
        "marker": {"size": 15, "color": "rgba(255,255,255,0.9)", "line": {"color": colour, "width": width}},
        "hovertemplate": f"{said}<extra>{name}</extra>",
    }  # fmt: skip


def difference(ax: float, ay: float, bx: float, by: float) -> list[dict]:
    """From A along its level to B's place, then up or down to B; values, not heights."""
    line = {"color": INK, "width": 1.5, "dash": "dot"}
    level = {"type": "line", "x0": ax, "x1": bx, "y0": ay, "y1": ay, "line": line}
    rise = {"type": "line", "x0": bx, "x1": bx, "y0": ay, "y1": by, "line": line | {"dash": "solid", "width": 2.5}}
    return [level, rise]


def letters(ax: float, ay: float, bx: float, by: float, said: str) -> list[dict]:
    """A and B above their rings, at these heights; the difference beside the line between their levels."""
    font = {"color": INK, "size": 13}
    same = (ax, ay) == (bx, by)
    marks = [("B", bx, by), *([] if same else [("A", ax, ay)])]
    made = [
        {"x": x, "y": y, "text": f"<b>{name}</b>", "font": font, "showarrow": False, "yshift": 19}
        for name, x, y in marks
    ]
    if same:
        return made
    return [*made, {"x": bx, "y": (ay + by) / 2, "text": said, "font": font, "showarrow": False, "xshift": 28}]


def label_ends(ends: Sequence[End], gap: float) -> list[dict]:
    """Names at the ends of the lines, pushed apart to `gap` where they would touch."""
    ordered, heights = sorted(ends, key=lambda end: end[3]), []
    for end in ordered:
        heights.append(max(end[3], heights[-1] + gap) if heights else end[3])
    return [label(name, colour, x, y, "left") for (name, colour, x, _), y in zip(ordered, heights, strict=True)]


def label(text: str, colour: str, x: float, height: float, anchor: str) -> dict:
    """A line's name beside it."""
    font, shift = {"color": colour, "size": 13}, 10 if anchor == "left" else -8
    return {
        "x": x, "y": height, "text": f"<b>{text}</b>", "font": font, "showarrow": False, "xanchor": anchor,
        "xshift": shift,
    }  # fmt: skip
