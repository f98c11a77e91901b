"""Connections are counted where control reads them."""

from __future__ import annotations

import pytest

from gateway.errors import TooManyConnections
from gateway.monitor.arena import CONNECTIONS, Arena
from gateway.monitor.connections import ConnectionCounters
from gateway.monitor.observe import WorkerObserver
from gateway.monitor.report import read_workers


@pytest.fixture
def arena():
    made = Arena.create(1, 1 << 24)
    yield made
    made.close()


def test_what_happens_to_connections_is_counted(arena):
    changed: list[int] = []
    observer = WorkerObserver(arena, 0)
    counters = ConnectionCounters(observer, arena.row(0), lambda: changed.append(1))
    for _ in range(3):
        counters.opened()
    counters.closed()
    counters.refused(TooManyConnections.code)
    counters.left()
    counters.paused()
    for reason in ("write_timeout", "drain", "drain"):
        counters.cut(reason)
    (worker,) = read_workers(arena)
    wanted = {"accepted": 3, "closed": 1, "refused_connections": 1, "clients_left": 1, "pauses": 1}
    assert {name: worker.counts[name] for name in wanted} == wanted
    assert worker.gauges["open_connections"] == arena.row(0)[CONNECTIONS] == 2
    assert worker.cut == {"write_timeout": 1, "header_timeout": 0, "drain": 2, "displaced": 0}
    assert worker.errors == {"too_many_connections": 1}
    assert changed == [1]
