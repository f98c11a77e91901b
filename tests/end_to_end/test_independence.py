"""One model that is slow, or not what it was, takes nothing from the others."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.crashers import endless, overflows
from tests.end_to_end.server import AS_ROOT, RunningServer, eventually, running
from tests.end_to_end.test_lifecycle import BODY, INFER, workers
from tests.end_to_end.test_reload import index
from tests.models.builders import linear, save


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save(tmp_path, linear(), "m.onnx")


def replaced(server: RunningServer, slot: int = 0) -> None:
    """A worker is killed, and its successor is there."""
    before = workers(server)[slot]
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: workers(server)[slot]["restarts"] == before["restarts"] + 1)
    eventually(lambda: workers(server)[slot]["state"] == "ready")


@pytest.fixture
def beside_endless(tmp_path: Path) -> Iterator[tuple[RunningServer, Path]]:
    """Two workers on a folder of models, one of which is being tried out for ever."""
    models = tmp_path / "models"
    save(models / "m" / "1", linear())
    home = tmp_path / "home"
    home.mkdir()
    with running(home, models, "--workers", "2") as server:
        save(models / "endless" / "1", endless())

        def reload() -> None:
            with suppress(OSError):  # it answers when all is settled, and so not before the end
                server.admin("POST", "/api/reload")

        waiting = threading.Thread(target=reload, daemon=True)
        waiting.start()
        eventually(lambda: ("endless", "1") in index(server))
        yield server, models
        assert waiting.is_alive()
        assert index(server)["endless", "1"] == ("LOADING", "loading")


def test_what_is_tried_out_for_ever_holds_up_no_other_change(beside_endless):
    server, models = beside_endless
    save(models / "n" / "1", linear(seed=1))
    assert server.admin("POST", "/api/reload?model=n").status == 200
    assert server.request("POST", "/v2/models/n/infer", BODY).status == 200
    assert server.admin("POST", "/api/models/m/load").status == 200
    assert server.admin("POST", "/api/models/n/unload").status == 200
    assert server.request("POST", "/v2/models/n/infer", BODY).status == 404
    assert server.request("POST", INFER, BODY).status == 200
    assert server.get("/v2/health/ready").status == 200


def test_a_file_that_was_overwritten_is_tried_out_before_a_new_worker_serves_it(start, file):
    server = start(file, "--workers", "1")
    old = server.request("POST", INFER, BODY).body
    save(file.parent, linear(seed=1), file.name)
    replaced(server)
    eventually(lambda: server.request("POST", INFER, BODY).status == 200)
    assert server.request("POST", INFER, BODY).body != old
    assert index(server)["m", "1"] == ("READY", "")
    assert workers(server)[0]["refused"] == []


def test_overwritten_content_that_crashes_meets_no_worker(start, file):
    server = start(file, "--workers", "2")
    save(file.parent, overflows(), file.name)
    replaced(server)
    # The newborn has nothing to serve and says why; the other serves what it has.
    eventually(lambda: bool(workers(server)[0]["refused"]))
    refused = workers(server)[0]["refused"][0]
    assert refused["deployment"].startswith("m/1/")
    assert "no longer what was tried out" in refused["reason"]
    assert refused["tries"] >= 1
    assert server.metric("penstock_models_refused", worker="0") == 1
    crashed = "crashed natively while it was tried out (killed by SIGSEGV)"
    eventually(lambda: all(crashed in why for why in reasons(server)))
    answers = {server.request("POST", INFER, BODY).status for _ in range(40)}
    assert answers == {200, 404}
    # With the last that had it gone, the index still says why.
    replaced(server, 1)
    assert all(crashed in why for why in reasons(server))
    assert server.request("POST", INFER, BODY).status == 404
    assert [worker["restarts"] for worker in workers(server)] == [1, 1]
    # And what is fit to serve is served again.
    save(file.parent, linear(seed=2), file.name)
    assert server.admin("POST", "/api/reload").json()["absent"] == []
    assert {server.request("POST", INFER, BODY).status for _ in range(20)} == {200}


def reasons(server: RunningServer) -> list[str]:
    """What the index of whichever workers answer says of `m`."""
    return [index(server)["m", "1"][1] for _ in range(8)]


@AS_ROOT
def test_without_descriptors_clients_are_refused_instead_of_left_waiting(start, file):
    server = start(file, "--workers", "1")
    process = psutil.Process(workers(server)[0]["pid"])
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{process.pid}/fd"))
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (highest + 4, limits[1]))
    answers = []
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            for _ in range(20)
        ]
        for client in clients:
            with suppress(ConnectionError):  # who sends when it is refused may find it closed
                client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: t\r\n\r\n")
        for client in clients:
            with suppress(ConnectionError):
                answers.append(client.recv(4096)[9:12])
    assert set(answers) == {b"200", b"503"}
    refused = server.metric("penstock_connections_refused_total", worker="0")
    assert refused >= answers.count(b"503") > 0
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
    assert server.request("POST", INFER, BODY).status == 200
