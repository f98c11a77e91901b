"""A running server follows the newest revision, through whatever door it came, and fails nobody."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.server import Answer, RunningServer, eventually
from tests.end_to_end.test_lifecycle import BODY, INFER, control_of
from tests.end_to_end.test_reload import penstock
from tests.end_to_end.traffic import Traffic
from tests.models.builders import linear, save

MODELS = 500


def document(file: Path, batch: int, more: str = "") -> str:
    return f"models: {{m: {{path: {file}, max_batch_size: {batch}}}{more}}}\n"


def batch_of(server: RunningServer, model: str = "m") -> int:
    found: int = server.get(f"/v2/models/{model}/config").json()["max_batch_size"]
    return found


def put(
    server: RunningServer, text: str, revision: int | str | None = None, query: str = ""
) -> Answer:
    headers = {"Content-Type": "application/yaml"}
    if revision is not None:
        headers["If-Match"] = f'"{revision}"'
    return server.request(
        "PUT", f"/api/config{query}", text.encode(), headers, port=server.admin_port
    )


def roll_back(server: RunningServer, revision: int, query: str = "") -> Answer:
    headers = {"If-Match": f'"{revision}"'}
    return server.request(
        "POST", f"/api/config/rollback{query}", None, headers, port=server.admin_port
    )


def loads(server: RunningServer) -> dict[str, float]:
    """How often each model was loaded."""
    text = server.admin("GET", "/metrics?triton=0").body.decode()
    return {
        sample.labels["model"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "penstock_model_loads_total"
    }


@pytest.fixture
def model(tmp_path):
    return save(tmp_path, linear(), "m.onnx")


def test_a_revision_is_applied_and_rolled_back_under_load_without_a_failed_request(
    start, tmp_path, model
):
    home = tmp_path / "home"
    server = start("--workers", "2", home=home, config=document(model, 8))
    file = tmp_path / "next.yaml"
    file.write_text(document(model, 16))
    with Traffic(server.port, INFER, BODY, 4) as traffic:
        told = penstock("config", "apply", file, "--home", home)
        assert [one["path"] for one in told["changes"]] == ["models.m.max_batch_size"]
        assert (told["server"]["faults"], batch_of(server)) == ([], 16)
        traffic.go_on(20)
        told = penstock("config", "rollback", "--home", home)
        assert (told["revision"], batch_of(server)) == (3, 8)
        traffic.go_on(20)
    assert traffic.tally.failed == 0


def test_the_newest_revision_is_in_force_without_a_file_and_after_control_was_killed(
    start, tmp_path, model
):
    home = tmp_path / "home"
    file = tmp_path / "p.yaml"
    for batch in (8, 16):
        file.write_text(document(model, batch))
        penstock("config", "apply", file, "--home", home)
    server = start("--workers", "1", home=home)
    assert batch_of(server) == 16
    assert put(server, document(model, 32), 2).status == 200
    control = control_of(server)
    assert control is not None
    os.kill(control, signal.SIGKILL)
    eventually(lambda: control_of(server) not in (None, control))
    assert server.admin("POST", "/api/reload").status == 200
    assert batch_of(server) == 32


def test_a_reload_takes_the_file_up_where_it_was_changed_and_undoes_nothing_else(
    start, tmp_path, model
):
    home = tmp_path / "home"
    server = start("--workers", "1", home=home, config=document(model, 8))
    assert put(server, document(model, 16), 1).status == 200
    server.process.send_signal(signal.SIGHUP)
    server.admin("POST", "/api/reload")
    assert batch_of(server) == 16
    (home / "penstock.yaml").write_text(document(model, 32))
    server.process.send_signal(signal.SIGHUP)
    eventually(lambda: batch_of(server) == 32)
    history = server.admin("GET", "/api/config/revisions").json()["revisions"]
    assert [(one["number"], Path(one["source"]).name) for one in history] == [
        (3, "penstock.yaml"),
        (2, ""),
        (1, "penstock.yaml"),
    ]


def test_the_environment_goes_before_the_document_and_flags_before_both(start, tmp_path, model):
    home = tmp_path / "home"
    environment = {
        "PENSTOCK_MODELS__M__MAX_BATCH_SIZE": "4",
        "PENSTOCK_SERVER__WORKERS": "2",
        "PENSTOCK_SERVER__PORT": "1",
    }
    server = start("--workers", "1", home=home, config=document(model, 8), environment=environment)
    assert (batch_of(server), len(server.status()["workers"])) == (4, 1)
    assert put(server, document(model, 16), 1).status == 200
    assert batch_of(server) == 4
    told = penstock("config", "show", "--effective", "--home", home)
    found = {one["path"]: (one["value"], one["source"]) for one in told["settings"]}
    assert found["models.m.max_batch_size"] == (4, "PENSTOCK_MODELS__M__MAX_BATCH_SIZE")
    assert found["server.workers"] == (1, "--workers")
    assert found["server.port"] == (0, "--port")


def test_the_admin_api_changes_only_the_revision_that_is_named(start, tmp_path, model):
    server = start("--workers", "1", config=document(model, 8))
    shown = server.admin("GET", "/api/config")
    assert (shown.headers["etag"], shown.json()["document"]) == ('"1"', document(model, 8))
    text = server.request(
        "GET", "/api/config", None, {"Accept": "application/yaml"}, port=server.admin_port
    )
    assert text.body.decode() == document(model, 8)

    effective = server.admin("GET", "/api/config/effective")
    assert (effective.headers["etag"], effective.json()["revision"]) == ('"1"', 1)
    told = server.request("PUT", "/api/config", b"{}", {"If-Match": '"1"'}, server.admin_port)
    assert (told.status, told.json()["code"]) == (415, "unsupported_media_type")

    missing = put(server, document(model, 16))
    assert (missing.status, missing.json()["code"]) == (428, "precondition_required")
    for wrong in ("9", "*", "x"):
        refused = put(server, document(model, 16), wrong)
        assert (refused.status, refused.json()["code"]) == (412, "precondition_failed")
    faulty = put(server, "server: {port: -1, prot: 2}", 1)
    assert (faulty.status, faulty.json()["code"]) == (422, "config_invalid")
    assert len(faulty.json()["error"].splitlines()) == 2
    large = put(server, "#" * ((4 << 20) + 1), 1)
    assert (large.status, large.json()["code"]) == (413, "body_too_large")

    tried = put(server, document(model, 16), 1, "?dry_run=1").json()
    assert [one["path"] for one in tried["changes"]] == ["models.m.max_batch_size"]
    assert batch_of(server) == 8

    done = put(server, json.dumps({"models": {"m": {"path": str(model)}}}), 1)
    assert (done.status, done.headers["etag"], done.json()["absent"]) == (200, '"2"', [])
    assert batch_of(server) == 128
    missing = server.admin("POST", "/api/config/rollback?revision=1")
    assert (missing.status, missing.json()["code"]) == (428, "precondition_required")
    refused = roll_back(server, 1, "?revision=1")
    assert (refused.status, refused.json()["code"]) == (412, "precondition_failed")
    tried = roll_back(server, 2, "?revision=1&dry_run=1").json()
    assert [one["path"] for one in tried["changes"]] == ["models.m.max_batch_size"]
    assert (tried["dry_run"], batch_of(server)) == (True, 128)
    back = roll_back(server, 2, "?revision=1")
    assert (back.status, back.headers["etag"], batch_of(server)) == (200, '"3"', 8)
    assert back.json() == tried | {
        "dry_run": False,
        "revision": 3,
        "plan": server.status()["plan"],
    }
    page = server.admin("GET", "/api/config/revisions?limit=1").json()
    assert ([one["number"] for one in page["revisions"]], page["next"]) == ([3], 3)
    page = server.admin("GET", "/api/config/revisions?before=2").json()
    assert ([one["number"] for one in page["revisions"]], page["next"]) == ([1], None)
    first = server.admin("GET", "/api/config/revisions/1").json()
    assert (first["number"], first["document"]) == (1, document(model, 8))
    assert server.admin("GET", "/api/config/revisions/9").status == 404
    assert roll_back(server, 3, "?revision=x").status == 400
    assert roll_back(server, 3, "?revision=1.0").status == 400
    entry = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    assert [
        (one["door"], one["action"]) for one in entry if one["action"].startswith("config ")
    ] == [("cli", "config serve"), ("admin", "config apply"), ("admin", "config rollback")]


def history(server: RunningServer) -> list[int]:
    told = server.admin("GET", "/api/config/revisions").json()["revisions"]
    return [one["number"] for one in told]


def test_the_command_line_is_told_what_does_not_fit_the_server_and_stores_nothing(
    start, tmp_path, model
):
    home = tmp_path / "home"
    environment = {"PENSTOCK_MODELS__A_B__VERSION": "2"}
    server = start("--workers", "1", home=home, config=document(model, 8), environment=environment)
    file = tmp_path / "next.yaml"
    file.write_text(document(model, 16, more=", a-b: {}, a.b: {}"))
    for dry in ([], ["--dry-run"]):
        told = penstock("config", "apply", file, *dry, "--home", home)
        assert (told["code"], "PENSTOCK_MODELS__A_B__VERSION" in told["error"]) == (
            "config_invalid",
            True,
        )
    assert (history(server), batch_of(server)) == ([1], 8)


def test_what_somebody_is_writing_in_the_file_is_not_taken_up_by_another_change(
    start, tmp_path, model
):
    home = tmp_path / "home"
    server = start("--workers", "1", home=home, config=document(model, 8))
    (home / "penstock.yaml").write_text(document(model, 11))
    file = tmp_path / "next.yaml"
    file.write_text(document(model, 16))
    told = penstock("config", "apply", file, "--note", "why", "--home", home)
    assert (told["revision"], told["before"], told["server"]["faults"]) == (2, 1, [])
    assert (batch_of(server), history(server)) == (16, [2, 1])
    penstock("register", model, "--name", "other", "--home", home)
    assert server.get("/v2/models/other/ready").status == 200
    assert (batch_of(server), history(server)) == (16, [2, 1])
    assert penstock("config", "rollback", "--home", home)["revision"] == 3
    assert (batch_of(server), history(server)) == (8, [3, 2, 1])
    entry = server.admin("GET", "/api/config/revisions/2").json()
    assert (entry["source"], entry["note"]) == (str(file), "why")
    entries = server.admin("GET", "/api/audit?limit=1000").json()["entries"]
    doors = {one["door"] for one in entries if one["action"].startswith("config ")}
    assert doors == {"cli"}
    assert server.admin("POST", "/api/reload").status == 200
    assert batch_of(server) == 11


def test_a_default_that_its_models_cannot_follow_is_told_of_each(start, tmp_path, model):
    home = tmp_path / "home"
    text = document(model, 8, more=f", own: {{path: {model}, device: cpu}}")
    penstock("register", model, "--name", "listed", "--alias", "champion", "--home", home)
    penstock("register", model, "--name", "listed", "--home", home)
    penstock(
        "register", save(tmp_path, linear(seed=3), "3.onnx"), "--name", "listed", "--home", home
    )
    start("--workers", "1", home=home, config=text)
    file = tmp_path / "next.yaml"
    # A device that no machine has.
    file.write_text(f"defaults: {{device: 'cuda:99'}}\n{text}")
    told = penstock("config", "apply", file, "--home", home)
    (change,) = told["changes"]
    assert (change["path"], change["models"]) == ("defaults.device", ["listed", "m"])
    blamed = {fault.split("'")[1] for fault in told["server"]["faults"]}
    assert blamed == {"listed", "m"}
    file.write_text(f"repository: {{paths: [{tmp_path}/models]}}\n{text}")
    (tmp_path / "models" / "broken" / "1").mkdir(parents=True)
    (tmp_path / "models" / "broken" / "1" / "model.onnx").write_bytes(b"no model")
    told = penstock("config", "apply", file, "--home", home)
    assert [fault.split("'")[1] for fault in told["server"]["faults"]] == ["broken"]
    file.write_text(text)
    assert penstock("config", "apply", file, "--home", home)["server"]["faults"] == []


def test_a_dry_run_tells_what_a_variable_of_the_server_keeps(start, tmp_path, model):
    home = tmp_path / "home"
    environment = {"PENSTOCK_MODELS__M__MAX_BATCH_SIZE": "4"}
    server = start("--workers", "1", home=home, config=document(model, 8), environment=environment)
    file = tmp_path / "next.yaml"
    file.write_text(document(model, 16))
    for words in (["apply", file, "--dry-run"], ["diff", file], ["apply", file]):
        told = penstock("config", *words, "--home", home)
        (change,) = told if isinstance(told, list) else told["changes"]
        kept = (change["kept_by"], change["kept"], change["before"], change["after"])
        assert kept == ("PENSTOCK_MODELS__M__MAX_BATCH_SIZE", 4, 8, 16)
    assert batch_of(server) == 4
    (change,) = penstock("config", "diff", "1", "--home", home)
    assert (change["after"], change["kept"]) == (8, 4)


def test_one_change_among_five_hundred_models_is_the_only_one(start, tmp_path):
    home = tmp_path / "home"
    files = tmp_path / "files"
    names = [f"m{number}" for number in range(MODELS)]
    for number, name in enumerate(names):
        save(files, linear(seed=number), f"{name}.onnx")
    lines = [f"  {name}: {{path: {files}/{name}.onnx, warmup: false}}" for name in names]
    text = "models:\n" + "\n".join(lines) + "\n"
    server = start("--workers", "1", home=home, config=text)
    assert loads(server) == dict.fromkeys(names, 1)
    file = tmp_path / "next.yaml"
    file.write_text(text.replace("m7.onnx,", "m7.onnx, max_batch_size: 16,"))
    told = penstock("config", "apply", file, "--home", home)
    assert [one["path"] for one in told["changes"]] == ["models.m7.max_batch_size"]
    assert told["server"]["faults"] == []
    assert batch_of(server, "m7") == 16
    assert loads(server) == dict.fromkeys(names, 1) | {"m7": 2}
    (entry,) = [
        one["after"]["models"]
        for one in server.admin("GET", "/api/audit?limit=1000").json()["entries"]
        if one["action"] == "serve" and one["before"]["models"]
    ]
    assert list(entry) == ["m7"]
