"""One small random model for all language-model tests, on one thread."""

from __future__ import annotations

import pytest
import torch

from backends.lm.load import LanguageModel
from tests.fakes.language import tiny_language_model
from tests.fakes.threads import one_thread  # noqa: F401


@pytest.fixture(scope="session")
def lm() -> LanguageModel:
    return tiny_language_model("llama-tied")


@pytest.fixture(scope="session")
def lm64() -> LanguageModel:
    return tiny_language_model("llama-tied", dtype=torch.float64)
