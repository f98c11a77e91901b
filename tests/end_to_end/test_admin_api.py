"""The admin API of a running server: what its OpenAPI document says is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.admin_checks import TOKENS
from tests.end_to_end.provider import Provider
from tests.end_to_end.server import Answer, RunningServer, running
from tests.models.builders import linear, save

# What the document cannot say of a request: that its model is broken or not there, its revision not
# the one in force, its text no configuration or no contract, its name taken, or its note too long
# to be a query.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx"]

[checks.negative_data_rejection]
expected-statuses = ["4xx"]

[[operations]]
include-name = "POST /api/reload"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

[[operations]]
include-name-regex = "^POST /api/models/.*load$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 422]

[[operations]]
include-name-regex = "^GET /api/models/.*/(drift|performance|concept-drift|fairness|slices/worst)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]

[[operations]]
include-name-regex = "/(contract|monitoring)"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 414, 422]

[[operations]]
include-name = "GET /api/config/revisions/{number}"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

[[operations]]
include-name = "PUT /api/config"
checks.positive_data_acceptance.expected-statuses = ["2xx", 412, 414, 422, 428]

[[operations]]
include-name = "POST /api/config/rollback"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 412, 414, 422, 428]

[[operations]]
include-name-regex = "^(GET|PUT|DELETE|POST) /api/routes/"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]

[[operations]]
include-name-regex = "/api/(rollouts|experiments)/|/(callers|retire|unretire|replay)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]

[[operations]]
include-name = "POST /api/llm/models/{model}/close"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

[[operations]]
include-name = "POST /api/keys"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 409]

[[operations]]
include-name = "POST /api/alerts/dead-letters/{number}/retry"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404]

[[operations]]
include-name = "PATCH /api/keys/{id}"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404, 409]

[[operations]]
include-name-regex = "^(DELETE|POST) /api/keys/|^DELETE /api/outcomes/metrics/"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409]
"""
# What a refusal can be held against, besides not being a failure.
BY_ROLE = ",".join(
    (
        "not_a_server_error",
        "roles_may_what_is_written_down",
        "document_says_who_may",
        "change_that_fits_is_made",
    )
)
ROOT = Path(__file__).resolve().parents[2]
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@dataclass(frozen=True)
class World:
    """A server, and who gives the tokens that its control port asks for."""

    server: RunningServer
    provider: Provider | None

    @property
    def token(self) -> str | None:
        return None if self.provider is None else self.provider.token("admin")

    def admin(self, method: str, path: str, body: bytes | None = None, **more: str) -> Answer:
        headers = more | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        return self.server.request(method, path, body, headers, port=self.server.admin_port)


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("open")
    with running(folder, *models(folder), "--workers", "1") as started:
        yield World(started, None)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """No key, which generated requests would find in the list and revoke: tokens."""
    folder = tmp_path_factory.mktemp("keys")
    provider = Provider(folder)
    config = f"access: {{control: keys, jwt: {provider.as_config()}}}"
    with running(folder, *models(folder), "--workers", "1", config=config) as started:
        yield World(started, provider)


def models(folder: Path) -> tuple[Path, Path]:
    broken = folder / "broken.onnx"
    broken.write_bytes(b"this was never a model")
    return save(folder, linear(), "good.onnx"), broken


@pytest.fixture(params=["unguarded", "guarded"])
def world(request: pytest.FixtureRequest) -> World:
    """A server of this module's own: models are loaded and unloaded at random."""
    found: World = request.getfixturevalue(request.param)
    return found


def generate(folder: Path, world: World, *options: str, roles: Sequence[str] = ()) -> str:
    """Runs schemathesis, which has to find nothing; what it printed."""
    assert world.provider is not None or not roles
    tokens = {role: world.provider.token(role) for role in roles} if world.provider else {}
    first = next(iter(tokens.values()), None)
    (folder / "schemathesis.toml").write_text(SETTINGS)
    document = folder / "openapi.json"  # which not every role may fetch
    document.write_bytes(world.admin("GET", "/api/openapi.json").body)
    url = f"http://127.0.0.1:{world.server.admin_port}"
    command = [
        *(str(SCHEMATHESIS), "run", str(document), "--url", url),
        *(("--header", f"Authorization: Bearer {first}") if first else ()),
        *("--seed", "7", "--generation-database", "none", "--continue-on-failure", "--no-color"),
        *options,
    ]
    hooks = {"SCHEMATHESIS_HOOKS": "tests.end_to_end.admin_checks", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | hooks | ({TOKENS: json.dumps(tokens)} if tokens else {}),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_each_role_is_answered_by_what_is_written_down_for_it(guarded, tmp_path):
    # Each request by the first and, byte for byte, by the others.
    brief = ("--checks", BY_ROLE, "--phases", "fuzzing", "--max-examples", "1")
    generate(tmp_path, guarded, *brief, roles=["operator", "approver", "viewer", "client"])


def test_generated_requests_are_answered_as_documented(world, tmp_path):
    # Statuses, schemas, content types, headers, methods; what fits is taken, what does not refused.
    # Where the port asks for a key, every operation that says so is tried without and with another.
    roles = ["admin"] if world.provider else []
    # Every bound of every field once; for the other door, some of each operation will do.
    phases = "coverage,fuzzing" if roles else "fuzzing"
    thorough = ("--checks", "all", "--phases", phases, "--max-examples", "4")
    printed = generate(tmp_path, world, *thorough, roles=roles)
    paths = world.admin("GET", "/api/openapi.json").json()["paths"]
    operations = sum(map(len, paths.values()))
    assert re.search(rf"Operations: +{operations} selected", printed)
    assert world.admin("GET", "/api/status").json()["ready"]
    samples = world.admin("GET", "/metrics").body
    assert b"penstock_control_restarts_total 0" in samples
    document_says = paths["/api/status"]["get"]["responses"].keys()
    assert ("401" in document_says) == bool(roles)
    revisions = world.admin("GET", "/api/config/revisions").json()["revisions"]
    assert len(revisions) > (2 if roles else 0), "documents were put in force"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/status?verbose=1", 400, "invalid_parameter"),
        ("GET", "/metrics?triton=2", 400, "invalid_parameter"),
        ("POST", "/api/models/nosuch/load", 404, "model_not_found"),
        ("POST", "/api/models/a%2Fb/load", 404, "not_found"),
        ("POST", "/api/models/%00/unload", 400, "invalid_parameter"),
        ("POST", "/api/models/broken/load", 422, "model_refused"),
        ("GET", "/api/reload", 405, "method_not_allowed"),
        ("GET", "/api/nothing", 404, "not_found"),
    ],
)
def test_every_error_has_one_shape_and_its_code(world, method, path, status, code):
    answer = world.admin(method, path)
    body = answer.json()
    assert (answer.status, set(body), body["code"]) == (status, {"error", "code"}, code)
    assert answer.headers["content-type"] == "application/json"


def test_a_body_that_nobody_asked_for_is_refused(world):
    answer = world.admin("POST", "/api/reload", b'{"dry_run": true}')
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


def test_both_forms_of_metrics_are_documented(world):
    document = world.admin("GET", "/api/openapi.json").json()
    types = document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
    for accept in ("text/plain", "application/openmetrics-text"):
        answer = world.admin("GET", "/metrics", accept=accept)
        assert answer.headers["content-type"].partition(";")[0] == accept
        assert accept in types


def test_while_it_drains_it_is_not_ready_and_says_why(start, tmp_path):
    server = start(
        save(tmp_path, linear(), "m.onnx"), "--workers", "1", config="drain: {lag_s: 30}"
    )
    server.process.terminate()
    answer = server.admin("GET", "/health/ready")
    while answer.status == 200:  # ends with the lag at the latest, when the port closes
        answer = server.admin("GET", "/health/ready")
    assert (answer.status, answer.json()["code"]) == (503, "draining")
    assert answer.headers["retry-after"] == "1"
    server.process.kill()
