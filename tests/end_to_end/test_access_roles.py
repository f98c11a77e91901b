"""What each role may, and nobody, on both ports of a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end.guarded import (
    BODY,
    DATA_PORT,
    INFER,
    MODEL,
    World,
    bearer,
    guarded,
    penstock,
)
from tests.end_to_end.server import Answer, eventually
from tests.models.builders import linear, save


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with guarded(tmp_path_factory.mktemp("roles")) as started:
        yield started


@pytest.mark.parametrize(("method", "path", "body"), DATA_PORT)
def test_nobody_gets_anything_from_the_data_port(world, method, path, body):
    answer = world.server.request(method, path, body)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="penstock"')


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(world, path):
    assert world.server.get(path).status == 200


def test_each_role_may_on_the_data_port_what_it_is_for(world):
    loads = "/v2/repository/models/nothing/load"
    statuses = {
        role: (
            world.infer(key),
            world.server.request("GET", f"/v2/models/{MODEL}", None, bearer(key)).status,
            world.server.request("POST", loads, b"", bearer(key)).status,
        )
        for role, key in world.keys.items()
    }
    assert statuses == {
        "client": (200, 200, 403),
        "viewer": (403, 200, 403),
        "operator": (403, 200, 404),
        "approver": (403, 200, 403),
        "admin": (403, 200, 404),
        "narrow": (403, 403, 403),
    }


def test_a_key_sees_only_the_models_that_it_may_call(world):
    def names(key: str) -> tuple[list[str], list[str]]:
        index = world.server.request("POST", "/v2/repository/index", b"", bearer(key)).json()
        stats = world.server.request("GET", "/v2/models/stats", None, bearer(key)).json()
        return [one["name"] for one in index], [one["name"] for one in stats["model_stats"]]

    assert names(world.keys["client"]) == ([MODEL], [MODEL])
    assert names(world.keys["narrow"]) == ([], [])
    # Whether a model exists that it may not call is not told either.
    assert world.infer(world.keys["narrow"], "/v2/models/nothing/infer") == 403
    assert world.infer(world.keys["narrow"], "/v2/models/another/infer") == 404


def test_who_may_not_call_a_model_tells_no_outcomes_of_it(world):
    answer = world.server.request("POST", INFER, BODY, bearer(world.keys["client"]))
    name = answer.headers["penstock-request-id"]

    def tell(role: str, outcome: int = 1) -> dict[str, int] | int:
        body = json.dumps({"id": name, "outcome": outcome}).encode()
        told = world.server.request("POST", "/v2/outcomes", body, bearer(world.keys[role]))
        if told.status != 200:
            return told.status
        return {name: count for name, count in told.json()["counts"].items() if count}

    assert [tell(role) for role in ("viewer", "operator", "admin")] == [403, 403, 403]
    # Until it stands in the ledger it waits.
    eventually(lambda: tell("client") == {"duplicate": 1})
    # Whether such an answer was ever given is not told either.
    assert tell("narrow", 0) == {"unknown": 1}
    assert tell("client") == {"duplicate": 1}


def test_each_role_may_on_the_control_port_what_it_is_for(world):
    asked = [
        ("GET", "/api/status"),
        ("GET", "/api/audit"),
        ("GET", "/api/config"),
        ("POST", "/api/reload"),
        ("GET", "/api/keys"),
    ]
    statuses = {
        role: tuple(world.control(method, path, key).status for method, path in asked)
        for role, key in {**world.keys, "nobody": None}.items()
    }
    assert statuses == {
        "client": (403, 403, 403, 403, 403),
        "viewer": (200, 200, 200, 403, 403),
        "operator": (200, 200, 200, 200, 403),
        "approver": (200, 200, 200, 403, 403),
        "admin": (200, 200, 200, 200, 200),
        "narrow": (403, 403, 403, 403, 403),
        "nobody": (401, 401, 401, 401, 401),
    }
    metrics = world.control("GET", "/metrics", world.keys["viewer"]).body.decode()
    for reason in ("unauthenticated", "forbidden"):
        assert f'penstock_control_refusals_total{{reason="{reason}"}} ' in metrics


def test_no_role_can_give_itself_more(world):
    for role in ("client", "viewer", "operator", "approver", "narrow"):
        wanted = json.dumps({"name": f"by-{role}", "role": "admin"}).encode()
        assert world.control("POST", "/api/keys", world.keys[role], wanted).status == 403
        assert world.control("DELETE", "/api/keys/1", world.keys[role]).status == 403
        assert world.control("PUT", "/api/config", world.keys[role], b"{}").status == 403
        assert world.control("POST", "/api/config/rollback", world.keys[role]).status == 403
        assert world.control("POST", "/api/keys/5/rotate", world.keys[role], b"{}").status == 403
    assert not any(key["name"].startswith("by-") for key in penstock(world.home, "keys", "list"))


def test_a_step_is_approved_by_another_key_than_the_one_that_started_it(world):
    with Store.open(world.home) as store:
        registry = Registry(store, world.home)
        for version in (1, 2):
            file = save(world.home / f"linear{version}", linear(seed=version))
            registry.register(file, "approved", version)
        registry.set_alias("approved", "champion", 1)
    serving = "/v2/models/approved/ready"
    ready = bearer(world.keys["client"])
    eventually(lambda: world.server.request("GET", serving, None, ready).status == 200)

    def ask(role: str, path: str, **wanted: object) -> Answer:
        return world.control("POST", path, world.keys[role], json.dumps(wanted).encode())

    first = {"percent": 10, "bake_s": 0, "min_rows": 0, "approval": True}
    plan = {"steps": [first, {"percent": 100, "bake_s": 600}], "guards": []}
    started = ask("admin", "/api/routes/approved/rollouts", to=2, plan=plan)
    assert started.status == 200, started.body
    place = f"/api/rollouts/{started.json()['number']}"

    def shown() -> Any:
        return world.control("GET", place, world.keys["viewer"]).json()

    eventually(lambda: shown()["waits"])
    refused = ask("admin", f"{place}/approve")
    assert (refused.status, refused.json()["error"]) == (
        403,
        "it was started by admin: somebody else has to approve it",
    )
    assert ask("operator", f"{place}/approve").status == 403  # whose role may not
    assert (shown()["waits"], shown()["step"]) == (True, 1)
    approved = ask("approver", f"{place}/approve", why="it looks well")
    assert (approved.status, approved.json()["step"]) == (200, 2), approved.body
    entries = world.control("GET", "/api/audit?limit=1000", world.keys["viewer"]).json()["entries"]
    (entry,) = [one for one in entries if one["action"] == "rollout approved"]
    assert (entry["who"], entry["subject"]) == ("approver", "approved")
    assert ask("operator", f"{place}/abort").status == 200
