"""A model without a profile is held against its own first rows, and everything says so."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import TensorProto

from gateway.control.audit import Audit
from gateway.control.store import Store
from tests.end_to_end import commands
from tests.end_to_end.server import RunningServer, eventually
from tests.models.builders import identity, linear, save

WANTED = 200
CONFIG = f"""
monitoring: {{reference_rows: {WANTED}}}
models:
  table: {{feature_names: [age, income, debts, years]}}
"""
DRIFT = "/api/models/table/versions/1/drift"
WORDS = ["clerk", "smith", "baker"]


@pytest.fixture
def repository(tmp_path) -> Path:
    folder = tmp_path / "models"
    save(folder / "table" / "1", linear())
    save(folder / "words" / "1", identity(("rows", 1), TensorProto.STRING))
    save(folder / "pictures" / "1", identity(("rows", 3, 8, 8)))
    return folder


class Caller:
    """Asks a server's models about rows that are never the same."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.rng = np.random.default_rng(1)

    def ask(self, model: str, rows: int) -> None:
        shape, datatype = [rows, 4], "FP32"
        data: list[Any] = self.rng.normal(size=rows * 4).tolist()
        if model == "words":
            shape, datatype, data = [rows, 1], "BYTES", self.rng.choice(WORDS, rows).tolist()
        elif model == "pictures":
            shape, data = [rows, 3, 8, 8], self.rng.random(rows * 192).tolist()
        body = {"name": "x", "shape": shape, "datatype": datatype, "data": data}
        answer = self.server.post(f"/v2/models/{model}/infer", {"inputs": [body]})
        assert answer.status == 200, answer.body

    def reference(self, model: str) -> dict[str, Any]:
        lines = self.server.admin("GET", "/api/models").json()["models"]
        (line,) = [line for line in lines if line["name"] == model]
        return line["reference"]

    def wait_until(self, model: str, rows: int) -> None:
        """As many rows were noted as were answered: they are, just after their answers."""
        eventually(lambda: self.reference(model)["rows"] == rows)

    def freeze(self, model: str) -> dict[str, Any]:
        """Asks until the model has its reference."""
        for _ in range(WANTED // 10):
            self.ask(model, 10)
        eventually(lambda: self.reference(model)["digest"] is not None)
        return self.reference(model)

    def drift(self, model: str):
        return self.server.admin("GET", f"/api/models/{model}/versions/1/drift")


def penstock(home: Path, *words: str) -> str:
    """What a command prints."""
    run = commands.penstock(*words, "--home", home)
    assert run.returncode == 0, run.stderr
    return run.stdout


def frozen(home: Path) -> list[str]:
    with Store.open(home) as store:
        entries = list(Audit(store).entries())
    return [entry.subject for entry in entries if entry.action == "profile freeze"]


def test_first_rows_of_any_kind_become_a_reference_that_outlives_the_server(
    start, repository, tmp_path
):
    server = start(repository, "--workers", "2", config=CONFIG)
    caller = Caller(server)
    assert caller.reference("table") == {
        "digest": None, "rows": 0, "self_referenced": True, "wanted_rows": WANTED,
    }  # fmt: skip
    made = {model: caller.freeze(model) for model in ("table", "words", "pictures")}
    assert {line["rows"] for line in made.values()} == {WANTED}
    assert all(line["self_referenced"] for line in made.values())
    assert sorted(frozen(server.home)) == ["pictures/1", "table/1", "words/1"]

    caller.ask("table", 30)
    eventually(lambda: caller.drift("table").json().get("rows", 0) == 30)
    report = caller.drift("table").json()
    assert (report["self_referenced"], report["reference_rows"]) == (True, WANTED)
    assert report["reference"] == made["table"]["digest"]
    names = [line["name"] for line in report["features"]]
    assert names == ["age", "income", "debts", "years"]

    rolling = server.admin("GET", f"{DRIFT}?reference=rolling:1h").json()
    assert (rolling["reference_kind"], rolling["reference_rows"]) == ("rolling:3600s", 0)
    for wrong in ("rolling", "rolling:40d", "same-hours:9w", "yesterday"):
        assert server.admin("GET", f"{DRIFT}?reference={wrong}").status == 400

    shown = json.loads(penstock(server.home, "profile", "show", "words", "--json"))
    assert shown["self_referenced"] is True
    assert shown["frames"][0]["columns"][0]["categories"] == sorted(WORDS)
    listed = penstock(server.home, "models", "list")
    assert listed.count("self-referenced") == 3
    free = tmp_path / "free.yaml"
    free.write_text("server: {port: 0}\ncontrol: {port: 0}\n")  # nobody else's are looked at
    doctor = penstock(server.home, "doctor", "--config", str(free))
    assert "held against their own first rows" in doctor

    server.stop()
    again = start(repository, "--workers", "2", config=CONFIG, home=server.home)
    caller = Caller(again)
    assert {model: caller.reference(model) for model in made} == made
    caller.ask("table", 5)
    assert len(frozen(again.home)) == 3
    # Other content is another model.
    save(repository / "table" / "1", linear(seed=5))
    assert again.admin("POST", "/api/reload").status == 200
    assert caller.reference("table")["digest"] is None
    assert caller.freeze("table")["digest"] != made["table"]["digest"]


def test_a_worker_that_is_killed_meanwhile_loses_no_row_that_was_noted(start, repository):
    server = start(repository, "--workers", "2", config=CONFIG)
    caller = Caller(server)
    for _ in range(12):
        caller.ask("table", 10)
    caller.wait_until("table", 120)
    restarts = sum(worker["restarts"] for worker in server.status()["workers"])
    for worker in server.status()["workers"]:
        psutil.Process(worker["pid"]).send_signal(signal.SIGKILL)
    eventually(
        lambda: sum(worker["restarts"] for worker in server.status()["workers"]) == restarts + 2
    )
    eventually(lambda: server.get("/v2/health/ready").status == 200)
    assert caller.reference("table")["rows"] == 120
    for _ in range(8):
        caller.ask("table", 10)
    eventually(lambda: caller.reference("table")["digest"] is not None)
    assert caller.reference("table")["rows"] == WANTED


def test_a_control_process_that_is_killed_goes_on_and_a_server_begins_anew(start, repository):
    server = start(repository, "--workers", "2", config=CONFIG)
    caller = Caller(server)
    caller.ask("table", 50)
    caller.wait_until("table", 50)
    before = server.status()["control"]
    psutil.Process(before).send_signal(signal.SIGKILL)
    eventually(lambda: _answers(server) not in (None, before))
    assert caller.reference("table")["rows"] == 50
    server.stop()
    again = Caller(start(repository, "--workers", "2", config=CONFIG, home=server.home))
    assert again.reference("table")["rows"] == 0
    assert again.freeze("table")["rows"] == WANTED


def test_requests_that_fail_leave_no_rows(start, repository):
    server = start(repository, "--workers", "2", config=CONFIG)
    caller = Caller(server)
    body = {"name": "x", "shape": [2, 5], "datatype": "FP32", "data": [0.0] * 10}
    assert server.post("/v2/models/table/infer", {"inputs": [body]}).status == 400
    caller.ask("table", 3)
    caller.wait_until("table", 3)


def test_a_reset_takes_the_next_rows(start, repository):
    server = start(repository, "--workers", "2", config=CONFIG)
    caller = Caller(server)
    first = caller.freeze("table")
    said = penstock(server.home, "profile", "reset", "table")
    assert "the next rows take its place" in said
    assert caller.reference("table") == {
        "digest": None, "rows": 0, "self_referenced": True, "wanted_rows": WANTED,
    }  # fmt: skip
    assert caller.drift("table").status == 404
    second = caller.freeze("table")
    assert second["digest"] != first["digest"]


def test_nothing_is_kept_where_monitoring_is_off_or_no_rows_are_wanted(start, repository):
    for config in ("monitoring: {enabled: false}", "monitoring: {reference_rows: 0}"):
        server = start(repository, "--workers", "1", config=config)
        caller = Caller(server)
        caller.ask("table", 10)
        assert caller.reference("table") is None
        server.stop()


def _answers(server: RunningServer) -> int | None:
    try:
        return server.status()["control"]
    except OSError:
        return None
