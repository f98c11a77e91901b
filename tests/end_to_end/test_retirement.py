"""Versions retired under load, callers that are told, and who is counted behind a route."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.client import Admin, AsyncAdmin
from gateway.control.registry import Registry
from gateway.control.retirements import Retirements
from gateway.control.store import Store
from gateway.errors import Conflict, NotFound
from tests.end_to_end.guarded import bearer, penstock
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.test_lifecycle import control_of
from tests.end_to_end.traffic import UNHURRIED_S, Traffic
from tests.models.builders import linear, save

INFER = "/v2/models/m/infer"
ROUTE = "/api/routes/m"
CONFIG = """
access: {data: keys}
routes:
  m:
    variants: [{name: old, version: 1, weight: 3}, {name: new, version: 2, weight: 1}]
    overrides: {header: penstock-variant, parameter: want}
log: {access: all, access_file: %s}
"""
TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0] * 4}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retirement")
    with Store.open(folder) as store:
        registry = Registry(store, folder)
        for version in (1, 2, 3):
            registry.register(save(folder / str(version), linear(seed=version)), "m", version)
    return folder


@pytest.fixture(scope="module")
def keys(home: Path) -> dict[str, str]:
    names = ("till", "app")
    made = {n: penstock(home, "keys", "create", "--name", n, "--role", "client") for n in names}
    return {name: one["key"] for name, one in made.items()}


@pytest.fixture(scope="module")
def server(home: Path, keys: dict[str, str]) -> Iterator[RunningServer]:
    with running(home, "--workers", "2", config=CONFIG % (home / "access.log")) as started:
        yield started


def body(**parameters: Any) -> bytes:
    return json.dumps({"inputs": [TENSOR], "parameters": parameters}).encode()


def asked(server: RunningServer, key: str, path: str = INFER, data: bytes = b"") -> Answer:
    return server.request("POST", path, data or body(), bearer(key))


def counted(server: RunningServer, key: str) -> dict[str, float]:
    labels = [{"key": key, "model": "m", "version": str(version)} for version in (1, 2, 3)]
    found = [server.metric("penstock_key_requests_total", **one) for one in labels]
    return {str(version): count for version, count in enumerate(found, 1) if count}


def test_callers_and_the_access_log_are_told_the_version_that_answered(server, home, keys):
    answers = [asked(server, keys["till"]) for _ in range(24)]
    answers += [asked(server, keys["till"], data=body(want="new")) for _ in range(3)]
    refused = asked(server, keys["till"], data=b"{")  # by the version that stands for the route
    assert refused.status == 400
    versions = Counter(answer.json()["model_version"] for answer in answers)
    assert set(versions) == {"1", "2"}
    by_id = {one.headers["penstock-request-id"]: one.json()["model_version"] for one in answers}
    by_id[refused.headers["penstock-request-id"]] = "1"
    file = home / "access.log"

    def noted() -> dict[str, str]:
        records = [json.loads(line) for line in file.read_bytes().splitlines()]
        routed = [one for one in records if one.get("path") == INFER]
        assert all(one["model"] == "m" for one in routed)
        return {one["request_id"]: one["version"] for one in routed}

    eventually(lambda: len(noted()) == len(by_id))
    assert noted() == by_id
    assert counted(server, "till") == Counter(by_id.values())


def test_a_version_that_anything_leads_to_is_not_retired(home, server):
    told = penstock(home, "retire", "m", "2", "--force", status=1)
    assert "version 2 cannot be retired: its model's route names it" in told["error"]


def test_a_version_that_is_called_is_not_retired_and_its_callers_are_told(home, server, keys):
    penstock(home, "route", "set", "m", "--variant", "new=2", "--variant", "next=3:0")
    pinned = "/v2/models/m/versions/1/infer"
    assert asked(server, keys["app"], pinned).status == 200
    callers = penstock(home, "retire", "m", "1", "--dry-run")["callers"]
    # The route sent the others there, which it does no more.
    assert {one["caller"]: one["requests"] for one in callers} == {"app": 1.0}
    told = penstock(home, "retire", "m", "1", status=1)
    assert (told["code"], "app: 1 requests" in told["error"]) == ("conflict", True)
    assert asked(server, keys["app"], pinned).status == 200


def test_a_version_leaves_under_load_and_no_request_to_another_fails(home, server, keys):
    head = f"Authorization: Bearer {keys['till']}\r\n"
    with Traffic(server.port, INFER, body(), headers=head, pause_s=UNHURRIED_S) as clients:
        clients.go_on(200)
        told = penstock(home, "retire", "m", "1", "--force", "--why", "old")
        clients.go_on(200)
    assert clients.tally.statuses.keys() == {200}
    assert clients.tally.cut == clients.tally.no_connection == 0
    assert (told["successor"], told["why"], told["record"]["forced"]) == (2, "old", True)
    assert told["record"]["registered"]["file"] == "model.onnx"
    held = {
        (one["name"], one["version"]): one
        for one in server.admin("GET", "/api/models").json()["models"]
    }
    assert held["m", 1]["retired"] is True


def test_whoever_still_names_it_is_told_that_it_is_gone_and_whom_to_ask(home, server, keys):
    for _ in range(8):  # either worker
        answer = asked(server, keys["app"], "/v2/models/m/versions/1/infer")
        assert answer.status == 410
        assert "its successor is version 2" in answer.json()["error"]
        assert answer.headers["link"] == '</v2/models/m/versions/2>; rel="successor-version"'
        assert answer.headers["penstock-error-code"] == "retired"
    named = server.request("GET", "/v2/models/m/versions/1", headers=bearer(keys["app"]))
    assert named.status == 410
    refused = penstock(home, "models", "alias", "m", "back", "1", status=1)
    assert "`penstock unretire m 1` brings it back" in refused["error"]
    refused = penstock(home, "route", "set", "m", "--variant", "a=1", "--variant", "b=2", status=1)
    assert "version 1 is retired" in refused["error"]


def test_a_program_asks_for_the_same(server, keys):
    assert asked(server, keys["till"], "/v2/models/m/versions/2/infer").status == 200
    with Admin(f"http://127.0.0.1:{server.admin_port}", timeout_s=120) as client:
        variants = [{"name": "new", "version": 2, "weight": 3}, {"name": "next", "version": 3}]
        assert (
            client.set_route("m", {"variants": variants, "failing": {"in_a_row": 5}})["name"] == "m"
        )
        labels = {"model": "m", "variant": "next", "version": "3"}
        assert server.metric("penstock_route_variant_share", **labels) == 0.25
        assert client.stop_route("m", 3, why="a try")["stopped"]["version"] == 3
        assert client.resume_route("m")["stopped"] is None
        assert client.route("m")["failing"]["in_a_row"] == 5
        assert [one["name"] for one in client.routes()] == ["m"]
        assert client.callers("m", 2)[0]["caller"] == "till"
        with pytest.raises(Conflict, match="version 1 is retired"):
            client.retire("m", 1, force=True)

    async def ask() -> None:
        async with AsyncAdmin(f"http://127.0.0.1:{server.admin_port}", timeout_s=120) as client:
            assert (await client.stop_route("m"))["stopped"]["version"] == 2
            assert (await client.resume_route("m"))["stopped"] is None
            assert (await client.routes())[0] == await client.route("m")
            assert (await client.callers("m", 2, days=1))[0]["requests"] > 0
            assert (await client.reset_route("m"))["source"] == "document"
            with pytest.raises(NotFound):
                await client.unretire("m", 2)
            with pytest.raises(Conflict):
                await client.retire("m", 2)
            assert (await client.set_route("m", {"variants": variants}))["source"] == "api"

    asyncio.run(ask())


def test_it_comes_back_with_all_that_belonged_to_it(home, server, keys):
    assert penstock(home, "unretire", "m", "1")["version"] == 1
    penstock(home, "route", "set", "m", "--variant", "a=1", "--variant", "b=2")
    assert asked(server, keys["app"], "/v2/models/m/versions/1/infer").status == 200
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    done = [one["action"] for one in entries if one["subject"] == "m/1"]
    assert done[-2:] == ["retire", "unretire"]


def test_what_was_written_down_is_done_though_control_is_killed_at_that_moment(home, server, keys):
    def killed_at(action: str, retired: bool) -> None:
        """Control is killed as soon as the database says so: whoever asked gets no answer."""
        path = f"/api/models/m/versions/3/{action}"
        data = b'{"force": true}' if action == "retire" else None
        headers = {"content-type": "application/json"} if data else {}
        with ThreadPoolExecutor(1) as pool, Store.open(home) as store:
            asking = pool.submit(server.request, "POST", path, data, headers, server.admin_port)
            control = server.status()["control"]
            eventually(lambda: bool(Retirements(store).all()) == retired)
            os.kill(control, signal.SIGKILL)
            wait([asking])
        eventually(lambda: control_of(server) not in (None, control))

    def answers(statuses: set[int]) -> bool:
        pinned = "/v2/models/m/versions/3/infer"
        return {asked(server, keys["app"], pinned).status for _ in range(8)} == statuses

    head = f"Authorization: Bearer {keys['till']}\r\n"
    with Traffic(server.port, INFER, body(), headers=head, pause_s=UNHURRIED_S) as clients:
        for action, status in (("retire", 410), ("unretire", 200), ("retire", 410)):
            killed_at(action, retired=status == 410)
            eventually(partial(answers, {status}))
        clients.go_on(200)
    assert clients.tally.statuses.keys() == {200}
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    done = [one["action"] for one in entries if one["subject"] == "m/3"]
    assert done[-3:] == ["retire", "unretire", "retire"]
