"""Of a conversation what was said is kept, and not what it was said with."""

from __future__ import annotations

import json
from math import inf
from time import process_time
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
        pytest.param([1, 4111111111111111], [1, "[card]"], id="a-number-in-a-list"),
        pytest.param([1e300, -1e25], [1e300, -1e25], id="numbers-longer-than-any-card"),
        pytest.param({"Set-Cookie": "id=1"}, {"Set-Cookie": "[key]"}, id="a-cookie-that-is-set"),
        pytest.param({"n": 4111111111111111.0}, {"n": "[card]"}, id="a-number-with-a-point"),
        pytest.param([128_000, 0, 9], [128_000, 0, 9], id="tokens"),
        pytest.param(
            {"input": {"password": "hunter2pass", "pin": 1234, "dbToken": ["x"], "max_tokens": 9}},
            {"input": {"password": "[key]", "pin": "[key]", "dbToken": "[key]", "max_tokens": 9}},
            id="under-names-that-say-a-secret",
        ),
        pytest.param(
            {"arguments": '{"password": "hunter2pass", "remember": true, "secret": null}'},
            {"arguments": '{"password":"[key]","remember":true,"secret":null}'},
            id="in-arguments-of-a-tool",
        ),
        pytest.param(
            {"output": json.dumps({"a": json.dumps({"pass": "x", "b": [4111111111111111]})})},
            {"output": '{"a":"{\\"pass\\":\\"[key]\\",\\"b\\":[\\"[card]\\"]}"}'},
            id="in-texts-within-texts",
        ),
        pytest.param(
            {"output": '{"a": "\\u0061@example.com", "a": "x"}'},
            {"output": '{"a":"x"}'},
            id="in-a-field-that-stands-twice",
        ),
        pytest.param(
            {"arguments": '{"password": "hunter2pass", "x": "'},
            {"arguments": '{"password": "[key]", "x": "'},
            id="in-json-that-is-cut-off",
        ),
        pytest.param(
            {"a@x.com": 1, "b@x.com": 2, "[email] 2": 3, "c@x.com": 4},
            {"[email]": 1, "[email] 2": 2, "[email] 2 2": 3, "[email] 3": 4},
            id="names-that-come-to-read-alike",
        ),
    ],
)
def test_it_is_found_wherever_it_stands(said, told):
    assert json.loads(kept(json.dumps([said]).encode(), REDACTED)) == [told]


def test_what_is_kept_in_full_keeps_its_secrets():
    said = [{"password": "x", "arguments": '{"token": "y"}', "n": 4111111111111111}]
    assert json.loads(kept(json.dumps(said).encode(), FULL)) == said


def test_escapes_of_json_hide_nothing():
    assert json.loads(kept(b'["anna\\u0040example.com\\nbob\\u0040example.com"]', REDACTED)) == [
        "[email]\n[email]"
    ]


def test_what_is_no_json_or_too_deep_is_not_kept():
    assert kept(b"\xff{", FULL) == b""
    assert kept(b"[" * 100 + b'"deep"' + b"]" * 100, FULL).count(b"deep") == 0


def test_an_enormous_number_takes_no_longer_than_a_large_one():
    def took(number: float) -> float:
        body = json.dumps({"messages": [number] * 2000}).encode()
        began = process_time()
        kept(body, REDACTED)
        return process_time() - began

    large = enormous = inf
    for _ in range(12):  # a busy machine adds to a time, and takes nothing away
        large, enormous = min(large, took(4e15)), min(enormous, took(1e300))
        if enormous < 2 * large:
            return
    pytest.fail(f"{enormous} s, against {large} s")
