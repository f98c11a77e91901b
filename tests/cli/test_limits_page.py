"""docs/limits.md: its commands do what it says of them, and its documents and refusals are ones."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from gateway import config
from gateway.cli import main
from tests.test_documents import statuses

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of each command, less its program."""
    (text,) = blocks("bash")
    lines = text.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    assert {one[0] for one in words} == {"penstock"}
    return [one[1:] for one in words]


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs a command in an empty home; has what it printed."""
    monkeypatch.setenv("PENSTOCK_HOME", str(tmp_path))

    def one(*words: str) -> str:
        assert main(words) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return one


def test_its_commands_leave_a_key_with_the_limits_that_it_says(run):
    create, lower, alone, any_model, spend = commands()

    def key():
        (found,) = json.loads(run("keys", "list", "--json"))
        return found

    run(*create)
    rates: dict[str, int | None]
    rates = {"requests_per_minute": 600, "tokens_per_minute": 200_000, "max_parallel": 20}
    assert key()["limits"] == {"budgets": ["10usd/day", "200usd/month"], **rates}
    assert key()["models"] == ["assistant"]
    run(*lower)
    rates = {**rates, "requests_per_minute": None}
    assert key()["limits"] == {"budgets": ["25usd/day", "200usd/month"], **rates}
    run(*alone)
    assert key()["limits"] == {"budgets": ["25usd/day"], **rates}
    run(*any_model)
    assert (key()["models"], key()["team"], key()["tags"]) == (["*"], "web", ["eu"])
    assert run(*spend).startswith("nothing was spent")


@pytest.mark.parametrize("document", blocks("yaml"))
def test_its_documents_have_no_faults(document):
    config.parse(document, "limits.md")


def test_its_refusals_have_the_status_that_it_says():
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE, re.MULTILINE)
    assert len(rows) == 5
    assert {code: int(status) for code, status in rows} == {
        code: statuses().get(code) for code, _ in rows
    }
