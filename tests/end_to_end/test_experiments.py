"""An A/B test and a bandit on a server with two workers: real requests, real rewards, a kill."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.test_outcomes import kill
from tests.end_to_end.test_routes import body, change
from tests.models.builders import linear, save

CONFIG = """
ledger: {enabled: true}
routes:
  m:
    variants:
      - {name: stable, version: 1, weight: 9}
      - {name: canary, alias: next, weight: 1}
    sticky: {header: x-user}
    overrides: {header: penstock-variant}
"""
RATES = {"stable": 0.1, "canary": 0.3}
EXPERIMENT = {"measure": {"metric": "sale"}, "expected_rows": 1000}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("experiments")
    with Store.open(home) as store:
        registry = Registry(store, home)
        for version in (1, 2):
            registry.register(save(home / str(version), linear(seed=version)), "m", version)
        registry.set_alias("m", "next", 2)
    with running(home, "--workers", "2", config=CONFIG) as started:
        yield started


class Shop:
    """Sends customers' requests, and tells later what each of them bought."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server
        self.chance = random.Random(5)
        self.rewards: list[dict[str, Any]] = []
        self.answered: Counter[str] = Counter()

    def serve(self, customers: range, **headers: str) -> Counter[str]:
        """Requests on a few connections, which either worker takes; who answered how many."""
        answered: Counter[str] = Counter()
        for first in range(customers.start, customers.stop, 100):
            with closing(HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as line:
                for customer in range(first, min(first + 100, customers.stop)):
                    told = {"x-user": f"customer-{customer}", **headers}
                    line.request("POST", "/v2/models/m/infer", body(), told)
                    answer = line.getresponse()
                    assert (answer.status, answer.read()[:1]) == (200, b"{")
                    variant = answer.headers["penstock-variant"]
                    answered[variant] += 1
                    bought = self.chance.random() < RATES[variant]
                    name = answer.headers["penstock-request-id"]
                    self.rewards.append({"id": name, "metric": "sale", "reward": bought})
        self.answered += answered
        return answered

    def tell(self) -> None:
        """Posts what came of requests, in another order."""
        self.chance.shuffle(self.rewards)
        lines = "\n".join(map(json.dumps, self.rewards)).encode()
        answer = self.server.request("POST", "/v2/outcomes", lines)
        assert answer.status == 200, answer.body
        counts = answer.json()["counts"]
        assert counts["accepted"] + counts["early"] == len(self.rewards), counts
        self.rewards = []


def start(server: RunningServer, experiment: dict[str, Any]) -> Answer:
    return change(server, "POST", "/api/routes/m/experiments", {"experiment": experiment})


def show(server: RunningServer, number: int) -> Any:
    answer = server.admin("GET", f"/api/experiments/{number}")
    assert answer.status == 200, answer.body
    return answer.json()


def test_an_ab_test_finds_the_better_variant_through_a_killed_control(server):
    answer = start(server, {"kind": "ab", "arms": {"stable": 1, "canary": 1}, **EXPERIMENT})
    assert answer.status == 200, answer.body
    one = answer.json()
    assert one["warnings"] == ["no number of metric 'sale' had ever come at the start; known: none"]
    refused = change(server, "PUT", "/api/routes/m", {"variants": [{"name": "a", "version": 1}]})
    assert (refused.status, refused.json()["code"]) == (409, "conflict")
    shop = Shop(server)
    shop.serve(range(300))
    asked = shop.serve(range(300, 340), **{"penstock-variant": "canary"})
    assert asked == {"canary": 40}
    kill(server, "control")
    shop.serve(range(340, 1000))
    assert 400 < shop.answered["stable"] < 560
    shop.tell()
    found: dict[str, Any] = {}

    def decided() -> bool:
        found.update(show(server, one["number"]))
        return found["state"] != "running"

    eventually(decided)
    assert (found["state"], found["winner"]) == ("decided", "canary")
    arms = {arm["name"]: arm for arm in found["report"]["measure"]["arms"]}
    # Who asked for a variant was assigned by nobody.
    assert arms["stable"]["estimate"]["n"] == shop.answered["stable"]
    assert arms["canary"]["estimate"]["n"] == shop.answered["canary"] - 40
    assert found["report"]["others"] == 40
    assert not found["report"]["mismatch"]["alarm"]
    assert arms["canary"]["vs_control"]["low"] > 0.0
    route = server.admin("GET", "/api/routes/m").json()
    assert (route["leader"], [one["share"] for one in route["serving"]]) == (None, [0.9, 0.1])


def test_a_bandit_moves_requests_to_the_better_variant_and_can_be_replayed(server):
    bandit = {"kind": "bandit", "measure": {"metric": "sale"}, "floor": 0.1, "every_s": 1}
    one = start(server, bandit).json()
    assert one["shares"] == {"stable": 0.5, "canary": 0.5}
    shop = Shop(server)
    shop.serve(range(2000, 2300))
    shop.tell()
    eventually(lambda: show(server, one["number"])["shares"]["canary"] > 0.85)
    moved = show(server, one["number"])["shares"]["canary"]
    route = server.admin("GET", "/api/routes/m").json()
    assert route["leader"] == f"experiment {one['number']}"
    assert max(line["share"] for line in route["serving"]) == pytest.approx(moved, abs=0.05)
    kill(server, "control")  # workers go on by its shares, and so does the next one
    answered = shop.serve(range(3000, 3300))
    assert answered["canary"] > 220
    eventually(lambda: show(server, one["number"])["shares"]["canary"] > 0.85)
    shop.tell()
    assert server.metric("penstock_experiment_arm_share", arm="canary") > 0.8
    replayed = server.admin("GET", "/api/routes/m/replay?metric=sale&shares=stable").json()
    # All rows that were left to chance in both experiments, each once, though control was killed
    # in both; what the other 40 asked for is not.
    assert replayed["rows"] == 1560
    assert replayed["snips"]["low"] < RATES["stable"] < replayed["snips"]["high"]
    assert replayed["mean"]["mean"] > replayed["snips"]["mean"] + 0.05
    ended = change(
        server, "POST", f"/api/experiments/{one['number']}/stop", {"winner": "canary"}
    ).json()
    assert (ended["state"], ended["takes"]) == ("stopped", "canary")
    assert shop.serve(range(20)) == {"canary": 20}
    listed = server.admin("GET", "/api/experiments").json()["experiments"]
    assert [line["state"] for line in listed] == ["stopped", "decided"]
