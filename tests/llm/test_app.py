"""Paths of the language model APIs that go through Starlette."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette

from gateway.llm.app import ModelLists, routes
from gateway.llm.names import Names
from gateway.wire.cycle import NOTES_STATE, Notes

OPENAI = ("error",)
ANTHROPIC = ("type", "error", "request_id")
NOBODY: Any = SimpleNamespace(endpoints={})


def ask(method: str, path: str, *headers: tuple[bytes, bytes]) -> tuple[int, Any, list[int]]:
    """The status and body of an answer, and the statuses that were counted."""
    counted: list[int] = []
    app = Starlette(routes=routes(ModelLists(Names(0), 0.0, counted.append), NOBODY))
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "state": {NOTES_STATE: Notes(b"r-1")},
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], orjson.loads(sent[1]["body"]), counted


@pytest.mark.parametrize("headers", [(), ((b"anthropic-version", b"2023-06-01"),)])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/chat/completions"),
        ("POST", "/completions"),
        ("POST", "/embeddings"),
        ("POST", "/responses"),
        ("POST", "/messages"),
        ("GET", "/models"),
    ],
)
def test_whoever_left_v1_out_is_told_so_in_its_own_dialect(method, path, headers):
    status, body, counted = ask(method, path, *headers)
    assert (status, counted, tuple(body)) == (404, [404], ANTHROPIC if headers else OPENAI)
    said = body["error"]["message"]
    assert said.startswith(f"{method} {path}: nothing is served here: ")
    assert "base_url that ends in /v1" in said


@pytest.mark.parametrize("path", ["/v1/v1/messages", "/v1/v1/chat/completions"])
def test_whoever_said_v1_twice_is_told_where_its_client_wants_it(path):
    _, body, _ = ask("POST", path)
    said = body["error"]["message"]
    assert said.startswith(f"POST {path}: nothing is served here: ")
    assert "ends in /v1 once, Anthropic's one without /v1" in said


@pytest.mark.parametrize("path", ["/v1/images", "/v1/chat/completion"])
def test_what_is_not_served_below_v1_is_named_beside_what_is(path):
    _, body, _ = ask("POST", path)
    said = body["error"]["message"]
    assert said.startswith(f"POST {path}: nothing is served here: there are ")
    assert "/v1/chat/completions, /v1/completions, /v1/embeddings, /v1/messages" in said


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/openai/deployments/m/chat/completions", "model 'm': no model has this name"),
        ("/openai/deployments/a/b/embeddings", "model 'a/b': no model has this name"),
        ("/openai/deployments/m/audio/speech", "nothing is served here"),
        ("/openai/assistants", "nothing is served here"),
    ],
)
def test_azures_paths_of_what_there_is_not_are_refused_as_openai_does(path, said):
    status, body, counted = ask("POST", path)
    assert (status, counted, tuple(body)) == (404, [404], OPENAI)
    assert body["error"]["message"].endswith(said)


@pytest.mark.parametrize("path", ["/openai/models", "/openai/v1/models"])
def test_models_are_listed_where_azures_clients_ask(path):
    status, body, _ = ask("GET", path)
    assert (status, body["object"]) == (200, "list")
