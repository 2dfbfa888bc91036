"""What a person can choose of Pear. Imports no torch."""

from __future__ import annotations

from typing import Literal

Criterion = Literal["taylor", "taylor-signed", "magnitude", "random"]
Checkpoint = Literal["none", "keep", "keep-offset", "blend"]
Scope = Literal["global", "same-kind"]
Donors = Literal["highest", "lowest", "random", "none"]
