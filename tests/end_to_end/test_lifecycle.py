"""Processes die, and nobody but whom they were serving at that moment notices."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import psutil
import pytest

from tests.end_to_end.crashers import DEADLY, divides, overflows
from tests.end_to_end.server import PATIENCE_S, RunningServer, eventually, running
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save

REPLACED_WITHIN_S = 2.0
INFER = "/v2/models/m/infer"
ROW = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
BODY = json.dumps({"inputs": [ROW]}).encode()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two workers; its tests kill what they find and leave it whole."""
    home = tmp_path_factory.mktemp("pair")
    with running(home, save(home, linear(), "m.onnx"), "--workers", "2") as started:
        yield started


def workers(server: RunningServer) -> list[dict]:
    found: list[dict] = server.status()["workers"]
    return found


def ok_count(server: RunningServer) -> float:
    return server.metric("penstock_requests_total", model="m", result="ok")


def control_of(server: RunningServer) -> int | None:
    """The control process, once it answers and has brought the workers where they should be."""
    try:
        status = server.status()
    except OSError:
        return None
    return status["control"] if status["ready"] else None


def test_the_supervisor_has_one_thread_and_one_child_per_role(pair):
    assert psutil.Process(pair.process.pid).num_threads() == 1
    assert len(pair.children()) == 3


@pytest.mark.quiet
def test_a_killed_worker_is_replaced_and_its_counts_survive(pair):
    before = ok_count(pair)
    with Traffic(pair.port, INFER, BODY, connections=8) as traffic:
        traffic.go_on(500)
        victim = workers(pair)[0]
        at_victim = victim["connections"]
        os.kill(victim["pid"], signal.SIGKILL)

        def replaced() -> bool:
            now = workers(pair)[0]
            return now["state"] == "ready" and now["epoch"] == victim["epoch"] + 1

        eventually(replaced, REPLACED_WITHIN_S)
        seen = traffic.tally.ok
        assert ok_count(pair) - before >= seen
        traffic.go_on(500)
    tally = traffic.tally
    # Whoever was being answered by the one that died is cut; everybody else never notices.
    assert tally.statuses.keys() == {200}
    assert tally.no_connection == 0
    assert tally.cut <= at_victim
    counted = ok_count(pair) - before
    assert tally.ok <= counted <= tally.ok + at_victim
    assert pair.metric("penstock_worker_restarts_total", worker="0") == victim["restarts"] + 1


def test_connections_queued_at_a_killed_worker_wait_for_its_successor(pair):
    pids = [worker["pid"] for worker in workers(pair)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    request = b"POST %b HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % (
        INFER.encode(),
        len(BODY),
    )
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", pair.port), timeout=10))
            for _ in range(20)
        ]
        for client in clients:
            client.sendall(request + BODY)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        answers = [client.recv(4096)[:15] for client in clients]
    assert answers == [b"HTTP/1.1 200 OK"] * 20


def test_a_killed_control_is_replaced_while_traffic_goes_on(pair):
    before = pair.status()
    counted = ok_count(pair)
    restarts = pair.metric("penstock_control_restarts_total")
    with Traffic(pair.port, INFER, BODY, connections=8) as traffic:
        traffic.go_on(200)
        os.kill(before["control"], signal.SIGKILL)
        traffic.go_on(200)
        eventually(lambda: control_of(pair) not in (None, before["control"]))
        traffic.go_on(200)
    assert traffic.tally.failed == 0
    assert ok_count(pair) == counted + traffic.tally.ok
    assert pair.metric("penstock_control_restarts_total") == restarts + 1
    # The plan is the one that stood; no worker was replaced or loaded a model again.
    assert pair.status()["plan"] == before["plan"]
    assert [w["pid"] for w in workers(pair)] == [w["pid"] for w in before["workers"]]
    loads = pair.metric("penstock_model_loads_total", model="m")
    assert loads == sum(worker["epoch"] for worker in workers(pair))


def test_a_worker_born_while_control_is_away_serves_once_control_is_back(pair):
    status = pair.status()
    control, worker = status["control"], status["workers"][1]
    os.kill(control, signal.SIGSTOP)
    os.kill(worker["pid"], signal.SIGKILL)
    # So many that some reach the other worker: those at the dead one's wait for its successor.
    with Traffic(pair.port, INFER, BODY, connections=16) as traffic:
        traffic.go_on(100)
        os.kill(control, signal.SIGKILL)

        eventually(lambda: control_of(pair) not in (None, control))
        eventually(lambda: all(w["state"] == "ready" for w in workers(pair)))
        traffic.go_on(100)
    assert traffic.tally.failed == 0
    plan = pair.status()["plan"]
    eventually(lambda: [w["plan"] for w in workers(pair)] == [plan, plan])


def test_all_die_with_the_supervisor(start, tmp_path):
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "2")
    children = server.children()
    server.process.kill()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []


def test_a_model_that_crashes_natively_is_refused_or_quarantined_and_the_rest_serves(
    start, tmp_path
):
    files = [
        save(tmp_path, linear(), "m.onnx"),
        save(tmp_path, overflows(), "overflows.onnx"),
        save(tmp_path, divides(), "divides.onnx"),
    ]
    server = start(*files, "--workers", "1")

    def reason(name: str) -> str:
        lines = server.post("/v2/repository/index").json()
        return next(line["reason"] for line in lines if line["name"] == name)

    def divide(x: int) -> int:
        one = {"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [x]}
        return server.post("/v2/models/divides/infer", {"inputs": [one]}).status

    # One dies in its trial, before any worker has met it.
    assert "crashed natively while it was tried out (killed by SIGSEGV)" in reason("overflows")
    assert server.metric("penstock_worker_restarts_total") == 0
    # The other serves, until it kills two workers.
    assert divide(1) == 200
    for restarts in (1, 2):
        with pytest.raises(ConnectionError):
            divide(DEADLY)
        eventually(lambda: workers(server)[0]["restarts"] == restarts)  # noqa: B023
        eventually(lambda: workers(server)[0]["state"] == "ready")
    eventually(lambda: "quarantined" in reason("divides"))
    assert divide(1) == 404
    assert server.request("POST", INFER, BODY).status == 200
    # A reload is no pardon; new content is a new chance.
    server.admin("POST", "/api/reload")
    assert "quarantined" in reason("divides")
    save(tmp_path, linear(), "divides.onnx")
    server.admin("POST", "/api/reload")
    assert server.request("POST", "/v2/models/divides/infer", BODY).status == 200
    assert server.status()["workers"][0]["restarts"] == 2
