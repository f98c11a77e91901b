"""Real answers, and what came of them: late, shuffled, twice, and with processes killed between."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from loadtest import bodies
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running

MODEL = "breast_cancer"
CONFIG = (
    "ledger: {enabled: true}\nmodels: {breast_cancer: {scores: {classes: [malignant, benign]}}}"
)
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
    with running(tmp_path, DEMO_MODEL, "--workers", "1", config=CONFIG) as server:
        assert post(server, [caller.outcome(place) for place in order]) == {"duplicate": len(order)}
