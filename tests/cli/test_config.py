from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.cli import main
from tests.certificates import Authority


def test_the_schema_describes_every_section(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"server", "control", "limits", "drain", "repository", "defaults", "models"} <= set(
        schema["properties"]
    )
    assert schema["additionalProperties"] is False


def test_the_schema_knows_language_models_with_and_without_numbered_versions(capsys):
    main(["config", "schema", "--json"])
    schemas = json.loads(capsys.readouterr().out)["$defs"]
    model, version = schemas["LlmModel"], schemas["LlmVersion"]
    assert {*version["properties"], "versions", "aliases"} < set(model["properties"])
    assert model["anyOf"] == [{"required": ["versions"]}, {"required": ["upstreams"]}]
    assert "required" not in model


def test_the_schema_with_json_is_one_line(capsys):
    main(["config", "schema", "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_good_document_is_status_0(tmp_path, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 9000}\n")
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no faults\n"


def test_what_keeps_nobody_from_serving_is_told_as_a_warning(tmp_path, capsys):
    authority = Authority(tmp_path / "pki")
    authority.issue(not_after=datetime(2020, 1, 1, tzinfo=UTC))
    (tmp_path / "secret").write_text("whsec_CANARY!")
    sinks = [
        {"name": "pager", "url": "http://pager.example", "secret_file": str(tmp_path / "none")},
        {"name": "chat", "url": "http://chat.example", "secret_file": str(tmp_path / "secret")},
    ]
    tls = {"certificate": str(authority.certificate), "key": str(authority.key)}
    file = tmp_path / "penstock.yaml"
    file.write_text(json.dumps({"server": {"tls": tls}, "alerts": {"sinks": sinks}}))
    warnings = [
        f"server.tls.certificate: {authority.certificate}: certificate has expired",
        f"alerts.sinks 'pager': {tmp_path}/none: No such file or directory",
        "alerts.sinks 'chat': secret: expected base64 behind whsec_",
    ]
    assert main(["config", "check", str(file)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [f"{file}: no faults", *(f"warning: {one}" for one in warnings)]
    assert main(["config", "check", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == warnings


def test_with_json_a_good_document_is_shown_as_understood(tmp_path, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 9000}\n")
    assert main(["config", "check", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["ok"], shown["config"]["server"]["port"]) == (True, 9000)
    assert shown["config"]["control"]["port"] == 8002


def test_all_faults_of_a_document_are_told_at_once(tmp_path, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 70000}\nlimit: {}\n")
    assert main(["config", "check", str(file)]) == 1
    told = capsys.readouterr().err
    assert f"{file}: server.port: " in told
    assert f"{file}: limit: no such setting" in told


def test_a_fault_of_a_variable_is_found_and_told_without_what_it_says(
    tmp_path, capsys, monkeypatch
):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 9000}\n")
    monkeypatch.setenv("PENSTOCK_SERVER__PORT", "CANARYK")
    monkeypatch.setenv("PENSTOCK_DRAIN__GRACE_S", ".inf")
    assert main(["config", "check", str(file)]) == 1
    told = capsys.readouterr()
    assert "PENSTOCK_SERVER__PORT: server.port: input should be a valid integer" in told.err
    assert "PENSTOCK_DRAIN__GRACE_S: drain.grace_s: " in told.err
    assert "CANARYK" not in told.out + told.err


def test_a_file_that_is_not_there_is_status_1(tmp_path, capsys):
    assert main(["config", "check", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().err


# ---- revisions ----


@pytest.fixture
def penstock(home, capsys):
    """Runs one command on the home; gives exit status, stdout and stderr."""

    def run(*words):
        status = main(["config", *map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def write(tmp_path):
    """Writes a document and gives its path."""

    def one(text, name="penstock.yaml"):
        file = tmp_path / name
        file.write_text(text)
        return file

    return one


ONE = "models: {fraud: {max_batch_size: 128}}\n"
TWO = "{models: {fraud: {max_batch_size: 256}, new: {}}, server: {port: 9}}\n"


def test_apply_tells_exactly_what_changes_and_keeps_a_revision(penstock, write):
    assert penstock("apply", write(ONE), "--note", "first")[0] == 0
    status, out, _ = penstock("apply", write(TWO))
    assert (status, out.splitlines()) == (
        0,
        [
            "revision 2, after 1",
            "server.port: 8000 -> 9, at the next start",
            "models.fraud.max_batch_size: 128 -> 256",
            "models.new: added",
            "no server runs on this home",
        ],
    )
    assert penstock("apply", write(TWO))[1].splitlines()[:2] == [
        "revision 2 says this already",
        "nothing changes",
    ]


def test_a_dry_run_tells_the_same_and_stores_nothing(penstock, write, home):
    status, out, _ = penstock("apply", write(ONE), "--dry-run")
    assert (status, out) == (0, "models.fraud: added (max_batch_size 128)\n")
    assert not (home / "penstock.db").exists()
    told = json.loads(penstock("apply", write(ONE), "--dry-run", "--json")[1])
    assert (told["dry_run"], told["revision"], told["changes"][0]["path"]) == (
        True,
        0,
        "models.fraud",
    )


def test_a_document_with_faults_is_not_stored_and_every_fault_is_told(penstock, write):
    file = write("server: {port: -1}\nmodels: {m: {max_batch_size: x}}\n")
    status, _, err = penstock("apply", file)
    assert (status, len(err.splitlines())) == (1, 2)
    assert f"{file}: models.m.max_batch_size: " in err
    assert json.loads(penstock("history", "--json")[1]) == []


def test_another_revision_in_between_is_told(penstock, write):
    penstock("apply", write(ONE))
    status, out, _ = penstock("apply", write(TWO), "--if-revision", "0", "--json")
    assert (status, json.loads(out)["code"]) == (1, "precondition_failed")


def test_history_shows_who_wanted_what_and_why(penstock, write):
    penstock("apply", write(ONE), "--note", "first")
    penstock("apply", write(TWO))
    header, second, first = penstock("history")[1].splitlines()
    assert header.split() == ["REVISION", "TIME", "WHO", "SHA-256", "NOTE", "FILE"]
    assert (second.split()[0], first.split()[0]) == ("2", "1")
    assert " first " in first
    assert json.loads(penstock("history", "--limit", "1", "--json")[1])[0]["number"] == 2
    assert json.loads(penstock("history", "--before", "2", "--json")[1])[0]["number"] == 1


def test_show_prints_a_document_as_it_was_applied(penstock, write):
    remark = "# why\n" + ONE
    penstock("apply", write(remark))
    penstock("apply", write(TWO))
    assert penstock("show", "1")[1] == remark
    assert penstock("show")[1] == TWO
    assert json.loads(penstock("show", "1", "--json")[1])["document"] == remark
    assert penstock("show", "7")[0] == 1


def test_diff_compares_a_file_or_two_revisions(penstock, write):
    penstock("apply", write(ONE))
    changes = penstock("diff", write(TWO))[1].splitlines()
    assert "models.fraud.max_batch_size: 128 -> 256" in changes
    penstock("apply", write(TWO))
    assert penstock("diff", "1", "2")[1].splitlines() == changes
    assert penstock("diff", write(TWO))[1] == "nothing changes\n"
    assert "models.fraud.max_batch_size: 256 -> 128" in penstock("diff", "1")[1]
    assert penstock("diff", "1", "7")[0] == 1


def test_rollback_puts_the_old_document_in_force_again(penstock, write):
    penstock("apply", write(ONE))
    penstock("apply", write(TWO))
    status, out, _ = penstock("rollback")
    assert (status, out.splitlines()[0]) == (0, "revision 3, after 2")
    assert "models.new: removed" in out
    assert penstock("show")[1] == ONE
    assert penstock("rollback", "2", "--if-revision", "1")[0] == 1
    assert json.loads(penstock("rollback", "2", "--json")[1])["revision"] == 4


def test_effective_tells_where_each_value_comes_from(penstock, write, monkeypatch):
    monkeypatch.setenv("PENSTOCK_DEFAULTS__MAX_BATCH_SIZE", "64")
    penstock("apply", write(ONE))
    lines = {
        line.split()[0]: line.split()[1:]
        for line in penstock("show", "--effective")[1].splitlines()
    }
    assert lines["models.fraud.max_batch_size"] == ["128", "document"]
    assert lines["defaults.max_batch_size"] == ["64", "PENSTOCK_DEFAULTS__MAX_BATCH_SIZE"]
    assert lines["server.port"] == ["8000", "default"]
    told = json.loads(penstock("show", "--effective", "--json")[1])
    assert told["revision"] == 1


@pytest.mark.parametrize("words", [("history",), ("show",), ("diff", "{file}")])
def test_looking_at_a_home_does_not_make_one(write, tmp_path, words, capsys):
    file = str(write(ONE))
    nowhere = tmp_path / "nowhere"
    call = ["config", *(word.format(file=file) for word in words), "--home", str(nowhere)]
    assert main(call) == 0
    assert not nowhere.exists()


def test_a_dry_run_of_a_rollback_tells_and_stores_nothing(penstock, write):
    penstock("apply", write(ONE))
    penstock("apply", write(TWO))
    status, out, _ = penstock("rollback", "--dry-run")
    assert (status, "models.fraud.max_batch_size: 256 -> 128" in out) == (0, True)
    assert len(json.loads(penstock("history", "--json")[1])) == 2


def test_a_document_that_does_not_go_with_a_variable_is_not_stored(penstock, write, monkeypatch):
    monkeypatch.setenv("PENSTOCK_MODELS__A_B__VERSION", "2")
    status, _, err = penstock("apply", write("models: {a-b: {}, a.b: {}}"))
    assert (status, "PENSTOCK_MODELS__A_B__VERSION" in err) == (1, True)
    assert json.loads(penstock("history", "--json")[1]) == []


# ---- what it takes to serve ----

UNFIT = """
server: {tls: {certificate: /none/c.pem, key: /none/k.pem}}
control: {tls: {certificate: /none/c.pem, key: /none/k.pem}}
access: {jwt: {issuer: a, audience: b, jwks_file: /none/jwks.json}}
log: {access: all, access_file: /none/access.log}
tracing: {endpoint: "http://127.0.0.1:4318", headers_file: /none/headers}
"""
PLACES = [
    "server.tls.certificate",
    "control.tls.certificate",
    "access.jwt.jwks_file",
    "log.access_file",
    "tracing.headers_file",
]


def places(told):
    return [line.removeprefix("penstock: ").split(":")[0].split(" ")[0] for line in told]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_everything_that_keeps_a_server_from_starting_is_told_at_once(command, write, home):
    file = write(UNFIT)
    words = {
        "check": ["config", "check", file],
        "serve": ["serve", "--config", file, "--home", home],
    }[command]
    line = [sys.executable, "-m", "gateway", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, places(done.stderr.splitlines())) == (1, PLACES)


def test_checking_makes_no_file(write, tmp_path):
    file = write(f"log: {{access: all, access_file: {tmp_path}/access.log}}")
    assert main(["config", "check", str(file)]) == 0
    assert not (tmp_path / "access.log").exists()
    (tmp_path / "access.log").mkdir()
    assert main(["config", "check", str(file)]) == 1
