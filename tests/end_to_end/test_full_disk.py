"""A home without room: traffic goes on, changes are refused in so many words, nothing is broken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.recorder import RETRY_S
from tests.end_to_end import commands
from tests.end_to_end.disks import Disk, disk
from tests.end_to_end.server import DEMO_MODEL, Answer, RunningServer, eventually
from tests.end_to_end.test_configuration import put
from tests.end_to_end.test_drift import DATA, LEFT_OUT, MODEL, Source, drift
from tests.end_to_end.test_independence import replaced
from tests.end_to_end.test_lifecycle import BODY, INFER, control_of
from tests.end_to_end.test_reload import index, penstock
from tests.end_to_end.traffic import UNHURRIED_S, Traffic
from tests.models.builders import linear, save

KEY = json.dumps({"name": "k", "role": "viewer"}).encode()
AS_JSON = {"Content-Type": "application/json"}
DOCUMENT = "defaults: {timeout_ms: 900}\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path / "disk") as made:
        yield made


@pytest.fixture
def server(start, small, tmp_path) -> RunningServer:
    """Two workers; `m` is registered in the home, `file` lies outside of it."""
    home = small.place / "home"
    penstock("register", save(tmp_path, linear(), "m.onnx"), "--name", "m", "--home", home)
    file = save(tmp_path, linear(), "file.onnx")
    return start(file, "--workers", "2", home=home, log=tmp_path / "server.log")


def changes(server: RunningServer) -> dict[str, Answer]:
    """One change of each kind, asked of the control port."""
    return {
        "key": server.request("POST", "/api/keys", KEY, AS_JSON, server.admin_port),
        "config": put(server, DOCUMENT, 0),
        "reload": server.admin("POST", "/api/reload"),
        "load": server.admin("POST", "/api/models/file/load"),
        "unload": server.admin("POST", "/api/models/file/unload"),
    }


def test_traffic_goes_on_and_every_change_is_refused_until_there_is_room(server, small, tmp_path):
    home = server.home
    other = save(tmp_path, linear(seed=2), "other.onnx")
    register = ("register", other, "--name", "other", "--home", home)
    with Traffic(server.port, INFER, BODY, 4, pause_s=UNHURRIED_S) as traffic:
        before = penstock("audit", "verify", "--home", home)
        small.fill()
        for what, answer in changes(server).items():
            assert (what, answer.status, answer.json()["code"]) == (what, 500, "store_failed")
            assert "the disk is full" in answer.json()["error"]
        for words in (register, ("keys", "create", "--name", "k", "--role", "client")):
            assert penstock(*words, "--home", home)["code"] == "store_failed", words
        # What only looks goes on.
        assert server.metric("penstock_requests_total", model="m", result="ok") > 0
        assert server.status()["ready"]
        assert server.admin("GET", "/api/keys").json()["keys"] == []
        after = penstock("audit", "verify", "--home", home)
        assert (after["ok"], after["head"]) == (True, before["head"])
        traffic.go_on()
        small.make_room()
        done = {what: answer.status for what, answer in changes(server).items()}
        assert done == {"key": 201, "config": 200, "reload": 200, "load": 200, "unload": 200}
        assert penstock(*register)["model"] == "other"
        traffic.go_on()
    assert traffic.tally.failed == 0
    assert server.request("POST", "/v2/models/other/infer", BODY).status == 200
    end = penstock("audit", "verify", "--home", home, "--head", before["head"])
    assert end["ok"], end
    assert end["entries"] > before["entries"]


def test_workers_and_control_are_replaced_and_what_control_decides_is_written_down_later(
    server, small, tmp_path
):
    home = server.home
    small.fill()
    control = server.status()["control"]
    os.kill(control, signal.SIGKILL)
    eventually(lambda: control_of(server) not in (None, control))
    save(tmp_path, linear(seed=7), "file.onnx")
    replaced(server)  # it finds other content, which control has tried out and served
    eventually(lambda: decided(server))
    assert {server.request("POST", INFER, BODY).status for _ in range(10)} == {200}
    assert index(server)["file", "1"] == ("READY", "")
    time.sleep(3 * RETRY_S)  # it tries to write that down all the while
    assert server.log.count("the disk is full") == 1, server.log
    entries = penstock("audit", "verify", "--home", home)["entries"]
    small.make_room()
    eventually(lambda: penstock("audit", "verify", "--home", home)["entries"] > entries)
    assert "over: " in server.log
    assert "Traceback" not in server.log
    newest = penstock("audit", "list", "--limit", "1", "--home", home)
    assert (newest[0]["door"], newest[0]["action"]) == ("automatic", "serve")
    assert penstock("audit", "verify", "--home", home)["ok"]


def test_values_are_counted_and_judged_on_a_full_disk_and_history_goes_on_once_there_is_room(
    start, small, tmp_path
):
    home = small.place / "home"
    words = ("register", DEMO_MODEL, "--name", MODEL, "--reference", DATA, "--drop", LEFT_OUT)
    penstock(*words, "--home", home)
    source = Source()
    server = start("--workers", "1", home=home, log=tmp_path / "server.log")
    small.fill()
    # It closes a pane of ten seconds, which it cannot keep.
    source.send_until(server, lambda: drift(server)["verdict"] == "ok", 60)
    eventually(lambda: "history is not kept" in server.log)
    source.send(server)
    eventually(lambda: drift(server)["rows"] == source.sent)
    small.make_room()
    eventually(lambda: panes_in(home / "monitor.db") > 0)
    eventually(lambda: drift(server)["rows"] == source.sent)
    assert server.log.count("history is not kept") == 1, server.log
    assert "Traceback" not in server.log


def panes_in(file: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM panes").fetchone()
        except sqlite3.OperationalError:  # it is being made
            return 0
    return int(found[0])


def decided(server: RunningServer) -> bool:
    """Both workers serve the new content of `file`."""
    loads = server.metric("penstock_model_loads_total", model="file")
    return loads >= 4 and not any(worker["refused"] for worker in server.status()["workers"])


@pytest.mark.parametrize("known", [False, True], ids=["new-home", "known-home"])
def test_a_start_without_room_is_refused_in_one_line(small, known):
    home = small.place / "home"
    home.mkdir()
    if known:
        penstock("keys", "create", "--name", "k", "--role", "client", "--home", home)
    small.fill()
    done = serve(home)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"penstock: {home}")
    assert "full" in line or "No space left on device" in line


def serve(home: Path) -> subprocess.CompletedProcess[str]:
    words = ["serve", "--home", str(home), "--port", "0", "--admin-port", "0"]
    return commands.penstock(*words)
