"""One small random model for all language-model tests, on one thread."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from backends.lm.load import LanguageModel
from tests.fakes.language import tiny_language_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Products this small are slower on several threads, and other tests may run beside."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def lm() -> LanguageModel:
    return tiny_language_model("llama-tied")


@pytest.fixture(scope="session")
def lm64() -> LanguageModel:
    return tiny_language_model("llama-tied", dtype=torch.float64)
