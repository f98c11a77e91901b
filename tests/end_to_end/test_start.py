"""A server starts, or says in one line why it does not."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.end_to_end import commands
from tests.end_to_end.test_lifecycle import BODY, INFER
from tests.models.builders import linear, save


def serve(*words: str | Path) -> tuple[int, str]:
    """Exit status and stderr of a `penstock serve` that is expected to end by itself."""
    done = commands.penstock("serve", *words)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def running_one(tmp_path_factory):
    from tests.end_to_end.server import running

    home = tmp_path_factory.mktemp("first")
    with running(home, save(home, linear(), "m.onnx"), "--workers", "1") as server:
        yield server, home


def test_port_0_finds_free_ones_and_says_which(running_one):
    server, home = running_one
    told = json.loads((home / "run" / "server.json").read_bytes())
    assert (told["port"], told["admin_port"]) == (server.port, server.admin_port)
    assert server.port != server.admin_port
    assert f"http://127.0.0.1:{server.port}" in server.log


def test_a_second_server_on_the_same_home_is_refused(running_one):
    server, home = running_one
    status, words = serve("--home", home, "--port", "0", "--admin-port", "0")
    assert status == 1
    assert f"home {home}: another server runs on it" in words
    assert len(words.splitlines()) == 1
    # And the first has not lost what commands find it by.
    assert server.request("POST", INFER, BODY).status == 200
    assert (home / "run" / "server.json").exists()


@pytest.mark.parametrize("which", ["--port", "--admin-port"])
def test_a_second_server_on_the_same_port_is_refused(running_one, tmp_path, which):
    server, _ = running_one
    ports = {"--port": "0", "--admin-port": "0"}
    ports[which] = str(server.port if which == "--port" else server.admin_port)
    status, words = serve("--home", tmp_path / "other", *sum(ports.items(), ()))
    assert status == 1
    assert f"port {ports[which]} on 127.0.0.1 is in use" in words
    assert len(words.splitlines()) == 1


def test_a_home_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    for home in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/penstock")):
        status, words = serve("--home", home, "--port", "0", "--admin-port", "0")
        assert status == 1
        assert f"home {home}: expected a writable folder" in words
        assert len(words.splitlines()) == 1


def test_a_database_that_is_none_is_refused_once_and_not_over_and_over(tmp_path):
    (tmp_path / "penstock.db").write_bytes(b"this is no database, and long enough to say so" * 50)
    status, words = serve("--home", tmp_path, "--port", "0", "--admin-port", "0")
    assert status == 1
    assert "penstock.db" in words
    assert len(words.splitlines()) == 1


def test_a_home_is_free_again_when_its_server_was_killed_hard(start, tmp_path):
    home, model = tmp_path / "home", save(tmp_path, linear(), "m.onnx")
    first = start(model, "--workers", "1", home=home)
    port = first.port
    os.killpg(first.process.pid, signal.SIGKILL)
    first.process.wait(5)
    second = start(model, "--workers", "1", "--port", str(port), home=home)
    assert second.request("POST", INFER, BODY).status == 200
    assert second.port == port


def test_request_ids_do_not_begin_anew_with_the_next_start(start, tmp_path):
    home = tmp_path / "home"

    def ids() -> set[str]:
        with start("--workers", "1", home=home) as server:
            return {server.get("/v2").headers["penstock-request-id"] for _ in range(20)}

    assert len(ids() | ids() | ids()) == 60


def test_without_models_it_serves_and_says_so(start):
    server = start("--workers", "1")
    assert server.get("/v2/health/ready").status == 200
    assert "serving no model" in server.log
    with socket.create_connection(("127.0.0.1", server.port), timeout=5):
        assert server.get("/v2/models/m").status == 404
