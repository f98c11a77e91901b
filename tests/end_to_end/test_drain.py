"""A server that is told to leave answers everybody whom it let in, and leaves in time."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack, closing

import pytest

from tests.end_to_end import walks
from tests.end_to_end.server import RunningServer, eventually
from tests.end_to_end.test_lifecycle import BODY, INFER, workers
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save

LAG_S = 1.5
LIVE, READY = "/v2/health/live", "/v2/health/ready"


def request_bytes(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def status_of(server: RunningServer, path: str) -> int | None:
    """The status that a new connection gets; None where there is no connection to be had."""
    try:
        return server.get(path).status
    except OSError:
        return None


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        yield threads


@pytest.mark.quiet
def test_sigterm_drains_in_order_and_loses_nobody(start, tmp_path, pool):
    files = save(tmp_path, linear(), "m.onnx"), save(tmp_path, walks.walks(), "walks.onnx")
    # Two instances: a rider is not refused for the wait where both come to the same worker.
    config = f"""
        drain: {{lag_s: {LAG_S}, grace_s: 20}}
        models: {{walks: {{instances: 2}}}}
    """
    server = start(*files, "--workers", "2", config=config)
    long = walks.body(walks.steps_for(server, 2 * LAG_S))
    with Traffic(server.port, INFER, BODY, connections=6) as traffic:
        traffic.go_on(100)
        riders = [pool.submit(server.request, "POST", walks.INFER, long) for _ in range(2)]
        server.wait_in_flight(2, "walks")
        told = time.monotonic()
        server.process.terminate()
        # First only readiness changes: load balancers see it, and everybody is still served.
        eventually(lambda: status_of(server, READY) == 400, LAG_S)
        assert status_of(server, LIVE) == 200
        traffic.go_on(100)
        assert traffic.tally.closes > 0
        # Then nobody is let in any more.
        refused = traffic.wait_for(lambda tally: tally.no_connection > 0)
        assert time.monotonic() - told >= LAG_S
        assert server.process.wait(20) == 0
    assert refused.cut == 0
    assert refused.statuses.keys() == {200}
    assert [rider.result().status for rider in riders] == [200, 200]
    assert {rider.result().headers["connection"] for rider in riders} == {"close"}


def test_connections_that_wait_in_the_queue_are_answered_before_it_leaves(start, tmp_path):
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "1")
    (worker,) = workers(server)
    os.kill(worker["pid"], signal.SIGSTOP)
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(50)
        ]
        for client in clients:
            client.sendall(request_bytes(INFER, BODY))
        server.process.terminate()
        time.sleep(0.1)  # the supervisor passes it on
        os.kill(worker["pid"], signal.SIGCONT)
        assert [client.recv(4096)[:15] for client in clients] == [b"HTTP/1.1 200 OK"] * 50
    assert server.process.wait(10) == 0


def test_what_is_stuck_is_cut_at_the_end_of_the_grace(start, tmp_path, pool):
    server = start(
        save(tmp_path, walks.walks(), "walks.onnx"),
        "--workers",
        "1",
        config="drain: {grace_s: 0.7}",
    )
    endless = walks.body(walks.steps_for(server, 60.0))
    with (
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as running,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as waiting,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as half_sent,
    ):
        running.sendall(request_bytes(walks.INFER, endless))
        server.wait_in_flight(1, "walks")
        waiting.sendall(request_bytes(walks.INFER, endless))
        half_sent.sendall(request_bytes(walks.INFER, endless)[:-5])
        server.wait_in_flight(2, "walks")
        began = time.monotonic()
        server.process.terminate()
        # Long before the run would have ended.
        assert server.process.wait(20) == 0
        assert time.monotonic() - began >= 0.7
        # Who only waited is told; who was being computed for, or never asked in full, is cut.
        assert waiting.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert all_of(running) == all_of(half_sent) == b""
    assert "connections were cut after 0.7 s of grace" in server.log


def test_who_waits_for_a_model_that_has_left_is_told_at_the_end_of_the_grace_too(start, tmp_path):
    server = start(
        save(tmp_path, walks.walks(), "walks.onnx"),
        "--workers",
        "1",
        config="drain: {grace_s: 0.7}",
    )
    endless = walks.body(walks.steps_for(server, 60.0))
    with (
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as running,
        closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as waiting,
    ):
        running.sendall(request_bytes(walks.INFER, endless))
        server.wait_in_flight(1, "walks")
        waiting.sendall(request_bytes(walks.INFER, endless))
        server.wait_in_flight(2, "walks")
        assert server.admin("POST", "/api/models/walks/unload").status == 200
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert waiting.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert all_of(running) == b""


def all_of(client: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    got = b""
    try:
        while piece := client.recv(4096):
            got += piece
    except ConnectionResetError:
        pass
    return got


def test_ctrl_c_drains_too_and_a_second_one_ends_it_at_once(start, tmp_path, pool):
    server = start(save(tmp_path, walks.walks(), "walks.onnx"), "--workers", "2")
    endless = walks.body(walks.steps_for(server, 60.0))
    pool.submit(lambda: status_of_post(server, endless))
    server.wait_in_flight(1, "walks")
    group = server.process.pid  # as a terminal does it: to everybody in the group
    os.killpg(group, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    assert len(server.children()) >= 2  # control, and the worker that still computes
    # An orchestrator or a shell may repeat itself without meaning more by it.
    server.process.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(0.5)
    os.killpg(group, signal.SIGINT)
    assert server.process.wait(10) == 1


def status_of_post(server: RunningServer, body: bytes) -> int | None:
    try:
        return server.request("POST", walks.INFER, body).status
    except OSError:
        return None


def test_ctrl_c_with_nothing_to_wait_for_ends_well(start, tmp_path):
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "2")
    children = server.children()
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.process.wait(10) == 0
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in server.log


def test_nothing_is_left_of_it(start, tmp_path):
    """A home can be served again at once, and nobody is sent to the server that was there."""
    home = tmp_path / "home"
    model = save(tmp_path, linear(), "m.onnx")
    for _ in range(2):
        server = start(model, "--workers", "1", home=home)
        assert server.request("POST", INFER, BODY).status == 200
        assert server.stop() == 0
        assert not (home / "run" / "server.json").exists()
