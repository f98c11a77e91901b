"""Shadows of a real server: every row is accounted for, and no client ever notices one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gateway.control.registry import Registry
from gateway.control.store import Store
from tests.end_to_end import walks
from tests.end_to_end.crashers import DEADLY, divides
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, make, save, value

STEPS = "/v2/models/walks"
CONFIG = """
models:
  m: {feature_names: [a, b, c, d], capture: {mask: [b]}, ledger: true}
routes:
  m:
    variants: [{name: only, version: 1}]
    shadows: [{version: 2}, {version: 3, share: 0.5}]
"""


def adds_one() -> onnx.ModelProto:
    """y = x + 1."""
    one = numpy_helper.from_array(np.array([1], np.int32), "one")
    return make([helper.make_node("Add", ["x", "one"], ["y"])], *_whole(), [one])


def looks_up() -> onnx.ModelProto:
    """The same for 0 to 9; for others it fails."""
    table = numpy_helper.from_array(np.arange(1, 11, dtype=np.int32), "table")
    return make([helper.make_node("Gather", ["table", "x"], ["y"])], *_whole(), [table])


def at_once() -> onnx.ModelProto:
    """y = steps, as `walks` says, without a step."""
    whole = [value(name, (1,), TensorProto.INT64) for name in ("steps", "y")]
    return make([helper.make_node("Identity", ["steps"], ["y"])], whole[:1], whole[1:])


def _whole() -> tuple[list[Any], list[Any]]:
    shape = ("rows", 1)
    return [value("x", shape, TensorProto.INT32)], [value("y", shape, TensorProto.INT32)]


MODELS = {
    "m": [linear(seed=1), linear(seed=2), linear(seed=1)],
    "n": [adds_one(), looks_up(), divides()],
    "wider": [linear(), linear(features=5)],
    "walks": [at_once(), walks.walks()],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("shadows")
    with Store.open(home) as store:
        registry = Registry(store, home)
        for name, versions in MODELS.items():
            for number, model in enumerate(versions, 1):
                registry.register(save(home / f"{name}-{number}", model), name, number)
            registry.set_alias(name, "champion", 1)
    with running(home, "--workers", "1", config=CONFIG) as started:
        yield started


def numbers(*values: int) -> bytes:
    one = {"name": "x", "shape": [len(values), 1], "datatype": "INT32", "data": values}
    return json.dumps({"inputs": [one]}).encode()


def table(values: Any) -> bytes:
    one = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": values.tolist()}
    return json.dumps({"inputs": [one]}).encode()


def shadow(server: RunningServer, model: str, **wanted: Any) -> Answer:
    """One variant, and a shadow of it."""
    document = {"variants": [{"name": "only", "version": 1}], "shadows": [wanted]}
    headers = {"content-type": "application/json"}
    data = json.dumps(document).encode()
    answer = server.request("PUT", f"/api/routes/{model}", data, headers, server.admin_port)
    assert answer.status == 200, answer.body
    return answer


def pair(server: RunningServer, model: str, version: int) -> Any:
    found = server.admin("GET", f"/api/routes/{model}/shadows").json()["pairs"]
    return next(one for one in found if one["shadow"] == version)


def rows(server: RunningServer, model: str, version: int) -> dict[str, int]:
    found: dict[str, int] = pair(server, model, version)["rows"]
    return {name: count for name, count in found.items() if count}


def ask(server: RunningServer, model: str, bodies: list[bytes]) -> list[tuple[str, bytes]]:
    """One after the other on one connection; all are answered: the id and the body of each."""
    found = []
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as line:
        for data in bodies:
            line.request("POST", f"/v2/models/{model}/infer", data)
            answer = line.getresponse()
            found.append((answer.headers["penstock-request-id"], answer.read()))
            assert answer.status == 200, found[-1]
    return found


def scores(server: RunningServer, version: int, values: Any) -> Any:
    """What a version of `m` says, asked by its number."""
    told: list[float] = []
    for start in range(0, len(values), 100):
        data = table(values[start : start + 100])
        answer = server.request("POST", f"/v2/models/m/versions/{version}/infer", data)
        told += answer.json()["outputs"][0]["data"]
    return np.array(told).reshape(-1, 2)[:, 1]


def test_every_row_is_compared_and_the_figures_are_those_of_the_answers(server):
    values = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    bodies = [table(values[start : start + 3]) for start in range(0, 300, 3)]
    ids = [one for one, _ in ask(server, "m", bodies)]
    past = "/v2/models/m/versions/1/infer"
    assert server.request("POST", past, table(values[:5])).status == 200  # not the route's
    eventually(lambda: rows(server, "m", 2) == {"copied": 300, "compared": 300})
    first, second = (scores(server, version, values) for version in (1, 2))
    found = pair(server, "m", 2)
    assert found["disagreement"]["rows"] == int(((first > 0.5) != (second > 0.5)).sum())
    assert found["difference"]["higher"] == int((second > first).sum())
    assert found["difference"]["mean"] == pytest.approx(float((second - first).mean()), abs=1e-5)
    assert sum(one["rows"] for one in found["difference"]["bins"]) == 300
    assert found["right"]["known"] == 0
    outcomes = [
        {"id": ids[place // 3], "row": place % 3, "outcome": int(score > 0.5)}
        for place, score in enumerate(first.tolist())
    ]
    joined = server.post("/v2/outcomes", outcomes)
    assert joined.json()["counts"]["accepted"] == 300, joined.body
    right = pair(server, "m", 2)["right"]  # where the two disagree, what was answered was right
    assert 0 < right["known"] == right["answered"] <= found["disagreement"]["rows"]
    assert right["shadow"] == 0 < right["log10_e"]
    same = pair(server, "m", 3)
    assert 0 < same["rows"]["copied"] < 300
    assert same["rows"]["copied"] % 3 == 0  # whole requests
    assert same["disagreement"]["value"] == same["difference"]["mean"] == 0.0
    labels = {"model": "m", "version": "1", "shadow": "2"}
    assert server.metric("penstock_shadow_rows_total", result="compared", **labels) == 300
    assert server.metric("penstock_requests_total", model="m", version="2") == 3


def test_the_rows_that_differ_most_are_kept_without_what_is_masked(server):
    found = server.admin("GET", "/api/routes/m/shadows/2/rows").json()["rows"]
    assert 0 < len(found) <= 32
    unlikeness = [one["unlikeness"] for one in found]
    assert unlikeness == sorted(unlikeness, reverse=True)
    (inputs,) = found[0]["inputs"].values()
    assert [value is None for value in inputs] == [False, True, False, False]
    said, other = found[0]["said"]["y"][1], found[0]["shadow_said"]["y"][1]
    assert (said > 0.5) != (other > 0.5)
    assert found[0]["request_id"].count("-") >= 3


def test_a_slow_shadow_keeps_nobody_waiting_and_what_finds_no_room_is_dropped(server):
    shadow(server, "walks", version=2, max_waiting_rows=50)
    steps = walks.steps_for(server, 3.0, f"{STEPS}/versions/2/infer")
    ask(server, "walks", [walks.body(steps)])
    eventually(lambda: rows(server, "walks", 2).get("waiting") == 1)
    ask(server, "walks", [walks.body(1)] * 300)
    # All were answered while the first copy still ran.
    assert "compared" not in rows(server, "walks", 2)
    eventually(lambda: rows(server, "walks", 2)["copied"] == 301)  # after its answer
    assert rows(server, "walks", 2)["dropped"] >= 240
    eventually(lambda: "waiting" not in rows(server, "walks", 2))
    found = rows(server, "walks", 2)
    assert found["compared"] + found["dropped"] == 301
    assert pair(server, "walks", 2)["disagreement"]["value"] == 0.0


def test_a_shadow_that_fails_is_counted_row_by_row_and_fails_no_client(server):
    shadow(server, "n", version=2)
    told = ask(server, "n", [numbers(value) for value in range(19)])
    assert [json.loads(one)["outputs"][0]["data"] for _, one in told] == [
        [n + 1] for n in range(19)
    ]
    eventually(lambda: rows(server, "n", 2) == {"copied": 19, "compared": 10, "failed": 9})
    assert pair(server, "n", 2)["failures"]["value"] == pytest.approx(9 / 19)
    assert server.metric("penstock_requests_total", model="n", result="failed") == 0


def test_a_shadow_that_fails_again_and_again_is_pulled_and_no_client_notices(server):
    def route() -> Any:
        ask(server, "n", [numbers(value) for value in range(10, 20)])
        return server.admin("GET", "/api/routes/n").json()

    eventually(lambda: bool(route()["pulled"]))
    (pull,) = route()["pulled"]
    assert (pull["variant"], pull["version"]) == ("a shadow", 2)
    # Copies are counted by several workers' turns: either bound may be passed first.
    assert pull["evidence"]["kind"] in ("in_a_row", "share")
    assert [one["running"] for one in route()["shadows"]] == [False]
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    assert [one["after"] for one in entries if one["action"] == "route pull"] == [pull]


def test_a_worker_that_is_asked_more_than_it_can_fails_nobody_because_of_a_shadow(server):
    shadow(server, "walks", version=2, max_waiting_rows=50)
    before = server.metric("penstock_requests_total", model="walks", result="failed")
    path, data = "/v2/models/walks/infer", walks.body(1000)
    with Traffic(server.port, path, data, connections=64) as clients:
        clients.go_on(2000)
    assert clients.tally.statuses.keys() == {200}
    assert clients.tally.cut == clients.tally.no_connection == 0
    assert server.metric("penstock_requests_total", model="walks", result="failed") == before
    eventually(lambda: "waiting" not in rows(server, "walks", 2))
    found = rows(server, "walks", 2)  # copies were dropped, and each is accounted for
    assert 0 < found["dropped"] < found["copied"] == found["compared"] + found["dropped"]


def test_a_shadow_that_kills_its_worker_is_pulled_at_once_and_the_route_goes_on(server):
    shadow(server, "n", version=3)
    before = server.status()["workers"][0]["restarts"]
    # Its copy runs once it is answered.
    ((_, told),) = ask(server, "n", [numbers(DEADLY)])
    assert json.loads(told)["outputs"][0]["data"] == [DEADLY + 1]

    def pulled() -> bool:
        route = server.admin("GET", "/api/routes/n").json()
        models = server.admin("GET", "/api/models").json()["models"]
        (reason,) = [one["reason"] for one in models if (one["name"], one["version"]) == ("n", 3)]
        return not route["shadows"][0]["running"] and "ran as a shadow" in reason

    eventually(pulled)
    eventually(lambda: server.status()["workers"][0]["state"] == "ready")
    ask(server, "n", [numbers(DEADLY)] * 20)
    assert server.status()["workers"][0]["restarts"] == before + 1
    route = server.admin("GET", "/api/routes/n").json()
    assert [(one["variant"], one["version"]) for one in route["serving"]] == [("only", 1)]


REFUSED = [
    pytest.param("m", {"version": 9}, 404, "'m' has no version 9; it has: 1, 2, 3", id="version"),
    pytest.param("m", {"alias": "none"}, 400, "'m' has no alias 'none'", id="alias"),
    pytest.param("m", {"version": 2, "share": 2}, 400, "should be less than or equal", id="share"),
    pytest.param(
        "wider",
        {"version": 2},
        409,
        "shadows[0]: version 2 answers otherwise than version 1:"
        " input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now",
        id="signature",
    ),
]


@pytest.mark.parametrize(("model", "wanted", "status", "said"), REFUSED)
def test_a_shadow_that_cannot_be_is_refused(server, model, wanted, status, said):
    document = {"variants": [{"name": "only", "version": 1}], "shadows": [wanted]}
    headers = {"content-type": "application/json"}
    data = json.dumps(document).encode()
    answer = server.request("PUT", f"/api/routes/{model}", data, headers, server.admin_port)
    assert answer.status == status
    assert said in answer.json()["error"]
    assert server.admin("GET", "/api/routes/none/shadows").status == 404
