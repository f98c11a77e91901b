"""Routes of a real server with two workers: who answers whom, and how fast a stop is obeyed."""

from __future__ import annotations

import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import psutil
import pytest

from gateway.control.registry import Registry
from gateway.control.store import Store
from gateway.routing.assign import ByKey
from tests.end_to_end.server import Answer, RunningServer, eventually, running
from tests.models.builders import linear, save

INFER = "/v2/models/m/infer"
ROUTE = "/api/routes/m"
VERSIONS = {"stable": "1", "canary": "2"}
CONFIG = """
routes:
  m:
    variants:
      - {name: stable, version: 1, weight: 3}
      - {name: canary, alias: next, weight: 1}
    sticky: {header: x-user}
    overrides: {header: penstock-variant}
    fallback: stable
  unlike:
    variants: [{name: a, version: 1, weight: 3}, {name: b, version: 2}]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home = tmp_path_factory.mktemp("routes")
    with Store.open(home) as store:
        registry = Registry(store, home)
        for version in (1, 2, 3):
            registry.register(save(home / str(version), linear(seed=version)), "m", version)
        registry.set_alias("m", "next", 2)
        for version in (1, 2):
            registry.register(save(home / f"u{version}", linear(3 + version)), "unlike", version)
    with running(home, "--workers", "2", config=CONFIG) as started:
        yield started


def body(rows: int = 1, **parameters: Any) -> bytes:
    tensor = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [1.0] * 4 * rows}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def asked(server: RunningServer, path: str = INFER, data: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request("POST", path, data or body(), named)


def variant(answer: Answer) -> str:
    """Which variant answered, as all four places say."""
    assert answer.status == 200, answer.body
    told = answer.json()
    name = answer.headers["penstock-variant"]
    assert told["parameters"] == {"variant": name}
    assert answer.headers["penstock-version"] == told["model_version"]
    if name in VERSIONS:
        assert told["model_version"] == VERSIONS[name]
    return name


def change(server: RunningServer, method: str, path: str, value: Any = None) -> Answer:
    data = None if value is None else json.dumps(value).encode()
    headers = {"content-type": "application/json"}
    return server.request(method, path, data, headers, port=server.admin_port)


def test_a_key_gets_its_variant_in_every_worker(server):
    keys = ByKey("m", {"stable": 3.0, "canary": 1.0})
    users = [f"user-{number}" for number in range(40)]
    # Each on a connection of its own, which either worker takes.
    got = [variant(asked(server, x_user=user)) for user in users + users]
    assert got == [keys.of(user.encode()) for user in users + users]
    assert len(set(got)) == 2


def test_without_a_key_variants_take_turns(server):
    with closing(HTTPConnection("127.0.0.1", server.port)) as line:
        got: Counter[str] = Counter()
        for _ in range(400):
            line.request("POST", INFER, body())
            answer = line.getresponse()
            got[answer.headers["penstock-variant"]] += 1
            answer.read()
    assert abs(got["canary"] - 100) <= 3


@pytest.mark.parametrize(
    ("wanted", "name"), [("stable", "stable"), ("canary", "canary"), ("2", "canary")]
)
def test_a_header_may_name_the_variant_or_its_version(server, wanted, name):
    assert variant(asked(server, x_user="user-1", penstock_variant=wanted)) == name


def test_a_variant_that_there_is_not_is_refused(server):
    answer = asked(server, penstock_variant="3")
    assert answer.status == 400
    assert "expected a variant of 'm' (stable, canary) or its version" in answer.json()["error"]


def test_a_path_with_a_version_goes_past_the_route(server):
    answer = asked(server, "/v2/models/m/versions/2/infer", penstock_variant="stable")
    assert (answer.status, answer.json()["model_version"]) == (200, "2")
    assert "penstock-variant" not in answer.headers
    assert "parameters" not in answer.json()


def test_who_names_a_version_is_its_caller_and_who_is_routed_there_is_not(server):
    def named() -> int:
        found = server.admin("GET", "/api/models/m/versions/2/callers").json()["callers"]
        return sum(one["requests"] for one in found)

    before = named()
    assert asked(server, penstock_variant="2").json()["model_version"] == "2"
    assert named() == before
    assert asked(server, "/v2/models/m/versions/2/infer").status == 200
    assert asked(server, "/v2/models/%6D/versions/2/infer").status == 200
    assert named() == before + 2


def test_any_spelling_of_the_path_and_any_body_is_routed(server):
    assert variant(asked(server, "/v2/models/%6D/infer", penstock_variant="canary")) == "canary"
    large = body(rows=100)
    packed = gzip.compress(large)
    headers = {"penstock_variant": "canary", "content_encoding": "gzip"}
    assert variant(asked(server, data=packed, **headers)) == "canary"


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        pytest.param(
            {"version": 9}, 404, "variants[1].version: 'm' has no version 9", id="version"
        ),
        pytest.param({"alias": "x"}, 400, "variants[1].alias: 'm' has no alias 'x'", id="alias"),
        pytest.param({}, 400, "expected a version or an alias, got neither", id="neither"),
    ],
)
def test_a_route_over_what_nobody_has_is_refused_and_the_old_one_stays(
    server, changed, status, said
):
    variants = [{"name": "stable", "version": 1}, {"name": "canary", **changed}]
    answer = change(server, "PUT", ROUTE, {"variants": variants})
    assert answer.status == status
    assert said in answer.json()["error"]
    route = server.admin("GET", ROUTE).json()
    assert (route["source"], route["fault"]) == ("document", None)
    assert [(one["variant"], one["version"]) for one in route["serving"]] == [
        ("stable", 1),
        ("canary", 2),
    ]


def test_versions_that_take_other_tensors_are_not_divided_among_and_the_difference_is_named(server):
    differs = "input 'x': FP32 [-1, 4] before, FP32 [-1, 5] now"
    route = server.admin("GET", "/api/routes/unlike").json()
    assert differs in route["fault"]
    assert [(one["version"], one["share"]) for one in route["serving"]] == [(1, 1.0)]
    variants = [{"name": "a", "version": 1, "weight": 3}, {"name": "b", "version": 2}]
    answer = change(server, "PUT", "/api/routes/unlike", {"variants": variants})
    assert answer.status == 409
    assert (
        f"variants[1]: version 2 answers otherwise than version 1: {differs}"
        in (answer.json()["error"])
    )


def test_by_a_parameter_the_variant_is_found_after_decoding(server):
    route = {
        "variants": [
            {"name": "stable", "version": 1, "weight": 1},
            {"name": "third", "version": 3, "weight": 1},
        ],
        "sticky": {"parameter": "user"},
        "overrides": {"parameter": "want"},
    }
    answer = change(server, "PUT", ROUTE, route)
    assert (answer.status, answer.json()["fault"]) == (200, None)
    keys = ByKey("m", {"stable": 1.0, "third": 1.0})
    for rows in (1, 100):
        for user in range(10):
            got = asked(server, data=body(rows, user=user))
            assert variant(got) == keys.of(b"%d" % user)
            assert got.json()["model_version"] == {"stable": "1", "third": "3"}[variant(got)]
    packed = gzip.compress(body(100, user=7))
    assert variant(asked(server, data=packed, content_encoding="gzip")) == keys.of(b"7")
    assert variant(asked(server, data=body(user=1, want="third"))) == "third"
    assert asked(server, data=body(want="canary")).status == 400
    assert change(server, "DELETE", ROUTE).json()["source"] == "document"


def test_a_stop_is_obeyed_by_every_worker_before_it_is_answered_and_no_request_fails(server):
    stopped, ended = threading.Event(), threading.Event()
    late: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    def ask() -> None:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as line:
            while not ended.is_set():
                after = stopped.is_set()
                line.request("POST", INFER, body())
                answer = line.getresponse()
                answer.read()
                statuses[answer.status] += 1
                if after:
                    late[answer.headers["penstock-variant"]] += 1

    callers = [threading.Thread(target=ask) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        answer = change(server, "POST", f"{ROUTE}/stop", {"why": "canary is wrong"})
        stopped.set()
        eventually(lambda: late.total() > 100)
    finally:
        ended.set()
        for caller in callers:
            caller.join()
    assert answer.status == 200, answer.body
    assert set(late) == {"stable"}
    assert set(statuses) == {200}
    assert answer.json()["stopped"]["why"] == "canary is wrong"


def test_a_stop_outlives_control_and_the_audit_says_who_and_why(server):
    _kill_control(server)
    route = server.admin("GET", ROUTE).json()
    assert [(one["variant"], one["share"]) for one in route["serving"]] == [("stable", 1.0)]
    assert {variant(asked(server)) for _ in range(20)} == {"stable"}
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    (entry,) = [one for one in entries if one["action"] == "route stop"]
    assert entry["subject"] == "m"
    assert entry["after"]["stop"]["why"] == "canary is wrong"
    assert entry["who"] == entry["after"]["stop"]["who"]


def test_a_stop_may_name_any_version_that_serves(server):
    change(server, "POST", f"{ROUTE}/stop", {"fallback": 3})
    answer = asked(server)
    assert (answer.status, answer.json()["model_version"]) == (200, "3")
    refused = change(server, "POST", f"{ROUTE}/stop", {"fallback": 9})
    assert refused.status == 404
    assert "version 9 cannot answer alone" in refused.json()["error"]


def test_a_route_goes_on_where_it_is_resumed(server):
    assert change(server, "POST", f"{ROUTE}/resume").json()["stopped"] is None
    assert change(server, "POST", f"{ROUTE}/resume").status == 404
    keys = ByKey("m", {"stable": 3.0, "canary": 1.0})
    users = [f"user-{number}" for number in range(20)]
    got = [variant(asked(server, x_user=user)) for user in users]
    assert got == [keys.of(user.encode()) for user in users]


def _kill_control(server: RunningServer) -> None:
    pid = server.status()["control"]
    psutil.Process(pid).kill()

    def replaced() -> bool:
        try:
            return bool(server.status()["control"] != pid and server.status()["ready"])
        except OSError:
            return False

    eventually(replaced)
