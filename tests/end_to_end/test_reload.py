"""Models come and go under load, and no request fails because of it."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end import commands
from tests.end_to_end.server import RunningServer, eventually, running
from tests.end_to_end.test_lifecycle import BODY, INFER, workers
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save


def answer(server: RunningServer, path: str = INFER) -> bytes:
    found = server.request("POST", path, BODY)
    assert found.status == 200, found.body
    return found.body


def index(server: RunningServer) -> dict[tuple[str, str], tuple[str, str]]:
    lines = server.post("/v2/repository/index").json()
    return {(e["name"], e.get("version", "")): (e["state"], e.get("reason", "")) for e in lines}


def penstock(*words: str | Path) -> dict:
    found: dict = json.loads(commands.penstock(*words, "--json").stdout)
    return found


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Path]]:
    """Two workers on a home whose registry holds two versions of `m`; the first is champion."""
    home = tmp_path_factory.mktemp("registered")
    for version in (1, 2):
        file = save(home / "files", linear(seed=version), f"{version}.onnx")
        penstock("register", file, "--name", "m", "--home", home)
    penstock("models", "alias", "m", "champion", "1", "--home", home)
    with running(home, "--workers", "2") as server:
        yield server, home


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rewritten]:
    """One worker that serves a bare file."""
    home = tmp_path_factory.mktemp("one")
    save(home, linear(), "m.onnx")
    with running(home, home / "m.onnx", "--workers", "1") as server:
        yield Rewritten(server, home / "m.onnx")


@dataclass
class Rewritten:
    """A server, and the file that it serves."""

    server: RunningServer
    file: Path
    seed: int = 0

    def rewrite(self) -> None:
        """Puts another model there, of the same signature."""
        self.seed += 1
        save(self.file.parent, linear(seed=self.seed), self.file.name)


def test_an_alias_moves_under_load_without_one_failed_request(registered):
    server, home = registered
    marks = (b'"model_version":"1"', b'"model_version":"2"')
    zipped = gzip.compress(BODY)  # takes the way over a thread, during which routes may move
    with ExitStack() as stack:
        plain = stack.enter_context(Traffic(server.port, INFER, BODY, 4, marks))
        encoding = "Content-Encoding: gzip\r\n"
        threaded = stack.enter_context(Traffic(server.port, INFER, zipped, 4, marks, encoding))
        for version in (2, 1, 2):
            told = penstock("models", "alias", "m", "champion", str(version), "--home", home)
            assert told["server"]["faults"] == [], told
            # The command returns when the workers follow: from here on the new version answers.
            assert b'"model_version":"%d"' % version in answer(server)
            plain.go_on(20)
            threaded.go_on(20)
    for tally in (plain.tally, threaded.tally):
        assert (tally.failed, set(tally.answers)) == (0, set(marks))


def test_a_version_that_is_removed_is_gone_and_the_others_stay(registered):
    server, home = registered
    file = save(home / "files", linear(seed=3), "3.onnx")
    penstock("register", file, "--name", "m", "--alias", "extra", "--home", home)
    assert server.request("POST", "/v2/models/m/versions/3/infer", BODY).status == 200
    with Traffic(server.port, INFER, BODY, connections=4) as traffic:
        penstock("models", "remove", "m", "3", "--force", "--home", home)
        traffic.go_on(20)
    assert traffic.tally.failed == 0
    assert server.request("POST", "/v2/models/m/versions/3/infer", BODY).status == 404
    assert ("m", "3") not in index(server)


def test_sighup_takes_up_a_changed_file_without_one_failed_request(one):
    server = one.server
    old = answer(server)
    one.rewrite()
    with Traffic(server.port, INFER, BODY, 4) as traffic:
        traffic.go_on(20)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: answer(server) != old)
        new = answer(server)
        traffic.go_on(20)
    assert traffic.tally.failed == 0
    assert answer(server) == new


def test_a_request_that_began_before_a_change_is_answered_after_it(one):
    server = one.server
    old = answer(server)
    head = f"POST {INFER} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as client:
        client.sendall(head + BODY[:20])
        one.rewrite()
        assert server.admin("POST", "/api/reload").status == 200
        new = answer(server)
        client.sendall(BODY[20:])
        got = client.recv(4096)
    assert new != old
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert got.endswith(new)


def test_a_corrupted_file_leaves_the_old_content_serving_and_says_why(one):
    server = one.server
    old = answer(server)
    one.file.write_bytes(b"this is no model")
    absent = server.admin("POST", "/api/reload").json()["absent"]
    assert [(line["name"], line["state"]) for line in absent] == [("m", "UNAVAILABLE")]
    assert answer(server) == old
    state, reason = index(server)["m", "1"]
    assert (state, reason) == ("READY", absent[0]["reason"])
    assert server.get("/v2/health/ready").status == 200
    listed = server.admin("GET", "/api/models").json()["models"]
    assert [(line["state"], line["reason"]) for line in listed] == [("READY", reason)]
    assert reason in server.log
    one.rewrite()
    assert server.admin("POST", "/api/reload").json()["absent"] == []
    assert answer(server) != old
    assert index(server)["m", "1"] == ("READY", "")


def test_a_configuration_with_faults_changes_nothing_and_is_told(start, tmp_path):
    home = tmp_path / "home"
    file = save(tmp_path, linear(), "m.onnx")
    document = f"models: {{m: {{path: {file}, max_batch_size: 8}}}}"
    server = start("--workers", "1", home=home, config=document)
    plan = server.status()["plan"]
    (home / "penstock.yaml").write_text(
        document.replace("size: 8", "size: -1").replace("path:", "pfad:")
    )
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: "models.m.max_batch_size" in server.log)
    assert "models.m.pfad" in server.log
    assert server.admin("POST", "/api/reload").status == 422
    assert server.status()["plan"] == plan
    assert server.request("POST", INFER, BODY).status == 200
    # Put right, it takes effect.
    (home / "penstock.yaml").write_text(document.replace("size: 8", "size: 16"))
    assert server.admin("POST", "/api/reload").status == 200
    assert server.get("/v2/models/m/config").json()["max_batch_size"] == 16


def test_settings_that_need_a_new_start_are_named(start, tmp_path):
    home = tmp_path / "home"
    file = save(tmp_path, linear(), "m.onnx")
    server = start(file, "--workers", "1", home=home, config="drain: {grace_s: 5}")
    (home / "penstock.yaml").write_text("drain: {grace_s: 6}")
    assert server.admin("POST", "/api/reload").status == 200
    assert "drain.grace_s: what it says now takes effect at the next start" in server.log


def test_a_worker_killed_in_the_middle_of_a_change_follows_it_all_the_same(one):
    server = one.server
    old = answer(server)
    one.rewrite()
    server.process.send_signal(signal.SIGHUP)
    os.kill(workers(server)[0]["pid"], signal.SIGKILL)

    def changed() -> bool:
        try:
            return answer(server) != old
        except OSError:
            return False

    eventually(changed)
    assert server.status()["workers"][0]["plan"] <= server.status()["plan"]
