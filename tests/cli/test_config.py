from __future__ import annotations

import json

from gateway.cli import main


def test_the_schema_describes_every_section(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert {"server", "control", "limits", "drain", "repository", "defaults", "models"} <= set(
        schema["properties"]
    )
    assert schema["additionalProperties"] is False


def test_the_schema_with_json_is_one_line(capsys):
    main(["config", "schema", "--json"])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_good_document_is_status_0(tmp_path, capsys):
    file = tmp_path / "penstock.yaml"
    file.write_text("server: {port: 9000}\n")
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no faults\n"


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


def test_a_file_that_is_not_there_is_status_1(tmp_path, capsys):
    assert main(["config", "check", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be read" in capsys.readouterr().err
