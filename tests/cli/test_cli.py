from __future__ import annotations

import argparse
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

import gateway
from gateway.cli import _commands, _parser, main
from gateway.cli.output import printable, table
from gateway.errors import ConfigInvalid, ModelNotFound


def command(run):
    """A sub-command `do` that runs what it is given."""

    def configure(subparsers) -> None:
        parser = subparsers.add_parser("do")
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--count", type=int)
        parser.set_defaults(run=run)

    return SimpleNamespace(configure=configure)


def fails_with(error: BaseException):
    def run(args) -> int:
        raise error

    return command(run)


def test_the_exit_status_is_what_the_command_returns():
    assert [main(["do"], [command(lambda args, n=n: n)]) for n in (0, 1)] == [0, 1]


def test_a_failure_is_one_line_on_stderr_and_status_1(capsys):
    status = main(["do"], [fails_with(ModelNotFound("model 'x': no such model"))])
    assert (status, *capsys.readouterr()) == (1, "", "penstock: model 'x': no such model\n")


def test_every_fault_of_a_configuration_is_a_line_of_its_own(capsys):
    main(["do"], [fails_with(ConfigInvalid("a.yaml: one\na.yaml: two"))])
    assert capsys.readouterr().err == "penstock: a.yaml: one\npenstock: a.yaml: two\n"


def test_with_json_a_failure_is_a_document_on_stdout(capsys):
    status = main(["do", "--json"], [fails_with(ModelNotFound("model 'x': no such model"))])
    out, err = capsys.readouterr()
    assert status == 1
    assert json.loads(out) == {"error": "model 'x': no such model", "code": "model_not_found"}
    assert err == ""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="no-command"),
        pytest.param(["dig"], id="unknown-command"),
        pytest.param(["do", "--nothing"], id="unknown-option"),
        pytest.param(["do", "--count", "some"], id="not-a-number"),
    ],
)
def test_wrong_usage_is_status_2_and_shows_the_usage(words, capsys):
    status = main(words, [command(lambda args: 0)])
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert "usage: penstock" in err


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 2
    listed = capsys.readouterr().err
    assert "\n    register " in listed
    assert listed.splitlines()[-1].startswith("penstock: ")


def test_an_unknown_option_shows_the_usage_of_its_command(capsys):
    assert main(["models", "list", "--nothing"]) == 2
    told = capsys.readouterr().err
    assert "usage: penstock models list" in told
    assert "penstock: unrecognized arguments: --nothing" in told


def test_with_json_wrong_usage_is_a_document_on_stdout(capsys):
    status = main(["do", "--json", "--nothing"], [command(lambda args: 0)])
    assert status == 2
    assert json.loads(capsys.readouterr().out)["code"] == "usage"


def test_an_interrupt_is_status_130():
    assert main(["do"], [fails_with(KeyboardInterrupt())]) == 130


def test_a_reader_that_has_enough_is_no_traceback():
    command = [sys.executable, "-m", "gateway", "config", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # before the first line, as `| true` would
        errors = process.stderr.read()
    assert (process.returncode, errors) == (1, b"")


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert (left.value.code, capsys.readouterr().out) == (0, f"penstock {gateway.__version__}\n")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = capsys.readouterr().out
    assert [
        name
        for name in ("serve", "demo", "register", "models", "infer", "config", "audit", "doctor")
        if f"\n    {name} " not in listed
    ] == []


@pytest.mark.parametrize(
    "name", ["serve", "demo", "register", "models", "infer", "config", "audit", "doctor"]
)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) > 4


def test_every_action_of_every_command_explains_itself():
    waiting, told = [_parser(_commands())], []
    while waiting:
        parser = waiting.pop()
        told.append(parser.format_help())  # expands %(default)s: a bare % in a text raises
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    assert len(told) > 50
    assert [text for text in told if "-h, --help" not in text] == []


def test_help_imports_nothing_heavy():
    # What takes long to import is what makes `penstock --help` slow; a clock would only add noise.
    script = (
        "import sys\n"
        "from gateway.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'numba', 'onnxruntime', 'pydantic', 'starlette', 'uvicorn', 'uvloop'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert run.stderr.decode() == "[]\n"


def test_a_table_puts_numbers_to_the_right():
    assert table(["name", "rows"], [["a", 5], ["long one", 12345]]).splitlines() == [
        "name       rows",
        "a             5",
        "long one  12345",
    ]


def test_a_table_without_rows_is_its_header():
    assert table(["name", "rows"], []) == "name  rows"


def test_a_name_in_a_table_begins_no_line_and_moves_no_cursor():
    assert table(["name"], [["a\r\nb\x1b[2J\u202e"]]).splitlines() == ["name", "a??b?[2J?"]
    assert printable("é" * 70, 60) == "é" * 57 + "..."
