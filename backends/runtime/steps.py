"""What long work says while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """fraction: of the work, 0 to 1; message: one line for a person; partial: the result so far, if there is one."""

    fraction: float
    message: str
    partial: Any = None
