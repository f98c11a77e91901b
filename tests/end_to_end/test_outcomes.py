"""Real answers, and what came of them: late, shuffled, twice, and with processes killed between."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import bodies
from tests.end_to_end.server import RunningServer, eventually, running
from tests.end_to_end.three_kinds import Kind, three_kinds

CONFIG = "models: {breast_cancer: {scores: {classes: [malignant, benign]}}}"
REQUESTS = 60
WITHHELD = 7
WRONG = 5


class Caller:
    """Sends real rows to a model, and remembers what was answered to each."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.rng = np.random.default_rng(11)
        self.ids: list[tuple[str, int]] = []
        self.outputs: list[np.ndarray[Any, Any]] = []
        self.labels: list[float] = []

    def ask(self, server: RunningServer, requests: int) -> None:
        kind = self.kind
        for _ in range(requests):
            chosen = self.rng.integers(len(kind.rows), size=self.rng.integers(1, 20))
            body = bodies.json_body(kind.rows[chosen], kind.tensor)
            answer = server.request("POST", f"/v2/models/{kind.name}/infer", body)
            assert answer.status == 200, answer.body
            outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
            # As the model gave them, before they were text.
            found = np.array(outputs[kind.output], np.float32).astype(float)
            self.outputs += list(found.reshape(len(chosen), -1))
            self.labels += kind.labels[chosen].tolist()
            name = answer.headers["penstock-request-id"]
            self.ids += [(name, row) for row in range(len(chosen))]

    def shuffled(self) -> list[int]:
        """All rows but a few, of which nobody ever hears."""
        return self.rng.permutation(len(self.ids))[WITHHELD:].tolist()

    def outcomes(self, places: list[int], wrong: int = 0) -> list[dict[str, Any]]:
        """What came of some rows; of the first few, what will have to be corrected."""
        found = []
        for number, place in enumerate(places):
            name, row = self.ids[place]
            label = self.labels[place]
            outcome = self.kind.wrong(label) if number < wrong else label
            found.append({"id": name, "row": row, "outcome": outcome})
        return found


def post(server: RunningServer, outcomes: list[dict[str, Any]]) -> Counter[str]:
    body = "\n".join(map(json.dumps, outcomes)).encode()
    answer = server.request("POST", "/v2/outcomes", body)
    assert answer.status == 200, answer.body
    return Counter({name: n for name, n in answer.json()["counts"].items() if n})


def kill(server: RunningServer, which: str) -> None:
    status = server.status()
    dead = status["control"] if which == "control" else status["workers"][0]["pid"]
    os.kill(dead, signal.SIGKILL)
    eventually(lambda: _replaced(server, dead))


def _replaced(server: RunningServer, dead: int) -> bool:
    try:
        status = server.status()
    except OSError:
        return False
    workers = status["workers"]
    return dead not in (status["control"], *(one["pid"] for one in workers)) and all(
        one["state"] == "ready" for one in workers
    )


def records(server: RunningServer) -> int:
    found: int = server.admin("GET", "/api/outcomes").json()["records"]
    return found


def path(name: str, version: int = 1) -> str:
    return f"/api/models/{name}/versions/{version}/performance"


def performance(server: RunningServer, name: str, query: str = "") -> Any:
    answer = server.admin("GET", path(name) + query)
    assert answer.status == 200, answer.body
    found = answer.json()
    for moving in ("end", "window_s"):
        del found[moving]
    return found


def figures_are_right(caller: Caller, order: list[int], found: Any) -> None:
    outputs, labels = np.array(caller.outputs)[order], np.array(caller.labels, float)[order]
    caller.kind.right(found, outputs, labels)
    assert (found["records"], found["labelled"]) == (len(caller.ids), len(order))
    assert found["coverage"] == pytest.approx(len(order) / len(caller.ids))
    assert found["corrected"] == WRONG
    assert 0 < found["delay_mean_s"] < found["delay_max_s"]
    for name, ends in found["intervals"].items():
        assert ends["low"] <= found["figures"][name] <= ends["high"], name
    estimate = found["estimate"]
    if estimate is not None:
        assert (estimate["calibrated"], estimate["rows"]) == (False, len(caller.ids))
        assert estimate["beside"]["accuracy"]["realised"] == found["figures"]["accuracy"]
    if found["kind"] == "binary":
        expected = np.array(caller.outputs)[:, 1].mean()
        assert estimate["figures"]["mean_outcome"] == pytest.approx(expected, rel=1e-6)


def test_outcomes_are_joined_whoever_dies_and_however_they_come(tmp_path: Path) -> None:
    kinds = three_kinds(tmp_path)
    models = [kind.path for kind in kinds]
    callers = [Caller(kind) for kind in kinds]
    with running(tmp_path, *models, "--workers", "2", config=CONFIG) as server:
        for caller in callers:
            caller.ask(server, REQUESTS // 2)
        eventually(lambda: records(server) == sum(len(caller.ids) for caller in callers))
        kill(server, "worker")
        for caller in callers:
            caller.ask(server, REQUESTS // 2)
        orders = [caller.shuffled() for caller in callers]
        half = [len(order) // 2 for order in orders]
        for caller, order, count in zip(callers, orders, half, strict=True):
            assert post(server, caller.outcomes(order[:count], WRONG)) == {"accepted": count}
        kill(server, "control")
        for caller, order, count in zip(callers, orders, half, strict=True):
            rest = post(server, caller.outcomes(order))
            new = {"accepted": len(order) - count, "corrected": WRONG, "duplicate": count - WRONG}
            assert rest == new
            found = performance(server, caller.kind.name)
            figures_are_right(caller, order, found)
            assert performance(server, caller.kind.name, "?window=1h") == found
        assert [performance(server, one.name)["kind"] for one in kinds] == [
            "binary",
            "multiclass",
            "value",
        ]
        assert post(server, [{"id": "1", "outcome": 1}, {"id": 1}]) == {"unknown": 1, "invalid": 1}
        assert server.admin("GET", path("wine") + "?window=1s").status == 400
        assert server.admin("GET", path("wine", 2)).status == 404
    with running(tmp_path, *models, "--workers", "1", config=CONFIG) as server:
        for caller, order in zip(callers, orders, strict=True):
            figures_are_right(caller, order, performance(server, caller.kind.name))
            assert post(server, caller.outcomes(order)) == {"duplicate": len(order)}
