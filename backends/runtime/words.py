"""Numbers in words."""

from __future__ import annotations

import math


def plain(value: float, form: str = ".2f") -> str:
    """ "0.91" or "−0.16": with a minus sign, not a hyphen."""
    return f"{value:{form}}".replace("-", "−")


def signed(value: float, form: str = ".2f") -> str:
    """ "+1.20" or "−0.30": a difference is read by its sign; nothing that is left of it after rounding has none."""
    if not math.isfinite(value):
        return "?"
    size = f"{abs(value):{form}}"
    return f"{('+' if value > 0 else '−') if set(size) - set('0.,') else ''}{size}"
