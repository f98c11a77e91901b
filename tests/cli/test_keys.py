"""`penstock keys` as scripts use it."""

from __future__ import annotations

import json

import pytest

from gateway.access.secret import VARIABLE
from gateway.cli import main


@pytest.fixture
def penstock(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    def run(*words):
        status = main(["keys", *words, "--home", str(tmp_path), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return run


def test_a_key_is_shown_when_it_is_made_and_never_again(penstock, tmp_path, capsys):
    status, made = penstock(
        "create", "--name", "app", "--role", "client", "--models", "a,b", "--expires", "30d"
    )
    assert (status, made["models"], made["state"]) == (0, ["a", "b"], "active")
    status, listed = penstock("list")
    assert "key" not in listed[0]
    assert {**listed[0], "key": made["key"]} == made
    main(["keys", "list", "--home", str(tmp_path)])
    assert made["key"] not in capsys.readouterr().out


def test_rotating_and_revoking(penstock):
    _, first = penstock("create", "--name", "app", "--role", "operator")
    _, second = penstock("rotate", "1", "--overlap", "1h")
    assert second["key"] != first["key"]
    assert (second["name"], second["role"]) == ("app", "operator")
    assert penstock("revoke", "1")[1]["state"] == "revoked"
    assert [key["state"] for key in penstock("list")[1]] == ["revoked", "active"]


def test_a_failure_says_why(penstock):
    assert penstock("revoke", "9") == (1, {"error": "there is no key 9", "code": "not_found"})
    status, answer = penstock("create", "--name", "a", "--role", "client", "--expires", "soon")
    assert (status, answer["code"]) == (1, "invalid_parameter")


def test_looking_makes_no_home(penstock, tmp_path):
    assert penstock("list") == (0, [])
    assert list(tmp_path.iterdir()) == []
