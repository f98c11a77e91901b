"""A real Prometheus scrapes a real gateway: rules are evaluated, and every query finds something.

The gateway goes on with the history of ten minutes, as after a restart; evidence waits for
some 20 seconds of traffic, which tell how much rows depend on each other.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from onnx import numpy_helper

from deploy.grafana import generate
from gateway.processes import end_with_parent
from gateway.profiles import beside
from gateway.profiles.builder import Builder
from gateway.profiles.document import digest
from gateway.profiles.plans import plan_frames
from gateway.profiles.values import Profile
from gateway.tensors import Signature, TensorSpec
from tests.control.watched import Kind, watched_model
from tests.end_to_end.server import RunningServer, eventually, running
from tests.end_to_end.zoo import asked, tensor
from tests.models.builders import identity, linear, save

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (a Debian package)"
)

RULES = Path(generate.__file__).parents[1] / "prometheus" / "penstock.rules.yaml"
CONFIG = """
repository: {paths: [PATH]}
metrics: {bins: {m: [age, 'y[0]']}}
concept: {baseline_outcomes: 100}
models: {chance: {ledger: true, scores: {kind: binary}}, price: {ledger: true}}
"""
# What Grafana puts in place of its variables.
CHOSEN = {
    "$__rate_interval": "15s",
    "$__range": "1m",
    "$model": "m",
    "$version": "1",
    "$feature": ".*",
}
# The dashboard of outcomes is of models with a ledger: a class and a value.
CHOSEN_OF = {"outcomes": {"$model": "chance|price"}}
NAMES = ["age", "income", "debt", "years"]
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),), True
)
WEIGHTS = numpy_helper.to_array(linear().graph.initializer[0])


def draw(rng: np.random.Generator, count: int, shift: float = 0.0):
    """Rows of the model, the first column shifted, and its answers."""
    x = rng.normal(size=(count, 4)).astype(np.float32)
    x[:, 0] += np.float32(shift)
    return [x], [x @ WEIGHTS]


def profile() -> Profile:
    (x,), (y,) = draw(np.random.default_rng(1), 2000)
    plans = plan_frames(SIGNATURE, {"x": x}, {"y": y}, {"x": NAMES})
    with Builder(plans) as builder:
        builder.add(len(x), {"x": x}, {"y": y})
        return builder.build()


@contextmanager
def traffic(server: RunningServer) -> Iterator[None]:
    """Good rows, bad ones and unknown models, until the block is left."""
    stop = threading.Event()
    rng = np.random.default_rng(5)

    def ask() -> None:
        while not stop.wait(0.02):
            (x,), _ = draw(rng, 8, 0.7)
            server.post("/v2/models/m/infer", asked(tensor("x", x, "FP32")))
            server.post("/v2/models/m/infer", asked(tensor("x", [[1.0]], "FP32")))
            server.post("/v2/models/nosuch/infer", asked(tensor("x", [[1.0]], "FP32")))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def send_outcomes(server: RunningServer) -> None:
    """Models that give back their input are right 200 times, and then wrong 300 times."""
    scores = np.array([0.9] * 400 + [0.1] * 100).reshape(-1, 25, 1)
    came = np.array([1] * 200 + [0] * 200 + [1] * 100).reshape(-1, 25)
    for model in ("chance", "price"):
        lines = []
        for x, outcomes in zip(scores, came.tolist(), strict=True):
            answer = server.post(f"/v2/models/{model}/infer", asked(tensor("x", x, "FP32")))
            assert answer.status == 200, answer.body
            name = answer.headers["penstock-request-id"]
            lines += [{"id": name, "row": n, "outcome": one} for n, one in enumerate(outcomes)]
        found = server.post("/v2/outcomes", lines).json()["counts"]
        # Some may come before their record was written down, and wait a moment for it.
        assert found["accepted"] + found["early"] == 500, found


# This server has no language model: the names that their dashboard asks for are held against what
# is offered in tests/test_deploy.py.
SEEN = [name for name in generate.DASHBOARDS if name != "llm"]


@dataclass(frozen=True)
class Prometheus:
    url: str
    log: Path

    def get(self, path: str, **parameters: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=20).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query gives now."""
        found: list[dict[str, Any]] = self.get("query", query=query)["result"]
        return found

    def up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[Prometheus]:
    """One that scrapes the control port each second, ended when the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = free.getsockname()[1]
    document = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "penstock", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(document))
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, preexec_fn=end_with_parent
        )
        try:
            found = Prometheus(f"http://127.0.0.1:{own}", folder / "prometheus.log")
            eventually(found.up)
            yield found
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped a gateway with traffic for some seconds."""
    folder = tmp_path_factory.mktemp("prometheus")
    home = folder / "home"
    home.mkdir()
    save(folder / "repository" / "m" / "1", linear())
    for name in ("chance", "price"):
        save(folder / "repository" / name / "1", identity(("rows", 1)))
    reference = profile()
    beside.save(reference, folder / "repository" / "m" / "1" / "profile.json")
    kind = Kind(SIGNATURE, reference, digest(reference), draw)
    with watched_model(home, kind, start=time.time() - 600) as past:
        past.serve(300)
        past.serve(298, shift=0.7)
    config = CONFIG.replace("PATH", str(folder / "repository"))
    with running(home, "--workers", "1", config=config) as server, traffic(server):
        # Prometheus sees no plan but the one that holds.
        eventually(lambda: server.metric("penstock_model_workers", model="m") == 1)
        send_outcomes(server)
        with prometheus(folder, server.admin_port) as found:
            eventually(lambda: len(found.ask("penstock_drift_log10_e")) > 0, 60)
            eventually(lambda: len(found.ask("feature:penstock_psi:1h")) == 2)
            eventually(lambda: len(found.ask("penstock_performance_outcomes > 0")) == 2)
            eventually(lambda: len(found.ask("count_over_time(up[1m])")) > 0)
            eventually(lambda: float(found.ask("count_over_time(up[1m])")[0]["value"][1]) >= 8)
            yield found


def test_the_gateway_is_scraped_whole(observed):
    (target,) = observed.get("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert observed.log.read_text() == "", "a series twice, or one that it could not take"


def test_every_rule_is_evaluated_and_every_recorded_series_is_there(observed):
    rules = [rule for group in observed.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 15
    assert {
        rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"
    } == {}
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    assert [name for name in recorded if not observed.ask(name)] == []


@pytest.mark.parametrize("name", SEEN)
def test_every_query_of_a_dashboard_finds_something(observed, name):
    dashboard = generate.DASHBOARDS[name]
    empty = []
    for panel in dashboard.panels:
        if any("penstock_experiment" in query for query in panel.queries):
            continue  # this server runs none
        for query in panel.queries:
            for variable, value in (CHOSEN | CHOSEN_OF.get(name, {})).items():
                query = query.replace(variable, value)
            assert "$" not in query
            if not observed.ask(query):
                empty.append(f"{panel.title}: {query}")
    assert empty == []


@pytest.mark.parametrize("name", SEEN)
def test_every_variable_of_a_dashboard_has_values(observed, name):
    for variable in generate.DASHBOARDS[name].variables:
        asks = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.query)
        assert asks is not None
        series, label = asks[1].replace("$model", "m").replace("$version", "1"), asks[2]
        assert observed.get(f"label/{label}/values", **{"match[]": series})


def test_the_shifted_feature_is_what_drifts(observed):
    (evidence,) = observed.ask('penstock_drift_log10_e{feature="age"}')
    assert float(evidence["value"][1]) > 6
    drifting = observed.ask('penstock_drift_verdict{role="feature", verdict="drift"} == 1')
    assert [one["metric"]["feature"] for one in drifting] == ["age"]


def test_its_alert_is_raised_and_names_it(observed):
    def alerts() -> dict[str, Any]:
        return {one["labels"]["alertname"]: one for one in observed.get("alerts")["alerts"]}

    eventually(lambda: "PenstockFeatureDrift" in alerts())
    alert = alerts()["PenstockFeatureDrift"]
    assert alert["labels"]["model"] == "m"
    assert re.fullmatch(
        r"By evidence: age \(log10 e [\d.]+\) ", alert["annotations"]["description"]
    )
    assert "PenstockDown" not in alerts()


def test_psi_of_the_counters_sees_the_shift(observed):
    found = observed.ask("feature:penstock_psi:1h")
    psi = {one["metric"]["feature"]: float(one["value"][1]) for one in found}
    assert psi.keys() == {"age", "y[0]"}
    # N(0.7, 1) against N(0, 1) is 0.49 in nats; some hundred rows and ten bins tell it roughly.
    assert 0.3 < psi["age"] < 0.8


def test_a_model_that_is_wrong_more_often_is_told_with_its_figures(observed):
    def alert() -> list[dict[str, Any]]:
        found = observed.get("alerts")["alerts"]
        named = [one for one in found if one["labels"]["alertname"] == "PenstockConceptDrift"]
        return sorted(named, key=lambda one: str(one["labels"]["model"]))

    eventually(lambda: len(alert()) == 2)
    assert [one["labels"]["model"] for one in alert()] == ["chance", "price"]
    assert alert()[0]["annotations"]["description"].endswith("0% of its first ones")
    (accuracy,) = observed.ask('model:penstock_accuracy:mean{model="chance"}')
    assert float(accuracy["value"][1]) == pytest.approx(0.4)
