"""Rows of language models: kept without secrets, exported, made a reference of, and erased."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

from gateway.cli import main
from gateway.llm.fake.server import FakeProvider
from tests.end_to_end.server import RunningServer, eventually, running

CANARY = "sk-canary-9f8e7d6c5b4a3210"
DOCUMENT = """
llm:
  log_content: redacted
  providers: {fake: {base_url: "%s", allow_private: true}}
  models: {assistant: {upstreams: [{provider: fake, model: gpt-4o-mini}]}}
models: {assistant: {capture: {subject: customer}}}
capture: {file_s: 1}
"""


def test_what_was_said_is_exported_without_secrets_and_erased_by_subject(tmp_path: Path, capsys):
    with FakeProvider() as fake:
        config = DOCUMENT % fake.url(version="/v1")
        with running(tmp_path, "--workers", "1", config=config) as server:
            for customer, stream in (("c-1", False), ("c-2", True)):
                asks(server, f"I am {customer}, my key is {CANARY}", customer, stream)
            eventually(lambda: len(exported(tmp_path)) == 2)
            rows = exported(tmp_path)
            said = [json.loads(row["prompt"])["messages"][0]["content"] for row in rows]
            assert sorted(said) == [f"I am c-{n}, my key is [key]" for n in (1, 2)]
            assert [json.loads(row["answer"]) for row in rows] == [[{"text": one}] for one in said]
            capsys.readouterr()
            home = str(tmp_path)
            features = str(tmp_path / "features.ndjson")
            out = ["assistant", "--outputs", "--out", features, "--home", home]
            assert main(["export", *out]) == 0
            assert main(["profile", "assistant", "--data", features, "--home", home]) == 0
            capsys.readouterr()
            eventually(lambda: references(server) == [(2, False)])
            assert main(["erase", "--subject", "c-1", "--json", "--home", home]) == 0
            assert json.loads(capsys.readouterr().out)["rows"] == 1
    (row,) = exported(tmp_path)
    assert "c-2" in row["prompt"]
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or CANARY.encode() not in file.read_bytes(), file


def references(server: RunningServer) -> list[tuple[int, bool]]:
    """Rows of each model's reference, and whether nobody vouched for them."""
    found = [one["reference"] for one in server.admin("GET", "/api/models").json()["models"]]
    return [(one["rows"], one["self_referenced"]) for one in found if one is not None]


def exported(home: Path) -> list[dict[str, Any]]:
    """Rows that were captured until now; none: nothing was."""
    out = home / "rows.parquet"
    out.unlink(missing_ok=True)
    main(["export", "assistant", "--outputs", "--out", str(out), "--home", str(home)])
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist() if out.exists() else []
    return rows


def asks(server: RunningServer, text: str, customer: str, stream: bool) -> None:
    """One chat, whose answer repeats the question."""
    values = {
        "model": "assistant",
        "messages": [{"role": "user", "content": text}],
        "metadata": {"customer": customer, "fake": "echo=1"},
        "stream": stream,
    }
    answer = server.request("POST", "/v1/chat/completions", json.dumps(values).encode())
    assert answer.status == 200, answer.body
