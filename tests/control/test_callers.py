"""Who may do what on the control port: every route, as every role."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from gateway.access.certificates import CertificateRing
from gateway.access.credentials import Credentials
from gateway.access.keyring import Keyring
from gateway.access.keys import digest
from gateway.access.local import local_token
from gateway.access.roles import ROLES, Permission
from gateway.config import Config
from gateway.config.llm import Llm
from gateway.control import (
    alert_operations,
    audit_operations,
    capture_operations,
    concept_operations,
    config_operations,
    drift_operations,
    experiment_operations,
    fairness_operations,
    key_operations,
    llm_operations,
    outcome_operations,
    release_operations,
    retirement_operations,
    rollout_operations,
    route_operations,
    shadow_operations,
    spend_operations,
)
from gateway.control.admin import Admin, operations
from gateway.control.alert_store import AlertStore
from gateway.control.alerting import Alerting
from gateway.control.api import build_app
from gateway.control.audit import Actor, Audit
from gateway.control.blocks import Blocks
from gateway.control.callers import Known
from gateway.control.capture import Capture
from gateway.control.contracts import Contracts
from gateway.control.deliveries import Deliveries
from gateway.control.drift import Drift
from gateway.control.erasures import Erasures
from gateway.control.experiment_readings import Readings
from gateway.control.experiment_store import ExperimentStore
from gateway.control.experiments import Experiments
from gateway.control.in_force import InForce
from gateway.control.keys import Keys
from gateway.control.outcomes import Outcomes
from gateway.control.pulls import Pulls
from gateway.control.releases import Releases
from gateway.control.retirements import Retirements
from gateway.control.revisions import Revisions
from gateway.control.rollout_store import RolloutStore
from gateway.control.routes import Routes
from gateway.control.self_references import SelfReferences
from gateway.control.shadows import Shadows
from gateway.control.spend_store import SpendStore, Spent
from gateway.control.spending import Spending
from gateway.control.store import Store
from gateway.control.troubles import Troubles
from gateway.control.version_use import VersionUse
from gateway.inherited import Launch
from gateway.monitor.arena import Arena
from gateway.plan import UNAVAILABLE, Absent, Plan
from tests.control.auditing import ANN
from tests.control.permitted import ALLOWED, EVERYBODY, OF_A_MODEL, OF_ITS_CALLER
from tests.control.rolling import World
from tests.control.standing import nobodys
from tests.control.still import Still

SECRET = b"s" * 32
ROLE_KEYS = {role: f"psk_{role}".ljust(36, "0") for role in ROLES}
JSON = {"content-type": "application/json"}

STATUS = {
    "ready": True,
    "plan": 1,
    "supervisor": 1,
    "control": 2,
    "draining": False,
    "workers": [
        {
            "slot": 0,
            "pid": 3,
            "epoch": 1,
            "state": "READY",
            "restarts": 0,
            "connections": 0,
            "plan": 1,
            "refused": [
                {"deployment": f"{name}/1/a", "reason": f"{name} is broken", "tries": 1}
                for name in ("m", "n")
            ],
        }
    ],
}


class Server:
    """The control port's application over a real store, and what was done through it."""

    def __init__(self, home, asks=True, open_metrics=False):
        self.store = Store.open(home)
        self.keys = Keys(self.store, SECRET)
        self.ring = Keyring(SECRET)
        self.ring.replace(
            {
                digest(SECRET, key.encode()): [number, role, role, None, None]
                for number, (role, key) in enumerate(ROLE_KEYS.items(), 101)
            }
        )
        self.certificates = CertificateRing()
        self.done = []
        self.used: list[int] = []
        self.refused: list[str] = []
        self.actors: list[Actor] = []
        in_force = InForce(Revisions(self.store), Launch(Config(), home))
        in_force.revisions.add("log: {level: error}\n", ANN)
        self.counting = ThreadPoolExecutor(1)
        self.drift = Drift(tuple)
        self.arena = Arena.create(1)
        self.outcomes = Outcomes(self.arena, home, Config, "host-1-{}-{}".format, time.time)
        self.capture = Capture(
            self.arena,
            Blocks(self.arena, time.monotonic),
            home,
            Config,
            "host-1-{}-{}".format,
            str.encode,
            time.monotonic,
            time.time,
        )
        releases = Releases(self.store, home)
        contracts = Contracts(self.arena, Blocks(self.arena, time.monotonic), releases)
        self.world = World(home)
        self.llm = Llm()
        self.table = (
            *operations(self.admin(), open_metrics),
            *audit_operations.operations(Audit(self.store)),
            *config_operations.operations(in_force, self.follow, lambda: Plan(0), dict),
            *key_operations.operations(self.keys, self.refresh, lambda: self.llm),
            *spend_operations.operations(self.store, Spending(self.arena, SpendStore(self.store))),
            *drift_operations.operations(
                self.drift,
                self.counting,
                lambda model, version, window_s: None,
                lambda model, asked: asked,
            ),
            *release_operations.operations(releases, contracts, lambda: Plan(0), self.follow),
            *alert_operations.operations(*self.alarms()),
            *outcome_operations.operations(self.outcomes, lambda model, version: None, self.note),
            *fairness_operations.operations(self.outcomes),
            *capture_operations.operations(self.capture, self.erasures(home)),
            *concept_operations.operations(self.outcomes),
            *retirement_operations.operations(
                Retirements(self.store),
                VersionUse(self.arena, self.store, None),
                Still(),
                self.routed,
                lambda model, version: {},
            ),
            *route_operations.operations(
                Routes(self.store, Config),
                Pulls(self.store),
                Still(),
                lambda *_: "",
                lambda model, versions: None,
            ),
            *shadow_operations.operations(self.shadows()),
            *llm_operations.operations(
                self.arena, lambda: Plan(0), self.note, lambda message: None
            ),
            *rollout_operations.operations(
                self.world.rollouts, RolloutStore(self.world.store), self.follow
            ),
            *experiment_operations.operations(*self.experiments()),
        )
        credentials = Credentials(self.ring, self.certificates)
        known = Known(asks, credentials, SECRET, self.used.append, self.refused.append)
        self.app = build_app(self.table, known)

    def experiments(self):
        routes, still = Routes(self.store, Config), Still()
        kept = ExperimentStore(self.store)
        readings = Readings(self.outcomes, kept, Config)
        nothing = "".format
        made = Experiments(
            kept, routes, still, readings, Config, lambda model: {}, nothing, nothing
        )
        return made, readings, routes.of, still.aliases

    def shadows(self):
        return Shadows(
            self.arena,
            Blocks(self.arena, time.monotonic),
            Config,
            "host-1-{}-{}".format,
            str.encode,
            lambda: Plan(0),
            self.outcomes.of,
            time.monotonic,
        )

    def erasures(self, home):
        own = SelfReferences(self.store, home)
        return Erasures(SECRET, self.capture, self.outcomes, own, tuple, self.note, self.follow)

    def admin(self):
        async def reload(actor, name, reread):
            self.actors.append(actor)
            self.done.append(f"reload {name} {'with' if reread else 'without'} configuration")
            return [Absent(each, 1, UNAVAILABLE, f"{each} is broken") for each in ("m", "n")]

        async def metrics(accept, triton):
            return b"m 1\n", "text/plain"

        async def load(_, name):
            self.done.append(f"load {name}")

        async def unload(_, name):
            self.done.append(f"unload {name}")

        return Admin(
            metrics=metrics,
            status=lambda: STATUS,
            models=lambda: [
                {"name": name, "version": 1, "state": "READY", "default": True, "reason": ""}
                for name in ("m", "n")
            ],
            reload=reload,
            load=load,
            unload=unload,
        )

    def alarms(self):
        store, troubles = AlertStore(self.store), Troubles()
        deliveries = Deliveries(store, tuple, troubles)
        settings = Config().alerts
        alerting = Alerting(
            self.drift,
            nobodys(),
            store,
            deliveries,
            lambda: settings,
            time.time,
            troubles,
            self.counting,
        )
        return alerting, store, deliveries

    async def routed(self, model):
        return frozenset()

    async def note(self, actor, action, subject, before, after):
        self.actors.append(actor)

    async def refresh(self):
        self.done.append("refresh")

    async def follow(self, _model=None):
        self.done.append("follow")
        return ()

    def ask(self, method, path, key=None, **options):
        headers = {"x-api-key": key} if key else {}
        headers |= options.pop("headers", {})

        async def send():
            carrier = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=carrier, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, headers=headers, **options)

        return asyncio.run(send())


@contextmanager
def serving(home):
    made = Server(home)
    yield made
    made.world.close()
    made.store.close()
    made.arena.close()


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def port(shared):
    """One for all who ask only who may: making one takes longer than they do."""
    shared.done.clear()
    return shared


DOCUMENT = "GET /api/openapi.json"  # which the application adds to its table by itself


def asked(server, operation, caller):
    """What a caller is answered whose request gets as far as it may."""
    method, path = operation.split(" ")
    for name, value in (("{model}", "m"), ("{id}", "1"), ("{number}", "1"), ("{version}", "1")):
        path = path.replace(name, value)
    return server.ask(method, path, ROLE_KEYS.get(caller))


def test_the_port_has_the_operations_of_the_table_and_no_others(server):
    assert {f"{row.method} {row.path}" for row in server.table} | {DOCUMENT} == set(ALLOWED)


@pytest.mark.parametrize("operation", ALLOWED)
def test_each_role_may_what_the_table_says_and_nothing_else(port, operation):
    may = ALLOWED[operation]
    for role in ROLES:
        answer = asked(port, operation, role)
        if role in may:
            assert answer.status_code not in (401, 403), role
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), role


@pytest.mark.parametrize("operation", ALLOWED)
def test_nobody_may_anything_but_ask_for_health(port, operation):
    answer = asked(port, operation, "nobody")
    assert (answer.status_code == 401) == ("nobody" not in ALLOWED[operation])
    if answer.status_code == 401:
        assert answer.json()["code"] == "unauthenticated"
        assert "www-authenticate" in answer.headers
    assert port.done == []


def limited(server, role, models=("n",)):
    """A key of a role for some models alone."""
    key = f"psk_limited_{role}".ljust(36, "0")
    server.ring.change({digest(SECRET, key.encode()): [200, role, role, list(models), None]}, ())
    return key


@pytest.mark.parametrize("operation", ALLOWED)
@pytest.mark.parametrize("role", [role for role in ROLES if role != "client"])
def test_a_key_for_some_models_may_use_what_is_about_those_alone(port, operation, role):
    method, path = operation.split(" ")
    path = path.replace("{version}", "1").replace("{number}", "1").replace("{id}", "1")
    key = limited(port, role)

    def refused(model):
        named = f"?model={model}" if operation == "POST /api/reload" else ""
        answer = port.ask(method, path.replace("{model}", model) + named, key)
        return answer.status_code == 403

    of_some = operation in OF_A_MODEL | OF_ITS_CALLER or ALLOWED[operation] == EVERYBODY
    assert refused("n") == (role not in ALLOWED[operation] or not of_some)
    assert not port.done or port.done[0].split()[1] == "n"
    port.done.clear()
    assert refused("m") == (refused("n") or operation in OF_A_MODEL)
    assert not [one for one in port.done if one.split()[1] == "m"]


def test_a_key_for_some_models_is_told_of_no_others(server):
    key = limited(server, "operator")
    for method, path in (
        ("GET", "/api/models"),
        ("GET", "/api/status"),
        ("POST", "/api/reload?model=n"),
    ):
        told = server.ask(method, path, key).text
        assert set(re.findall('"([mn])["/ ]', told)) == {"n"}, path
        told = server.ask(method, path, ROLE_KEYS["operator"]).text
        assert set(re.findall('"([mn])["/ ]', told)) == {"m", "n"}, path
    plain = server.ask("POST", "/api/reload", key).json()
    assert plain["error"] == "'operator' may use some models alone, not what is about all"


def test_a_reload_by_a_key_for_some_models_leaves_the_configuration_alone(server):
    key = limited(server, "operator")
    assert server.ask("POST", "/api/reload?model=n&config=1", key).status_code == 403
    assert server.done == []
    server.ask("POST", "/api/reload?model=n", key)
    server.ask("POST", "/api/reload?model=n", ROLE_KEYS["operator"])
    assert server.done == ["reload n without configuration", "reload n with configuration"]


def test_the_document_says_what_a_key_for_some_models_may(server):
    paths = server.ask("GET", "/api/openapi.json", ROLE_KEYS["viewer"]).json()["paths"]
    told = {
        f"{method.upper()} {path}": row.get("x-scope", "public")
        for path, rows in paths.items()
        for method, row in rows.items()
    }
    assert {one for one in told if told[one] == "model"} == OF_A_MODEL
    assert {one for one in told if told[one] == "caller"} == OF_ITS_CALLER
    assert {one for one in told if told[one] == "public"} == {
        one for one in ALLOWED if ALLOWED[one] == EVERYBODY
    }


def test_a_key_for_some_models_operates_and_sees_no_others(server):
    key = "psk_only_n".ljust(36, "0")
    server.ring.replace({digest(SECRET, key.encode()): [200, "ops", "operator", ["n"], None]})
    for action in ("load", "unload"):
        assert server.ask("POST", f"/api/models/m/{action}", key).status_code == 403
        assert server.ask("POST", f"/api/models/n/{action}", key).status_code == 200
    assert server.done == ["load n", "unload n"]
    listed = server.ask("GET", "/api/models", key).json()["models"]
    assert [line["name"] for line in listed] == ["n"]


def test_who_is_nobody_learns_nothing_of_paths_or_methods(server):
    assert server.ask("GET", "/api/nothing").status_code == 401
    assert server.ask("PUT", "/api/models").status_code == 401
    assert server.ask("OPTIONS", "/api/models").status_code == 401
    assert server.ask("GET", "/api/nothing", ROLE_KEYS["viewer"]).status_code == 404


def test_metrics_may_be_open_where_the_rest_is_not(tmp_path):
    server = Server(tmp_path, open_metrics=True)
    assert server.ask("GET", "/metrics").status_code == 200
    assert server.ask("GET", "/api/status").status_code == 401
    server.store.close()


def test_commands_on_this_machine_are_known_by_the_secret(server):
    token = local_token(SECRET, "ann", time.time())
    assert server.ask("GET", "/api/keys", token).status_code == 200
    for faulty in (
        local_token(b"x" * 32, "ann", time.time()),
        local_token(SECRET, "ann", time.time() - 600),
        "psl_",
        token[:-1],
    ):
        assert server.ask("GET", "/api/keys", faulty).status_code == 401


def test_the_audit_is_told_who_asks_by_what_they_showed(server, tmp_path):
    server.ask("POST", "/api/reload", ROLE_KEYS["operator"])
    server.ask("POST", "/api/reload", local_token(SECRET, "bob", time.time()))
    at_a_key, at_the_terminal = server.actors
    assert (at_a_key.who, at_a_key.door) == ("operator", "admin")
    assert at_a_key.origin.endswith(" key 103")
    assert (at_the_terminal.who, at_the_terminal.door) == ("bob", "cli")
    home = tmp_path / "open"
    home.mkdir()
    unasked = Server(home, asks=False)
    unasked.ask("POST", "/api/reload", ROLE_KEYS["operator"])
    unasked.ask("POST", "/api/reload", local_token(SECRET, "bob", time.time()))
    told = [(one.who, one.door) for one in unasked.actors]
    assert told == [("anonymous@127.0.0.1", "admin"), ("bob", "cli")]
    unasked.store.close()


def test_a_used_key_is_noted(server):
    server.ask("GET", "/api/status", ROLE_KEYS["viewer"])
    server.ask("GET", "/api/status", "psk_unknown")
    assert server.used == [102]


def test_whoever_is_refused_is_counted_by_why(server, tmp_path):
    server.ask("GET", "/api/status")
    server.ask("GET", "/api/status", "psk_unknown")
    server.ask("POST", "/api/reload", ROLE_KEYS["viewer"])
    server.ask("GET", "/api/keys", limited(server, "admin"))
    server.ask("GET", "/api/nothing", ROLE_KEYS["viewer"])  # it may ask
    assert server.refused == ["unauthenticated", "unauthenticated", "forbidden", "forbidden"]
    unasked = Server(tmp_path / "open", asks=False)
    unasked.ask("GET", "/api/status", headers={"host": "evil.example"})
    assert unasked.refused == ["forbidden_host"]
    unasked.store.close()


def test_an_open_port_answers_loopback_names_alone(tmp_path):
    server = Server(tmp_path, asks=False)
    assert server.ask("POST", "/api/reload").status_code == 200
    refused = server.ask("POST", "/api/reload", headers={"host": "evil.example"})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden_host")
    server.store.close()


# ---- keys over the port -------------------------------------------------------------------------


def test_keys_are_made_listed_rotated_and_revoked(server):
    admin = ROLE_KEYS["admin"]
    wanted = {"name": "app", "role": "client", "models": ["m"], "expires": "30d"}
    made = server.ask("POST", "/api/keys", admin, json=wanted)
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    assert (made.json()["created_by"], made.json()["models"]) == ("admin", ["m"])
    rotated = server.ask("POST", "/api/keys/1/rotate", admin, json={"overlap": "1h"})
    assert rotated.json()["key"] != made.json()["key"]
    revoked = server.ask("DELETE", "/api/keys/1", admin)
    assert revoked.json()["state"] == "revoked"
    listed = server.ask("GET", "/api/keys", admin).json()["keys"]
    assert [(key["id"], key["state"]) for key in listed] == [(1, "revoked"), (2, "active")]
    assert not any("key" in key for key in listed)
    assert server.done == ["refresh"] * 3


def test_limits_of_a_key_are_the_administrator_s_to_change(server):
    admin = ROLE_KEYS["admin"]
    limits = {"budgets": ["10usd/day"], "max_parallel": 4}
    wanted = {"name": "app", "role": "client", "team": "search", "tags": ["eu"], "limits": limits}
    made = server.ask("POST", "/api/keys", admin, json=wanted).json()
    rates = {"requests_per_minute": None, "tokens_per_minute": None}
    assert (made["team"], made["tags"], made["limits"]) == ("search", ["eu"], limits | rates)
    change = {
        "models": ["m"],
        "team": None,
        "limits": {"tokens_per_minute": 9, "max_parallel": None},
    }
    for nobody in ("operator", "viewer", "client"):
        assert server.ask("PATCH", "/api/keys/1", ROLE_KEYS[nobody], json=change).status_code == 403
    changed = server.ask("PATCH", "/api/keys/1", admin, json=change).json()
    assert (changed["models"], changed["team"], changed["tags"]) == (["m"], None, ["eu"])
    assert changed["limits"] == {
        "budgets": ["10usd/day"],
        "requests_per_minute": None,
        "tokens_per_minute": 9,
        "max_parallel": None,
    }
    assert server.ask("PATCH", "/api/keys/1", admin, json={}).json() == changed
    for faulty in ({"limits": {"budgets": ["10"]}}, {"team": "a b"}, {"role": "admin"}):
        assert server.ask("PATCH", "/api/keys/1", admin, json=faulty).status_code == 400
    assert server.ask("PATCH", "/api/keys/9", admin, json=change).status_code == 404


def test_a_team_that_the_document_does_not_name_is_refused_with_those_that_it_does(server):
    server.llm = Llm(teams={"web": {}, "ops": {}})
    admin, wanted = ROLE_KEYS["admin"], {"name": "app", "role": "client"}
    said = "team: expected one of llm.teams (ops, web), got 'wbe'"
    refused = server.ask("POST", "/api/keys", admin, json={**wanted, "team": "wbe"})
    assert (refused.status_code, refused.json()["error"]) == (400, said)
    assert server.ask("POST", "/api/keys", admin, json={**wanted, "team": "web"}).status_code == 201
    refused = server.ask("PATCH", "/api/keys/1", admin, json={"team": "wbe"})
    assert (refused.status_code, refused.json()["error"]) == (400, said)
    assert server.ask("PATCH", "/api/keys/1", admin, json={"team": None}).status_code == 200


def test_spending_is_told_page_by_page(server):
    spent = [
        Spent(f"team:t{n}", "1999-12-31", (0, 0, 0), "1999-12", (0, 0, 0), (n, n, n), 1, (0, 0, 0))
        for n in range(3)
    ]
    SpendStore(server.store).write(spent)
    pages, after = [], ""
    while after is not None:
        page = server.ask("GET", f"/api/spend?limit=2&after={after}", ROLE_KEYS["viewer"]).json()
        pages.append([(line["name"], line["spent"]["total"]["tokens"]) for line in page["spend"]])
        after = page["next"]
    assert pages == [[("t0", 0), ("t1", 1)], [("t2", 2)]]


def test_keys_are_listed_page_by_page_and_each_once(server):
    for number in range(5):
        server.keys.create(ANN, f"k{number}", "client")
    pages, after = [], 0
    while after is not None:
        path = f"/api/keys?limit=2&after={after}"
        page = server.ask("GET", path, ROLE_KEYS["admin"]).json()
        pages.append([key["name"] for key in page["keys"]])
        after = page["next"]
    assert pages == [["k0", "k1"], ["k2", "k3"], ["k4"]]
    for faulty in ("limit=0", "limit=1001", "after=-1", "after=x", "before=1"):
        assert server.ask("GET", f"/api/keys?{faulty}", ROLE_KEYS["admin"]).status_code == 400


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"{}", JSON, 400, id="no-name"),
        pytest.param(b"[]", JSON, 400, id="no-object"),
        pytest.param(b"{", JSON, 400, id="no-json"),
        pytest.param(b'{"name":"a","role":"root"}', JSON, 400, id="no-role"),
        pytest.param(b'{"name":"a","role":"client","key":"mine"}', JSON, 400, id="own-key"),
        pytest.param(b'{"name":1,"role":"client"}', JSON, 400, id="number"),
        pytest.param(b'{"name":"a","role":"client","models":"*"}', JSON, 400, id="text"),
        pytest.param(b'{"name":"a","role":"client"}', {}, 415, id="a-form-of-a-web-page"),
        pytest.param(b" " * (1 << 20) + b" ", JSON, 413, id="large"),
    ],
)
def test_what_cannot_be_a_key_is_refused(server, body, headers, status):
    answer = server.ask("POST", "/api/keys", ROLE_KEYS["admin"], content=body, headers=headers)
    assert answer.status_code == status
    assert server.keys.all() == ()


def test_keys_that_are_not_there_are_not_found(server):
    admin = ROLE_KEYS["admin"]
    assert server.ask("DELETE", "/api/keys/9", admin).status_code == 404
    assert server.ask("POST", "/api/keys/9/rotate", admin, json={}).status_code == 404
    assert server.ask("DELETE", "/api/keys/x", admin).status_code == 400


def test_permissions_of_roles_grow_only_where_the_table_says():
    assert [role for role in ROLES if Permission.ADMINISTER in ROLES[role]] == ["admin"]
    assert [role for role in ROLES if Permission.INFER in ROLES[role]] == ["client"]
    assert [role for role in ROLES if Permission.OPERATE in ROLES[role]] == ["operator", "admin"]
