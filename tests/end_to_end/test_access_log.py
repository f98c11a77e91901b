"""The access log of a real server, in each of its modes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.guarded import penstock
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually

INFER = "/v2/models/breast_cancer/infer"
ROW = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, 30], "datatype": "FP32", "data": [1.0] * 30}]}
).encode()
CONFIG = "log: {{access: {mode}, access_sample: 0.5, access_file: {file}}}"


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def asked(file: Path) -> list[dict[str, Any]]:
    """Records of what was asked here: asking whether it is ready before it is leaves one too."""
    return [record for record in records(file) if record.get("path") != "/v2/health/ready"]


def ask_all(server: RunningServer) -> list[str]:
    """One request of each kind; the ids that the answers carry."""
    answers = [
        server.request("POST", INFER, ROW, {"x-request-id": "mine"}),
        server.request("POST", INFER, b"{}"),
        server.request("POST", "/v2/models/breast%5Fcancer/infer", ROW),
        server.request("GET", "/v2/models/nosuch?token=secret"),
        server.request("GET", "/v2"),
    ]
    return [answer.headers["penstock-request-id"] for answer in answers]


def test_all_requests_leave_a_record_wherever_they_were_answered(start, tmp_path):
    file = tmp_path / "access.log"
    config = CONFIG.format(mode="all", file=file)
    server = start(DEMO_MODEL, "--workers", "1", config=config)
    ids = ask_all(server)
    eventually(lambda: len(asked(file)) == 5)
    found = asked(file)
    assert [record["request_id"] for record in found] == ids
    shown = [
        (r["status"], r.get("code"), r.get("model"), r.get("version"), "infer_ms" in r)
        for r in found
    ]
    assert shown == [
        (200, None, "breast_cancer", "1", True),
        (400, "malformed_json", "breast_cancer", "1", False),
        (200, None, "breast_cancer", "1", True),
        (404, "model_not_found", "nosuch", None, False),
        (200, None, None, None, False),
    ]
    assert (found[0]["x_request_id"], found[0]["bytes_in"]) == ("mine", len(ROW))
    assert 0 <= found[0]["queue_ms"] + found[0]["infer_ms"] <= found[0]["ms"]
    assert "secret" not in file.read_text()


def test_request_ids_say_which_host_and_worker_answered(start, tmp_path):
    file = tmp_path / "access.log"
    config = CONFIG.format(mode="all", file=file)
    server = start(DEMO_MODEL, "--workers", "2", config=config)
    ids: list[str] = []

    def both_have_answered() -> bool:
        ids.extend(ask_all(server))
        return {name.split("-")[-3] for name in ids} == {"0", "1"}

    eventually(both_have_answered)
    eventually(lambda: len(asked(file)) == len(ids))
    # Two of five were answered on the lane, the others behind it: all say the same.
    by_id = {record["request_id"]: record["process"] for record in asked(file)}
    host = "".join(c for c in socket.gethostname().split(".")[0] if c.isalnum() or c == "-")[:32]
    assert by_id.keys() == set(ids)
    for name, process in by_id.items():
        *shown, _start, slot, _epoch, _count = name.split("-")
        assert ("-".join(shown), f"worker-{slot}") == (host, process)


def test_a_record_names_the_key_and_never_shows_it(start, tmp_path):
    file, home = tmp_path / "access.log", tmp_path / "home"
    key = penstock(home, "keys", "create", "--name", "till", "--role", "client")["key"]
    config = CONFIG.format(mode="all", file=file) + "\naccess: {data: keys}"
    server = start(DEMO_MODEL, "--workers", "1", config=config, home=home)
    paths = (INFER, "/v2/models/breast%5Fcancer/infer")  # on the lane, and behind it
    for path in paths:
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": "psk_stranger"}):
            server.request("POST", path, ROW, headers)
    eventually(lambda: len(asked(file)) == 4)
    shown = [(r["status"], r.get("key"), r.get("code")) for r in asked(file)]
    assert shown == [(200, "till", None), (401, None, "unauthenticated")] * 2
    written = file.read_text()
    assert (key in written, "psk_" in written) == (False, False)


def test_a_file_that_was_moved_away_is_begun_anew_on_sighup(start, tmp_path):
    file = tmp_path / "access.log"
    server = start(DEMO_MODEL, "--workers", "2", config=CONFIG.format(mode="all", file=file))
    server.request("POST", INFER, ROW)
    eventually(lambda: len(asked(file)) == 1)
    file.rename(tmp_path / "access.log.1")
    os.kill(server.process.pid, signal.SIGHUP)
    eventually(file.exists)
    assert server.request("POST", INFER, ROW).status == 200
    eventually(lambda: len(asked(file)) + len(asked(tmp_path / "access.log.1")) == 2)


def test_only_errors_where_only_they_are_asked_for(start, tmp_path):
    file = tmp_path / "access.log"
    server = start(DEMO_MODEL, "--workers", "1", config=CONFIG.format(mode="errors", file=file))
    ask_all(server)
    eventually(lambda: len(asked(file)) == 2)
    assert [record["status"] for record in asked(file)] == [400, 404]


def test_a_sample_takes_some(start, tmp_path):
    file = tmp_path / "access.log"
    server = start(DEMO_MODEL, "--workers", "1", config=CONFIG.format(mode="sampled", file=file))
    # That none or all of 60 are taken happens once in 10**18 runs.
    for _ in range(60):
        server.request("GET", "/v2")
    server.process.terminate()
    server.process.wait(20)
    assert 0 < len(asked(file)) < 60


def test_off_writes_nothing_and_is_the_default(server):
    ask_all(server)
    assert '"penstock.access"' not in server.log


def test_without_a_file_records_go_to_standard_error(start):
    server = start(
        DEMO_MODEL, "--workers", "1", "--log-format", "json", config="log: {access: all}"
    )
    ask_all(server)
    eventually(lambda: server.log.count('"path":"/v2"') == 1)
    lines = [line for line in server.log.splitlines() if not line.startswith("penstock: serving")]
    told = [json.loads(line) for line in lines]
    assert {line["process"] for line in told if line["logger"] == "penstock.access"} == {"worker-0"}


def test_a_pipe_that_nobody_empties_stops_no_answer_and_drops_are_counted(start, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = start(DEMO_MODEL, "--workers", "1", config=CONFIG.format(mode="all", file=pipe))
    # A pipe holds 64 KiB.
    path = f"/v2/models/{'m' * 1000}"
    for _ in range(100):
        assert server.get(path).status == 404
    dropped = server.metric("penstock_access_records_dropped_total", worker="0")
    got = b""
    os.set_blocking(reading, False)
    while len(got) < 1 << 20:
        try:
            piece = os.read(reading, 65_536)
        except BlockingIOError:
            break
        got += piece
    os.close(reading)
    whole = [json.loads(line) for line in got.splitlines()]
    seen = [record for record in whole if record["path"] == path]
    assert dropped > 0
    assert len(seen) + dropped >= 100


@pytest.mark.parametrize("name", ["nowhere/access.log", "."])
def test_a_file_that_cannot_be_written_is_told_at_once(start, tmp_path, name):
    with pytest.raises(Exception, match=r"log\.access_file"):
        start(DEMO_MODEL, config=CONFIG.format(mode="all", file=tmp_path / name))
