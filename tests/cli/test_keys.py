"""`penstock keys` as scripts use it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime

import pytest

from gateway.access.allowance import PICO
from gateway.access.secret import VARIABLE
from gateway.cli import main
from gateway.cli.spend import left_of
from gateway.control.spend_store import SpendStore, Spent
from gateway.control.store import Store
from tests.models import builders


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


def test_a_key_that_makes_a_home_of_its_own_says_where(tmp_path, capsys):
    words = ["keys", "create", "--role", "client", "--home", str(tmp_path / "here"), "--name"]
    assert main([*words, "a"]) == 0
    assert f"penstock: {tmp_path}/here is a new home: a server that" in capsys.readouterr().err
    assert main([*words, "b"]) == 0
    assert capsys.readouterr().err == ""


def test_a_list_says_what_keys_count_against_where_any_does(penstock, tmp_path, capsys):
    create = ("create", "--role", "client", "--name")
    penstock(*create, "plain")
    assert main(["keys", "list", "--home", str(tmp_path)]) == 0
    assert "COUNTS AGAINST" not in capsys.readouterr().out
    limits = ("--team", "web", "--tag", "eu", "--budget", "10usd/day", "--rpm", "60")
    penstock(*create, "limited", *limits)
    assert main(["keys", "list", "--home", str(tmp_path)]) == 0
    header, plain, limited = capsys.readouterr().out.splitlines()
    at = header.index("COUNTS AGAINST")
    assert plain[at:].startswith("-  ")
    assert limited[at:].startswith("team web, tag eu, 10usd/day, --rpm 60  active")


def test_making_a_key_imports_no_compiler(tmp_path):
    # It takes longer to import than all the rest of the command.
    words = ["keys", "create", "--name", "app", "--role", "client", "--home", str(tmp_path)]
    script = (
        "import sys\n"
        "from gateway.cli import main\n"
        f"assert main({words!r}) == 0\n"
        "print('numba' in sys.modules, file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert run.stderr.decode().splitlines()[-1] == "False"


def test_rotating_and_revoking(penstock):
    _, first = penstock("create", "--name", "app", "--role", "operator")
    _, second = penstock("rotate", "1", "--overlap", "1h")
    assert second["key"] != first["key"]
    assert (second["name"], second["role"]) == ("app", "operator")
    assert penstock("revoke", "1")[1]["state"] == "revoked"
    assert [key["state"] for key in penstock("list")[1]] == ["revoked", "active"]


def test_the_two_keys_of_a_rotated_pair_are_told_apart(penstock, tmp_path, capsys):
    penstock("create", "--name", "app", "--role", "operator")
    penstock("rotate", "app", "--overlap", "1h")
    main(["keys", "list", "--home", str(tmp_path)])
    old, new = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert (old[:2], old[4], new[:2], new[4:6]) == (
        ["1", "app"],
        "retiring",
        ["2", "app"],
        ["active", "-"],
    )
    ends = penstock("list")[1][0]["expires_at"]
    assert datetime.fromisoformat(" ".join(old[5:7])) == datetime.fromisoformat(ends)


def test_a_name_will_do_for_a_key_where_one_has_it(penstock):
    penstock("create", "--name", "app", "--role", "operator")
    assert penstock("rotate", "app", "--overlap", "1h")[1]["id"] == 2
    refused = {"error": "key 'app': expected one of this name, got ids 1, 2: say which"}
    assert penstock("rotate", "app") == (1, {**refused, "code": "conflict"})
    assert penstock("revoke", "1")[1]["state"] == "revoked"
    assert penstock("revoke", "app")[1]["id"] == 2
    status, answer = penstock("rotate", "app")
    assert (status, answer["error"]) == (1, "no active key has the name 'app'")


def test_a_model_that_nobody_knows_is_named_and_the_key_made_all_the_same(tmp_path, capsys):
    home, repository = tmp_path / "home", tmp_path / "repository"
    builders.save(repository / "ranked" / "1", builders.linear(), "model.onnx")
    document = tmp_path / "penstock.yaml"
    document.write_text(
        f"models: {{fraud: {{}}}}\nrepository: {{paths: [{repository}]}}\n"
        "llm:\n  providers: {p: {base_url: 'http://h/v1'}}\n"
        "  models: {asked: {aliases: [gpt-4o], upstreams: [{provider: p, model: m}]}}\n"
    )
    assert main(["config", "apply", str(document), "--home", str(home)]) == 0
    file = builders.save(tmp_path / "in", builders.linear(), "churn.onnx")
    assert main(["register", str(file), "--home", str(home)]) == 0
    words = ["keys", "create", "--role", "client", "--home", str(home)]
    known = ["--models", "fraud,churn,ranked,asked,gpt-4o"]
    assert main([*words, "--name", "a", *known]) == 0
    assert main([*words, "--name", "b"]) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--name", "c", "--models", "fraud,chrun"]) == 0
    told = capsys.readouterr().err
    assert told == "penstock: warning: no model of this name or alias is known here: chrun\n"


def test_a_team_without_limits_is_refused_where_others_have_some(penstock, tmp_path, capsys):
    create = ("create", "--role", "client", "--name")
    assert penstock(*create, "early", "--team", "wbe")[0] == 0  # no document says what there is
    document = tmp_path / "penstock.yaml"
    document.write_text("llm: {teams: {web: {budgets: [1usd/day]}}, tags: {eu: {}}}\n")
    assert main(["config", "apply", str(document), "--home", str(tmp_path)]) == 0
    capsys.readouterr()
    refused = "team: expected one of llm.teams (web), got 'wbe'"
    assert penstock(*create, "b", "--team", "wbe")[1]["error"] == refused
    assert penstock("set", "1", "--team", "wbe")[1]["error"] == refused
    assert penstock(*create, "b", "--team", "web", "--tag", "eu")[0] == 0
    assert penstock("set", "early", "--team", "none")[1]["team"] is None
    assert capsys.readouterr().err == ""


def test_a_tag_without_limits_is_told_and_taken(tmp_path, capsys):
    words = ["keys", "create", "--role", "client", "--name", "a", "--tag", "eu", "--team", "web"]
    assert main([*words, "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().err.splitlines()[1:] == [
        "penstock: warning: team 'web' has no limits here (llm.teams): it only adds up",
        "penstock: warning: tag 'eu' has no limits here (llm.tags): it only adds up",
    ]


def test_a_key_is_shown_before_its_models_are_looked_for(tmp_path):
    words = ["keys", "create", "--role", "client", "--name", "c", "--models", "chrun"]
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        assert main([*words, "--home", str(tmp_path)]) == 0
    assert told.getvalue().index("psk_") < told.getvalue().index("no model of this name")


def test_neither_listing_nor_revoking_makes_a_secret(penstock, tmp_path):
    penstock("create", "--name", "app", "--role", "operator")
    (tmp_path / "secret").unlink()
    assert penstock("list")[1][0]["name"] == "app"
    assert penstock("revoke", "1")[0] == 0
    assert not (tmp_path / "secret").exists()


def test_a_failure_says_why(penstock):
    assert penstock("revoke", "9") == (1, {"error": "there is no key 9", "code": "not_found"})
    status, answer = penstock("create", "--name", "a", "--role", "client", "--expires", "soon")
    assert (status, answer["code"]) == (1, "invalid_parameter")


def test_a_key_is_taken_from_a_file_and_not_shown(penstock, tmp_path, capsys):
    raw = "psk_" + "k" * 32
    mounted = tmp_path / "mounted"
    mounted.write_text(f" {raw}\n")
    mounted.chmod(0o600)
    words = ["create", "--name", "root", "--role", "admin", "--from-file", str(mounted)]
    status, made = penstock(*words)
    assert (status, made["name"], made["made"]) == (0, "root", True)
    assert raw not in json.dumps(made)
    assert penstock(*words)[0] == 1
    status, there = penstock(*words, "--if-missing")
    assert (status, there) == (0, {**made, "made": False})
    assert main(["keys", *words, "--if-missing", "--home", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "there already, active" in told.out
    assert raw not in told.out + told.err


def test_a_file_that_everybody_may_read_is_taken_with_a_warning(tmp_path, capsys):
    mounted = tmp_path / "mounted"
    mounted.write_text("psk_" + "k" * 32)
    mounted.chmod(0o644)
    words = ["--name", "root", "--role", "admin", "--from-file", str(mounted)]
    assert main(["keys", "create", *words, "--home", str(tmp_path)]) == 0
    assert f"{mounted}: everybody on this machine may read it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "psk_short", "psk_" + "k" * 33, "key_" + "k" * 32, "psk_" + "\xe9" * 32]
)
def test_what_is_no_key_is_refused_and_not_repeated(penstock, tmp_path, text):
    mounted = tmp_path / "mounted"
    mounted.write_text(text)
    words = ["--name", "root", "--role", "admin", "--from-file", str(mounted)]
    status, told = penstock("create", *words)
    assert (status, told["code"]) == (1, "invalid_parameter")
    assert not text or text not in told["error"]


def test_a_file_that_is_not_there_is_an_error(penstock, tmp_path):
    words = ["--name", "root", "--role", "admin", "--from-file", str(tmp_path / "nothing")]
    assert penstock("create", *words)[1]["code"] == "invalid_parameter"
    assert penstock("create", *words[:4], "--if-missing")[1]["code"] == "invalid_parameter"


def test_looking_makes_no_home(penstock, tmp_path):
    assert penstock("list") == (0, [])
    assert list(tmp_path.iterdir()) == []


def test_limits_of_a_key_are_set_shown_and_taken_back(penstock):
    create = ("create", "--name", "app", "--role", "client")
    _, made = penstock(
        *create,
        *("--team", "search", "--tag", "eu", "--tag", "batch", "--budget", "10usd/day"),
        *("--budget", "1000000tokens/month", "--rpm", "60", "--tpm", "90000", "--parallel", "8"),
    )
    assert (made["team"], made["tags"]) == ("search", ["eu", "batch"])
    assert made["limits"] == {
        "budgets": ["10usd/day", "1000000tokens/month"],
        "requests_per_minute": 60,
        "tokens_per_minute": 90000,
        "max_parallel": 8,
    }
    _, changed = penstock("set", "app", "--budget", "2.5usd/day", "--rpm", "none", "--tag", "us")
    assert changed["limits"] == made["limits"] | {
        "budgets": ["2.5usd/day", "1000000tokens/month"],
        "requests_per_minute": None,
    }
    assert (changed["team"], changed["tags"], changed["models"]) == ("search", ["us"], ["*"])
    _, changed = penstock(
        *("set", "1", "--budget", "none", "--team", "none", "--tag", "none", "--models", "a,b")
    )
    assert (changed["team"], changed["tags"], changed["models"]) == (None, [], ["a", "b"])
    assert changed["limits"]["budgets"] == []
    assert penstock("list")[1] == [changed]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        pytest.param(["5usd/month"], ["10usd/day", "5usd/month", "90tokens/total"], id="added"),
        pytest.param(["25usd/day"], ["25usd/day", "90tokens/total"], id="changed"),
        pytest.param(["7tokens/day"], ["10usd/day", "7tokens/day", "90tokens/total"], id="unit"),
        pytest.param(["none", "25usd/day"], ["25usd/day"], id="in-the-place-of-all"),
        pytest.param(["none"], [], id="taken-away"),
    ],
)
def test_a_budget_that_is_not_named_goes_on_holding(penstock, given, left):
    create = ("create", "--name", "app", "--role", "client")
    penstock(*create, "--budget", "10usd/day", "--budget", "90tokens/total")
    options = [word for budget in given for word in ("--budget", budget)]
    assert penstock("set", "app", *options)[1]["limits"]["budgets"] == left


def test_two_budgets_of_one_window_are_refused(penstock):
    penstock("create", "--name", "app", "--role", "client", "--budget", "10usd/day")
    status, answer = penstock("set", "app", "--budget", "5usd/day", "--budget", "6usd/day")
    assert (status, answer["code"]) == (1, "invalid_parameter")
    assert penstock("list")[1][0]["limits"]["budgets"] == ["10usd/day"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--budget", "10eur/day", "limits.budgets: expected a budget such as"),
        ("--rpm", "-1", "--rpm: expected a whole number"),
        ("--tpm", "999999999999", "limits.tokens_per_minute: expected 0 to"),
        ("--team", "a team", "team: expected 1 to 64"),
    ],
)
def test_a_limit_that_cannot_be_makes_no_key(penstock, option, value, said):
    status, answer = penstock("create", "--name", "app", "--role", "client", f"{option}={value}")
    assert status == 1
    assert answer["error"].startswith(said)
    assert penstock("list")[1] == []


@pytest.mark.parametrize(
    ("limits", "left"),
    [
        ({}, "-"),
        ({"limits": None}, "-"),
        ({"limits": {"budgets": [], "max_parallel": None, "requests_per_minute": 60}}, "-"),
        ({"limits": {"budgets": [], "max_parallel": 20}}, "17 of 20 at once"),
        ({"limits": {"budgets": ["1usd/day"], "max_parallel": 2}}, "0 of 1usd/day, 0 of 2 at once"),
        (
            {"limits": {"budgets": ["10usd/day", "60tokens/total"]}},
            "7.5 of 10usd/day, 0 of 60tokens/total",
        ),
        (
            {
                "limits": {"requests_per_minute": 60, "tokens_per_minute": 500, "max_parallel": 4},
                "rates_left": {"requests": 0, "tokens": 120},
            },
            "0 of 60 requests/minute, 120 of 500 tokens/minute, 1 of 4 at once",
        ),
        (
            {
                "limits": {"requests_per_minute": 60, "tokens_per_minute": None},
                "rates_left": {"requests": 59, "tokens": None},
            },
            "59 of 60 requests/minute",
        ),
    ],
)
def test_what_is_left_is_told_where_it_is_known(limits, left):
    spent = {"day": {"usd": "2.5", "tokens": 7}, "total": {"usd": "3", "tokens": 70}}
    assert left_of({"spent": spent, "under_way": 3, **limits}) == left


def test_spending_is_listed_by_name(penstock, tmp_path, capsys):
    assert penstock("spend")[1] == []
    penstock("create", "--name", "app", "--role", "client")
    with Store.open(tmp_path) as store:
        spent = Spent(
            "key:1", "1999-12-31", (1, 1, 1), "1999-12", (1, 1, 1), (PICO // 2, 70, 3), 1, (0, 0, 0)
        )
        SpendStore(store).write([spent])
    nothing = {"usd": "0", "tokens": 0, "requests": 0}
    assert penstock("spend")[1] == [
        {
            "kind": "key",
            "name": "app",
            "id": 1,
            "spent": {
                "day": nothing,
                "month": nothing,
                "total": {"usd": "0.5", "tokens": 70, "requests": 3},
            },
        }
    ]
    main(["keys", "spend", "--home", str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[1].split() == [
        *("key", "app", "0", "0", "0.5", "70", "3"),
        *("-", "-"),  # of limits a home without its server knows nothing
    ]


def test_a_server_that_cannot_be_asked_leaves_what_was_written(penstock, tmp_path, capsys):
    penstock("create", "--name", "app", "--role", "client")
    with Store.open(tmp_path) as store:
        spent = (PICO // 2, 70, 3)
        SpendStore(store).write(
            [Spent("key:1", "2000-01-01", spent, "2000-01", spent, spent, 0, (0, 0, 0))]
        )
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "run" / "server.json").write_text(json.dumps({"pid": os.getpid(), "admin_port": 1}))
    assert main(["keys", "spend", "--home", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[1].split()[1] == "app"
    assert "what is left is not known, nor what was refused: " in told.err
