"""The admin API of a running server: what its OpenAPI document says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.provider import Provider
from tests.end_to_end.server import Answer, RunningServer, running
from tests.models.builders import linear, save

# Loading a model that is broken is a valid request, and that it is refused a proper answer; so is
# changing a configuration that is not, or no longer, the one that the client saw; so is a second
# key of a name, and one that ends at a date that is past.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 404, 409, 412, 422, 428]

[checks.negative_data_rejection]
expected-statuses = ["4xx"]

[[operations]]
include-name = "POST /api/keys"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 409]
"""
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@dataclass(frozen=True)
class World:
    """A server, and the token that its control port asks for."""

    server: RunningServer
    token: str | None

    def admin(self, method: str, path: str, body: bytes | None = None, **more: str) -> Answer:
        headers = more | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        return self.server.request(method, path, body, headers, port=self.server.admin_port)


@pytest.fixture(scope="module", params=["open", "keys"])
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A server of this module's own: models are loaded and unloaded at random."""
    folder = tmp_path_factory.mktemp("admin")
    broken = folder / "broken.onnx"
    broken.write_bytes(b"this was never a model")
    good = save(folder, linear(), "good.onnx")
    if request.param == "open":
        with running(folder, good, broken, "--workers", "1") as started:
            yield World(started, None)
        return
    # No key, which generated requests would find in the list and revoke.
    provider = Provider(folder)
    config = f"access: {{control: keys, jwt: {provider.as_config()}}}"
    with running(folder, good, broken, "--workers", "1", config=config) as started:
        yield World(started, provider.token("admin"))


def test_generated_requests_are_answered_as_documented(world, tmp_path):
    # Statuses, schemas, content types, headers, methods; what fits is taken, what does not refused.
    # Where the port asks for a key, every operation that says so is tried without and with another.
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    document = f"http://127.0.0.1:{world.server.admin_port}/api/openapi.json"
    command = [
        *(str(SCHEMATHESIS), "run", document),
        *(("--header", f"Authorization: Bearer {world.token}") if world.token else ()),
        *("--checks", "all", "--phases", "coverage,fuzzing", "--max-examples", "15"),
        *("--seed", "7", "--generation-database", "none", "--continue-on-failure", "--no-color"),
    ]
    paths = world.admin("GET", "/api/openapi.json").json()["paths"]
    operations = sum(map(len, paths.values()))
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert run.returncode == 0, run.stdout + run.stderr
    # All of them: it leaves out where it has the document from.
    assert re.search(rf"Operations: +{operations - 1} selected", run.stdout)
    status = world.admin("GET", "/api/status").json()
    assert status["ready"]
    samples = world.admin("GET", "/metrics").body
    assert b"penstock_control_restarts_total 0" in samples
    document_says = paths["/api/status"]["get"]["responses"].keys()
    assert ("401" in document_says) == (world.token is not None)


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
