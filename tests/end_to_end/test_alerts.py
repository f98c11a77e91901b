"""Alarms of a running server: clean rows, one shifted feature, and clean rows again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from gateway.cli.demo_rows import DATA, read_rows
from tests.end_to_end import commands
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running
from tests.receiver import SECRET, receiving

SHIFTED = "worst_texture"
CONFIG = """
alerts:
  rules:
    - {{name: shifted, of: features, figure: ks, threshold: 0.3, clear: 0.15, window_s: 60,
       every_s: 1, clear_panes: 2, severity: critical, cooldown_s: 0}}
  sinks:
    - {{name: ops, url_file: {url_file}, secret_env: OPS_SECRET}}
    - {{name: away, url: "http://127.0.0.1:9/", max_attempts: 1, severities: [critical]}}
"""


def penstock(home: Path, *words: str) -> str:
    run = commands.penstock(*words, "--home", home)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that holds the demo's model with its reference."""
    csv = str(DATA / "breast_cancer.csv")
    drop = "split,expected_label,expected_probability"
    reference = ("--reference", csv, "--labels", "target", "--drop", drop)
    penstock(tmp_path, "register", str(DEMO_MODEL), *reference)
    return tmp_path


class Traffic:
    """Rows of the data, drawn at random."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.rng = np.random.default_rng(5)
        self.values = np.array([row.values for row in read_rows()], np.float32)
        with (DATA / "breast_cancer.csv").open() as file:
            self.place = file.readline().split(",").index(SHIFTED)
        self.spread = self.values[:, self.place].std()

    def send(self, count: int, shift: float = 0.0) -> None:
        for _ in range(count // 100):
            rows = self.values[self.rng.integers(0, len(self.values), 100)]
            rows[:, self.place] += np.float32(shift * self.spread)
            x = {"name": "X", "shape": [100, 30], "datatype": "FP32", "data": rows.tolist()}
            answer = self.server.post("/v2/models/breast_cancer/infer", {"inputs": [x]})
            assert answer.status == 200, answer.body


def alarms(server: RunningServer) -> list[dict]:
    return server.admin("GET", "/api/alerts").json()["alerts"]


def test_a_shifted_feature_is_one_alarm_until_rows_are_clean_again(home, tmp_path):
    with receiving() as receiver:
        file = tmp_path / "url"
        file.write_text(f"{receiver.url}/hooks/T0KEN\n")
        config = CONFIG.format(url_file=file)
        environment = {"OPS_SECRET": SECRET}
        with running(home, "--workers", "1", config=config, environment=environment) as server:
            traffic = Traffic(server)
            traffic.send(600)
            eventually(lambda: seen(server) == 600)
            assert (alarms(server), receiver.posts) == ([], [])

            traffic.send(1000, shift=3.0)
            eventually(lambda: len(receiver.posts) == 1)
            [post] = receiver.posts
            told = post.json()
            assert (post.signed, post.path) == (True, "/hooks/T0KEN")
            assert (told["status"], told["model"], told["rule"]) == (
                "firing",
                "breast_cancer",
                "shifted",
            )
            assert [column["name"] for column in told["columns"]] == [SHIFTED]
            assert (
                server.metric("penstock_alerts_firing", rule="shifted", model="breast_cancer") == 1
            )
            [line] = alarms(server)
            assert (line["state"], line["id"]) == ("firing", told["id"])
            listed = penstock(home, "alerts", "list")
            assert SHIFTED in listed
            assert "firing" in listed

            # The other sink is away: its letter is dead, and can be tried again.
            eventually(lambda: "away" in penstock(home, "alerts", "dead-letters"))
            [dead] = json.loads(penstock(home, "alerts", "dead-letters", "--json"))
            penstock(home, "alerts", "retry", str(dead["number"]))
            assert "alert retry" in penstock(home, "audit", "list")

            traffic.send(8000)
            eventually(lambda: len(receiver.posts) == 2)
            over = receiver.posts[1].json()
            assert (over["status"], over["id"]) == ("resolved", told["id"])
            assert [one["state"] for one in alarms(server)] == ["resolved"]
            assert server.metric("penstock_alerts_firing") == 0
            # What opens a sink's door is told nowhere.
            assert "T0KEN" not in server.log
            assert SECRET not in server.log
            assert "T0KEN" not in server.admin("GET", "/api/config/effective").body.decode()


def seen(server: RunningServer) -> int | None:
    path = "/api/models/breast_cancer/versions/1/drift?window=1m"
    return server.admin("GET", path).json().get("rows")


def test_a_killed_control_process_goes_on_firing_and_tells_nothing_twice(home, tmp_path):
    with receiving() as receiver:
        file = tmp_path / "url"
        file.write_text(receiver.url)
        environment = {"OPS_SECRET": SECRET}
        config = CONFIG.format(url_file=file)
        with running(home, "--workers", "1", config=config, environment=environment) as server:
            traffic = Traffic(server)
            traffic.send(1000, shift=3.0)
            eventually(lambda: len(receiver.posts) == 1)
            # Killed between its arrival and that being written down, it would come once more.
            eventually(lambda: delivered(server) == 1)
            control = server.status()["control"]
            os.kill(control, 9)
            eventually(lambda: restarted(server, control))
            traffic.send(1000, shift=3.0)
            eventually(lambda: [one["state"] for one in alarms(server)] == ["firing"])
            traffic.send(16_000)
            eventually(lambda: len(receiver.posts) == 2)
            statuses = [post.json()["status"] for post in receiver.posts]
            assert statuses == ["firing", "resolved"]


def delivered(server: RunningServer) -> float:
    return server.metric("penstock_alert_deliveries_total", sink="ops", result="delivered")


def restarted(server: RunningServer, before: int) -> bool:
    try:
        return server.status()["control"] != before and server.status()["ready"]
    except OSError:
        return False
