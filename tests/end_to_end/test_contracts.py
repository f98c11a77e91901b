"""A real server under all three policies of a contract, and back to an earlier release."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import bodies
from tests.end_to_end.server import DEMO_MODEL, Answer, RunningServer, eventually, running
from tests.end_to_end.test_drift import DATA, LEFT_OUT, MODEL, penstock

ROWS = np.ascontiguousarray(bodies._real_rows()[:4], np.float32)
NAMES = DATA.read_text().split("\n", 1)[0].split(",")
COLUMN = NAMES.index("mean_texture")
PATH = f"/v2/models/{MODEL}/infer"
API = f"/api/models/{MODEL}/versions/1"


def broken() -> np.ndarray[Any, Any]:
    """The rows, one value of them far out of its range."""
    rows = ROWS.copy()
    rows[2, COLUMN] = 1e6
    return rows


def ask(server: RunningServer, rows: np.ndarray[Any, Any], binary: bool = False) -> Answer:
    body = bodies.json_body(rows)
    if binary:
        body = json.dumps({**json.loads(body), "parameters": {"binary_data_output": True}}).encode()
    return server.request("POST", PATH, body)


def violations(server: RunningServer) -> dict[tuple[str, str], int]:
    shown = server.admin("GET", f"{API}/contract").json()
    return {(one["feature"], one["rule"]): one["count"] for one in shown["violations"]}


def put(server: RunningServer, contract: Any, query: str = "") -> Answer:
    headers = {"content-type": "application/json"}
    body = json.dumps(contract).encode()
    return server.request("PUT", f"{API}/contract{query}", body, headers, server.admin_port)


def policy(home: Path, name: str, more: str = "") -> None:
    file = home / "policy.yaml"
    file.write_text(f"models: {{{MODEL}: {{contract: {name}}}}}\n{more}")
    penstock(home, "config", "apply", str(file))


def alarms(server: RunningServer) -> dict[str, str]:
    return {
        one["rule"]: one["state"] for one in server.admin("GET", "/api/alerts").json()["alerts"]
    }


class Traffic:
    """Good rows, again and again, from a thread of its own."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.statuses: list[int] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._stop.is_set():
            self.statuses.append(ask(self._server, ROWS).status)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    words = ["register", str(DEMO_MODEL), "--name", MODEL, "--reference", str(DATA)]
    penstock(tmp_path, *words, "--drop", LEFT_OUT)
    return tmp_path


def windowed(server: RunningServer) -> dict[str, Any]:
    found: dict[str, Any] = server.admin("GET", f"{API}/drift").json()["contract"]
    return found


def test_inputs_are_observed_warned_of_and_rejected_and_a_release_comes_back(home):
    with running(home, "--workers", "1") as server:
        # Nobody said anything: breaches are counted, and answers are as ever.
        answer = ask(server, broken())
        assert (answer.status, "penstock-contract-violations" in answer.headers) == (200, False)
        eventually(lambda: violations(server) == {("mean_texture", "above"): 1})
        labels = {"model": MODEL, "feature": "mean_texture", "rule": "above"}
        # Windows are looked at once a second.
        eventually(lambda: windowed(server)["rows"] == 4)
        quality = windowed(server)
        assert (quality["policy"], len(quality["violations"])) == ("observe", 1)
        assert "mean_texture=above:1" in penstock(home, "drift", MODEL)
        assert server.metric("penstock_contract_violations_total", **labels) == 1

        policy(home, "warn")
        eventually(lambda: "penstock-contract-violations" in ask(server, broken()).headers)
        for binary in (False, True):
            answer = ask(server, broken(), binary)
            assert answer.headers["penstock-contract-violations"] == "mean_texture=above:1"
            length = answer.headers.get("inference-header-content-length")
            document = json.loads(answer.body[: None if length is None else int(length)])
            assert document["parameters"] == {"contract_violations": "mean_texture=above:1"}
            assert (length is not None) == binary
        assert "parameters" not in ask(server, ROWS).json()

        policy(home, "reject")
        eventually(lambda: ask(server, broken()).status == 422)
        answer = ask(server, broken())
        assert answer.headers["penstock-error-code"] == "contract_violated"
        said = answer.json()["error"]
        assert said.startswith("contract: row 2, feature 'mean_texture': expected ")
        assert said.endswith(", got 1000000.0")
        assert ask(server, ROWS).status == 200

        # A wider range, from a file, takes the value; the release before does not.
        file = home / "contract.json"
        contract = json.loads(penstock(home, "contract", MODEL, "--json"))
        contract["tensors"][0]["columns"][COLUMN]["max"] = 2e6
        file.write_text(json.dumps(contract))
        with Traffic(server) as traffic:
            penstock(home, "contract", MODEL, "--set", str(file), "--note", "wider")
            eventually(lambda: ask(server, broken()).status == 200)
            penstock(home, "monitoring", "rollback", MODEL)
            eventually(lambda: ask(server, broken()).status == 422)
        assert set(traffic.statuses) == {200}

        found = server.admin("GET", f"{API}/monitoring").json()["releases"]
        assert [(one["number"], one["edited"], one["note"]) for one in found] == [
            (3, False, "as release 1"),
            (2, True, "wider"),
            (1, False, ""),
        ]
        assert found[0]["contract"] == found[2]["contract"]
        listed = json.loads(penstock(home, "monitoring", "history", MODEL, "--json"))
        assert listed == found
        shown = server.admin("GET", f"{API}/monitoring/releases/2").json()
        assert (shown["note"], shown["contract_document"]) == ("wider", contract)

        # The same through the control port.
        answer = put(server, contract, "?note=again")
        assert (answer.status, answer.json()["release"]["number"]) == (200, 4)
        eventually(lambda: ask(server, broken()).status == 200)
        too_large = json.loads(json.dumps(contract))
        too_large["tensors"][0]["columns"][0]["max"] = 10**400
        answer = put(server, too_large)
        assert (answer.status, answer.json()["code"]) == (422, "contract_invalid")
        contract["tensors"][0]["columns"].pop()
        answer = put(server, contract)
        assert answer.status == 422
        assert "expected 30 columns, got 29" in answer.json()["error"]
        answer = server.admin("POST", f"{API}/monitoring/rollback?release=3")
        assert answer.json()["release"]["note"] == "as release 3"
        eventually(lambda: ask(server, broken()).status == 422)

        # Thresholds are of the release, too: a rule that is configured goes with a rollback.
        rule = "{name: busy, figure: rows, threshold: 0, window_s: 60, every_s: 1, min_rows: 0}"
        policy(home, "reject", f"alerts: {{rules: [{rule}]}}\n")
        eventually(lambda: alarms(server).get("busy") == "firing")
        penstock(home, "monitoring", "rollback", MODEL)
        eventually(lambda: alarms(server)["busy"] == "resolved")
        told = penstock(home, "audit", "list")
        for action in ("monitoring release", "contract set", "monitoring rollback"):
            assert action in told
