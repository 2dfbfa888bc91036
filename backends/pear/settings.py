"""What a person can choose of Pear. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Criterion = Literal["taylor", "taylor-signed", "magnitude", "random"]
Checkpoint = Literal["none", "keep", "keep-offset", "blend"]
Scope = Literal["global", "same-kind"]
Donors = Literal["highest", "lowest", "random", "none"]


class PearSettings(BaseModel):
    """Which adapters go, who takes their places, and what is kept of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    ratio: float = Field(50, ge=0, le=75, multiple_of=1, title="Adapters pruned", json_schema_extra={"unit": "%"})
    criterion: Criterion = Field("taylor", title="Importance")
    checkpoint: Checkpoint = Field("keep", title="Knowledge checkpoint")
    scope: Scope = Field("global", title="Donors from", description="anywhere of the same shape, or of the same kind")
    donors: Donors = Field("highest", title="Donors", description="highest is the method; the others are controls")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")
