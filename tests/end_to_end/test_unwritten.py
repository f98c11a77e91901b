"""Whatever takes something out of traffic waits for no disk: a full one, or one that is lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from onnx import TensorProto

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end import commands
from tests.end_to_end.disks import Disk, disk
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.test_failing import body, looks_up
from tests.end_to_end.test_lost_home import another_control
from tests.models.builders import identity, save

MODELS = ("stopped", "aborted", "errs")
CONFIG = """
routes:
  stopped: &route
    variants: [{name: stable, version: 1}, {name: canary, version: 2}]
    fallback: stable
  errs: *route
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    with disk(tmp_path_factory.mktemp("unwritten") / "disk") as made:
        yield made


@pytest.fixture(scope="module")
def server(small, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Two workers; version 2 of each model fails what is past the end of its table."""
    home, files = small.place / "home", tmp_path_factory.mktemp("files")
    home.mkdir()
    same = identity(("rows", 1), TensorProto.INT32)
    with Store.open(home) as store:
        registry = Registry(store, home)
        for name in MODELS:
            for version, model in ((1, same), (2, looks_up())):
                registry.register(save(files / f"{name}{version}", model), name, version)
            registry.set_alias(name, "champion", 1)
    with running(home, "--workers", "2", config=CONFIG, log=files / "server.log") as started:
        yield started


def versions(server: RunningServer, model: str, number: int = 1) -> Counter[str]:
    """Who answers forty requests on connections of their own; failures by their status."""
    found: Counter[str] = Counter()
    for _ in range(40):
        answer = server.request("POST", f"/v2/models/{model}/infer", body(number))
        found[answer.json().get("model_version", str(answer.status))] += 1
    return found


def ask(server: RunningServer, path: str, **wanted: Any) -> Answer:
    headers = {"content-type": "application/json"}
    data = json.dumps(wanted).encode()
    return server.request("POST", path, data, headers, server.admin_port)


def waiting(server: RunningServer) -> dict[str, float]:
    return {what: server.metric("penstock_route_unwritten", what=what) for what in ("stop", "pull")}


def audited(server: RunningServer) -> list[tuple[str, str]]:
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    return [(one["action"], one["subject"]) for one in entries]


def test_a_stop_and_an_abort_are_obeyed_on_a_full_disk_and_written_down_once_there_is_room(
    server, small
):
    plan = {"steps": [{"percent": 50, "bake_s": 600}], "guards": []}
    assert ask(server, "/api/routes/aborted/rollouts", to=2, plan=plan).status == 200
    eventually(lambda: len(versions(server, "aborted")) == 2)
    small.fill()

    words = ["route", "stop", "stopped", "--why", "it is wrong"]
    said = commands.penstock(*words, "--home", server.home).stdout
    assert "in force, and not written down yet: " in said
    assert "the disk is full" in said
    assert versions(server, "stopped") == {"1": 40}
    aborted = ask(server, "/api/rollouts/1/abort", why="I saw something")
    assert aborted.status == 200, aborted.body
    found = aborted.json()
    assert (found["state"], found["story"][-1]["kind"]) == ("aborted", "aborted")
    assert "the disk is full" in found["unwritten"]
    assert versions(server, "aborted") == {"1": 40}
    assert waiting(server) == {"stop": 1, "pull": 1}

    another_control(server)
    eventually(lambda: server.admin("GET", "/health/ready").status == 200)
    for model in ("stopped", "aborted"):
        assert versions(server, model) == {"1": 40}
    assert waiting(server) == {"stop": 1, "pull": 1}

    small.make_room()
    eventually(lambda: waiting(server) == {"stop": 0, "pull": 0})
    eventually(lambda: server.admin("GET", "/api/rollouts/1").json()["over"])
    assert "I saw something" in server.admin("GET", "/api/rollouts/1").json()["story"][-1]["says"]
    assert ("route stop", "stopped") in audited(server)
    assert server.admin("POST", "/api/routes/stopped/resume").status == 200
    assert len(versions(server, "stopped")) == 2


def test_a_control_process_whose_home_is_lost_pulls_what_fails_and_obeys_a_stop(server, small):
    home, away = server.home, small.place / "away"
    home.rename(away)
    another_control(server)
    assert len(versions(server, "errs")) == 2

    assert versions(server, "errs", number=5)["500"] > 0
    eventually(lambda: versions(server, "errs", number=5) == {"1": 40})
    stopped = ask(server, "/api/routes/stopped/stop", fallback=2)
    assert (stopped.status, stopped.json()["stopped"]["version"]) == (200, 2), stopped.body
    assert "it is gone" in stopped.json()["unwritten"]
    assert versions(server, "stopped") == {"2": 40}
    assert waiting(server) == {"stop": 1, "pull": 1}

    away.rename(home)
    eventually(lambda: server.admin("GET", "/health/ready").status == 200)
    eventually(lambda: waiting(server) == {"stop": 0, "pull": 0})
    assert versions(server, "stopped") == {"2": 40}
    assert versions(server, "errs", number=5) == {"1": 40}
    assert {("route stop", "stopped"), ("route pull", "errs")} <= set(audited(server))
