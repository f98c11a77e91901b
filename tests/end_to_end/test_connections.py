"""Connections end up even between the workers, and none is lost on the way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.end_to_end.server import RunningServer, eventually, running
from tests.end_to_end.test_drain import request_bytes
from tests.end_to_end.test_lifecycle import BODY, INFER, workers
from tests.models.builders import linear, save

# Nobody in this module is let go for being slow.
CONFIG = "limits: {header_timeout_s: 600}"
STRANGERS = 1000  # control.max_connections, unless somebody says otherwise


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("four")
    model = save(home, linear(), "m.onnx")
    with running(home, model, "--workers", "4", config=CONFIG) as started:
        yield started


def connections(server: RunningServer) -> list[int]:
    return [worker["connections"] for worker in workers(server)]


def spread(server: RunningServer, count: int) -> list[int]:
    """Opens so many connections, has each answered, and says how many each worker got."""
    request = request_bytes(INFER, BODY)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(count)
        ]
        for client in clients:
            client.sendall(request)
        assert [client.recv(4096)[:15] for client in clients] == [b"HTTP/1.1 200 OK"] * count
        found = connections(server)
        # Kept alive where they ended up.
        for client in clients:
            client.sendall(request)
        assert [client.recv(4096)[:15] for client in clients] == [b"HTTP/1.1 200 OK"] * count
    eventually(lambda: sum(connections(server)) == 0)
    return found


def test_eight_connections_on_four_workers_end_as_two_each_give_or_take_one(four):
    for _ in range(20):
        found = spread(four, 8)
        assert sum(found) == 8
        assert all(1 <= mine <= 3 for mine in found), found


def test_hundreds_of_connections_are_even_too(four):
    found = spread(four, 300)
    assert sum(found) == 300
    assert max(found) - min(found) <= 15, found


def test_what_was_handed_over_was_taken(four):
    spread(four, 8)
    given = four.metric("penstock_connections_handed_over_total")
    taken = four.metric("penstock_connections_adopted_total")
    assert given == taken > 0


def test_strangers_with_half_a_head_keep_neither_probes_nor_operators_from_the_control_port(four):
    with ExitStack() as stack:
        strangers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", four.admin_port)))
            for _ in range(STRANGERS)
        ]
        for stranger in strangers:
            stranger.sendall(b"GET /metrics HTTP/1.1\r\nHost: loc")
        assert four.admin("GET", "/health/ready").status == 200
        assert four.status()["ready"]
        assert four.metric("penstock_control_connections") >= STRANGERS - 3
        assert four.metric("penstock_control_refusals_total", reason="displaced") >= 1
        assert four.metric("penstock_control_refusals_total", reason="too_many_connections") == 0
