"""Whoever changes a running server, through whatever door, is written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from tests.control.auditing import tamper
from tests.end_to_end.crashers import DEADLY, divides, overflows
from tests.end_to_end.server import RunningServer, eventually
from tests.end_to_end.test_reload import penstock
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import linear, save


def entries(server: RunningServer, after: int = 0) -> list[dict]:
    return server.admin("GET", f"/api/audit?after={after}&limit=1000").json()["entries"]


def actions(server: RunningServer) -> list[tuple[str, str, str]]:
    return [(e["door"], e["action"], e["subject"]) for e in entries(server)]


def verified(home) -> dict:
    return penstock("audit", "verify", "--home", home)


def test_every_door_leaves_its_entry(start, tmp_path):
    home = tmp_path / "home"
    repository = tmp_path / "repository"
    save(repository / "m" / "1", linear())
    config = f"repository: {{allow_load: true, paths: [{repository}]}}"
    server = start("--workers", "1", home=home, config=config)
    file = save(tmp_path, linear(seed=1), "n.onnx")

    penstock("register", file, "--alias", "champion", "--home", home)
    server.admin("POST", "/api/models/m/unload")
    server.admin("POST", "/api/models/m/load")
    server.admin("POST", "/api/reload")
    server.post("/v2/repository/models/m/unload")
    server.post("/v2/repository/models/m/load")
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: ("signal", "reload", "sources") in actions(server))

    found = actions(server)
    assert [entry for entry in found if entry[0] != "automatic"] == [
        ("cli", "config serve", "revision 1"),
        ("cli", "start", "server"),
        ("cli", "register", "n/1"),
        ("cli", "alias set", "n:champion"),
        ("cli", "reload", "sources"),
        ("admin", "unload", "m"),
        ("admin", "load", "m"),
        ("admin", "reload", "sources"),
        ("data", "unload", "m"),
        ("data", "load", "m"),
        ("signal", "reload", "sources"),
    ]
    # What serves from then on is written down as the server's own word.
    assert ("automatic", "serve") in {entry[:2] for entry in found}
    by_door = {entry["door"]: entry for entry in entries(server)}
    assert by_door["admin"]["who"] == "anonymous@127.0.0.1"
    assert by_door["admin"]["origin"].startswith("127.0.0.1:")
    assert (by_door["data"]["who"], by_door["data"]["origin"]) == (
        "anonymous@127.0.0.1",
        "127.0.0.1",
    )
    assert by_door["data"]["after"] == {"unloaded": False, "loads": 2}

    assert server.stop() == 0
    (last,) = penstock("audit", "list", "--limit", "1", "--home", home)
    assert (last["door"], last["action"], last["after"]) == ("signal", "stop", {"status": 0})
    assert last["origin"].startswith("SIGTERM to ")
    proof = verified(home)
    assert (proof["ok"], proof["faults"]) == (True, [])


def test_what_the_server_decides_by_itself_is_written_down(start, tmp_path):
    home = tmp_path / "home"
    repository = tmp_path / "repository"
    save(repository / "crashes" / "1", overflows())
    save(repository / "divides" / "1", divides())
    save(repository / "m" / "1", linear())
    server = start(repository, "--workers", "1", home=home, ready=False)
    deadly = json.dumps(asked(tensor("x", np.array([[DEADLY]], np.int32).tolist(), "INT32")))

    def deadly_request() -> bool:
        with suppress(OSError):
            server.request("POST", "/v2/models/divides/infer", deadly.encode())
        return any(action == "quarantine" for _, action, _ in actions(server))

    eventually(deadly_request)
    found = [
        (e["action"], e["subject"].split("/")[0])
        for e in entries(server)
        if e["door"] == "automatic"
    ]
    assert ("refuse", "crashes") in found
    assert found.count(("blame crash", "divides")) == 2
    assert ("quarantine", "divides") in found
    assert verified(home)["ok"]


def test_an_audit_that_was_tampered_with_is_found_while_the_server_runs(start, tmp_path):
    home = tmp_path / "home"
    server = start(save(tmp_path, linear(), "m.onnx"), "--workers", "1", home=home)
    server.admin("POST", "/api/reload")
    assert verified(home)["ok"]
    tamper(home, "UPDATE audit SET who = 'nobody' WHERE id = 1")
    assert verified(home)["faults"][0].startswith("entry 1: its hash does not follow")


@pytest.mark.parametrize("query", ["after=x", "after=-1", "limit=0", "limit=1001", "limit=1e3"])
def test_the_admin_api_refuses_what_is_no_page(server, query):
    answer = server.admin("GET", f"/api/audit?{query}")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_parameter")


def test_the_audit_is_read_on_from_the_last_page(server):
    server.admin("POST", "/api/reload")
    first = server.admin("GET", "/api/audit?limit=1").json()
    assert ([entry["id"] for entry in first["entries"]], first["next"]) == ([1], 1)
    second = server.admin("GET", "/api/audit?after=1").json()
    assert (second["entries"][0]["id"], second["next"]) == (2, None)


def test_export_is_whole_lines_also_into_a_pipe(start, tmp_path):
    home = tmp_path / "home"
    start(save(tmp_path, linear(), "m.onnx"), "--workers", "1", home=home)
    command = [sys.executable, "-m", "gateway", "audit", "export", "--home", str(home)]
    run = subprocess.run(command, capture_output=True, timeout=60, env=os.environ)
    assert run.returncode == 0
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["id"] for line in lines] == list(range(1, len(lines) + 1))
