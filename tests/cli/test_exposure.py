"""`penstock doctor` says plainly who can reach the ports, and what stops them."""

from __future__ import annotations

import json
import os

import pytest

from gateway.access.secret import server_secret
from gateway.cli import main
from gateway.cli.exposure import check_access, check_secret
from gateway.cli.findings import Case
from gateway.config import Config
from gateway.control.keys import Keys
from gateway.control.store import Store
from tests.control.auditing import ANN

OPEN = {"server": {"host": "0.0.0.0"}}
ASKING = {"access": {"data": "keys"}}
JWT = {"jwt": {"issuer": "a", "audience": "b", "jwks_file": "x"}}
CLOSED = "the data port is open to this machine alone"


def found(home, **document):
    case = Case(Config.model_validate(document), home)
    return [(one.state, one.found) for one in check_access(case)]


@pytest.fixture
def create(home):
    def key(role):
        with Store.open(home) as store:
            Keys(store, server_secret(home)).create(ANN, role, role)

    return key


def test_a_port_on_loopback_is_open_to_this_machine_alone(home):
    assert found(home) == [
        ("ok", CLOSED),
        ("ok", "the control port is open to this machine alone"),
    ]


def test_a_data_port_that_others_reach_is_open_to_everybody(home):
    assert found(home, **OPEN)[0] == (
        "warn",
        "the data port on 0.0.0.0 is open to everybody who reaches it",
    )


def test_a_port_that_asks_for_keys_needs_one(home, create):
    none = ("warn", "the data port asks for keys, and there is no client key")
    create("viewer")
    assert found(home, **ASKING)[0] == none
    assert found(home, **OPEN, **ASKING)[0] == none
    create("client")
    assert found(home, **OPEN, **ASKING)[0] == ("ok", "the data port asks for keys")


def test_tokens_of_a_provider_are_as_good_as_keys(home):
    document = {"access": {"data": "keys", **JWT}, "control": {"host": "0.0.0.0"}}
    assert [state for state, _ in found(home, **document)] == ["ok", "ok"]


def test_a_control_port_that_others_reach_does_not_start_without_a_key(home, create):
    document = {"control": {"host": "0.0.0.0"}}
    create("client")
    assert found(home, **document)[1] == (
        "fail",
        "the control port on 0.0.0.0 has no admin key: it will not start",
    )
    create("admin")
    assert found(home, **document)[1] == ("ok", "the control port asks for keys")


def test_a_server_that_runs_is_as_open_as_it_was_started(home):
    (home / "run").mkdir()
    (home / "run" / "server.json").write_text(
        json.dumps({"pid": os.getpid(), "host": "0.0.0.0", "asks": False})
    )
    warning = "the running server's data port on 0.0.0.0 is open to everybody who reaches it"
    assert found(home)[-1] == ("warn", warning)
    assert found(home, **OPEN, **ASKING)[-1] == ("warn", warning)
    assert len(found(home, **OPEN)) == 2


def test_a_secret_that_others_may_read_is_a_fault(home):
    case = Case(Config(), home)
    assert list(check_secret(case)) == []
    server_secret(home)
    assert list(check_secret(case)) == []
    (home / "secret").chmod(0o640)
    assert [one.state for one in check_secret(case)] == ["fail"]


def test_without_a_file_the_newest_revision_is_looked_at(home, tmp_path, capsys):
    file = tmp_path / "open.yaml"
    file.write_text("server: {host: 0.0.0.0, port: 0}\ncontrol: {port: 0}\n")
    main(["config", "apply", str(file), "--home", str(home)])
    main(["doctor", "--home", str(home)])
    told = capsys.readouterr().out
    assert "the data port on 0.0.0.0 is open to everybody who reaches it" in told
    assert "revision 1" in told
    main(["doctor", "--home", str(home), "--config", os.devnull])
    assert CLOSED in capsys.readouterr().out
