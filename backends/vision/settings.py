"""How the bundled vision transformer is built and pretrained. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Tier = Literal["cpu", "gpu"]
NAMES: dict[Tier, str] = {"cpu": "formula-vit-micro", "gpu": "formula-vit-tiny"}


class Architecture(BaseModel):
    """A plain vision transformer: class token, learned positions, separate query, key and value projections."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    image: int = 48
    patch: int = 6
    width: int = 128
    layers: int = 6
    heads: int = 4

    @property
    def tokens(self) -> int:
        """Patches of an image, the class token not counted."""
        return (self.image // self.patch) ** 2


ARCHITECTURES: dict[Tier, Architecture] = {
    "cpu": Architecture(),
    "gpu": Architecture(image=64, patch=8, width=192, layers=12, heads=6),
}


class FormulaSettings(BaseModel):
    """What the pretraining pictures are drawn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: int = Field(500, ge=2, title="Classes", description="half iterated function systems, half wavy contours")
    variants: int = Field(16, ge=1, title="Variants", description="clouds of points a class, its parameters jittered")
    points: int = Field(4096, ge=64, title="Points of a cloud")
    shown: int = Field(2500, ge=16, title="Points drawn", description="another subset for every picture")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")


class PretrainSettings(BaseModel):
    """Pretraining by formula: `python -m backends.vision.pretrain --tier cpu`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    tier: Tier = Field("cpu", title="Tier", description="cpu: 1.3 M parameters; gpu: 5.4 M parameters")
    targets: Literal["all", "class"] = Field(
        "all", title="Targets", description="all: class, geometry, distractors, mask; class: the control"
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")
    muon_lr: float = Field(2e-3, gt=0, le=0.1, title="Peak learning rate of Muon", description="the blocks' matrices")
    adam_lr: float = Field(1e-3, gt=0, le=0.1, title="Peak learning rate of AdamW", description="all else")
    weight_decay: float = Field(0.05, ge=0, le=1, title="Weight decay")
    steps: int | None = Field(None, ge=1, title="Steps", description="overrides the tier's; for tests")
    save_every: int = Field(250, ge=1, title="Steps between checkpoints")

    @property
    def batch(self) -> int:
        """Pictures per optimiser step, over all processes."""
        return {"cpu": 64, "gpu": 1024}[self.tier]

    @property
    def total_steps(self) -> int:
        return self.steps or {"cpu": 7000, "gpu": 12000}[self.tier]
