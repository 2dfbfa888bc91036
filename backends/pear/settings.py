"""What can be chosen about Pear, on the page, the command line and the HTTP API alike. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from backends.runtime.errors import UserError

Criterion = Literal["taylor", "taylor-signed", "magnitude", "random"]
Checkpoint = Literal["keep", "keep-offset", "blend", "none"]
Scope = Literal["global", "same-kind"]
Donors = Literal["highest", "lowest", "random", "none"]
Edit = Literal["own", "shared", "off"]
Task = Literal["count", "orientation", "azimuth", "depth", "textures", "digits"]
KNOTS = (25, 50, 75)  # percent pruned for which retrained adapters ship
MODES_AT = 50  # percent pruned at which all four ways of keeping are trained
MOST_EDITS = 400  # characters
_EDIT = re.compile(r"(\d{1,3})(q|v|mlp):(own|shared|off)")


def _edits(text: str) -> str:
    if text and not re.fullmatch(rf"{_EDIT.pattern}(,{_EDIT.pattern})*", text):
        raise ValueError("write places and what they get, such as 3q:off,0v:own")
    return text


class PearSettings(BaseModel):
    """One view of a model whose adapters are pruned and shared."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    pruned: Annotated[
        float,
        Field(
            50,
            ge=0,
            le=75,
            multiple_of=5,
            title="Adapters pruned",
            json_schema_extra={"unit": "%"},
            description="Share of the adapters that are removed; others, which are kept, serve their places too.",
        ),
    ]
    task: Annotated[Task, Field("count", title="Task", description="What the pictures are sorted by.")]
    checkpoint: Annotated[
        Checkpoint,
        Field(
            "keep", title="Knowledge checkpoint", description="What stays of a pruned adapter beside the shared one."
        ),
    ]
    donors: Annotated[
        Donors,
        Field("highest", title="Who is shared", description="The kept adapters that take the pruned ones' places."),
    ]
    criterion: Annotated[Criterion, Field("taylor", title="Importance", description="What ranks the adapters.")]
    scope: Annotated[
        Scope,
        Field("global", title="Shared with", description="Any place of the same shape, or q with q and v with v."),
    ]
    edits: Annotated[
        str,
        AfterValidator(_edits),
        Field(
            "",
            max_length=MOST_EDITS,
            title="Edits by hand",
            description="Made in the grid: 3q:own keeps, 3q:shared prunes and shares, 3q:off switches off.",
        ),
    ]
    seed: Annotated[
        int,
        Field(
            0,
            ge=0,
            le=2**31 - 1,
            title="Seed",
            description="Of random scores and donors; in a training also of its start and the order of the pictures.",
        ),
    ]


class PearTraining(BaseModel):
    """One training with a prune in it: `python -m backends.pear.learn`. Fields marked (inferred) are silent in every
    source that could be read."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    task: Task = Field("count", title="Task")
    pruned: float = Field(50, ge=0, le=75, title="Adapters pruned, %")
    checkpoint: Checkpoint = Field("keep", title="Knowledge checkpoint (inferred)")
    donors: Donors = Field("highest", title="Who is shared")
    criterion: Criterion = Field("taylor", title="Importance")
    scope: Scope = Field("global", title="Shared with (inferred)")
    form: Literal["lora", "bottleneck"] = Field("lora", title="Adapter: LoRA on q and v, or a bottleneck at the MLP")
    rank: int = Field(8, ge=1, le=64, title="Rank")
    scale: float = Field(2.0, gt=0, le=100, title="Scale s")
    epochs: int = Field(15, ge=1, le=200, title="Epochs")
    prune_after: float = Field(0.3, ge=0, lt=1, title="Share of the epochs before the first prune (inferred)")
    times: int = Field(1, ge=1, le=5, title="Prunes: 1 at once, more in equal steps (inferred)")
    batch: int = Field(32, ge=1, le=1024, title="Batch")
    lr: float = Field(4e-3, gt=0, le=1, title="Peak learning rate")
    weight_decay: float = Field(1e-4, ge=0, le=1, title="Weight decay")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed")

    @model_validator(mode="after")
    def _each_prune_has_its_epoch(self) -> PearTraining:
        epochs = [epoch for epoch, _ in prune_at(self)]
        if self.pruned and (epochs[0] < 1 or len(set(epochs)) < len(epochs)):
            raise ValueError("there are too few epochs for these prunes: choose more epochs or fewer prunes")
        return self


class GaugeSettings(BaseModel):
    """A is multiplied and B divided by one number: the same model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    factor: Annotated[
        float, Field(3, ge=1, le=10, multiple_of=0.5, title="A times, B divided by, at every other place")
    ]


def prune_at(s: PearTraining) -> list[tuple[int, float]]:
    """The epochs before which it is pruned, counted from 0, and the share in percent that is pruned by then.

    More than one prune: equal steps, spread over the first half of what is left.
    """
    first = min(max(1, round(s.prune_after * s.epochs)), s.epochs - 1)
    gap = max(1, (s.epochs - first) // (2 * s.times)) if s.times > 1 else 0
    return [(min(first + i * gap, s.epochs - 1), s.pruned * (i + 1) / s.times) for i in range(s.times)]


def read_edits(text: str) -> dict[str, Edit]:
    """ "3q:off,0v:own" -> {"layer 3, q": "off", ...}; the last word on a site counts."""
    return {f"layer {int(layer)}, {kind}": state for layer, kind, state in _EDIT.findall(text)}


def write_edits(edits: Mapping[str, Edit], order: list[str]) -> str:
    """The same as text, by the order of the sites. Raises UserError where it grows too long for a setting."""
    named = {name: name.removeprefix("layer ").replace(", ", "") for name in order}
    text = ",".join(f"{named[name]}:{edits[name]}" for name in order if name in edits)
    if len(text) > MOST_EDITS:
        raise UserError("That is too many edits by hand: move the slider instead.")
    return text
