"""The `penstock` command beside a running server: what it changes is served, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway import __version__
from tests.end_to_end.server import RunningServer
from tests.end_to_end.zoo import asked, scale, tensor
from tests.models.builders import save

COMMAND = [str(Path(sys.executable).with_name("penstock"))]
ONE = asked(tensor("x", [[1]], "FP32"))

Penstock = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def penstock(home: Path) -> Penstock:
    """Runs the installed command on the test's home."""

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PENSTOCK_HOME": str(home)}
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def answered_by(server: RunningServer, model: str = "scale") -> tuple[str, float]:
    answer = server.post(f"/v2/models/{model}/infer", ONE).json()
    return answer["model_version"], answer["outputs"][0]["data"][0]


def test_a_registered_model_is_served_by_alias_through_its_whole_life(
    penstock, start, home, tmp_path
):
    files = [save(tmp_path / f"v{n}", scale(n), "scale.onnx") for n in (1, 2, 3)]
    first = penstock("register", files[0], "--meta", "team=risk", "--json")
    assert (first.returncode, json.loads(first.stdout)["version"]) == (0, 1)

    # A server finds what is registered without being told of any file.
    server = start("--workers", "1", home=home)
    assert answered_by(server) == ("1", 1)

    # The highest version answers while there is no champion.
    assert penstock("register", files[1]).returncode == 0
    assert answered_by(server) == ("2", 2)

    # The champion answers whatever is registered after it; others answer by number.
    assert penstock("models", "alias", "scale", "champion", "1").returncode == 0
    assert answered_by(server) == ("1", 1)
    registered = penstock("register", files[2], "--alias", "challenger")
    assert "the running server follows" in registered.stdout
    assert answered_by(server) == ("1", 1)
    assert answered_by(server, "scale/versions/3") == ("3", 3)
    moved = penstock("models", "alias", "scale", "champion", "challenger", "--json")
    assert json.loads(moved.stdout)["version"] == 3
    assert answered_by(server) == ("3", 3)

    # What is listed is what serves.
    (line,) = json.loads(penstock("models", "list", "--json").stdout)
    states = {version["version"]: version["state"] for version in line["versions"]}
    assert (states[3], line["aliases"]) == ("READY", {"challenger": 3, "champion": 3})
    table = penstock("models", "list").stdout.splitlines()
    assert table[0].split()[:4] == ["MODEL", "VERSION", "ALIASES", "STATE"]
    shown = json.loads(penstock("models", "show", "scale", "1", "--json").stdout)
    assert shown["metadata"] == {"team": "risk"}

    # What is removed is gone.
    refused = penstock("models", "remove", "scale", "champion", "--json")
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "conflict")
    assert penstock("models", "remove", "scale", "--force").returncode == 0
    assert server.get("/v2/models/scale").status == 404


def test_a_model_that_does_not_load_is_status_1_and_the_others_serve(
    penstock, start, home, tmp_path
):
    penstock("register", save(tmp_path, scale(1), "good.onnx"))
    server = start("--workers", "1", home=home)
    broken = scale(1)
    broken.graph.node[0].op_type = "NoSuchOp"
    bad = penstock("register", save(tmp_path, broken, "bad.onnx"))
    assert bad.returncode == 1
    assert "model 'bad' version 1 does not serve" in bad.stdout
    assert "NoSuchOp" in bad.stdout
    assert answered_by(server, "good") == ("1", 1)
    listed = penstock("models", "list").stdout
    assert "UNAVAILABLE" in listed


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        pytest.param(("register", "nowhere.onnx"), 1, "model_refused", id="register"),
        pytest.param(("models", "show", "nosuch"), 1, "model_not_found", id="show"),
        pytest.param(("models", "remove", "nosuch"), 1, "model_not_found", id="remove"),
        pytest.param(("models", "alias", "nosuch", "a", "1"), 1, "model_not_found", id="alias"),
        pytest.param(("models", "nonsense"), 2, "usage", id="usage"),
        pytest.param(("serve", "--config", "nowhere.yaml"), 1, "config_invalid", id="serve"),
        pytest.param(("serve", "--port", "99999"), 1, "config_invalid", id="port"),
        pytest.param(("serve", "--workers", "x"), 2, "usage", id="workers"),
        pytest.param(("config", "check", "nowhere.yaml"), 1, "config_invalid", id="check"),
    ],
)
def test_a_failure_is_a_status_and_with_json_a_document(penstock, words, status, code):
    run = penstock(*words, "--json")
    assert (run.returncode, json.loads(run.stdout)["code"], run.stderr) == (status, code, "")


def test_a_failure_is_a_line_on_stderr(penstock, home):
    run = penstock("models", "show", "nosuch")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"penstock: model 'nosuch' is not registered under {home}\n"


def test_every_fault_of_a_configuration_is_told_at_once(penstock, home):
    (home / "bad.yaml").write_text("server: {port: -1, sever: 2}\nlimits: {max_body_bytes: x}\n")
    run = penstock("serve", "--config", "bad.yaml")
    assert run.returncode == 1
    for path in ("server.port: ", "server.sever: ", "limits.max_body_bytes: "):
        assert path in run.stderr


def test_two_servers_do_not_share_a_home(penstock, start, home, tmp_path):
    start(save(tmp_path, scale(1)), "--workers", "1", home=home)
    second = penstock("serve", "--port", "0", "--admin-port", "0")
    assert (second.returncode, "another server runs on it" in second.stderr) == (1, True)


def test_a_taken_port_is_told_in_a_line(penstock, start, tmp_path):
    server = start(save(tmp_path, scale(1)), "--workers", "1")
    words = ("--port", server.port, "--admin-port", "0", "--home", tmp_path / "other")
    second = penstock("serve", *words)
    assert second.returncode == 1
    assert str(server.port) in second.stderr
    assert "Traceback" not in second.stderr


def test_with_json_readiness_is_one_line_with_the_ports(start, tmp_path):
    server = start(save(tmp_path, scale(1), "m.onnx"), "--workers", "1", "--json")
    (line,) = [json.loads(text) for text in server.log.splitlines() if text.startswith("{")]
    assert (line["port"], line["admin_port"]) == (server.port, server.admin_port)


def test_the_schema_the_doctor_and_the_version(penstock):
    schema = json.loads(penstock("config", "schema").stdout)
    assert {"server", "limits", "models"} <= schema["properties"].keys()
    doctor = json.loads(penstock("doctor", "--json").stdout)
    assert doctor
    assert penstock("--version").stdout == f"penstock {__version__}\n"
