"""A language model is watched and judged as any model: drift, outcomes, a rollout taken back."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.llm.fake.server import FakeProvider
from tests.end_to_end.server import PATIENCE_S, RunningServer, eventually, running

WANTED = 120
DRAW = random.Random(4)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A model of two versions, the second of which refuses."""
    home = tmp_path_factory.mktemp("judged")
    with FakeProvider() as fake:
        providers = {
            "good": {"base_url": fake.url(), "allow_private": True},
            "bad": {"base_url": fake.url("refuse=1"), "allow_private": True},
        }
        versions = {
            number: {"upstreams": [{"provider": name, "model": "gpt-4o-mini"}]}
            for number, name in ((1, "good"), (2, "bad"))
        }
        config = {
            "monitoring": {"reference_rows": WANTED},
            "llm": {
                "providers": providers,
                "models": {"m": {"default": 1, "versions": versions}},
            },
        }
        with running(home, "--workers", "1", config=json.dumps(config)) as started:
            yield started


def ask(server: RunningServer, **more: Any) -> str:
    """One chat of some length; the id of its answer."""
    text = f"fake?tokens={DRAW.randint(5, 40)} hello"
    answer = server.post(
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": text}], **more},
    )
    assert answer.status == 200, answer.body
    return answer.headers["penstock-request-id"]


def ask_until(server: RunningServer, done: Callable[[], bool]) -> None:
    def asked() -> bool:
        for _ in range(20):
            ask(server)
        return done()

    eventually(asked, 2 * PATIENCE_S)


def drift(server: RunningServer) -> Any:
    answer = server.admin("GET", "/api/models/m/versions/1/drift?window=5m")
    return answer.json() if answer.status == 200 else {}


def test_drift_outcomes_and_rollouts_work_for_a_language_model(server):
    # The first answers become what later ones are held against.
    for number in range(WANTED):
        ask(server, stream=number % 2 == 0)
    eventually(lambda: bool(drift(server)))
    judged = ask(server, max_tokens=50)

    ask_until(server, lambda: drift(server)["rows"] >= 100)
    found = drift(server)
    features = {one["name"] for one in found["features"]}
    outputs = {one["name"] for one in found["outputs"]}
    assert {"prompt_chars", "messages"} <= features
    assert {"output_tokens", "first_token_s", "cost_usd", "refused", "finish", "script"} <= outputs

    # A thumb up or down is a number beside the answer that it is about.
    thumb = {"id": judged, "reward": 1, "metric": "thumbs"}

    def taken() -> bool:
        counts = server.post("/v2/outcomes", thumb).json()["counts"]
        return bool(counts["accepted"] or counts["duplicate"])

    eventually(taken)

    guard = {"kind": "prediction_drift", "outputs": ["refused"]}
    plan = {"steps": [{"percent": 50, "bake_s": 600}], "max_duration_s": 6000, "guards": [guard]}
    body = json.dumps({"to": 2, "plan": plan}).encode()
    started = server.request(
        "POST",
        "/api/routes/m/rollouts",
        body,
        {"content-type": "application/json"},
        server.admin_port,
    )
    assert started.status == 200, started.body
    number, rollout = started.json()["number"], {}

    def over() -> bool:
        rollout.update(server.admin("GET", f"/api/rollouts/{number}").json())
        return bool(rollout["over"])

    ask_until(server, over)
    assert rollout["state"] == "rolled_back"
    assert "prediction_drift: output refused" in rollout["story"][-1]["says"]
