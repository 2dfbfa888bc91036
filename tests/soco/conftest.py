"""Small random models, their statistics and factors, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch

from backends.lm.load import LanguageModel
from backends.lm.rebuild import projections
from backends.soco.pool import Pool
from backends.soco.spectra import Basis, Factor, decompose
from backends.soco.statistics import Statistics, collect
from tests.fakes.language import language_model, random_tokens, tiny_model
from tests.fakes.threads import one_thread  # noqa: F401

BASES: tuple[Basis, ...] = ("plain", "whitened", "two-sided")


@cache
def model_of(kind: str, dtype: torch.dtype) -> LanguageModel:
    return language_model(tiny_model(kind, dtype=dtype))


@cache
def statistics_of(kind: str, dtype: torch.dtype) -> Statistics:
    return collect(model_of(kind, dtype).model, random_tokens(16, 24, seed=1))


@cache
def factors_of(kind: str, basis: Basis, dtype: torch.dtype) -> dict[str, Factor]:
    lm, statistics = model_of(kind, dtype), statistics_of(kind, dtype)
    return {
        name: decompose(linear.weight, basis, statistics.gram(name), statistics.curvatures[name]).to(dtype)
        for name, linear in projections(lm.model).items()
    }


@pytest.fixture(scope="session")
def models() -> Callable[..., LanguageModel]:
    """models(kind, dtype): a frozen random model; 96 token ids, no text."""
    return lambda kind="llama", dtype=torch.float64: model_of(kind, dtype)


@pytest.fixture(scope="session")
def statistics() -> Callable[..., Statistics]:
    return lambda kind="llama", dtype=torch.float64: statistics_of(kind, dtype)


@pytest.fixture(scope="session")
def factors() -> Callable[..., dict[str, Factor]]:
    """factors(kind, basis, dtype) of all projections; not to be changed."""
    return lambda kind="llama", basis="plain", dtype=torch.float64: factors_of(kind, basis, dtype)


@pytest.fixture
def pool() -> Callable[..., Pool]:
    """A fresh pool of 24 windows of 16 random tokens."""
    return lambda kind="llama", dtype=torch.float32: Pool(model_of(kind, dtype), random_tokens(24, 16, seed=2))
