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
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running
from tests.outcomes.by_scikit_learn import binary_by_scikit_learn

MODEL = "breast_cancer"
CONFIG = (
    "ledger: {enabled: true}\nmodels: {breast_cancer: {scores: {classes: [malignant, benign]}}}"
)
PATH = f"/api/models/{MODEL}/versions/1/performance"
REQUESTS = 60
WITHHELD = 7


class Caller:
    """Sends real rows, and remembers what was answered to each."""

    def __init__(self) -> None:
        table = DEMO_MODEL.with_suffix(".csv").read_text().splitlines()
        head = table[0].split(",")
        self._targets = [int(line.split(",")[head.index("target")]) for line in table[1:]]
        self._rows = bodies._real_rows().astype(np.float32)
        self.rng = np.random.default_rng(11)
        self.ids: list[tuple[str, int]] = []
        self.scores: list[float] = []
        self.labels: list[int] = []

    def ask(self, server: RunningServer, requests: int) -> None:
        for _ in range(requests):
            chosen = self.rng.integers(len(self._rows), size=self.rng.integers(1, 20))
            answer = server.request(
                "POST", f"/v2/models/{MODEL}/infer", bodies.json_body(self._rows[chosen])
            )
            outputs = {one["name"]: one["data"] for one in answer.json()["outputs"]}
            self.scores += outputs["probabilities"][1::2]
            self.labels += [self._targets[row] for row in chosen]
            name = answer.headers["penstock-request-id"]
            self.ids += [(name, row) for row in range(len(chosen))]

    def outcome(self, place: int, wrong: bool = False) -> dict[str, Any]:
        name, row = self.ids[place]
        return {"id": name, "row": row, "outcome": self.labels[place] ^ int(wrong)}


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


def performance(server: RunningServer, query: str = "") -> Any:
    answer = server.admin("GET", PATH + query)
    assert answer.status == 200, answer.body
    found = answer.json()
    for moving in ("end", "window_s"):
        del found[moving]
    return found


def figures_are_right(caller: Caller, order: list[int], found: Any) -> None:
    """Every figure against scikit-learn, on the very rows that were answered and labelled."""
    metrics = pytest.importorskip("sklearn.metrics")
    scores = np.array(caller.scores, np.float32).astype(float)[order]  # as the model gave them
    labels = np.array(caller.labels, float)[order]
    wanted = binary_by_scikit_learn(scores, labels, 0.5)
    wanted |= {"mean_score": scores.mean(), "mean_outcome": labels.mean()}
    told = found["figures"]
    assert {name: told[name] for name in wanted} == pytest.approx(wanted, rel=1e-9)
    auc = metrics.roc_auc_score(labels, scores)
    assert abs(told["roc_auc"] - auc) <= told["roc_auc_error"] + 1e-9
    estimate = found["estimate"]
    assert (estimate["calibrated"], estimate["rows"]) == (False, len(caller.ids))
    assert estimate["figures"]["mean_outcome"] == pytest.approx(np.mean(caller.scores), rel=1e-6)
    assert estimate["beside"]["accuracy"]["realised"] == told["accuracy"]
    assert (found["records"], found["labelled"]) == (len(caller.ids), len(order))
    assert found["coverage"] == pytest.approx(len(order) / len(caller.ids))
    assert found["corrected"] == 5
    assert 0 < found["delay_mean_s"] < found["delay_max_s"]
    ends = found["intervals"]["accuracy"]
    assert ends["low"] < told["accuracy"] < ends["high"]
    assert sum(line["n"] for line in found["reliability"]) == len(order)


def test_outcomes_are_joined_whoever_dies_and_however_they_come(tmp_path: Path) -> None:
    caller = Caller()
    with running(tmp_path, DEMO_MODEL, "--workers", "2", config=CONFIG) as server:
        caller.ask(server, REQUESTS // 2)
        eventually(lambda: records(server) == len(caller.ids))
        kill(server, "worker")
        caller.ask(server, REQUESTS // 2)
        order = caller.rng.permutation(len(caller.ids))[WITHHELD:].tolist()
        half = len(order) // 2
        first = post(
            server, [caller.outcome(place, wrong=n < 5) for n, place in enumerate(order[:half])]
        )
        assert first == {"accepted": half}
        kill(server, "control")
        rest = post(server, [caller.outcome(place) for place in order])
        assert rest == {"accepted": len(order) - half, "corrected": 5, "duplicate": half - 5}
        assert post(server, [{"id": "1", "outcome": 1}, {"id": 1}]) == {"unknown": 1, "invalid": 1}
        figures_are_right(caller, order, performance(server))
        assert performance(server, "?window=1h") == performance(server)
        assert server.admin("GET", f"{PATH}?window=1s").status == 400
        assert server.admin("GET", PATH.replace("/1/", "/2/")).status == 404
    with running(tmp_path, DEMO_MODEL, "--workers", "1", config=CONFIG) as server:
        figures_are_right(caller, order, performance(server))
        assert post(server, [caller.outcome(place) for place in order]) == {"duplicate": len(order)}
