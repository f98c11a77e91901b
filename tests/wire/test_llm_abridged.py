"""A long request says the same whether its long texts are read or not."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest
from gateway.wire.llm.abridged import (
    LONG_BYTES,
    MAX_TEXTS,
    OTHER_BYTES,
    TEXT_BYTES,
    Abridged,
    Text,
    read_abridged,
)
from gateway.wire.llm.prompts import MESSAGES
from gateway.wire.llm.requests import read_call, read_values
from gateway.wire.llm.words import Dialect
from tests.wire.test_llm_requests import written

LONG = "Where does the water flow? " * (LONG_BYTES // 27 + 1)
LINES = 'def flow(mill):\n\treturn "down"\n' * (LONG_BYTES // 30)
ABROAD = "水车在河边慢慢转动着 - où est-il? 🎡 " * (LONG_BYTES // 50)
DIALECTS = (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES)


def outcome(dialect: Dialect, body: bytes, *, abridge: bool) -> Any:
    """All that comes of a request before it is sent on: the error, or what is known and sent."""
    try:
        values = read_values(body, dialect if abridge else None)
        call = read_call(dialect, values)
        known = (call.model, call.stream, call.max_output_tokens, call.n, call.include_usage)
        sent = written(dialect, values, "theirs", include_usage=call.stream)
    except GatewayError as error:
        return type(error), str(error)
    return known, call.prompt, _in_order(orjson.loads(sent))


def _in_order(value: Any) -> Any:
    """A value that differs where fields stand in another order."""
    if isinstance(value, dict):
        return [(key, _in_order(one)) for key, one in value.items()]
    return [_in_order(one) for one in value] if isinstance(value, list) else value


def same(dialect: Dialect, body: bytes) -> Any:
    """What comes of it, which is the same either way."""
    found = outcome(dialect, body, abridge=True)
    assert found == outcome(dialect, body, abridge=False)
    return found


def request(content: Any, **more: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": content}],
    } | more


def texts_of(values: Any) -> list[Text]:
    """All texts that were not read, wherever they stand."""
    if isinstance(values, Text):
        return [values]
    inner = values.values() if isinstance(values, dict) else values
    return (
        [one for part in inner for one in texts_of(part)] if isinstance(values, dict | list) else []
    )


texts = st.sampled_from(["", "user", "tool", "text", "é\n", LONG, LINES, ABROAD, LONG[:TEXT_BYTES]])
# Where a long text has the whole read, there is seldom one.
short = st.sampled_from(["", "user", "text", *"abcdefgh", LONG])
leaves = st.one_of(texts, st.none(), st.integers(0, 9), st.booleans())
parts = st.dictionaries(
    st.sampled_from(
        ("type", "text", "thinking", "input", "content", "image_url", "source", "name", "function")
    ),
    st.one_of(leaves, st.dictionaries(st.sampled_from(("url", "name", "x")), leaves, max_size=2)),
    max_size=3,
)
messages = st.fixed_dictionaries(
    {"role": short},
    optional={
        "content": st.one_of(leaves, st.lists(st.one_of(leaves, parts), max_size=3)),
        "arguments": leaves,
        "output": leaves,
        "tool_calls": st.lists(
            st.one_of(
                leaves, st.fixed_dictionaries({"function": parts | st.just({"arguments": LONG})})
            ),
            max_size=2,
        ),
    },
)
requests = st.fixed_dictionaries(
    {
        "model": st.just("m") | short,
        "messages": st.lists(messages, min_size=1, max_size=4) | st.lists(leaves) | leaves,
    },
    optional={
        "input": st.one_of(leaves, st.lists(messages, max_size=3)),
        "system": st.one_of(leaves, st.lists(parts, max_size=2)),
        "instructions": leaves,
        "tools": st.lists(parts, max_size=3),
        "metadata": st.dictionaries(st.sampled_from(("user_id", "k")), short, max_size=2),
        "stop": short | st.lists(short, max_size=2),
        "max_tokens": st.sampled_from([1, 7, "9", -1]),
        "stream": st.booleans() | short,
        "user": short,
    },
)
spoilers = st.sampled_from(
    [b"", b'"', b"\\", b"\\u12", b"\\ud800", b"\x00", b"\xff", b"\xed\xa0\x80", b"]", b"}", b","]
)


@given(st.sampled_from(DIALECTS), requests, st.booleans())
def test_whatever_a_request_says_the_same_comes_of_it(dialect, values, escaped):
    same(dialect, json.dumps(values, ensure_ascii=escaped).encode())


@given(st.sampled_from(DIALECTS), requests, spoilers, st.data())
def test_whatever_is_wrong_with_a_body_the_same_comes_of_it(dialect, values, spoiler, data):
    body = orjson.dumps(values)
    at = data.draw(st.integers(0, len(body)))
    same(dialect, body[:at] + spoiler + body[at + data.draw(st.integers(0, 2)) :])


@pytest.mark.parametrize("text", [LONG, LINES, ABROAD], ids=["words", "lines", "abroad"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_long_text_is_not_read_and_sent_on_as_it_came(dialect, text):
    body = orjson.dumps({"model": "m", MESSAGES[dialect]: [{"role": "user", "content": text}]})
    values = read_values(body, dialect)
    assert [len(one) for one in texts_of(values)] == [len(text)]
    assert written(dialect, values, "m") == body


def test_escapes_are_sent_on_as_they_came():
    body = orjson.dumps(request("FLOW")).replace(b"FLOW", b"\\u006E\\/ \\t" + b"x" * LONG_BYTES)
    values = read_values(body, Dialect.CHAT)
    assert written(Dialect.CHAT, values, "m") == body
    assert texts_of(values)[0].read() == "n/ \t" + "x" * LONG_BYTES


@pytest.mark.parametrize(
    "content",
    [
        pytest.param([{"type": "image_url", "image_url": {"url": "data:" + LONG}}], id="image"),
        pytest.param([{"type": "tool_use", "input": {"file": LINES, "é": ABROAD}}], id="tool"),
        pytest.param([{"type": "tool_result", "content": [{"text": ABROAD}]}], id="result"),
        pytest.param(
            [{"type": "text", "text": LINES}, {"type": "thinking", "thinking": LONG}], id="parts"
        ),
    ],
)
def test_a_long_text_may_stand_anywhere_in_messages(content):
    body = orjson.dumps(request(content, system=LONG, tools=[{"function": {"description": LONG}}]))
    assert type(read_values(body, Dialect.MESSAGES)) is Abridged
    same(Dialect.MESSAGES, body)


@pytest.mark.parametrize(
    "more",
    [
        {"user": LONG},
        {"metadata": {"k": LONG}},
        {"stop": [LONG]},
        {"tools": [{"function": {"name": LONG}}]},
        {"messages": [{"content": [{"type": LONG}]}]},
        {LONG: 1},
    ],
    ids=lambda more: min(more, key=len),
)
def test_what_the_gateway_may_look_at_is_read_whole(more):
    body = orjson.dumps(request(LONG) | more)
    values = read_values(body, Dialect.CHAT)
    assert type(values) is dict or LONG in more
    same(Dialect.CHAT, body)


def test_a_text_of_a_field_that_is_told_twice_is_not_sent_on():
    twice = b'{"model":"m","messages":[{"content":"%b","content":"b"}]}' % LONG.encode()
    assert same(Dialect.CHAT, twice)[1].chars == 1
    hidden = b'{"model":"m","messages":"%b","messages":[]}' % LONG.encode()
    assert same(Dialect.CHAT, hidden)[1].chars == 0


@pytest.mark.parametrize("depth", [200, 253, 254, 500, 1100])
def test_a_deep_body_is_refused_as_ever(depth):
    nested = b"[" * depth + b"]" * depth
    body = b'{"model":"m","messages":[{"content":"%b"},%b]}' % (LONG.encode(), nested)
    found = same(Dialect.CHAT, body)
    assert (found[0] == ("m", False, None, 1, False)) == (depth < 252)


def test_short_bodies_and_those_with_little_to_leave_out_are_read_whole():
    short = orjson.dumps(request("x" * (LONG_BYTES - 100)))
    assert type(read_values(short, Dialect.CHAT)) is dict
    many = orjson.dumps(request(LONG) | {"messages": [{"content": "x" * 100}] * 2000})
    assert type(read_values(many, Dialect.CHAT)) is dict
    other = orjson.dumps(request(LONG * 40, tools=[{"d": "x" * 100}] * (OTHER_BYTES // 100)))
    assert type(read_values(other, Dialect.CHAT)) is dict


def test_of_many_long_texts_some_are_left_out():
    text = "x" * TEXT_BYTES
    body = orjson.dumps(request([{"type": "text", "text": text}] * (MAX_TEXTS + 1)))
    values = read_values(body, Dialect.CHAT)
    assert len(texts_of(values)) == MAX_TEXTS
    assert same(Dialect.CHAT, body)[1].chars == (MAX_TEXTS + 1) * TEXT_BYTES


def test_what_makes_the_answer_here_has_the_whole_request():
    for dialect in (Dialect.EMBEDDINGS, Dialect.COMPLETIONS, Dialect.COUNT):
        assert type(read_values(orjson.dumps(request(LONG)), dialect)) is dict


def test_the_whole_request_can_be_had_afterwards():
    asked = request([{"type": "text", "text": ABROAD}])
    values = read_abridged(orjson.dumps(asked), ("messages",))
    assert values is not None
    assert values != asked
    assert values.whole() == asked


@pytest.mark.parametrize("body", [b"[%b]", b'"%b"', b'{"a":"%b"', b'{"a":NaN,"b":"%b"}'])
def test_a_long_body_that_is_no_object_is_refused_as_ever(body):
    with pytest.raises(InvalidRequest, match="the body"):
        read_values(body.replace(b"%b", b'"x"' if body[0] == 91 else LONG.encode()), Dialect.CHAT)
