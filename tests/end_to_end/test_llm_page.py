"""docs/llm.md is walked through, with a fake in the place of every provider that it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal

import pytest

from gateway.llm.fake.server import FakeProvider
from gateway.llm.features import SIGNATURE
from tests.end_to_end.server import eventually, running
from tests.end_to_end.shell import ROOT, Shell, blocks

PAGE = ROOT / "docs" / "llm.md"
KEYS = {"OPENAI_API_KEY": "sk-page-openai", "ANTHROPIC_API_KEY": "sk-page-anthropic"}


@dataclass
class Terminal(Shell):
    """Keeps what is exported from one block to the next, and never leaves this machine."""

    fake: FakeProvider | None = None

    def run(self, language: str, text: str) -> str:
        if language == "python":
            program = self.home / "program.py"
            program.write_text(self._moved(text))
            text = f"python {program}\n"
        if text.startswith("penstock serve "):
            return super().run(language, text)
        exported = self.home / "exported"
        before = f". {exported}\n" if exported.exists() else ""
        told = super().run("bash", f"{before}{text}export -p > {exported}\n")
        if "keys create" in text:
            eventually(self._knows_its_keys)
        return told

    def _knows_its_keys(self) -> bool:
        assert self.server is not None
        keys = re.findall(r'_KEY="(psk_[^"]+)"', (self.home / "exported").read_text())
        told = [{"authorization": f"Bearer {key}"} for key in keys]
        ask = self.server.request
        return all(ask("GET", "/v1/models", None, one).status == 200 for one in told)

    def _serve(self, text: str) -> str:
        config = self.home / "penstock.yaml"
        words = ("--config", str(config), "--workers", "1")
        self.server = self.servers.enter_context(running(self.home, *words, environment=KEYS))
        return ""

    def _moved(self, text: str) -> str:
        assert self.fake is not None
        allowed = ", allow_private: true"
        for there, name, version, more in (
            ("https://api.openai.com/v1", "openai", "/v1", allowed),
            ("https://api.anthropic.com", "anthropic", "", allowed),
            ("http://10.0.0.5:8000/v1", "vllm", "/v1", ""),
        ):
            here = self.fake.url(f"name={name}", version) + more
            text = text.replace(f"base_url: {there}", f"base_url: {here}")
        return super()._moved(text)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, dict[str, str]]]:
    """The terminal after the last block, and what each printed by its first line."""
    with (
        FakeProvider(name="page") as fake,
        ExitStack() as servers,
        pytest.MonkeyPatch.context() as variables,
    ):
        for name, value in KEYS.items():
            variables.setenv(name, value)
        terminal = Terminal(tmp_path_factory.mktemp("llm") / "home", servers, fake=fake)
        terminal.home.mkdir()
        yield (
            terminal,
            {text.splitlines()[0]: terminal.run(language, text) for language, text in blocks(PAGE)},
        )


def printed(walk, start: str) -> str:
    (found,) = [text for line, text in walk[1].items() if line.startswith(start)]
    return found


def test_its_configuration_has_no_faults(walk):
    assert printed(walk, "cat >").endswith("no faults\n")


def test_the_first_answer_says_who_gave_it_and_what_it_cost(walk):
    head, _, body = printed(walk, "curl -s -D -").partition("\n\n")
    told = dict(line.split(": ", 1) for line in head.splitlines()[1:])
    assert told["penstock-upstream"] == "openai/gpt-4o-mini"
    assert Decimal(told["penstock-cost-usd"]) > 0
    assert told["x-ratelimit-limit-requests"] == "600"
    named = set(re.findall(r"^\| `(penstock-[\w-]+)`", PAGE.read_text(), re.MULTILINE))
    assert named - set(told) == {"penstock-attempts", "penstock-error-code"}
    assert json.loads(body)["choices"][0]["message"]["content"]


def test_openais_client_gets_answers_streams_tools_and_embeddings(walk):
    whole, streamed, *others = printed(walk, "import os").splitlines()
    assert whole.removeprefix("whole: ") == streamed.removeprefix("streamed: ") != ""
    assert others[0::2] == ["tool: weather", f"responses: {whole.removeprefix('whole: ')}"]
    assert others[1::2] == [
        "embeddings: 2",
        "models: assistant, claude, embedder, gpt-4o-mini, llama",
    ]


def test_anthropics_client_is_answered_by_both(walk):
    lines = printed(walk, "import asyncio").splitlines()
    assert [line.split(" by ")[0] for line in lines] == ["claude", "assistant"]


def test_a_refusal_reads_as_on_the_page(walk):
    (told,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert json.loads(printed(walk, "curl -s http")) == json.loads(told)


def columns(line):
    return re.split(r" {2,}", line)


def is_left(line):
    """Whether the first budget of a line of spending is what was spent less than its limit."""
    ((left, limit),) = re.findall(r"([\d.]+) of ([\d.]+)usd/(?:day|total)", line[7])
    return Decimal(left) == Decimal(limit) - Decimal(line[2])


def test_what_was_spent_is_told_as_on_the_page(walk):
    terminal, _ = walk
    (told,) = re.findall(r"^```\n(KIND.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    header, *lines = [columns(line) for line in told.splitlines()]
    # The answer that is thumbed up comes after; of the trial there is none.
    wanted = [(*line[:2], int(line[6]) + (line[1] != "trial"), line[8]) for line in lines]

    def spent():
        first, *now = map(columns, terminal.run("bash", "penstock keys spend\n").splitlines())
        assert all(is_left(line) for line in [*lines, *now])
        return first == header and [(*line[:2], int(line[6]), line[8]) for line in now] == wanted

    eventually(spent)  # control writes down once a second what workers have counted


def test_upstreams_and_prices_are_told(walk):
    assert re.search(
        r"^assistant +1 +openai/gpt-4o-mini +closed", printed(walk, "penstock llm status"), re.M
    )
    assert "unknown" not in printed(walk, "penstock llm models")


def test_a_thumb_is_taken(walk):
    counts = json.loads(printed(walk, "ID=$"))["counts"]
    assert counts["accepted"] + counts["early"] == 1, counts


def test_a_canary_is_set(walk):
    first = printed(walk, "penstock route set").splitlines()[0]
    assert first == "assistant: stable version 1 90 %, canary version 2 10 %"


def test_every_metric_of_its_queries_is_there(walk):
    terminal, _ = walk
    assert terminal.server is not None
    names = set(re.findall(r"\b(?:penstock|gen_ai)_\w+", PAGE.read_text()))
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}
    assert len(families) > 15

    def missing():
        told = terminal.server.admin("GET", "/metrics").body.decode()
        return sorted(name for name in families if f"# TYPE {name} " not in told)

    eventually(lambda: missing() == [])


def test_the_features_that_are_watched_are_named(walk):
    rows = re.findall(r"^\| of [^|]*\| (.*?) \|$", PAGE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {one.name for one in (*SIGNATURE.inputs, *SIGNATURE.outputs)}
