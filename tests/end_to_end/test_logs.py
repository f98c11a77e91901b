"""What a real server writes to standard error."""

from __future__ import annotations

import json
import os
import signal

from tests.end_to_end.server import DEMO_MODEL, eventually


def test_every_process_writes_json_lines_where_they_are_asked_for(start, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    arguments = (DEMO_MODEL, tmp_path / "bad.onnx", "--workers", "1", "--log-format", "json")
    server = start(*arguments)
    os.kill(server.status()["workers"][0]["pid"], signal.SIGKILL)
    eventually(lambda: "replacing it" in server.log)
    lines = [line for line in server.log.splitlines() if not line.startswith("penstock: serving")]
    told = [json.loads(line) for line in lines]
    said = {(line["process"], line["level"]) for line in told}
    assert {("supervisor", "warning"), ("control", "error")} <= said
    assert {"at", "pid", "logger", "message"} <= set(told[0])


def test_lines_are_text_for_people_unless_asked_otherwise(start):
    server = start(DEMO_MODEL, "--workers", "1")
    os.kill(server.status()["workers"][0]["pid"], signal.SIGKILL)
    eventually(lambda: "\npenstock: worker 0 ended (killed by SIGKILL); replacing it" in server.log)
