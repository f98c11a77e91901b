"""What a candidate answers is held against its baseline's answers, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end import commands
from tests.end_to_end.server import PATIENCE_S, RunningServer, eventually, running
from tests.models.builders import linear, save

WANTED = 300
CONFIG = f"ledger: {{enabled: false}}\nmonitoring: {{reference_rows: {WANTED}}}"
AGAINST = "/api/models/m/versions/2/drift?against=1&window=1m"
RNG = np.random.default_rng(1)


def ask(server: RunningServer, rows: int = 10) -> None:
    data = RNG.normal(size=rows * 4).tolist()
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": data}
    answer = server.post("/v2/models/m/infer", {"inputs": [tensor]})
    assert answer.status == 200, answer.body


def ask_until(server: RunningServer, done: Callable[[], bool]) -> None:
    def asked() -> bool:
        for _ in range(20):
            ask(server)
        return done()

    eventually(asked, 2 * PATIENCE_S)


def start(server: RunningServer, to: int = 2, **plan: Any) -> Any:
    body = json.dumps({"to": to, "plan": plan}).encode()
    headers = {"content-type": "application/json"}
    return server.request("POST", "/api/routes/m/rollouts", body, headers, server.admin_port)


def penstock(home: Path, *words: str) -> str:
    run = commands.penstock(*words, "--home", home)
    assert run.returncode in (0, 3), run.stderr
    return run.stdout


def test_a_candidate_that_answers_otherwise_is_rolled_back_by_the_usual_guards(
    tmp_path: Path,
) -> None:
    with Store.open(tmp_path) as store:
        registry = Registry(store, tmp_path)
        for version, seed in ((1, 1), (2, 29)):  # whose answers differ by a third of all rows
            registry.register(save(tmp_path / str(version), linear(seed=seed)), "m", version)
        numbers = linear()  # and one that has none
        weights = np.full((4, 2), np.nan, np.float32)
        numbers.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
        registry.register(save(tmp_path / "3", numbers), "m", 3)
        registry.set_alias("m", "champion", 1)
    with running(tmp_path, "--workers", "2", config=CONFIG) as server:
        # Before there is anything to hold outputs against, who asks for it is told so.
        outcomes = start(server, guards=[{"kind": "calibration"}])
        assert (outcomes.status, "set ledger.enabled" in outcomes.json()["error"]) == (409, True)
        for _ in range(WANTED // 10):
            ask(server)
        reference = "/api/models/m/versions/1/drift"
        eventually(lambda: server.admin("GET", reference).status == 200)
        assert server.admin("GET", AGAINST).status == 404  # nobody has shared the route yet

        started = start(server, steps=[{"percent": 50, "bake_s": 600}], max_duration_s=6000)
        assert started.status == 200, started.body
        number = started.json()["number"]
        found: dict[str, Any] = {}

        def compared() -> bool:
            answer = server.admin("GET", AGAINST)
            if answer.status == 200:
                found.update(answer.json())
            return found.get("rows", 0) >= 200 and found["reference_rows"] >= 200

        ask_until(server, compared)
        assert (found["version"], found["reference_kind"]) == (2, "version:1")
        assert max(one["psi"] for one in found["outputs"]) > 0.1
        # What they were asked is the same; the profile is the other version's.
        assert max(one["ks"] for one in found["features"]) < 0.3
        assert found["self_referenced"] is False
        told = penstock(tmp_path, "drift", "m", "2", "--against", "1")
        assert "of version 1, by profile" in told.splitlines()[0]

        last = rolled_back(server, number)
        assert "prediction_drift: output y" in last
        assert "shares differ by" in last

        broken = start(server, 3, steps=[{"percent": 50, "bake_s": 600}], max_duration_s=6000)
        assert broken.status == 200, broken.body
        assert "non_finite: answers with NaN" in rolled_back(server, broken.json()["number"])


def rolled_back(server: RunningServer, number: int) -> str:
    """Why, once it is."""
    rollout: dict[str, Any] = {}

    def over() -> bool:
        rollout.update(server.admin("GET", f"/api/rollouts/{number}").json())
        return bool(rollout["over"])

    ask_until(server, over)
    assert rollout["state"] == "rolled_back"
    return str(rollout["story"][-1]["says"])
