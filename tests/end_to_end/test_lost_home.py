"""A home that is gone while its server runs: what is loaded serves on, and nothing is made up."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.end_to_end.server import RunningServer, eventually
from tests.end_to_end.test_full_disk import changes
from tests.end_to_end.test_lifecycle import BODY, INFER, control_of, workers
from tests.end_to_end.test_reload import penstock
from tests.end_to_end.traffic import UNHURRIED_S, Traffic
from tests.models.builders import linear, save

FILE = "/v2/models/file/infer"


@pytest.fixture
def server(start, tmp_path) -> RunningServer:
    """Two workers; `m` is registered in the home, `file` lies outside of it."""
    home = tmp_path / "home"
    penstock("register", save(tmp_path, linear(), "m.onnx"), "--name", "m", "--home", home)
    file = save(tmp_path, linear(), "file.onnx")
    return start(file, "--workers", "2", home=home, log=tmp_path / "server.log")


def another_control(server: RunningServer) -> None:
    """Control is killed, and its successor answers."""
    before = server.status()["control"]
    os.kill(before, signal.SIGKILL)

    def answers() -> bool:
        try:
            return bool(server.status()["control"] != before)
        except OSError:
            return False

    eventually(answers)


def statuses(server: RunningServer, path: str) -> set[int]:
    """What requests on connections of their own are answered with."""
    return {server.request("POST", path, BODY).status for _ in range(20)}


def test_traffic_goes_on_and_changes_are_refused_until_the_home_is_back(server, tmp_path):
    home, away = server.home, tmp_path / "away"
    with Traffic(server.port, INFER, BODY, 4, pause_s=UNHURRIED_S) as traffic:
        before = penstock("audit", "verify", "--home", home)
        home.rename(away)
        for what, answer in changes(server).items():
            assert (what, answer.status, answer.json()["code"]) == (what, 500, "store_failed")
            assert "it is gone" in answer.json()["error"]
        assert server.admin("GET", "/api/keys").status == 500
        assert server.metric("penstock_requests_total", model="m", result="ok") > 0
        assert server.status()["ready"]
        another_control(server)
        traffic.go_on()
        for answer in changes(server).values():
            assert (answer.status, answer.json()["code"]) == (500, "store_failed")
        assert server.metric("penstock_requests_total", model="m", result="ok") > 0
        assert server.admin("GET", "/health/ready").status == 503
        assert server.get("/v2/health/ready").status == 200
        assert not home.exists()
        away.rename(home)
        eventually(lambda: control_of(server) is not None)
        done = {what: answer.status for what, answer in changes(server).items()}
        assert done == {"key": 201, "config": 200, "reload": 200, "load": 200, "unload": 200}
        traffic.go_on()
    assert traffic.tally.failed == 0
    assert penstock("audit", "verify", "--home", home, "--head", before["head"])["ok"]
    told = [line for line in server.log.splitlines() if "it is gone" in line]
    # By each of the two control processes.
    assert len([line for line in told if "over: " not in line]) == 2, told
    assert "Traceback" not in server.log


def test_a_worker_that_is_replaced_meanwhile_serves_what_lies_elsewhere(server, tmp_path):
    home, away = server.home, tmp_path / "away"
    home.rename(away)
    os.kill(workers(server)[0]["pid"], signal.SIGKILL)
    eventually(lambda: bool(workers(server)[0]["refused"]))
    eventually(lambda: workers(server)[0]["state"] == "ready")
    (refused,) = workers(server)[0]["refused"]
    assert refused["deployment"].startswith("m/1/")
    assert statuses(server, FILE) == {200}
    # The other one has it still.
    assert statuses(server, INFER) == {200, 404}
    assert not home.exists()
    away.rename(home)
    eventually(lambda: not workers(server)[0]["refused"], 40.0)
    assert statuses(server, INFER) == {200}


def test_with_worker_and_control_both_replaced_the_rest_serves_on(server, tmp_path):
    home, away = server.home, tmp_path / "away"
    home.rename(away)
    another_control(server)
    os.kill(workers(server)[1]["pid"], signal.SIGKILL)
    eventually(lambda: workers(server)[1]["state"] == "ready" and workers(server)[1]["epoch"] == 2)
    assert statuses(server, FILE) == {200}
    assert statuses(server, INFER) == {200, 404}
    away.rename(home)
    eventually(lambda: not workers(server)[1]["refused"], 40.0)
    eventually(lambda: control_of(server) is not None)
    assert statuses(server, INFER) == {200}


def test_a_removed_home_stays_removed_and_the_server_still_stops_as_it_should(server):
    shutil.rmtree(server.home)
    assert statuses(server, INFER) == {200}
    for answer in changes(server).values():
        assert (answer.status, answer.json()["code"]) == (500, "store_failed")
    another_control(server)
    assert statuses(server, INFER) == {200}
    assert server.stop() == 0
    assert not server.home.exists()
    assert "Traceback" not in server.log


def test_keys_go_on_opening_the_door_while_their_home_is_away(start, tmp_path):
    home, away = tmp_path / "home", tmp_path / "away"
    made = penstock("keys", "create", "--name", "shop", "--role", "client", "--home", home)
    file = save(tmp_path, linear(), "file.onnx")
    environment = {"PENSTOCK_ACCESS__DATA": "keys"}
    server = start(file, "--workers", "2", home=home, log=tmp_path / "log", environment=environment)
    known = {"Authorization": f"Bearer {made['key']}"}

    def answered(headers: dict[str, str]) -> set[int]:
        return {server.request("POST", FILE, BODY, headers).status for _ in range(10)}

    assert answered(known) == {200}
    home.rename(away)
    assert (answered(known), answered({})) == ({200}, {401})
    another_control(server)
    assert (answered(known), answered({})) == ({200}, {401})
    os.kill(workers(server)[1]["pid"], signal.SIGKILL)
    # It has the model, and nobody to tell it the keys: it opens to no one.
    eventually(lambda: worker_follows(server, epoch=2))
    assert workers(server)[1]["state"] == "starting"
    away.rename(home)
    eventually(lambda: workers(server)[1]["state"] == "ready")
    assert (answered(known), answered({})) == ({200}, {401})
    penstock("keys", "revoke", str(made["id"]), "--home", home)
    eventually(lambda: answered(known) == {401})


def worker_follows(server: RunningServer, epoch: int) -> bool:
    status = server.status()
    one = status["workers"][1]
    return bool((one["epoch"], one["plan"]) == (epoch, status["plan"]))


def test_another_home_in_the_same_place_is_taken_up_by_a_start_alone(server, tmp_path):
    home = Path(server.home)
    home.rename(tmp_path / "away")
    shutil.copytree(tmp_path / "away", home)
    for answer in changes(server).values():
        assert (answer.status, answer.json()["code"]) == (500, "store_failed")
        assert "start the server again" in answer.json()["error"]
    assert statuses(server, INFER) == {200}
