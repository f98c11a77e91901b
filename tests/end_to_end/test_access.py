"""Keys and tokens of a real server, over real sockets: made, used, replaced and taken back."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.access.keys import digest
from gateway.access.secret import FILE, VARIABLE, server_secret
from gateway.control.audit import os_user
from gateway.control.jwks import ASKED_S
from gateway.control.keys import Keys
from gateway.control.store import Store
from gateway.monitor.layout import MAX_KEY_SERIES
from tests.control.auditing import ANN
from tests.end_to_end.guarded import (
    BODY,
    CONFIG,
    INFER,
    MODEL,
    World,
    bearer,
    guarded,
    penstock,
)
from tests.end_to_end.provider import OnlineProvider, Provider
from tests.end_to_end.server import DEMO_MODEL, PATIENCE_S, RunningServer, eventually, running
from tests.end_to_end.traffic import UNHURRIED_S, Traffic

NEW_KEY = json.dumps({"name": "noted", "role": "client", "models": [MODEL]}).encode()
# Without the identity provider: keys alone.
OPEN_TO_KEYS = "access: {data: keys, control: keys}"
MANY = 100_000
PROMPT_S = 1.0  # what is promised; measured, it is a quarter of that


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with guarded(tmp_path_factory.mktemp("access")) as started:
        yield started


def test_commands_on_the_servers_machine_need_no_key(world):
    [line] = penstock(world.home, "models", "list")
    assert line["state"] == "READY"


# ---- keys come and go ---------------------------------------------------------------------------


@pytest.mark.quiet
def test_a_revoked_key_stops_within_a_second_in_every_worker(world):
    made = penstock(world.home, "keys", "create", "--name", "brief", "--role", "client")
    headers = f"Authorization: Bearer {made['key']}\r\n"
    eventually(lambda: all(world.infer(made["key"]) == 200 for _ in range(20)))
    with Traffic(world.server.port, INFER, BODY, connections=16, headers=headers) as traffic:
        traffic.go_on(200)
        penstock(world.home, "keys", "revoke", str(made["id"]))
        time.sleep(PROMPT_S)  # the promise
        before = traffic.tally.ok
        traffic.wait_for(lambda tally: tally.statuses[401] > 1000)
        assert traffic.tally.ok == before
        assert traffic.tally.cut == 0
    assert world.is_well()


def test_a_key_is_rotated_under_load_without_a_failed_request(world):
    made = penstock(world.home, "keys", "create", "--name", "steady", "--role", "client")

    def load(key: str) -> Traffic:
        headers = f"Authorization: Bearer {key}\r\n"
        return Traffic(world.server.port, INFER, BODY, 4, headers=headers, pause_s=UNHURRIED_S)

    eventually(lambda: all(world.infer(made["key"]) == 200 for _ in range(20)))
    with load(made["key"]) as old:
        old.go_on()
        rotate = f"/api/keys/{made['id']}/rotate"
        answer = world.control("POST", rotate, world.keys["admin"], b'{"overlap": "1h"}')
        eventually(lambda: all(world.infer(answer.json()["key"]) == 200 for _ in range(20)))
        with load(answer.json()["key"]) as new:
            new.go_on()
            old.go_on()
        assert (old.tally.failed, new.tally.failed) == (0, 0)


def test_what_is_counted_and_when_a_key_was_used_is_told(world):
    made = penstock(world.home, "keys", "create", "--name", "counted", "--role", "client")
    eventually(lambda: all(world.infer(made["key"]) == 200 for _ in range(20)))
    before = _counted(world)
    assert [world.infer(made["key"]) for _ in range(10)] == [200] * 10
    assert world.infer("psk_unknown") == 401
    assert _counted(world) == before + 10
    eventually(lambda: abs(_sample(world, "last_seen_timestamp_seconds") - time.time()) < 5)
    penstock(world.home, "keys", "create", "--name", "idle", "--role", "client")
    eventually(lambda: _listed(world, "counted")["last_used_at"] is not None)
    assert _listed(world, "idle")["last_used_at"] is None


def test_requests_that_ask_for_no_inference_count_as_use(world):
    key = penstock(world.home, "keys", "create", "--name", "looks", "--role", "client")["key"]
    paths = ("/v2", f"/v2/models/{MODEL}", "/v2/models/stats")

    def ask(path: str) -> int:
        return world.server.request("GET", path, None, bearer(key)).status

    eventually(lambda: all(ask("/v2/models/nothing") == 404 for _ in range(20)))
    before = _sample(world, "requests_total", "looks", "", "")
    assert [ask(path) for path in paths] == [200] * 3
    assert _sample(world, "requests_total", "looks", "", "") == before + 3
    eventually(lambda: _listed(world, "looks")["last_used_at"] is not None)


def test_more_keys_than_are_told_are_seen_and_places_of_those_that_left_are_given_on(tmp_path):
    secret, raw = server_secret(tmp_path), [f"psk_{n:032}" for n in range(MAX_KEY_SERIES + 150)]
    used, spare = raw[: MAX_KEY_SERIES + 100], raw[MAX_KEY_SERIES + 100 :]
    with Store.open(tmp_path) as store, store.write() as db:
        db.executemany(
            "INSERT INTO keys (name, digest, role, models, created_at, created_by, changed)"
            " VALUES (?, ?, 'client', '[\"*\"]', 1.0, 'ann', 0)",
            [(f"k{n}", digest(secret, one.encode())) for n, one in enumerate(raw)],
        )
    with running(tmp_path, DEMO_MODEL, "--workers", "1", config="access: {data: keys}") as server:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        with closing(line):
            for key in used:
                line.request("POST", INFER, BODY, bearer(key))
                answer = line.getresponse()
                assert (answer.status, len(answer.read()) > 0) == (200, True)
        assert server.metric("penstock_key_requests_total", key="other") == 100
        penstock(tmp_path, "keys", "revoke", "1")
        penstock(tmp_path, "keys", "revoke", "2")

        def a_newcomer_is_told() -> bool:
            key = spare.pop()
            assert server.request("POST", INFER, BODY, bearer(key)).status == 200
            return server.metric("penstock_key_requests_total", key=f"k{raw.index(key)}") == 1

        while not a_newcomer_is_told():  # as many as are spare: room is looked for every 10 s
            time.sleep(0.5)
        assert server.metric("penstock_key_requests_total", key="k1000") == 1
    seen = {key["name"] for key in penstock(tmp_path, "keys", "list") if key["last_used_at"]}
    assert {f"k{n}" for n in range(len(used))} <= seen
    assert f"k{raw.index(spare[0])}" not in seen


def test_the_last_use_is_written_down_when_a_server_is_stopped(tmp_path):
    key = penstock(tmp_path, "keys", "create", "--name", "late", "--role", "client")["key"]
    with running(tmp_path, DEMO_MODEL, "--workers", "2", config=OPEN_TO_KEYS) as server:
        assert server.request("POST", INFER, BODY, bearer(key)).status == 200
        assert server.stop() == 0
    (late,) = penstock(tmp_path, "keys", "list")
    assert late["last_used_at"] is not None


def test_a_worker_born_later_knows_the_keys_before_it_answers(world):
    pids = [worker["pid"] for worker in world.status()["workers"]]
    with Traffic(
        world.server.port,
        INFER,
        BODY,
        connections=8,
        headers=f"Authorization: Bearer {world.keys['client']}\r\n",
    ) as traffic:
        traffic.go_on()
        os.kill(pids[0], signal.SIGKILL)
        eventually(lambda: replaced(world, pids[0]))
        traffic.go_on(500)
        assert set(traffic.tally.statuses) == {200}


def test_keys_hold_when_control_is_killed(world):
    made = penstock(world.home, "keys", "create", "--name", "orphan", "--role", "client")
    eventually(lambda: all(world.infer(made["key"]) == 200 for _ in range(20)))
    os.kill(world.status()["control"], signal.SIGKILL)
    assert [world.infer(made["key"]) for _ in range(20)] == [200] * 20
    penstock(world.home, "keys", "revoke", str(made["id"]))
    eventually(lambda: all(world.infer(made["key"]) == 401 for _ in range(20)))
    eventually(world.is_well)


def replaced(world: World, pid: int) -> bool:
    """Whether another process than this one serves in the first slot."""
    worker = world.status()["workers"][0]
    return worker["state"] == "ready" and worker["pid"] != pid


def _counted(world) -> float:
    return _sample(world, "requests_total")


def _sample(world, name, key="counted", model=MODEL, version="1") -> float:
    text = world.control("GET", "/metrics", world.keys["viewer"]).body.decode()
    sample = f'penstock_key_{name}{{key="{key}",model="{model}",version="{version}"}} '
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(sample))


def _listed(world, name) -> Any:
    return next(key for key in penstock(world.home, "keys", "list") if key["name"] == name)


# ---- the audit ----------------------------------------------------------------------------------


def test_every_change_of_a_key_and_every_load_is_told_with_who_it_was(world):
    made = json.loads(world.control("POST", "/api/keys", world.keys["admin"], NEW_KEY).body)
    loads = "/v2/repository/models/nothing/load"
    world.server.request("POST", loads, b"", bearer(world.keys["operator"]))
    world.control("POST", f"/api/models/{MODEL}/load", world.keys["operator"])
    penstock(world.home, "keys", "revoke", str(made["id"]))
    entries = world.control("GET", "/api/audit?limit=1000", world.keys["viewer"]).json()["entries"]
    subject = f"{made['id']}:noted"
    told = {
        (one["who"], one["door"], one["action"]): one
        for one in entries
        if one["subject"] in (subject, MODEL)
    }
    user = os_user()
    assert told.keys() >= {
        ("admin", "admin", "key create"),
        ("operator", "admin", "load"),
        (user, "cli", "key revoke"),
    }
    create = told["admin", "admin", "key create"]
    assert create["origin"].endswith(" key 5")
    assert create["after"] == {"role": "client", "models": [MODEL], "expires_at": None}
    assert penstock(world.home, "audit", "verify")["ok"]


# ---- starting -----------------------------------------------------------------------------------


def test_a_control_port_that_others_reach_needs_an_admin_key(tmp_path):
    words = [sys.executable, "-m", "gateway", "serve", str(DEMO_MODEL), "--home", str(tmp_path)]
    words += ["--port", "0", "--admin-port", "0", "--admin-host", "0.0.0.0", "--workers", "1"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert "penstock keys create --name NAME --role admin" in run.stderr
    admin = penstock(tmp_path, "keys", "create", "--name", "boss", "--role", "admin")["key"]
    with running(tmp_path, DEMO_MODEL, "--admin-host", "0.0.0.0", "--workers", "1") as server:
        asked = [None, bearer("psk_no"), bearer(admin)]
        statuses = [
            server.request("GET", "/api/status", None, headers, port=server.admin_port).status
            for headers in asked
        ]
        assert statuses == [401, 401, 200]
        assert server.get(f"/v2/models/{MODEL}").status == 200, "the data port is another matter"


def test_a_data_port_that_others_reach_without_keys_is_told_plainly(start):
    server = start(DEMO_MODEL, "--host", "0.0.0.0", "--workers", "1")
    assert "open to everybody who reaches it" in server.log


def many_keys(home: Path, secret: Path) -> dict[str, str]:
    """A home with 100,000 keys, and those of them that anybody has."""
    secret.write_bytes(b"m" * 32)
    with Store.open(home) as store:
        keys = Keys(store, b"m" * 32)
        made = {role: keys.create(ANN, role, role)[1] for role in ("client", "admin")}
        with store.write() as db:
            db.executemany(
                "INSERT INTO keys (name, digest, role, models, created_at, created_by, changed)"
                " VALUES (?, ?, 'client', '[\"*\"]', 1.0, 'ann', 1)",
                ((f"k{n}", f"{n:064x}") for n in range(MANY)),
            )
    return made


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Any]]:
    """A server of 100,000 keys, and those of them that anybody has."""
    home = tmp_path_factory.mktemp("crowd")
    made = many_keys(home, home / "mounted")
    mounted = {VARIABLE: str(home / "mounted")}
    with running(
        home, DEMO_MODEL, "--workers", "2", config=OPEN_TO_KEYS, environment=mounted
    ) as server:
        yield server, made


def test_a_home_of_a_hundred_thousand_keys_starts_and_tells_them(crowd):
    server, made = crowd
    assert not (server.home / FILE).exists()
    assert server.request("POST", INFER, BODY, bearer(made["client"])).status == 200
    # All of them in one answer would hold everybody up for nearly as long as it takes; page by
    # page it is a hundredth. Waits of whoever asks (this process collects garbage) count too.
    admin = bearer(made["admin"])
    eventually(lambda: longest_wait_while_all_are_told(server, admin) < 1 / 4)


@pytest.mark.quiet
def test_a_change_of_one_of_a_hundred_thousand_keys_is_followed_within_a_second(crowd):
    server, made = crowd
    ask = lambda: server.request("POST", INFER, BODY, bearer(made["client"])).status  # noqa: E731
    assert ask() == 200
    with Store.open(server.home) as store:
        Keys(store, b"m" * 32).revoke(ANN, 1)
    eventually(lambda: all(ask() == 401 for _ in range(10)), PROMPT_S)


def longest_wait_while_all_are_told(server: RunningServer, admin: dict[str, str]) -> float:
    """Asks for health over and over while all keys are told, page by page.

    Returns the slowest answer as a share of the time that the telling took.
    """
    told: set[int] = set()

    def page_through() -> None:
        after = 0
        while after is not None:
            path = f"/api/keys?limit=1000&after={after}"
            page = server.request("GET", path, None, admin, port=server.admin_port).json()
            told.update(key["id"] for key in page["keys"])
            after = page["next"]

    waits = []
    began = time.perf_counter()
    with ThreadPoolExecutor(1) as pool:
        paging = pool.submit(page_through)
        while not paging.done():
            start = time.perf_counter()
            assert server.admin("GET", "/health/live").status == 200
            waits.append(time.perf_counter() - start)
        paging.result()
    assert len(told) == MANY + 2
    return max(waits) / (time.perf_counter() - began)


# ---- tokens of an identity provider -------------------------------------------------------------


def test_tokens_are_taken_on_both_ports_as_long_as_they_hold(tmp_path):
    provider = Provider(tmp_path)
    config = CONFIG.format(jwt=provider.as_config())
    with running(tmp_path, DEMO_MODEL, "--workers", "2", config=config) as server:
        world = World(server, tmp_path, {}, provider)
        client = provider.token("client", models=[MODEL])
        eventually(lambda: all(world.infer(client) == 200 for _ in range(10)))
        assert world.infer(provider.token("client", models=["another"])) == 403
        assert world.infer(provider.token("admin")) == 403
        assert world.control("GET", "/api/keys", provider.token("admin")).status == 200
        assert world.control("GET", "/api/keys", provider.token("viewer")).status == 403
        brief = provider.token("client", lives_s=2)
        assert world.infer(brief) == 200
        eventually(lambda: all(world.infer(brief) == 401 for _ in range(10)))
        provider.turn_over("second")
        eventually(lambda: all(world.infer(provider.token("client")) == 200 for _ in range(10)))
        assert [world.infer(client) for _ in range(10)] == [401] * 10
        assert server.get("/v2/health/ready").status == 200
        assert client not in server.log


def test_a_provider_that_is_asked_over_http_is_followed_as_soon_as_it_signs_anew(tmp_path):
    provider = OnlineProvider(tmp_path)
    with provider.online():
        config = f"access: {{data: keys, control: keys, jwt: {provider.as_config()}}}"
        with running(tmp_path, DEMO_MODEL, "--workers", "2", config=config) as server:
            world = World(server, tmp_path, {}, provider)

            def known_to_control() -> bool:
                return world.control("GET", "/api/status", provider.token("viewer")).status == 200

            def known_to_workers() -> bool:
                return all(world.infer(provider.token("client")) == 200 for _ in range(10))

            eventually(lambda: known_to_control() and known_to_workers())
            first = provider.token("client")
            for kid, known in (("second", known_to_workers), ("third", known_to_control)):
                provider.turn_over(kid)
                eventually(known, ASKED_S + PATIENCE_S)
            eventually(known_to_workers)
            assert world.infer(first) == 401
            # Strangers cannot make it ask more often.
            before = provider.asked
            (tmp_path / "stranger").mkdir()
            stranger = Provider(tmp_path / "stranger")
            begun = time.monotonic()
            for number in range(100):
                stranger.kid = f"unknown {number}"
                assert world.infer(stranger.token("client")) == 401
                assert world.control("GET", "/", stranger.token("client")).status == 401
            assert provider.asked <= before + 1 + (time.monotonic() - begun) // ASKED_S
            told = world.control("GET", "/api/audit?limit=1000", provider.token("viewer")).json()
    turns = [
        (one["door"], one["subject"], list(one["before"]["keys"]), list(one["after"]["keys"]))
        for one in told["entries"]
        if one["action"] == "jwks change"
    ]
    assert turns == [
        ("automatic", provider.url, [], ["first"]),
        ("automatic", provider.url, ["first"], ["second"]),
        ("automatic", provider.url, ["second"], ["third"]),
    ]
    assert "access.jwt: keys that sign tokens: 'third'" in server.log
