"""Of a conversation what was said is kept, and not what it was said with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.capture.schema import FULL, REDACTED
from gateway.capture.texts import kept

ASKED: dict[str, Any] = {
    "model": "assistant",
    "metadata": {"customer": "c-1"},
    "user": "anna@example.com",
    "tools": [{"type": "function"}],
    "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "I am anna@example.com"}]},
    ],
}


def test_a_request_keeps_its_messages_alone():
    assert json.loads(kept(json.dumps(ASKED).encode(), FULL)) == {"messages": ASKED["messages"]}


def test_every_text_of_it_is_redacted():
    found = json.loads(kept(json.dumps(ASKED).encode(), REDACTED))
    assert found["messages"][1]["content"] == [{"type": "text", "text": "I am [email]"}]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param({"anna@example.com": 1}, {"[email]": 1}, id="a-name-of-a-field"),
        pytest.param({"card": 4111111111111111}, {"card": "[card]"}, id="a-number"),
        pytest.param({"n": 12, "b": True, "x": 0.5}, {"n": 12, "b": True, "x": 0.5}, id="harmless"),
        pytest.param(
            {"arguments": '{"to": "anna\\u0040example.com"}'},
            {"arguments": '{"to":"[email]"}'},
            id="escapes-within-a-text",
        ),
        pytest.param(
            {"url": "data:image/png;base64,AAAA"},
            {"url": "data:image/png,[4 characters]"},
            id="a-picture",
        ),
        pytest.param(
            {"type": "base64", "data": "A" * 9},
            {"type": "base64", "data": "[9 characters]"},
            id="a-file",
        ),
        pytest.param([1, 4111111111111111], [1, 4111111111111111], id="tokens"),
    ],
)
def test_it_is_found_wherever_it_stands(said, told):
    assert json.loads(kept(json.dumps([said]).encode(), REDACTED)) == [told]


def test_escapes_of_json_hide_nothing():
    assert json.loads(kept(b'["anna\\u0040example.com\\nbob\\u0040example.com"]', REDACTED)) == [
        "[email]\n[email]"
    ]


def test_what_is_no_json_or_too_deep_is_not_kept():
    assert kept(b"\xff{", FULL) == b""
    assert kept(b"[" * 100 + b'"deep"' + b"]" * 100, FULL).count(b"deep") == 0
