"""Outcomes that are wrong, hostile or too many, and an import whose server dies under it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.cli.outcomes import NOT_JOINED
from gateway.outcomes.segment import Segment
from loadtest import bodies
from tests.end_to_end.guarded import penstock
from tests.end_to_end.server import DEMO_MODEL, PATIENCE_S, RunningServer, eventually, running
from tests.outcomes.records import records

pytestmark = pytest.mark.slow
MODEL = "breast_cancer"
INFER = f"/v2/models/{MODEL}/infer"
CONFIG = (
    "ledger: {enabled: true, client_ids: true}\n"
    "models: {breast_cancer: {scores: {classes: [malignant, benign]}}}"
)
CUT = "old-1-0-1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One that finds a file that was cut short, and one that is none, in its ledger."""
    home = tmp_path_factory.mktemp("outcomes")
    folder = home / "ledger"
    folder.mkdir(mode=0o700)
    whole = Segment.create(folder, CUT, 0, capacity=16)
    whole.append(records(range(10), at_ms=int(time.time() * 1000)))
    os.truncate(whole.seal().path, 6 * 64)
    (folder / "host-1-0-1.000000.sealed").write_bytes(b"no records at all" * 100)
    with running(home, DEMO_MODEL, "--workers", "2", config=CONFIG) as started:
        yield started


def ask(server: RunningServer, rows: int = 1, name: str | None = None) -> str:
    """An answer's id."""
    request = json.loads(bodies.json_body(bodies._real_rows()[:rows].astype(np.float32)))
    if name is not None:
        request["id"] = name
    answer = server.request("POST", INFER, json.dumps(request).encode())
    assert answer.status == 200, answer.body
    assert answer.json().get("id") == name
    return answer.headers["penstock-request-id"]


def send(server: RunningServer, *outcomes: Any) -> dict[str, int]:
    answer = server.request("POST", "/v2/outcomes", json.dumps(outcomes).encode())
    assert answer.status == 200, answer.body
    return {name: count for name, count in answer.json()["counts"].items() if count}


def performance(server: RunningServer) -> Any:
    return server.admin("GET", f"/api/models/{MODEL}/versions/1/performance").json()


def test_a_ledger_with_damaged_files_serves_what_is_left_of_them(server):
    sent = [{"id": f"{CUT}-{number:x}", "outcome": 1} for number in range(10)]
    assert send(server, *sent) == {"accepted": 5, "unknown": 5}
    found = penstock(server.home, "doctor", "--config", str(server.home / "penstock.yaml"))
    told = [one for one in found["checks"] if one["check"] == "ledger"]
    assert [one["state"] for one in told] == ["warn", "ok"]


def test_each_wrong_outcome_is_told_and_harms_no_other(server):
    one = ask(server)
    late = time.time() + 3600
    assert send(
        server,
        {"id": one, "outcome": "benign"},
        {"id": one, "outcome": 0.5},
        {"id": one, "outcome": "neither"},
        {"id": one, "outcome": None},
        {"id": one, "outcome": 1, "at": late},
        {"id": one, "outcome": 1, "row": -1},
        {"id": one, "reward": "much"},
        {"id": one, "outcome": "malignant"},
        {"id": one, "outcome": 0},
    ) == {"accepted": 1, "corrected": 1, "duplicate": 1, "invalid": 6}
    assert send(server, {"id": one, "row": 1, "outcome": 1}) == {"early": 1}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 2_000_000, id="deep"),
        pytest.param(b'{"id":' * 500_000, id="deep-objects"),
        pytest.param(b'{"id": "\\ud800", "outcome": 1}', id="half-a-character"),
        pytest.param(b"\x00" * 100_000, id="zeros"),
        pytest.param(b"[" + b",".join([b"1"] * 20_000) + b"]", id="too-many"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_hostile_body_is_refused_at_both_ports_and_nobody_else_notices(server, body):
    for port, path in ((server.port, "/v2/outcomes"), (server.admin_port, "/api/outcomes")):
        wrapped = body if port == server.port else b'{"outcomes": ' + body + b"}"
        answer = server.request("POST", path, wrapped, {"content-type": "application/json"}, port)
        assert answer.status in (400, 413, 422), answer.body
    ask(server)


def test_odd_values_are_invalid_one_by_one(server):
    one = ask(server)
    body = (
        b'[{"id": "%b", "outcome": 1e999}, {"id": "%b", "outcome": 1, "row": 1e400},'
        b' {"id": {"id": {}}, "outcome": 1}, {"id": "%b", "outcome": {"a": [1]}}, [], null, "x"]'
    ) % ((one.encode(),) * 3)
    answer = server.request("POST", "/v2/outcomes", body)
    if answer.status == 200:
        assert answer.json()["counts"]["invalid"] == 7
    else:  # numbers without a value are no JSON
        assert answer.status == 400
    assert send(server, {"id": one, "outcome": 1}) == {"accepted": 1}


def test_very_many_for_one_row_are_one_label(server):
    one, before = ask(server), performance(server)["labelled"]
    for _ in range(10):
        flips = [{"id": one, "outcome": number % 2} for number in range(10_000)]
        assert sum(send(server, *flips).values()) == 10_000
    assert performance(server)["labelled"] == before + 1


def test_clients_name_their_requests_by_their_own_ids(server):
    for name in ("order-7", "1", "1"):
        ask(server, 2, name)
    eventually(lambda: send(server, {"id": "order-7", "row": 1, "outcome": 1}) == {"duplicate": 1})
    sent = ({"client_id": "1", "outcome": 1}, {"client_id": "order-7", "reward": 5})
    assert send(server, *sent) == {"ambiguous": 1, "accepted": 1}


def test_an_import_outlives_control_and_counts_nothing_twice(server, tmp_path: Path):
    ids = [(ask(server, 20), row) for _ in range(60) for row in range(20)]
    kinds = [f"kind{number}" for number in range(12)]
    lines = [
        {"id": name, "row": row, "reward": float(place), "metric": kind}
        for kind in kinds
        for place, (name, row) in enumerate(ids)
    ]
    pipe = tmp_path / "rewards.ndjson"
    os.mkfifo(pipe)
    words = ["-m", "gateway", "outcomes", "import", str(pipe)]
    words += ["--home", str(server.home), "--json"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as importing:
        try:
            with pipe.open("w") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
                file.flush()
                eventually(lambda: bool(numbers(server)))
                os.kill(server.status()["control"], signal.SIGKILL)
                file.writelines(json.dumps(line) + "\n" for line in reversed(lines))
            told = json.loads(importing.communicate(timeout=PATIENCE_S)[0])
        finally:
            importing.kill()
    assert importing.returncode == 0
    counts = Counter(told["counts"])
    assert counts["accepted"] + counts["duplicate"] == counts.total() == 2 * len(lines)
    assert numbers(server) == dict.fromkeys(kinds, (len(ids), sum(range(len(ids)))))
    parquet.write_table(pa.Table.from_pylist(lines), tmp_path / "rewards.parquet")
    again = penstock(server.home, "outcomes", "import", str(tmp_path / "rewards.parquet"))
    assert again["counts"]["duplicate"] == len(lines)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(f"id,row,outcome\n{ids[0][0]},0,2\n")
    found = penstock(server.home, "outcomes", "import", str(wrong), status=NOT_JOINED)
    assert "expected 0, 1 or the name of a class" in found["faults"][0]
    penstock(server.home, "outcomes", "forget-metric", kinds[0])
    assert numbers(server).keys() == set(kinds[1:])
    [entry] = penstock(server.home, "audit", "list", "--limit", "1")
    assert (entry["action"], entry["subject"]) == ("metric forget", f"metric/{kinds[0]}")


def numbers(server: RunningServer) -> dict[str, tuple[int, float]]:
    """How many there are of each of the import's metrics, and what they add up to."""
    found = performance(server)["metrics"]
    return {one["name"]: (one["n"], one["sum"]) for one in found if one["name"].startswith("kind")}
