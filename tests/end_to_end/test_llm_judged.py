"""A language model is watched and judged as any model: drift, outcomes, a rollout taken back."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gateway.cli import main
from gateway.llm.fake.server import FakeProvider
from tests.end_to_end.server import PATIENCE_S, RunningServer, eventually, running
from tests.end_to_end.test_routes import change
from tests.receiver import Receiver, receiving

WANTED = 120
DRAW = random.Random(4)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[RunningServer]:
    """Four versions: the second refuses, the third never comes to an end, the fourth is down."""
    home = tmp_path_factory.mktemp("judged")
    with FakeProvider() as fake:
        providers = {
            "good": {"base_url": fake.url(), "allow_private": True},
            "bad": {"base_url": fake.url("refuse=1"), "allow_private": True},
            "cut": {"base_url": fake.url("finish=length"), "allow_private": True},
            "down": {"base_url": fake.url("status=503"), "allow_private": True},
        }
        versions = {
            number: {"upstreams": [{"provider": name, "model": "gpt-4o-mini"}]}
            for number, name in ((1, "good"), (2, "bad"), (3, "cut"), (4, "down"))
        }
        tried = {"default": 1, "versions": dict.fromkeys((1, 2), versions[1])}
        config = {
            "monitoring": {"reference_rows": WANTED},
            "ledger": {"enabled": True, "client_ids": True},
            "alerts": {"sinks": [{"name": "ops", "url": receiver.url}]},
            "llm": {
                "providers": providers,
                "models": {"m": {"default": 1, "versions": versions}, "tried": tried},
            },
        }
        with running(home, "--workers", "1", config=json.dumps(config)) as started:
            yield started


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


def ask(server: RunningServer, statuses: tuple[int, ...] = (200,), **more: Any) -> str:
    """One chat of some length, answered with one of these statuses; the id of its answer."""
    text = f"fake?tokens={DRAW.randint(5, 40)} hello"
    answer = server.post("/v1/chat/completions", chat(text, **more))
    assert answer.status in statuses, answer.body
    return answer.headers["penstock-request-id"]


def ask_until(
    server: RunningServer, done: Callable[[], bool], statuses: tuple[int, ...] = (200,)
) -> None:
    def asked() -> bool:
        for _ in range(20):
            ask(server, statuses)
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
    rollout = taken_back(server, 2, [{"percent": 50, "bake_s": 600}], guard)
    assert "prediction_drift: output refused" in rollout["story"][-1]["says"]


def test_an_outcome_may_name_an_answer_as_its_client_called_it(server):
    headers = {"content-type": "application/json", "x-client-request-id": "client-1"}
    body = json.dumps(chat("fake?tokens=3 hello")).encode()
    assert server.request("POST", "/v1/chat/completions", body, headers).status == 200
    thumb = {"client_id": "client-1", "reward": 0, "metric": "thumbs"}

    def joined() -> bool:
        counts = server.post("/v2/outcomes", thumb).json()["counts"]
        return bool(counts["accepted"] or counts["duplicate"])

    eventually(joined)
    assert server.post("/v2/outcomes", thumb | {"client_id": "client-2"}).json()["counts"]["early"]


def test_a_version_whose_answers_disagree_is_taken_back_before_anybody_gets_one(server, capsys):
    steps = [{"shadow_percent": 100, "bake_s": 600}, {"percent": 50, "bake_s": 600}]
    rollout = taken_back(server, 3, steps, {"kind": "disagreement", "min_rows": 30})
    assert "disagreement: other answers than the primary's" in rollout["story"][-1]["says"]
    served = [server.metric("penstock_requests_total", model="m", version=one) for one in "13"]
    assert served[0] > served[1] == 0
    labels = {"model": "m", "version": "1", "shadow": "3"}
    compared = server.metric("penstock_shadow_rows_total", **labels, result="compared")
    assert compared >= 30
    differing = {"aspect": "finish", **labels}
    assert server.metric("penstock_shadow_differences_total", **differing) == compared

    assert main(["shadow", "show", "m", "--home", str(server.home)]) == 0
    told = capsys.readouterr().out
    lines = [line.split()[:4] for line in told.splitlines()]
    assert ["finish", f"{compared:.0f}", "100", "%"] in lines
    assert "texts are 1 alike" in told  # it says the same, and more would have come
    assert main(["shadow", "rows", "m", "3", "--home", str(server.home)]) == 0
    told = capsys.readouterr().out
    assert "finish stop" in told
    assert "finish length" in told


def test_a_version_whose_provider_is_down_is_taken_back_though_nobody_asks_it_any_more(server):
    guard = {"kind": "errors"}
    rollout = taken_back(server, 4, [{"percent": 50, "bake_s": 600}], guard, (200, 502, 503))
    assert "failures in a row" in rollout["story"][-1]["says"]


def test_an_experiment_has_each_of_its_callers_answered_by_one_version(server):
    variants = [{"name": name, "version": n} for n, name in ((1, "old"), (2, "new"))]
    route = {"variants": variants, "sticky": {"parameter": "user"}}
    assert change(server, "PUT", "/api/routes/tried", route).status == 200
    experiment = {
        "kind": "ab",
        "arms": {"old": 1, "new": 1},
        "measure": {"metric": "liked"},
        "expected_rows": 200,
    }
    path = "/api/routes/tried/experiments"
    started = change(server, "POST", path, {"experiment": experiment})
    assert started.status == 200, started.body
    given: dict[str, set[str]] = {}
    rewards = []
    for number in range(160):
        user = f"u{number % 80}"
        more = {"model": "tried", "user": user, "metadata": {"team": "web"}}
        answer = server.post("/v1/chat/completions", chat("fake?tokens=3", **more))
        variant = answer.headers["penstock-variant"]
        given.setdefault(user, set()).add(variant)
        name = answer.headers["penstock-request-id"]
        rewards.append({"id": name, "metric": "liked", "reward": variant == "new"})
    assert {len(variants) for variants in given.values()} == {1}
    told = server.request("POST", "/v2/outcomes", "\n".join(map(json.dumps, rewards)).encode())
    assert told.status == 200, told.body

    def arms() -> dict[str, Any]:
        number = started.json()["number"]
        report = server.admin("GET", f"/api/experiments/{number}").json()["report"]
        return {arm["name"]: arm["estimate"] for arm in report["measure"]["arms"]}

    eventually(lambda: sum(arm["n"] for arm in arms().values()) == len(rewards))
    assert [arms()[name]["mean"] for name in ("old", "new")] == [0.0, 1.0]


def test_that_another_model_answers_is_told_once_in_the_audit_and_to_a_sink(server, receiver):
    def ask_for(model: str) -> None:
        text = f"fake?tokens=2&model={model}"
        assert server.post("/v1/chat/completions", chat(text)).status == 200

    def told() -> list[str]:
        return [
            said for post in receiver.taken if "upstream_changed" in (said := post.body.decode())
        ]

    ask(server)
    ask_for("gpt-of-tomorrow")
    eventually(lambda: "gpt-of-tomorrow" in "".join(told()))
    for model in ("gpt-4o-mini", "gpt-of-tomorrow", "gpt-of-tomorrow"):
        ask_for(model)
    ask_for("gpt-of-next-week")  # once this is told, the others would have been
    eventually(lambda: "gpt-of-next-week" in told()[-1])
    assert len(told()) == 2

    def written() -> list[str]:
        entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
        return [one["subject"] for one in entries if one["action"] == "upstream changed"]

    eventually(lambda: written() == ["m/1/good/gpt-4o-mini"] * 2)


def taken_back(
    server: RunningServer,
    to: int,
    steps: list[Any],
    guard: Any,
    statuses: tuple[int, ...] = (200,),
) -> Any:
    """A rollout, once its guard has failed under the traffic that comes meanwhile."""
    plan = {"steps": steps, "max_duration_s": 6000, "guards": [guard]}
    body = json.dumps({"to": to, "plan": plan}).encode()
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

    ask_until(server, over, statuses)
    assert rollout["state"] == "rolled_back"
    return rollout
