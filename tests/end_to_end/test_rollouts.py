"""Rollouts of a real server with two workers, good and bad, with every answer counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end import commands
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.traffic import Tally, Traffic
from tests.models.builders import linear, make, save, value

INFER = "/v2/models/m/infer"
CONNECTIONS = 6
PICKY = 9.0
"""What version 3 fails on."""
ERRORS = [{"kind": "errors", "min_rows": 20}]


def picky() -> onnx.ModelProto:
    """As `linear`, but for rows that begin with more than 3: no such row of its table."""
    weights = numpy_helper.from_array(linear_weights(), "w")
    table = numpy_helper.from_array(linear_weights() * 0, "table")
    first = numpy_helper.from_array(np.array([0]), "first")
    return make(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Gather", ["x", "first"], ["column"], axis=1),
            helper.make_node("Cast", ["column"], ["places"], to=TensorProto.INT64),
            helper.make_node("GatherND", ["table", "places"], ["nothing"]),
            helper.make_node("Add", ["z", "nothing"], ["y"]),
        ],
        [value("x")],
        [value("y", ("rows", 2))],
        [weights, table, first],
    )


def linear_weights() -> Any:
    return numpy_helper.to_array(linear(seed=1).graph.initializer[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("rollouts")
    versions = [linear(seed=1), linear(seed=2), picky(), linear(features=5)]
    with Store.open(home) as store:
        registry = Registry(store, home)
        for version, model in enumerate(versions, 1):
            registry.register(save(home / str(version), model), "m", version)
        registry.set_alias("m", "champion", 1)
    with running(home, "--workers", "2", config="ledger: {enabled: false}") as started:
        yield started


def body(first: float = 1.0) -> bytes:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [first, 1.0, 1.0, 1.0]}
    return json.dumps({"inputs": [tensor]}).encode()


def traffic(
    server: RunningServer,
    first: float = 1.0,
    connections: int = CONNECTIONS,
    pause_s: float = 0.002,
) -> Traffic:
    marks = tuple(b'"model_version":"%d"' % version for version in (1, 2, 3))
    return Traffic(server.port, INFER, body(first), connections, marks, pause_s=pause_s)


def by_version(tally: Tally) -> dict[int, int]:
    return {int(mark[-2:-1]): count for mark, count in tally.answers.items()}


def change(server: RunningServer, path: str, value: Any) -> Answer:
    headers = {"content-type": "application/json"}
    return server.request("POST", path, json.dumps(value).encode(), headers, server.admin_port)


def start(server: RunningServer, to: int, *steps: dict[str, Any], **rest: Any) -> int:
    plan = {"guards": ERRORS, **rest, "steps": [{"min_rows": 20, **step} for step in steps]}
    answer = change(server, "/api/routes/m/rollouts", {"to": to, "plan": plan, "why": "a test"})
    assert answer.status == 200, answer.body
    return int(answer.json()["number"])


def shown(server: RunningServer, number: int) -> Any:
    answer = server.admin("GET", f"/api/rollouts/{number}")
    assert answer.status == 200, answer.body
    return answer.json()


def until(server: RunningServer, number: int, **wanted: Any) -> Any:
    """The rollout once it is so; control may be away meanwhile."""
    found: dict[str, Any] = {}

    def so() -> bool:
        with contextlib.suppress(OSError):
            found.update(shown(server, number))
        return bool(found) and all(found[name] == one for name, one in wanted.items())

    eventually(so)
    return found


def kinds(rollout: Any) -> list[str]:
    return [event["kind"] for event in rollout["story"] if event["kind"] != "verdict"]


def serving(server: RunningServer) -> dict[int, float]:
    route = server.admin("GET", "/api/routes/m").json()
    return {one["version"]: one["share"] for one in route["serving"] if one["share"]}


@pytest.mark.parametrize(
    ("to", "plan", "status", "said"),
    [
        pytest.param(9, {}, 404, "'m' has no version 9; it has: 1, 2, 3, 4", id="unknown"),
        pytest.param(1, {}, 409, "version 1 is its baseline already", id="baseline"),
        pytest.param(
            4, {"guards": []}, 409, "input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now", id="inputs"
        ),
        pytest.param(
            2,
            {"guards": [{"kind": "performance", "name": "right"}]},
            409,
            "it could never be judged: right: ",
            id="no-outcomes",
        ),
        pytest.param(2, {"steps": [{"percent": 0}]}, 400, "plan.steps.0.percent", id="plan"),
    ],
)
def test_what_can_never_be_is_refused_at_the_start(server, to, plan, status, said):
    answer = change(server, "/api/routes/m/rollouts", {"to": to, "plan": plan})
    assert answer.status == status, answer.body
    assert said in answer.json()["error"]
    assert server.admin("GET", "/api/rollouts").json() == {"rollouts": []}


def test_a_good_candidate_is_promoted_under_load_though_control_is_killed_in_a_step(server):
    with traffic(server) as load:
        number = start(
            server,
            2,
            {"shadow_percent": 100, "bake_s": 1},
            {"percent": 10, "bake_s": 3},
            {"percent": 50, "bake_s": 1},
            {"percent": 100, "bake_s": 1},
            watch_s=2,
        )
        assert change(server, "/api/routes/m/rollouts", {"to": 3}).status == 409
        until(server, number, state="shadowing")
        assert set(by_version(load.tally)) == {1}
        until(server, number, state="stepping", step=2)
        os.kill(server.status()["control"], signal.SIGKILL)
        rollout = until(server, number, over=True)
        load.go_on()
    assert rollout["state"] == "promoted"
    assert kinds(rollout) == ["started", *["step"] * 4, "promoted", "watched"]
    assert (load.tally.failed, set(load.tally.statuses)) == (0, {200})
    counted = server.metric("penstock_requests_total", model="m")
    assert counted == load.tally.ok == sum(by_version(load.tally).values())
    assert set(by_version(load.tally)) == {1, 2}
    assert serving(server) == {2: 1.0}
    with Store.open(server.home) as store:
        assert Registry(store, server.home).resolve("m", "champion").version == 2


def test_a_candidate_that_errs_is_taken_back_and_the_story_says_by_which_figures(server):
    # So few that guards tell: by half of twenty requests it would be pulled before they can.
    with traffic(server) as good, traffic(server, PICKY, 1, pause_s=0.02) as bad:
        number = start(server, 3, {"percent": 30, "bake_s": 600}, max_duration_s=6000)
        rollout = until(server, number, over=True)
        after = good.tally.answers[b'"model_version":"3"'], bad.tally.statuses[500]
        good.go_on(200)
        bad.go_on(50)
    assert rollout["state"] == "rolled_back"
    last = rollout["story"][-1]
    assert "rolled back: failed: errors: " in last["says"]
    assert serving(server) == {2: 1.0}
    # Nobody but those whose rows it cannot take has noticed, and they not any more.
    assert (good.tally.failed, set(good.tally.statuses)) == (0, {200})
    assert set(bad.tally.statuses) == {200, 500}
    in_flight = CONNECTIONS + 1
    assert good.tally.answers[b'"model_version":"3"'] - after[0] <= in_flight
    assert bad.tally.statuses[500] - after[1] <= in_flight


def test_a_worker_killed_while_shares_change_comes_back_to_the_shares_that_are_wanted(server):
    with traffic(server) as load:
        number = start(
            server, 1, {"percent": 20, "bake_s": 1}, {"percent": 100, "bake_s": 1}, watch_s=600
        )
        until(server, number, state="stepping", step=1)
        victim = server.status()["workers"][0]["pid"]
        psutil.Process(victim).kill()
        until(server, number, state="promoted")
        load.go_on()
        assert serving(server) == {1: 1.0}
        # The watch can still be ended by a person, and gives the alias back.
        aborted = change(server, f"/api/rollouts/{number}/abort", {"why": "I saw something"})
        assert aborted.status == 200, aborted.body
        until(server, number, over=True)
        before = load.tally.answers[b'"model_version":"1"']
        load.go_on(200)
        assert load.tally.answers[b'"model_version":"1"'] - before <= CONNECTIONS
    assert set(load.tally.statuses) == {200}
    assert load.tally.cut + load.tally.no_connection <= 2 * CONNECTIONS  # those of that worker
    assert serving(server) == {2: 1.0}
    with Store.open(server.home) as store:
        assert Registry(store, server.home).resolve("m", "champion").version == 2


def test_the_command_tells_the_story(server, tmp_path):
    told = command(server, "show", "m").splitlines()
    assert told[0] == "rollout 3 of 'm': version 2 to 1, aborted, step 2 of 2"
    assert [line for line in told if "aborted: I saw something" in line]
    listed = command(server, "list", "m").splitlines()
    assert [line.split()[0] for line in listed] == ["ROLLOUT", "3", "2", "1"]
    plan = tmp_path / "plan.yaml"
    plan.write_text("steps: [{percent: 5, bake_s: 9}]\nguards: [{kind: errors}]\n")
    begun = command(server, "start", "m", "--to", "1", "--plan", str(plan), "--why", "once more")
    assert "\nwarning: errors: there is no verdict before 10 s" in begun
    assert "paused: lunch" in command(server, "pause", "m", "--why", "lunch")
    assert json.loads(command(server, "abort", "m", "--json"))["state"] == "aborted"


def command(server: RunningServer, *arguments: str) -> str:
    done = commands.penstock("rollout", *arguments, "--home", server.home)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metrics_tell_of_rollouts(server):
    assert server.metric("penstock_rollouts_ended_total", result="aborted") == 2.0
