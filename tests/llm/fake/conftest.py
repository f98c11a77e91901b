"""A fake provider, and stock clients, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.llm.fake.server import FakeProvider
from tests.llm.clients import Clients, opened


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def fake(shared: FakeProvider) -> FakeProvider:
    shared.always()
    shared.forget()
    return shared


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    with opened() as clients:
        yield clients
