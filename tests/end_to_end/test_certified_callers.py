"""Callers known by a client certificate, on both ports of a real server."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import UniformResourceIdentifier

from tests.certificates import Authority
from tests.end_to_end import commands
from tests.end_to_end.guarded import BODY, INFER, MODEL, bearer
from tests.end_to_end.server import DEMO_MODEL, Answer, RunningServer, eventually, running
from tests.end_to_end.traffic import Traffic

ROLES = ("client", "viewer", "operator", "approver", "admin")
PROMPT_S = 1.0  # what is promised
CALLERS = [
    *({"name": role, "subject": f"cn:{role}", "role": role} for role in ROLES),
    {
        "name": "narrow",
        "subject": "uri:spiffe://prod/narrow",
        "role": "client",
        "models": ["another"],
    },
]
BRIEF = {"name": "brief", "subject": "cn:brief", "role": "client"}


@dataclass
class World:
    """A server that asks who calls on both ports, and a client's context for each caller."""

    server: RunningServer
    home: Path
    authority: Authority
    contexts: dict[str, ssl.SSLContext]
    config: Path

    def ask(
        self,
        who: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
    ) -> Answer:
        line = http.client.HTTPSConnection(
            "localhost", port or self.server.port, timeout=20, context=self.contexts[who]
        )
        with closing(line):
            line.request(method, path, body, headers or {})
            answer = line.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def infer(self, who: str, headers: dict[str, str] | None = None) -> int:
        return self.ask(who, "POST", INFER, BODY, headers).status

    def control(
        self,
        who: str,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        return self.ask(who, method, path, body, headers, self.server.admin_port)

    def penstock(self, *words: str) -> Any:
        run = commands.penstock(*words, "--home", self.home, "--json")
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads(run.stdout)

    def know(self, *callers: dict[str, Any]) -> None:
        """Writes the document anew, as whoever edits it does; nobody is told yet."""
        self.config.write_text(document(self.authority, *callers))


def document(authority: Authority, *callers: dict[str, Any]) -> str:
    options = {"client_ca": authority.file, "client_certificates": "optional"}
    ports = authority.yaml("server", **options) + authority.yaml("control", **options)
    access = {"data": "keys", "control": "keys", "certificates": [*CALLERS, *callers]}
    return (
        f"{ports}access: {json.dumps(access)}\nlog: {{access: all}}\n"
        "repository: {allow_load: true}\n"
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("certified")
    authority = Authority(home / "tls")
    authority.issue()
    names = (*ROLES, "brief", "unlisted")
    contexts = {name: authority.issue_client(name) for name in names}
    contexts["nobody"] = authority.client()
    uri = UniformResourceIdentifier("spiffe://prod/narrow")
    contexts["narrow"] = authority.issue_client("n-1", uri)
    config = home / "given.yaml"
    config.write_text(document(authority, BRIEF))
    arguments = (DEMO_MODEL, "--workers", "2", "--config", config)
    with running(home, *arguments, ready=False) as server:
        server.wait_settled()
        made = World(server, home, authority, contexts, config)
        eventually(lambda: made.infer("client") == 200)
        yield made


def test_each_role_may_on_the_data_port_what_it_is_for(world):
    loads = "/v2/repository/models/nothing/load"
    statuses = {
        who: (
            world.infer(who),
            world.ask(who, "POST", INFER.replace("b", "%62", 1), BODY).status,
            world.ask(who, "GET", f"/v2/models/{MODEL}").status,
            world.ask(who, "POST", loads, b"").status,
        )
        for who in world.contexts
        if who != "brief"
    }
    assert statuses == {
        "client": (200, 200, 200, 403),
        "viewer": (403, 403, 200, 403),
        "operator": (403, 403, 200, 404),
        "approver": (403, 403, 200, 403),
        "admin": (403, 403, 200, 404),
        "narrow": (403, 403, 403, 403),
        "unlisted": (401, 401, 401, 401),
        "nobody": (401, 401, 401, 401),
    }


def test_each_role_may_on_the_control_port_what_it_is_for(world):
    asked = [("GET", "/api/status"), ("POST", "/api/reload"), ("GET", "/api/keys")]
    statuses = {
        who: tuple(world.control(who, *one).status for one in asked)
        for who in world.contexts
        if who != "brief"
    }
    assert statuses == {
        "client": (403, 403, 403),
        "viewer": (200, 403, 403),
        "operator": (200, 200, 403),
        "approver": (200, 403, 403),
        "admin": (200, 200, 200),
        "narrow": (403, 403, 403),
        "unlisted": (401, 401, 401),
        "nobody": (401, 401, 401),
    }


@pytest.mark.parametrize(
    "pretension",
    [
        {"x-forwarded-client-cert": "Subject=CN=admin"},
        {"x-ssl-client-s-dn": "CN=admin", "x-ssl-client-verify": "SUCCESS"},
        {"penstock_certificate": "cn:admin", "penstock-certificate": "cn:admin"},
    ],
    ids=["envoy", "nginx", "ours"],
)
def test_no_header_is_a_certificate(world, pretension):
    for who, wanted in (("nobody", 401), ("unlisted", 401), ("client", 403)):
        assert world.control(who, "GET", "/api/keys", headers=pretension).status == wanted
    assert world.infer("nobody", pretension) == 401
    assert world.ask("nobody", "GET", "/v2/models/stats", headers=pretension).status == 401


def test_a_key_says_more_than_the_certificate_under_it(world):
    made = world.penstock("keys", "create", "--name", "beside", "--role", "client")
    key, wrong = bearer(made["key"]), bearer("psk_wrong")
    eventually(lambda: all(world.infer("nobody", key) == 200 for _ in range(10)))
    assert world.control("admin", "GET", "/api/keys", headers=key).status == 403
    assert world.control("admin", "GET", "/api/keys", headers=wrong).status == 401
    assert world.infer("client", wrong) == 401


def stopped_within_the_promise(world: World, revoke: Any) -> None:
    """Takes `brief` back while it calls on many connections of both workers."""
    world.know(BRIEF)
    os.kill(world.server.process.pid, signal.SIGHUP)
    eventually(lambda: all(world.infer("brief") == 200 for _ in range(20)))
    tls = world.contexts["brief"]
    with Traffic(world.server.port, INFER, BODY, connections=16, tls=tls) as traffic:
        traffic.go_on(200)
        revoke()
        time.sleep(PROMPT_S)
        before = traffic.tally.ok
        traffic.wait_for(lambda tally: tally.statuses[401] > 500)
        assert traffic.tally.ok == before
        assert traffic.tally.cut == 0
    assert world.infer("client") == 200


@pytest.mark.quiet
def test_one_taken_out_of_the_document_stops_within_a_second_of_a_reload(world):
    def revoke() -> None:
        world.know()
        os.kill(world.server.process.pid, signal.SIGHUP)

    stopped_within_the_promise(world, revoke)


@pytest.mark.quiet
def test_one_taken_out_with_config_apply_stops_within_a_second(world):
    def revoke() -> None:
        world.know()
        world.penstock("config", "apply", str(world.config))

    stopped_within_the_promise(world, revoke)


def test_a_worker_born_later_knows_the_callers_before_it_answers(world):
    tls = world.contexts["client"]
    pids = workers(world)
    with Traffic(world.server.port, INFER, BODY, connections=8, tls=tls) as traffic:
        traffic.go_on()
        os.kill(pids[0], signal.SIGKILL)
        eventually(lambda: workers(world)[0] != pids[0])
        traffic.go_on(300)
        assert set(traffic.tally.statuses) == {200}


def test_callers_are_counted_audited_and_logged_by_name(world):
    series = f'penstock_key_requests_total{{key="client",model="{MODEL}",version="1"}} '

    def counted() -> float:
        text = world.control("viewer", "GET", "/metrics").body.decode()
        return sum(float(one.split()[-1]) for one in text.splitlines() if one.startswith(series))

    before = counted()
    assert [world.infer("client") for _ in range(10)] == [200] * 10
    assert counted() == before + 10
    world.ask("operator", "POST", f"/v2/repository/models/{MODEL}/load", b"")
    world.control("operator", "POST", f"/api/models/{MODEL}/load")
    entries = json.loads(world.control("viewer", "GET", "/api/audit?limit=1000").body)["entries"]
    loads = [one for one in entries if one["action"] == "load" and one["subject"] == MODEL]
    assert {(one["who"], one["door"]) for one in loads} == {
        ("operator", "data"),
        ("operator", "admin"),
    }
    assert all(" certificate " in one["origin"] for one in loads)
    eventually(lambda: ',"key":"client"' in world.server.log)


def test_commands_on_the_servers_machine_need_no_certificate(world):
    [line] = world.penstock("models", "list")
    assert line["state"] == "READY"


def workers(world: World) -> list[int]:
    found = json.loads(world.control("viewer", "GET", "/api/status").body)["workers"]
    return [one["pid"] if one["state"] == "ready" else 0 for one in found]


def test_who_may_be_known_by_a_certificate_must_be_able_to_show_one(world, tmp_path):
    config = tmp_path / "penstock.yaml"
    config.write_text(f"access: {{certificates: {json.dumps(CALLERS)}}}\n")
    run = commands.penstock("config", "check", config)
    assert run.returncode != 0
    assert "certificates: expected tls.client_ca in server or control" in (run.stdout + run.stderr)
