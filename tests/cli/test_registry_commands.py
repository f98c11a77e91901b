"""`penstock register` and `penstock models`, as a shell calls them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.control.audit import os_user
from tests.models import builders


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def model(tmp_path):
    return builders.save(tmp_path / "in", builders.linear(), "fraud.onnx")


@pytest.fixture
def penstock(home, capsys):
    """Runs one command on the home; gives exit status, stdout and stderr."""

    def run(*words):
        status = main([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def ask(penstock):
    """Runs one command with --json; gives exit status and document."""

    def run(*words):
        status, out, err = penstock(*words, "--json")
        assert err == ""
        return status, json.loads(out)

    return run


def test_register_says_what_it_registered(penstock, model):
    status, out, _ = penstock("register", model, "--alias", "champion", "--meta", "team=risk")
    assert status == 0
    assert out.splitlines()[0].startswith("registered model 'fraud' version 1 (")
    assert "  input   x  FP32 [-1, 4]" in out
    assert "  alias   champion" in out
    assert "no server runs on this home" in out


def test_register_as_json(ask, model):
    status, value = ask("register", model, "--name", "m", "--version", "7", "--meta", "a=b=c")
    assert status == 0
    assert (value["new"], value["model"], value["version"]) == (True, "m", 7)
    assert (value["metadata"], value["server"]) == ({"a": "b=c"}, None)
    assert value["registered_by"] == os_user()
    assert value["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4], "labels": []}]
    assert ask("register", model, "--name", "m")[1]["new"] is False


def test_a_refusal_is_exit_status_1_with_its_reason(ask, penstock, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 40)
    status, _, err = penstock("register", tmp_path / "bad.onnx")
    assert (status, err[:26]) == (1, "penstock: bad.onnx: corrup")
    status, value = ask("register", tmp_path / "bad.onnx")
    assert (status, value["code"]) == (1, "model_refused")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("register",), id="no-file"),
        pytest.param(("register", "f", "--meta", "novalue"), id="metadata"),
        pytest.param(("register", "f", "--version", "two"), id="version"),
        pytest.param(("models",), id="no-action"),
        pytest.param(("models", "alias", "m"), id="no-alias"),
    ],
)
def test_wrong_usage_is_exit_status_2(penstock, words):
    assert penstock(*words)[0] == 2


def test_an_empty_home_lists_nothing_and_stays_unmade(penstock, ask, home):
    assert penstock("models", "list")[:2] == (0, f"no models registered under {home}\n")
    assert ask("models", "list") == (0, [])
    assert ask("models", "alias", "m", "champion", "1")[1]["code"] == "model_not_found"
    assert not home.exists()


def test_list_is_a_table(penstock, model):
    penstock("register", model, "--alias", "champion")
    penstock("register", model, "--version", "2")
    status, out, _ = penstock("models", "list")
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    header = ["MODEL", "VERSION", "ALIASES", "STATE", "SIZE", "PROFILE", "REGISTERED", "BY"]
    assert lines[0] == header
    assert [line[:4] for line in lines[1:]] == [
        ["fraud", "1", "champion", "-"],
        ["fraud", "2", "-", "-"],
    ]


def test_show_tells_everything(penstock, ask, model):
    penstock("register", model, "--meta", "team=risk")
    _, out, _ = penstock("models", "show", "fraud")
    assert out.startswith("model 'fraud' version 1 (answers by default)\n")
    for line in ("producer    tests", "opsets      ai.onnx 17", "metadata    team=risk"):
        assert line in out
    _, whole = ask("models", "show", "fraud")
    _, one = ask("models", "show", "fraud", "1")
    assert whole["default"] == 1
    assert whole["versions"] == [one]
    assert one["state"] == "-"


def test_show_says_what_of_a_configuration_is_ignored(penstock, tmp_path):
    builders.save(tmp_path / "m", builders.linear())
    (tmp_path / "m" / "config.pbtxt").write_text("max_batch_size: 4 optimization { }")
    penstock("register", tmp_path / "m")
    _, out, _ = penstock("models", "show", "m")
    assert "setting     max_batch_size: 4" in out
    assert "ignored     config.pbtxt: optimization" in out


def test_aliases_are_set_moved_and_removed(penstock, ask, model):
    penstock("register", model)
    penstock("register", model, "--version", "2")
    assert penstock("models", "alias", "fraud", "champion", "1")[1].startswith(
        "model 'fraud': champion is version 1\n"
    )
    assert ask("models", "show", "fraud")[1]["default"] == 1
    assert ask("models", "alias", "fraud", "old", "champion") == (
        0,
        {"model": "fraud", "alias": "old", "version": 1, "server": None},
    )
    penstock("models", "alias", "fraud", "champion", "--remove")
    assert ask("models", "show", "fraud")[1]["aliases"] == {"old": 1}
    assert ask("models", "alias", "fraud", "champion", "9")[1]["code"] == "version_not_found"
    assert ask("models", "alias", "fraud", "champion")[1]["code"] == "invalid_parameter"


def test_removing_asks_for_force_where_the_champion_goes(penstock, ask, model):
    penstock("register", model, "--alias", "champion")
    assert ask("models", "remove", "fraud", "1")[1]["code"] == "conflict"
    assert ask("models", "remove", "fraud")[0] == 1
    assert penstock("models", "remove", "fraud", "champion", "--force")[0] == 0
    assert ask("models", "list") == (0, [])


def test_verify_finds_a_changed_file(penstock, ask, model):
    _, value = ask("register", model)
    assert ask("models", "verify") == (0, [{"model": "fraud", "version": 1, "faults": []}])
    file = Path(value["folder"]) / value["file"]
    file.chmod(0o644)
    file.write_bytes(b"x")
    status, out, _ = penstock("models", "verify", "fraud")
    assert (status, "fraud.onnx: wanted SHA-256" in out) == (1, True)


class Control(BaseHTTPRequestHandler):
    """A control port that refuses what `absent` says."""

    absent: list[dict[str, object]] = []  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_POST(self):
        self.answer({"plan": 9, "absent": self.absent})

    def do_GET(self):
        serving = [{"name": "served", "version": 1, "state": "READY", "default": True}]
        self.answer({"models": [*serving, *self.absent]})

    def answer(self, value):
        self.asked.append(f"{self.command} {self.path}")
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(home):
    """A running server on the home, as far as the commands can see."""

    class Here(Control):
        absent: list[dict[str, object]] = []  # noqa: RUF012
        asked: list[str] = []  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        (home / "run").mkdir(parents=True)
        (home / "run" / "server.json").write_text(
            json.dumps({"pid": 1, "host": "127.0.0.1", "port": 1, "admin_port": http.server_port})
        )
        yield Here
        http.shutdown()
        thread.join()


def refusal(name, version, reason):
    return {"name": name, "version": version, "state": "UNAVAILABLE", "reason": reason}


def test_a_running_server_is_told_of_every_change(penstock, ask, server, model):
    assert "the running server follows (plan 9)" in penstock("register", model)[1]
    assert ask("models", "alias", "fraud", "champion", "1")[1]["server"] == {
        "plan": 9,
        "faults": [],
    }
    ask("models", "remove", "fraud", "--force")
    assert server.asked == ["POST /api/reload?model=fraud&config=0"] * 3


def test_what_the_server_refuses_is_exit_status_1(penstock, ask, server, model):
    server.absent.append(refusal("fraud", 1, "no such operator"))
    status, out, _ = penstock("register", model)
    assert status == 1
    assert "model 'fraud' version 1 does not serve: no such operator" in out
    assert ask("register", model, "--version", "2")[0] == 0


def test_a_server_that_does_not_answer_is_said(ask, home, model):
    (home / "run").mkdir(parents=True)
    (home / "run" / "server.json").write_text('{"admin_port": 1}')
    status, value = ask("register", model)
    assert (status, value["new"]) == (1, True)
    assert (
        "the change is stored, but: http://127.0.0.1:1: no connection"
        in value["server"]["faults"][0]
    )


def test_list_and_show_say_what_serves_and_why_not(penstock, ask, server, model):
    penstock("register", model)
    server.absent += [refusal("fraud", 1, "bad weights"), refusal("broken", None, "line 3: what")]
    _, listed = ask("models", "list")
    assert [(line["model"], line.get("state")) for line in listed] == [
        ("fraud", None),
        ("served", "READY"),
        ("broken", "UNAVAILABLE: line 3: what"),
    ]
    assert listed[0]["versions"][0]["state"] == "UNAVAILABLE: bad weights"
    assert "UNAVAILABLE: line 3: what" in penstock("models", "list")[1]
    assert "READY" in penstock("models", "show", "served")[1]
    assert penstock("models", "show", "absent")[0] == 1


def test_registering_imports_no_compiler(model, home):
    # It takes longer to import than all the rest of the command.
    script = (
        "import sys\n"
        "from gateway.cli import main\n"
        f"assert main(['register', {str(model)!r}, '--home', {str(home)!r}]) == 0\n"
        "print('numba' in sys.modules, file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert run.stderr.decode() == "False\n"
