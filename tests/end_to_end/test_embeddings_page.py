"""docs/embeddings.md is walked through, with a small model in the place of the one it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.embeddings import maker
from tests.end_to_end.server import eventually
from tests.end_to_end.shell import ROOT, Shell, blocks

PAGE = ROOT / "docs" / "embeddings.md"


@dataclass
class Terminal(Shell):
    """Keeps what is exported from one block to the next."""

    def run(self, language: str, text: str) -> str:
        if text.startswith("penstock serve "):
            return super().run(language, text)
        if language == "python":
            program = self.home / "program.py"
            program.write_text(self._moved(text))
            text = f"python {program}\n"
        exported = self.home / "exported"
        before = f". {exported}\n" if exported.exists() else ""
        told = super().run("bash", f"{before}{text}export -p > {exported}\n")
        if "keys create" in text:
            eventually(self._knows_its_key)
        return told

    def _knows_its_key(self) -> bool:
        assert self.server is not None
        (key,) = re.findall(r'_KEY="(psk_[^"]+)"', (self.home / "exported").read_text())
        told = {"authorization": f"Bearer {key}"}
        body = b'{"model": "minilm", "input": "wine"}'
        return self.server.request("POST", "/v1/embeddings", body, told).status == 200


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terminal, list[str]]]:
    """The terminal after the last block, and what each printed."""
    with ExitStack() as servers:
        terminal = Terminal(tmp_path_factory.mktemp("embeddings") / "home", servers)
        terminal.home.mkdir()
        maker.lay(terminal.home / "minilm")
        yield terminal, [terminal.run(language, text) for language, text in blocks(PAGE)]


def test_the_model_is_registered_with_its_tokenizer(walk):
    assert "no faults" in walk[1][0]
    assert "registered model 'minilm' version 1" in walk[1][0]
    registered = walk[0].home / "models"
    assert [one.name for one in registered.glob("*/*.json")] == ["tokenizer.json"]


def test_openais_client_gets_vectors_and_is_told_their_tokens(walk):
    used = maker.tokens(["water flows", "wine is made", "water"])
    told = ["length: 1.0", f"tokens: {used}", "dimensions: 4", "models: minilm"]
    assert walk[1][3].splitlines() == told


def test_a_refusal_reads_as_on_the_page(walk):
    (told,) = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert json.loads(walk[1][4]) == json.loads(told)


def test_the_key_has_spent_the_tokens_that_were_read(walk):
    terminal, _ = walk
    asked = ["wine", "water flows", "wine is made", "water", "water flows"]

    def spent() -> bool:
        _, *lines = terminal.run("bash", "penstock keys spend\n").splitlines()
        found = [line.split() for line in lines if line.startswith("key")]
        read = maker.tokens(asked)
        left = f"{1_000_000 - read} of 1000000tokens/day"
        return [(one[1], int(one[5]), " ".join(one[7:-1])) for one in found] == [
            ("search", read, left)
        ]

    eventually(spent)  # control writes down once a second what workers have counted


def test_every_setting_stands_on_the_page(walk):
    from gateway.config import Embeddings

    rows = re.findall(r"^\| (`.*?`) \|", PAGE.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(Embeddings.model_fields) <= named
