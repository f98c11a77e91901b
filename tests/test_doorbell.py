"""The doorbell: no failure goes without a ring, and no storm of them fills the mailbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.doorbell import PAUSE_S, Doorbell


class House:
    """An event loop that waits until it is told, and a mailbox."""

    def __init__(self) -> None:
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.heard: list[Any] = []
        self.full = False

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append((delay, callback))

    def send(self, message: dict[str, Any]) -> bool:
        if not self.full:
            assert message["type"] == "failing"
            self.heard.append(message["blocks"])
        return not self.full

    def wait(self) -> None:
        due, self.later = self.later, []
        for delay, callback in due:
            assert delay == PAUSE_S
            callback()


@pytest.fixture
def house():
    return House()


@pytest.fixture
def bell(house):
    return Doorbell(house.send, house)


def test_the_first_failure_rings_at_once_and_the_rest_of_a_pause_together(house, bell):
    bell.ring(8192)
    assert house.heard == [[8192]]
    for _ in range(1000):
        bell.ring(8192)
        bell.ring(4096)
    assert house.heard == [[8192]]
    house.wait()
    assert house.heard == [[8192], [4096, 8192]]


def test_after_a_quiet_pause_the_next_failure_rings_at_once_again(house, bell):
    bell.ring(8192)
    house.wait()
    assert house.later == []
    bell.ring(8192)
    assert house.heard == [[8192], [8192]]


def test_a_full_mailbox_loses_no_ring(house, bell):
    house.full = True
    bell.ring(8192)
    bell.ring(4096)
    house.wait()
    house.full = False
    house.wait()
    assert house.heard == [[4096, 8192]]
    house.wait()
    assert (house.heard, house.later) == ([[4096, 8192]], [])
