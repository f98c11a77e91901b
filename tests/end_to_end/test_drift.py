"""A real server, real rows, and verdicts read back over HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import bodies
from tests.end_to_end import commands
from tests.end_to_end.server import DEMO_MODEL, RunningServer, eventually, running
from tests.end_to_end.traffic import Traffic

MODEL = "bc"
DATA = DEMO_MODEL.with_suffix(".csv")
LEFT_OUT = "target,split,expected_label,expected_probability"
ROWS = 40  # a request
SHIFTED = "mean_texture"


def penstock(home: Path, *words: str, status: int = 0) -> str:
    run = commands.penstock(*words, "--home", home)
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A registry with the demo's model and its profile."""
    words = ["register", str(DEMO_MODEL), "--name", MODEL, "--reference", str(DATA)]
    penstock(tmp_path, *words, "--drop", LEFT_OUT)
    return tmp_path


class Source:
    """Draws of the demo's real rows, one column of them shifted on demand."""

    def __init__(self) -> None:
        self._real = bodies._real_rows()
        self._rng = np.random.default_rng(7)
        self.shift_sd = 0.0
        self.sent = 0
        self._place = DATA.read_text().split("\n", 1)[0].split(",").index(SHIFTED)

    def body(self) -> bytes:
        rows = self._real[self._rng.integers(len(self._real), size=ROWS)].copy()
        rows[:, self._place] += self.shift_sd * self._real[:, self._place].std()
        return bodies.json_body(rows.astype(np.float32))

    def send(self, server: RunningServer) -> None:
        answer = server.request("POST", f"/v2/models/{MODEL}/infer", self.body())
        assert answer.status == 200, answer.body
        self.sent += ROWS

    def send_until(self, server: RunningServer, done: Callable[[], bool], within_s: float) -> None:
        end = time.monotonic() + within_s
        while not done():
            assert time.monotonic() < end, f"not within {within_s} s"
            for _ in range(10):
                self.send(server)


def drift(server: RunningServer, query: str = "?window=10m") -> Any:
    answer = server.admin("GET", f"/api/models/{MODEL}/versions/1/drift{query}")
    assert answer.status == 200, answer.body
    return answer.json()


def verdicts(report: Any, field: str = "verdict") -> dict[str, str]:
    return {line["name"]: line[field] for line in (*report["features"], *report["outputs"])}


def drifted(server: RunningServer) -> list[str]:
    """Features on which the alarm stands."""
    return [one["name"] for one in drift(server)["features"] if one["alarm"] == "drift"]


def test_a_shifted_column_is_named_and_nothing_else_and_clean_traffic_is_not(home):
    source = Source()
    with running(home, "--workers", "2") as server:
        known = lambda: "too_few_rows" not in verdicts(drift(server)).values()  # noqa: E731
        source.send_until(server, known, 60)
        clean = drift(server)
        assert (clean["verdict"], clean["alarm"]) == ("ok", "ok")
        assert clean["rows"] == pytest.approx(source.sent, abs=10 * ROWS)
        assert clean["reference_rows"] == 569
        source.shift_sd = 0.8
        source.send_until(server, lambda: SHIFTED in drifted(server), 60)
        # What the model makes of it is another matter, and told as one.
        assert drifted(server) == [SHIFTED]
        table = penstock(home, "drift", MODEL, "--window", "1m", status=3)
        assert table.splitlines()[3].startswith(SHIFTED)
        one = next(line for line in drift(server)["features"] if line["name"] == SHIFTED)
        assert one["alarm_log10_e"] > 3


def test_windows_go_on_after_a_kill_of_everything_and_after_a_restart(home):
    source = Source()
    with running(home, "--workers", "2") as server:
        for _ in range(25):
            source.send(server)
        eventually(lambda: drift(server)["rows"] == source.sent)
        for process in (server.status()["control"], server.status()["workers"][0]["pid"]):
            os.kill(process, signal.SIGKILL)
        eventually(lambda: all(w["state"] == "ready" for w in _workers(server)))
        source.send(server)
        eventually(lambda: _rows(server) == source.sent)
    with running(home, "--workers", "1") as server:
        assert drift(server)["rows"] == source.sent
        source.send(server)
        eventually(lambda: drift(server)["rows"] == source.sent)


def test_a_worker_that_is_killed_in_the_middle_costs_no_request_count_and_one_batch_at_most(home):
    source, kills = Source(), 4
    a_request_a_batch = f"models: {{{MODEL}: {{max_batch_size: {ROWS}}}}}"
    with running(home, "--workers", "2", config=a_request_a_batch) as server:
        with Traffic(server.port, f"/v2/models/{MODEL}/infer", source.body()) as traffic:
            for kill in range(kills):
                traffic.go_on(200)
                victim = server.status()["workers"][kill % 2]
                os.kill(victim["pid"], signal.SIGKILL)
                eventually(partial(_replaced, server, victim))
            traffic.go_on(200)
        tally = traffic.tally
        assert tally.statuses.keys() == {200}
        answered = server.metric("penstock_requests_total", model=MODEL, result="ok")
        assert tally.ok <= answered <= tally.ok + tally.cut

        def lost() -> float:
            return answered * ROWS - drift(server)["rows"]

        eventually(lambda: lost() <= kills * ROWS)
        before = drift(server)["rows"]
        source.send(server)
        answered += 1
        eventually(lambda: drift(server)["rows"] > before)
        assert 0 <= lost() <= kills * ROWS
        report = drift(server)
        assert report["skipped_rows"] == 0
        # Of a batch that was being counted, some columns may be in and others not.
        for line in (*report["features"], *report["outputs"]):
            assert abs(line["rows"] - report["rows"]) <= kills * ROWS


def _replaced(server: RunningServer, victim: Any) -> bool:
    now = server.status()["workers"][victim["slot"]]
    return bool(now["state"] == "ready" and now["epoch"] > victim["epoch"])


def _workers(server: RunningServer) -> Any:
    try:
        return server.status()["workers"]
    except OSError:  # control is being replaced
        return [{"state": "unknown"}]


def _rows(server: RunningServer) -> int:
    try:
        return int(drift(server)["rows"])
    except (OSError, AssertionError):  # control is being replaced, or has not looked yet
        return -1


def test_bins_are_shown_on_demand_and_add_up_to_the_rows(home):
    source = Source()
    with running(home, "--workers", "1") as server:
        source.send(server)
        eventually(lambda: drift(server)["rows"] == ROWS)
        assert drift(server)["features"][0]["bins"] is None
        for line in drift(server, "?bins=1&window=1m")["features"]:
            assert sum(one["count"] for one in line["bins"]) == line["rows"] == ROWS
            assert sum(one["reference"] for one in line["bins"]) == 569
        by_rows = drift(server, "?rows=1&bins=1")
        assert (by_rows["rows"], by_rows["variant"]) == (ROWS, None)
        assert by_rows["features"][0]["bins"] == drift(server, "?bins=1")["features"][0]["bins"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param("versions/1/drift?window=59s", 400, "invalid_parameter", id="short"),
        pytest.param("versions/1/drift?window=31d", 400, "invalid_parameter", id="long"),
        pytest.param("versions/1/drift?window=x", 400, "invalid_parameter", id="no-window"),
        pytest.param(
            "versions/1/drift?window=4d&reference=same-hours:4w",
            400,
            "invalid_parameter",
            id="long-same-hours",
        ),
        pytest.param("versions/1/drift?rows=0", 400, "invalid_parameter", id="no-rows"),
        pytest.param("versions/1/drift?rows=9&window=1m", 400, "invalid_parameter", id="two-ends"),
        pytest.param("versions/9/drift", 404, "not_found", id="no-version"),
        pytest.param("versions/1/drift?variant=b", 404, "not_found", id="no-variant"),
        pytest.param("versions/1/drift?bin=1", 400, "invalid_parameter", id="no-parameter"),
    ],
)
def test_what_cannot_be_reported_is_refused_by_name(shared, path, status, code):
    answer = shared.admin("GET", f"/api/models/{MODEL}/{path}")
    assert (answer.status, json.loads(answer.body)["code"]) == (status, code)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("drift")
    words = ["register", str(DEMO_MODEL), "--name", MODEL, "--reference", str(DATA)]
    penstock(folder, *words, "--drop", LEFT_OUT)
    with running(folder, "--workers", "1") as server:
        yield server


def test_a_young_server_says_how_many_weeks_it_knows(shared):
    found = drift(shared, "?window=10m&reference=same-hours:4w")
    assert (found["reference_kind"], found["reference_weeks"]) == ("same-hours:4w", 0)
    printed = penstock(shared.home, "drift", MODEL, "--reference", "same-hours:4w")
    assert "rows came in these hours in 0 of the last 4 weeks" in printed


def test_a_profile_that_is_attached_while_the_server_runs_is_taken_up(tmp_path):
    penstock(tmp_path, "register", str(DEMO_MODEL), "--name", MODEL)
    source = Source()
    with running(tmp_path, "--workers", "1") as server:
        source.send(server)
        assert server.admin("GET", f"/api/models/{MODEL}/versions/1/drift").status == 404
        penstock(tmp_path, "profile", MODEL, "--data", str(DATA), "--drop", LEFT_OUT)
        path = f"/api/models/{MODEL}/versions/1/drift"
        eventually(lambda: server.admin("GET", path).status == 200)

        def counted() -> bool:
            source.send(server)
            return bool(drift(server)["rows"] > 0)

        eventually(counted)
