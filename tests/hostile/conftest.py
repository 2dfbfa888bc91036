"""The real app and the stand-ins, each met by a visitor who sends anything at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.wire import Visitor


@pytest.fixture(scope="session", params=["app_server", "shell_server"])
def visitor(request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Somebody at one of the two servers."""
    came = Visitor(request.getfixturevalue(request.param))
    yield came
    came.http.close()


@pytest.fixture(scope="module", autouse=True)
def unharmed(visitor: Visitor) -> Iterator[None]:
    """Whatever a module's tests have sent, the app answers afterwards as it did before."""
    before = {name: visitor.proper(name) for name in visitor.public}
    assert all(before.values())
    yield
    assert {name: visitor.proper(name) for name in visitor.public} == before
