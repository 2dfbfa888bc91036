"""What can be chosen about SoCo, on the page, the command line and the HTTP API alike. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Method = Literal["soco", "soco-k", "soco-w", "control", "svd-llm", "svd"]
TrainedMethod = Literal["soco", "soco-k", "soco-w", "control"]
KNOTS = (10, 20, 30, 40, 50, 60, 70, 80, 90)


class MethodCard(BaseModel):
    """How a method is named and told apart."""

    model_config = ConfigDict(frozen=True)
    label: str
    basis: Literal["plain", "whitened", "two-sided"]
    trained: bool
    ours: bool
    what: str


METHODS: dict[str, MethodCard] = {
    "soco": MethodCard(
        label="SoCo",
        basis="plain",
        trained=True,
        ours=False,
        what="the paper's method: learned scores decide and rescale, in three stages, on the plain singular spectrum",
    ),
    "soco-k": MethodCard(
        label="SoCo+K",
        basis="two-sided",
        trained=True,
        ours=True,
        what="ours: input and gradient statistics shape the spectrum, so its squares are nats; then scores are trained",
    ),
    "soco-w": MethodCard(
        label="SoCo+W",
        basis="whitened",
        trained=True,
        ours=True,
        what="ours: measured loss curvature decides on the whitened spectrum; components are exchanged while training",
    ),
    "control": MethodCard(
        label="Fair control",
        basis="whitened",
        trained=True,
        ours=False,
        what="SVD-LLM's basis at uniform rank, with scores and deviation trained for the same steps on the same data",
    ),
    "svd-llm": MethodCard(
        label="SVD-LLM",
        basis="whitened",
        trained=False,
        ours=False,
        what="truncation of the whitened weight at uniform rank (Wang et al. 2024, whitening only)",
    ),
    "svd": MethodCard(
        label="SVD",
        basis="plain",
        trained=False,
        ours=False,
        what="plain truncation of the weight at uniform rank",
    ),
}


class SocoSettings(BaseModel):
    """One view of a compressed model."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    removed: Annotated[
        float,
        Field(
            40,
            ge=0,
            le=90,
            multiple_of=1,
            title="Linear parameters removed",
            json_schema_extra={"unit": "%"},
            description="Share of the projections' parameters that is removed; embeddings and norms are untouched.",
        ),
    ]
    method: Annotated[Method, Field("soco", title="Method", description="Which method decides what is kept.")]
    rival: Annotated[Method, Field("svd-llm", title="Beside it", description="The method it is compared with.")]
    text: Annotated[
        Literal["held-out", "stories", "yours"],
        Field("held-out", title="Text", description="What perplexity is measured on."),
    ]
    layer: Annotated[int, Field(0, ge=0, le=199, title="Layer", description="Whose spectrum is drawn; counted from 0.")]
    matrix: Annotated[
        Literal["q", "k", "v", "o", "gate", "up", "down"],
        Field("down", title="Matrix", description="Which projection of the layer."),
    ]
    prompt: Annotated[
        str,
        Field("Returns the number of", min_length=1, max_length=200, title="Prompt", description="What is continued."),
    ]
    seed: Annotated[int, Field(0, ge=0, le=2**31 - 1, title="Seed", description="Of the continuations.")]
    tokens: Annotated[int, Field(48, ge=8, le=160, title="Tokens", description="Length of the continuations.")]
    temperature: Annotated[
        float,
        Field(0.7, ge=0, le=2, multiple_of=0.05, title="Temperature", description="0 always takes the likeliest."),
    ]


class SocoTraining(BaseModel):
    """One training of scores: `python -m backends.soco.train`. Fields marked (inferred) are silent in every source."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: TrainedMethod = Field("soco", title="Method")
    removed: float = Field(40, ge=5, le=95, title="Linear parameters removed, %")
    seed: int = Field(0, ge=0, le=2**31 - 1, title="Seed", description="of the order of the training windows")
    steps: int = Field(200, ge=10, le=20_000, title="Optimiser steps")
    batch: int = Field(4, ge=1, le=256, title="Windows a step")
    score_lr: float = Field(0.03, gt=0, le=1, title="Learning rate of the scores (inferred)")
    deviation_lr: float = Field(0.01, gt=0, le=1, title="Learning rate of the deviation (inferred)")
    basis: Literal["plain", "whitened", "two-sided"] | None = Field(
        None, title="Basis", description="instead of its own"
    )
    deviation: Literal["output", "none", "spectrum"] = Field("output", title="How d is applied (inferred)")
    # The paper's three stages
    score: Literal["sig2", "sig1", "softplus", "clamp", "exp", "raw"] = Field("sig2", title="Score function (inferred)")
    threshold: float = Field(0.1, gt=0, lt=1, title="Score below which a component is dropped (inferred value)")
    epsilon: float = Field(0.1, gt=0, le=1, title="Width of the concave count in L_dec (inferred)")
    explore: float = Field(0.4, gt=0, lt=1, title="Latest end of stage 1, share of the steps (inferred)")
    refine: float = Field(0.6, gt=0, lt=1, title="End of stage 2, share of the steps (inferred)")
    harden: float = Field(0.4, ge=0, le=1, title="Share of stage 3 in which losers are phased out (inferred)")
    pressure: float = Field(3.0, gt=0, le=1000, title="First weight of L_dec (inferred)")
    growth: float = Field(1.03, ge=1, le=2, title="Growth of that weight a step in stage 1 (inferred)")
    look_ahead: float = Field(
        0.0, ge=0, lt=1, title="Score that already counts as leaving, 0: the threshold (inferred)"
    )
    weighting: Literal["uniform", "fisher"] = Field("uniform", title="Weights in L_dec; fisher is ours")
    selection: Literal["free", "prefix"] = Field("free", title="prefix: the order of the spectrum is fixed (ablation)")
    # Ours
    exchange_every: int = Field(20, ge=1, title="Steps between exchanges")
    exchange_until: float = Field(0.4, ge=0, le=1, title="Share of the steps with exchanges")
