"""How the bundled language model is built and trained. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = "pydoc-llama"
END_OF_TEXT = "<|endoftext|>"


class Architecture(BaseModel):
    """A small Llama with grouped-query attention and tied embeddings: 5.83 M parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    vocabulary: int = 4096
    hidden: int = 288
    layers: int = 6
    heads: int = 6
    key_value_heads: int = 2
    intermediate: int = 640
    context: int = 256


class TrainSettings(BaseModel):
    """Training of the bundled model: `python -m backends.lm.train --tier cpu`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    tier: Literal["cpu", "gpu"] = Field("cpu", title="Tier", description="cpu: 30 M tokens; gpu: 311 M tokens")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")
    peak_lr: float = Field(2.5e-3, gt=0, le=0.1, title="Peak learning rate of AdamW")
    weight_decay: float = Field(0.1, ge=0, le=1, title="Weight decay of the matrices")
    steps: int | None = Field(None, ge=1, title="Steps", description="overrides the tier's; for tests")
    compile: bool = Field(True, title="Compile the loss", description="40 s once, then a third faster")
    save_every: int = Field(250, ge=1, title="Steps between checkpoints")

    @property
    def batch(self) -> int:
        """Windows of `context` tokens per optimiser step, over all processes."""
        return {"cpu": 16, "gpu": 128}[self.tier]

    @property
    def total_steps(self) -> int:
        return self.steps or {"cpu": 7400, "gpu": 9500}[self.tier]
