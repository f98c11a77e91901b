"""What the gateway reads of a request, and what it sends on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BodyTooLarge, InvalidParameter, InvalidRequest
from gateway.wire.llm.crowds import DENSE_NESTED, MAX_NESTED, MAX_VALUES
from gateway.wire.llm.prompts import Prompt, read_prompt
from gateway.wire.llm.requests import (
    AT_ONCE_BYTES,
    REFUSED,
    Call,
    prepared,
    read_at_once,
    read_call,
    read_values,
)
from gateway.wire.llm.words import Dialect

Told = tuple[dict[str, Any], Prompt]


def told(model: str, **more: Any) -> Told:
    """What is read at once, and what of the prompt later."""
    at_once = {"stream": False, "max_output_tokens": None, "n": 1, "include_usage": False}
    known = {name: more.pop(name, usual) for name, usual in at_once.items()}
    return {"model": model, **known}, Prompt(**more)


def told_by(call: Call) -> Told:
    names = ("model", "stream", "max_output_tokens", "n", "include_usage")
    return {name: getattr(call, name) for name in names}, call.prompt


def written(*args: Any, **options: Any) -> bytes:
    """What is sent on, in one piece."""
    body = prepared(*args, **options)
    return body if isinstance(body, bytes) else b"".join(body)


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


@pytest.mark.parametrize(
    ("dialect", "values", "expected"),
    [
        pytest.param(
            Dialect.CHAT,
            {
                "model": "assistant",
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": [{"type": "text", "text": "Hello"}, IMAGE]},
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                    },
                    {"role": "tool", "tool_call_id": "1", "content": "42"},
                ],
                "max_completion_tokens": 50,
                "n": 2,
                "stream": True,
                "stream_options": {"include_usage": True},
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "response_format": {"type": "json_schema", "json_schema": {"name": "x"}},
                "user": "ada",
            },
            told(
                "assistant",
                stream=True,
                max_output_tokens=50,
                n=2,
                include_usage=True,
                messages=4,
                chars=18,
                media=1,
                tools=("f",),
                json_wanted=True,
            ),
            id="chat",
        ),
        pytest.param(
            Dialect.CHAT,
            {"model": "m", "messages": [], "max_tokens": 70, "max_completion_tokens": 50},
            told("m", max_output_tokens=70),
            id="the-larger-of-two-limits",
        ),
        pytest.param(
            Dialect.COMPLETIONS,
            {"model": "m", "prompt": ["ab", "c"], "n": 2, "best_of": 5, "max_tokens": 9},
            told("m", max_output_tokens=9, n=10, messages=2, chars=3),
            id="completions",
        ),
        pytest.param(
            Dialect.COMPLETIONS,
            {"model": "m", "prompt": [1, 2, 3]},
            told("m", messages=1, tokens=3),
            id="one-prompt-of-tokens",
        ),
        pytest.param(
            Dialect.EMBEDDINGS,
            {"model": "m", "input": [[1, 2], [3]]},
            told("m", messages=2, tokens=3),
            id="inputs-of-tokens",
        ),
        pytest.param(
            Dialect.EMBEDDINGS,
            {"model": "m", "input": "héllo"},
            told("m", messages=1, chars=5),
            id="one-input",
        ),
        pytest.param(
            Dialect.MESSAGES,
            {
                "model": "m",
                "max_tokens": 100,
                "system": [{"type": "text", "text": "Be"}],
                "messages": [
                    {"role": "user", "content": "Hi"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "hm", "signature": "x"},
                            {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "t",
                                "content": [{"type": "text", "text": "42"}, {"type": "image"}],
                            },
                            {"type": "tool_result", "tool_use_id": "u", "content": "!"},
                        ],
                    },
                ],
                "tools": [{"name": "f", "input_schema": {}}],
                "metadata": {"user_id": "ada"},
            },
            told(
                "m",
                max_output_tokens=100,
                messages=3,
                chars=2 + 2 + 2 + 7 + 2 + 1,
                media=1,
                tools=("f",),
            ),
            id="messages",
        ),
        pytest.param(
            Dialect.MESSAGES,
            {"model": "m", "max_tokens": 0, "messages": []},
            told("m", max_output_tokens=0),
            id="warming-a-cache",
        ),
        pytest.param(
            Dialect.RESPONSES,
            {
                "model": "m",
                "instructions": "Be",
                "input": [
                    {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
                    {"type": "function_call", "name": "f", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "1", "output": "42"},
                ],
                "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
                "max_output_tokens": 16,
                "text": {"format": {"type": "json_object"}},
            },
            told(
                "m",
                max_output_tokens=16,
                messages=3,
                chars=8,
                tools=("f",),
                json_wanted=True,
            ),
            id="responses",
        ),
        pytest.param(
            Dialect.COUNT,
            {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
            told("m", messages=1, chars=2),
            id="counting",
        ),
    ],
)
def test_a_request_is_read(dialect: Dialect, values: dict[str, Any], expected: Told) -> None:
    assert told_by(read_call(dialect, values)) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", ""),
        ("model", 7),
        ("model", "m" * 257),
        ("max_tokens", "100"),
        ("max_tokens", 1e9),
        ("max_tokens", True),
        ("max_tokens", -1),
        ("max_completion_tokens", 2**31),
        ("n", "2"),
        ("n", 129),
        ("stream", "true"),
        ("stream", 1),
        ("stream_options", {"include_usage": "yes"}),
    ],
)
def test_what_decides_the_cost_is_read_strictly(field: str, value: object) -> None:
    name = "include_usage" if field == "stream_options" else field
    with pytest.raises(InvalidParameter, match=f"parameter '{name}'"):
        read_call(Dialect.CHAT, {"model": "m", "messages": [], field: value})


@pytest.mark.parametrize("dialect", Dialect)
def test_no_other_limit_goes_before_the_one_that_is_reserved(dialect: Dialect) -> None:
    values = {"model": "m", "max_tokens": 1, "n_predict": 1000}
    with pytest.raises(InvalidParameter, match="'n_predict': expected 'max_tokens'"):
        read_call(dialect, values)
    with pytest.raises(InvalidParameter, match="'n_cmpl': expected 'n'"):
        read_call(dialect, {"model": "m", "max_tokens": 1, "n_cmpl": 8})


@pytest.mark.parametrize(
    ("dialect", "own", "others"),
    [
        (Dialect.COMPLETIONS, "max_tokens", ("max_completion_tokens",)),
        (Dialect.RESPONSES, "max_output_tokens", ("max_completion_tokens", "max_tokens")),
    ],
)
def test_of_limits_only_the_dialects_own_is_sent_on(
    dialect: Dialect, own: str, others: tuple[str, ...]
) -> None:
    values = {"model": "m", "user": "u", own: 1} | dict.fromkeys(others, 100_000)
    body = prepared(dialect, values, "m")
    assert isinstance(body, bytes)
    assert orjson.loads(body) == {"model": "m", "user": "u", own: 1}


def test_messages_must_say_their_limit() -> None:
    with pytest.raises(InvalidParameter, match="'max_tokens'"):
        read_call(Dialect.MESSAGES, {"model": "m", "messages": []})


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("dialect", Dialect)
def test_no_request_says_where_it_goes_or_with_which_key(dialect: Dialect, name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"'{name}'"):
        read_call(dialect, {"model": "m", "max_tokens": 1, name: None})


def test_no_answer_is_made_that_nobody_gets_and_pays() -> None:
    with pytest.raises(InvalidParameter, match="background"):
        read_call(Dialect.RESPONSES, {"model": "m", "input": "x", "background": True})
    read_call(Dialect.RESPONSES, {"model": "m", "input": "x", "background": False})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a": NaN}', b'{"a": "\\ud800"}'])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the body"):
        read_values(body)


def test_unknown_fields_are_sent_on() -> None:
    values = {
        "model": "assistant",
        "messages": [{"role": "user", "content": "héllo", "cache_control": {"type": "ephemeral"}}],
        "guided_json": {"a": [1.5, None, True]},
        "top_k": 40,
    }
    before = orjson.dumps(values)
    sent = orjson.loads(written(Dialect.CHAT, values, "gpt-4o-mini"))
    assert sent == {**values, "model": "gpt-4o-mini"}
    assert list(sent) == list(values)
    assert orjson.dumps(values) == before


def test_of_fields_told_twice_one_is_sent() -> None:
    body = (
        b'{"model":"a","max_tokens":1,"n":1,"max_tokens":9,"m\\u006fdel":"b","n":3,"messages":[]}'
    )
    values = read_values(body)
    call = read_call(Dialect.CHAT, values)
    assert (call.model, call.max_output_tokens, call.n) == ("b", 9, 3)
    sent = written(Dialect.CHAT, values, "x")
    assert sent == b'{"model":"x","max_tokens":9,"n":3,"messages":[]}'


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.COMPLETIONS])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_usage_is_asked_for_whatever_the_caller_asked(
    dialect: Dialect, given: object, sent: object
) -> None:
    values = {"model": "m", "stream": True} | ({"stream_options": given} if given else {})
    body = written(dialect, values, "m", include_usage=True)
    assert orjson.loads(body)["stream_options"] == sent


@pytest.mark.parametrize("dialect", [Dialect.MESSAGES, Dialect.RESPONSES])
def test_where_usage_always_comes_nobody_asks(dialect: Dialect) -> None:
    body = written(dialect, {"model": "m", "stream": True}, "m", include_usage=True)
    assert b"stream_options" not in body


def test_a_limit_is_put_in() -> None:
    body = written(Dialect.CHAT, {"model": "m"}, "m", fields={"max_completion_tokens": 7})
    assert orjson.loads(body) == {"model": "m", "max_completion_tokens": 7}


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_encoding_is_not_sent_on(value: object) -> None:
    values = {"model": "m", "input": "x", "encoding_format": value}
    assert "encoding_format" not in orjson.loads(written(Dialect.EMBEDDINGS, values, "m"))
    chosen = written(Dialect.EMBEDDINGS, {**values, "encoding_format": "base64"}, "m")
    assert orjson.loads(chosen)["encoding_format"] == "base64"


def test_a_body_nested_too_deep_is_refused() -> None:
    values = read_values(b'{"model":"m","messages":' + b"[" * 500 + b"]" * 500 + b"}")
    read_call(Dialect.CHAT, values)
    with pytest.raises(InvalidParameter, match="cannot be sent on"):
        written(Dialect.CHAT, values, "m")


@pytest.mark.parametrize(
    ("one", "most", "what"),
    [(b"{}", MAX_NESTED, "objects"), (b"[]", MAX_NESTED, "objects"), (b'""', MAX_VALUES, "values")],
)
def test_a_body_of_nothing_but_signs_is_refused_before_it_is_read(one, most, what) -> None:
    crowd = b'{"messages":[%b]}' % b",".join([one] * (most + 1))
    with pytest.raises(BodyTooLarge, match=what):
        read_values(crowd)


def test_a_body_that_may_hold_many_parts_is_not_read_at_once() -> None:
    few, many = (b'{"messages":[%b{}]}' % (b"{}," * n) for n in (DENSE_NESTED - 3, DENSE_NESTED))
    assert len(many) < AT_ONCE_BYTES
    assert read_at_once(few, Dialect.CHAT) == read_values(few)
    assert read_at_once(many, Dialect.CHAT) is None
    assert read_at_once(b'{"input":"%b"}' % (b"x" * AT_ONCE_BYTES), Dialect.CHAT) is None


def test_a_long_text_is_read_at_once_whatever_stands_in_it() -> None:
    body = orjson.dumps({"messages": [{"content": "{}," * DENSE_NESTED}]})
    values = read_at_once(body, Dialect.CHAT)
    assert values is not None
    assert len(values["messages"][0]["content"]) == 3 * DENSE_NESTED


def test_a_text_may_hold_as_many_signs_as_it_likes() -> None:
    words = '{"[,\\' * 2 * MAX_VALUES
    assert read_values(orjson.dumps({"input": words})) == {"input": words}


def test_results_within_results_are_read_without_end() -> None:
    part = b'{"type":"tool_result","content":['
    body = b'{"model":"m","max_tokens":1,"messages":[{"content":[' + part * 400 + b"]}" * 400
    assert read_call(Dialect.MESSAGES, read_values(body + b"]}]}")).prompt.messages == 1


ANY = st.sampled_from([None, "", "words", 7, [], ["x"], {}, {"type": "text", "text": "abc"}])
PARTS = st.lists(ANY, max_size=2)
FIELDS = ("role", "content", "arguments", "output", "tool_calls")


@given(
    st.lists(st.dictionaries(st.sampled_from(FIELDS), ANY | PARTS, max_size=3) | ANY, max_size=3)
    | ANY,
    st.sampled_from([Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES, Dialect.COMPLETIONS]),
)
def test_the_short_way_through_a_prompt_tells_what_the_long_one_does(messages, dialect):
    values = {"model": "m", "messages": messages}
    # Which says nothing, and may say who asks.
    assert read_prompt(dialect, values) == read_prompt(dialect, {**values, "metadata": None})
