"""Variants that fail, over a real server with two workers: pulled at once, in every worker.

What happened when is read from the access log and the supervisor's, by this machine's one clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end.crashers import DEADLY, divides
from tests.end_to_end.server import RunningServer, eventually, running
from tests.end_to_end.traffic import Tally, Traffic
from tests.models.builders import identity, make, save, value

CLIENTS = 8
PROMISED_S = 1.0
"""From the evidence to the last request that a pulled version got."""
CONFIG = """
routes:
  errs: &route
    variants: [{name: stable, version: 1, weight: 95}, {name: canary, version: 2, weight: 5}]
    overrides: {header: penstock-variant}
    fallback: stable
  crashes: *route
  sound: *route
log: {access: all, access_file: %s, format: json}
"""


def looks_up() -> onnx.ModelProto:
    """y = (7, 7)[x]: cannot be computed where x is past the end."""
    table = numpy_helper.from_array(np.array([7, 7], np.int32), "table")
    return make(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        [value("x", ("rows", 1), TensorProto.INT32)],
        [value("y", ("rows", 1), TensorProto.INT32)],
        [table],
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("failing")
    candidates = {
        "errs": looks_up(),
        "crashes": divides(),
        "sound": looks_up(),
        "rolled": divides(),
    }
    with Store.open(home) as store:
        registry = Registry(store, home)
        for name, candidate in candidates.items():
            for version, model in ((1, identity(("rows", 1), TensorProto.INT32)), (2, candidate)):
                registry.register(save(home / name / str(version), model), name, version)
        registry.set_alias("rolled", "champion", 1)
    config = CONFIG % (home / "access.log")
    with running(home, "--workers", "2", config=config) as started:
        yield started


def body(number: int) -> bytes:
    tensor = {"name": "x", "shape": [1, 1], "datatype": "INT32", "data": [number]}
    return json.dumps({"inputs": [tensor]}).encode()


def records(server: RunningServer, model: str) -> list[dict[str, Any]]:
    """The access log's, of requests to a model's route."""
    lines = (server.home / "access.log").read_bytes().splitlines()
    found = [json.loads(line) for line in lines]
    return [one for one in found if one.get("path") == f"/v2/models/{model}/infer"]


def at(record: dict[str, Any]) -> float:
    return datetime.fromisoformat(record["at"]).timestamp()


def traffic(server: RunningServer, model: str, number: int) -> Traffic:
    path = f"/v2/models/{model}/infer"
    return Traffic(server.port, path, body(number), CLIENTS, (b'"variant":"canary"',))


def pulled(server: RunningServer, model: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.admin("GET", f"/api/routes/{model}").json()["pulled"]
    return found


def crashes(server: RunningServer) -> list[float]:
    """When a model ended workers: the supervisor notes each."""
    deaths = [json.loads(line) for line in server.log.splitlines() if "SIGFPE" in line]
    return sorted(at(one) for one in deaths if "replacing it" in one["message"])


def until_pulled(server: RunningServer, model: str, number: int) -> Tally:
    """Traffic until the candidate is pulled, and a good while longer."""
    with traffic(server, model, number) as clients:
        eventually(lambda: bool(pulled(server, model)))
        before = clients.tally.answers[b'"variant":"canary"']
        clients.go_on(1000)
        # Nobody gets it any more: some were on their way when it was pulled.
        assert clients.tally.answers[b'"variant":"canary"'] <= before + 8
    return clients.tally


def test_a_candidate_that_fails_is_pulled_within_a_second_of_the_evidence(server):
    tally = until_pulled(server, "errs", 5)
    (pull,) = pulled(server, "errs")
    assert (pull["variant"], pull["version"]) == ("canary", 2)
    assert pull["evidence"]["kind"] in ("in_a_row", "share")
    assert tally.statuses.keys() == {200, 500}
    assert tally.cut == tally.no_connection == 0
    noted = records(server, "errs")
    assert len(noted) == sum(tally.statuses.values())
    failed = sorted(at(one) for one in noted if one["status"] == 500)
    assert {one["version"] for one in noted if one["status"] == 500} == {"2"}
    assert {one["version"] for one in noted if one["status"] == 200} == {"1"}
    evidence = failed[int(pull["evidence"]["failed"]) - 1]
    assert failed[-1] - evidence <= PROMISED_S


def test_a_candidate_that_crashes_a_worker_is_pulled_within_a_second_of_that(server):
    until_pulled(server, "crashes", DEADLY)
    (pull,) = pulled(server, "crashes")
    assert pull["evidence"]["kind"] == "crash"
    assert pull["why"].startswith("worker ")
    assert "crashed natively while it ran it (killed by SIGFPE)" in pull["why"]
    # It answers nothing: each request that reaches it ends a worker.
    ended = crashes(server)
    assert ended
    assert ended[-1] - ended[0] <= PROMISED_S
    assert {one["version"] for one in records(server, "crashes")} == {"1"}


def test_a_rollout_whose_candidate_crashes_a_worker_is_over_within_a_second(server):
    before = len(crashes(server))
    plan = {"steps": [{"percent": 5, "bake_s": 600}], "guards": []}
    started = json.dumps({"to": 2, "plan": plan}).encode()
    headers = {"content-type": "application/json"}
    with traffic(server, "rolled", DEADLY) as clients:
        path = "/api/routes/rolled/rollouts"
        answer = server.request("POST", path, started, headers, server.admin_port)
        assert answer.status == 200, answer.body
        place = f"/api/rollouts/{answer.json()['number']}"
        eventually(lambda: server.admin("GET", place).json()["over"])
        clients.go_on(500)
    rollout = server.admin("GET", place).json()
    assert rollout["state"] == "rolled_back"
    last = rollout["story"][-1]
    assert "crashed natively while it ran it (killed by SIGFPE)" in last["says"]
    ended = crashes(server)[before:]
    assert ended[-1] - ended[0] <= PROMISED_S
    assert last["at"] - ended[0] <= PROMISED_S
    # Those that were out when the route came to be divided say it, too.
    answered = [one["version"] for one in records(server, "rolled") if one["status"] == 200]
    assert set(answered) == {"1"}
    serving = server.admin("GET", "/api/routes/rolled").json()["serving"]
    assert {one["version"]: one["share"] for one in serving} == {1: 1.0}


def test_who_asks_for_a_pulled_variant_is_answered_by_the_other(server):
    for wanted in ("canary", "2"):
        headers = {"penstock-variant": wanted}
        answer = server.request("POST", "/v2/models/errs/infer", body(0), headers)
        assert (answer.status, answer.headers["penstock-variant"]) == (200, "stable")


def test_a_candidate_that_is_sound_is_left_alone_and_so_is_one_whose_client_is_to_blame(server):
    with traffic(server, "sound", 1) as clients:
        clients.go_on(1000)
    assert clients.tally.statuses.keys() == {200}
    path = "/v2/models/sound/infer"
    for _ in range(30):
        headers = {"penstock-variant": "canary"}
        assert server.request("POST", path, b"{", headers).status == 400
    assert pulled(server, "sound") == []


def test_the_audit_says_what_was_pulled_and_why(server):
    eventually(lambda: len(_entries(server, "route pull")) == 3)
    entry = next(one for one in _entries(server, "route pull") if one["subject"] == "errs")
    (pull,) = pulled(server, "errs")
    assert (entry["door"], entry["after"]) == ("automatic", pull)


def test_a_resumed_route_gives_it_its_share_again_and_pulls_it_again_if_it_fails(server):
    resume = "/api/routes/errs/resume"
    answer = server.admin("POST", resume)
    assert (answer.status, answer.json()["pulled"]) == (200, [])
    shares = {one["variant"]: one["share"] for one in answer.json()["serving"]}
    assert shares == {"stable": 0.95, "canary": 0.05}
    assert server.admin("POST", resume).status == 404
    until_pulled(server, "errs", 5)


def test_a_pull_outlives_control(server):
    before = pulled(server, "errs")
    eventually(lambda: len(_entries(server, "route pull")) == 4)
    with ExitStack() as stack:
        clients = stack.enter_context(traffic(server, "errs", 5))
        control = next(one for one in server.children() if one.pid == server.status()["control"])
        control.kill()
        eventually(lambda: _again(server, control.pid))
        clients.go_on(500)
    assert pulled(server, "errs") == before
    assert clients.tally.statuses.keys() == {200}


def _again(server: RunningServer, pid: int) -> bool:
    try:
        status = server.status()
        return bool(status["control"] != pid and status["ready"])
    except OSError:
        return False


def _entries(server: RunningServer, action: str) -> list[dict[str, Any]]:
    found = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    return [one for one in found if one["action"] == action]
