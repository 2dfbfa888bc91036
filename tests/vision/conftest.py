"""One thread for small products; the runtime's own Hub and what every refusal has to look like."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.fakes.threads import one_thread  # noqa: F401
from tests.runtime.conftest import hub, refusal, server  # noqa: F401


@pytest.fixture
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Temporary files would lie here."""
    empty = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    yield
    assert not list(empty.iterdir())


@pytest.fixture(autouse=True)
def pillows_own_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the app's, which another test may have left in this process."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)
