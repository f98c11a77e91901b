"""Load and unload on the data port: only where allowed, and answered when done."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.test_lifecycle import BODY, INFER, control_of
from tests.end_to_end.test_reload import index
from tests.end_to_end.traffic import UNHURRIED_S, Traffic
from tests.models.builders import linear, save

# Longer than a new control process needs, so that it is the verdict that is told first.
DEADLINE_S = 5.0


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("open")
    repository = home / "repository"
    save(repository / "m" / "1", linear())
    save(repository / "n" / "1", linear(seed=1))
    config = f"""
        repository: {{allow_load: true, paths: [{repository}], change_timeout_s: {DEADLINE_S}}}
    """
    with running(home, "--workers", "2", config=config) as server:
        server.repository = repository  # type: ignore[attr-defined]
        yield server


def change(server: RunningServer, action: str, name: str) -> Answer:
    return server.request("POST", f"/v2/repository/models/{name}/{action}", b"")


def infer(server: RunningServer, name: str) -> int:
    return server.request("POST", f"/v2/models/{name}/infer", BODY).status


@pytest.mark.parametrize("action", ["load", "unload"])
def test_it_is_off_unless_allowed(start, tmp_path, action):
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "1")
    refused = change(server, action, "m")
    assert refused.status == 403
    assert "set repository.allow_load" in refused.json()["error"]
    assert server.request("POST", INFER, BODY).status == 200


def test_unloaded_is_gone_when_the_answer_comes_and_loaded_is_there(open_server):
    assert change(open_server, "unload", "n").status == 200
    assert [infer(open_server, "n") for _ in range(4)] == [404] * 4
    assert index(open_server)["n", "1"] == ("UNAVAILABLE", "unloaded")
    # What was taken out on purpose does not make the server unready.
    assert open_server.get("/v2/health/ready").status == 200
    assert change(open_server, "load", "n").status == 200
    assert [infer(open_server, "n") for _ in range(4)] == [200] * 4
    assert index(open_server)["n", "1"] == ("READY", "")


def test_the_others_do_not_notice(open_server):
    with Traffic(open_server.port, INFER, BODY, 4, pause_s=UNHURRIED_S) as traffic:
        for action in ("unload", "load"):
            assert change(open_server, action, "n").status == 200
        # Loaded again in place, too.
        assert change(open_server, "load", "m").status == 200
        traffic.go_on(20)
    assert traffic.tally.failed == 0


def test_unloading_what_nobody_knows_is_no_error(open_server):
    assert change(open_server, "unload", "nosuch").status == 200
    assert not [name for name, _ in index(open_server) if name == "nosuch"]


def test_a_load_that_fails_says_why(open_server):
    unknown = change(open_server, "load", "nosuch")
    assert unknown.status == 404
    assert "failed to load 'nosuch'" in unknown.json()["error"]
    broken = open_server.repository / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"this is no model")
    refused = change(open_server, "load", "broken")
    assert refused.status == 422
    assert refused.json()["error"].startswith("failed to load 'broken': ")
    assert index(open_server)["broken", "1"][0] == "UNAVAILABLE"


def test_without_an_answer_from_control_it_gives_up_in_time(open_server):
    control = open_server.status()["control"]
    os.kill(control, signal.SIGSTOP)
    began = time.monotonic()
    answer = change(open_server, "unload", "n")
    assert time.monotonic() - began >= DEADLINE_S
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert infer(open_server, "n") == 200
    os.kill(control, signal.SIGCONT)
    # It was asked all the same: control takes it up when it can.
    eventually(lambda: infer(open_server, "n") == 404)
    assert change(open_server, "load", "n").status == 200


def test_who_waits_when_control_dies_is_told_when_there_is_a_new_one(open_server):
    control = open_server.status()["control"]
    os.kill(control, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(change, open_server, "unload", "m")
        time.sleep(0.5)  # until it waits, of which only control could tell
        os.kill(control, signal.SIGKILL)
        answer = waiting.result()
    assert answer.status == 503
    assert "replaced before it gave its verdict" in answer.json()["error"]
    eventually(lambda: control_of(open_server) not in (None, control))
    assert change(open_server, "load", "m").status == 200
