"""The stock Anthropic client against the fake: messages and counts of tokens."""

from __future__ import annotations

import anthropic
import pytest

from gateway.llm.fake.server import FakeProvider
from tests.llm.clients import Clients

ASKED = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
TOOL = {
    "name": "weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def said(message) -> list:
    apart = {"id", "parsed_output"}  # an id is a request's own; the other is the client's
    return [block.model_dump(exclude=apart) for block in message.content]


@pytest.fixture
def client(fake: FakeProvider, clients: Clients):
    """The stock client, with instructions."""
    return lambda script="": clients.anthropic(fake.url(script, version=""))


@pytest.mark.parametrize(
    ("script", "more"),
    [
        pytest.param("tokens=5", {}, id="text"),
        pytest.param("tokens=500", {}, id="cut"),
        pytest.param("refuse=1", {}, id="refusal"),
        pytest.param("reasoning=4&tokens=3", {}, id="thinking"),
        pytest.param(
            "tools=2", {"tools": [TOOL], "tool_choice": {"type": "any"}}, id="calls of tools"
        ),
        pytest.param("input=90&cached=50&cache_write=10&cache_write_1h=5", {}, id="caches"),
        pytest.param("usage=always&input=90&cached=50", {}, id="usage told twice"),
        pytest.param("usage=every&input=90&cached=50", {}, id="usage told in several"),
    ],
)
def test_a_stream_adds_up_to_the_whole_answer(client, script, more):
    whole = client(script).messages.create(**ASKED, **more)
    with client(script).messages.stream(**ASKED, **more) as stream:
        streamed = stream.get_final_message()
    assert said(streamed) == said(whole)
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.input_tokens == whole.usage.input_tokens
    assert streamed.usage.cache_read_input_tokens == whole.usage.cache_read_input_tokens
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_the_counted_tokens_leave_cached_ones_out(client):
    script = "input=90&cached=50&cache_write=10&cache_write_1h=5"
    usage = client(script).messages.create(**ASKED).usage
    assert usage.input_tokens == 25
    assert usage.cache_creation_input_tokens == 15
    assert usage.cache_creation.ephemeral_1h_input_tokens == 5


@pytest.mark.parametrize(
    ("script", "reason"),
    [("", "end_turn"), ("tokens=500", "max_tokens"), ("refuse=1", "refusal")],
)
def test_the_reason_to_stop_is_anthropics(client, script, reason):
    assert client(script).messages.create(**ASKED).stop_reason == reason


def test_a_structured_answer_follows_its_schema(client):
    schema = {"type": "object", "properties": {"city": {"enum": ["Ulm", "Wien"]}}}
    config = {"format": {"type": "json_schema", "schema": schema}}
    answer = client().messages.create(**ASKED, output_config=config)
    assert answer.content[0].text == '{"city": "Ulm"}'


def test_tokens_are_counted_without_an_answer(client):
    asked = {"model": "m", "messages": ASKED["messages"]}
    assert client().messages.count_tokens(**asked).input_tokens == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"extra_body": {"temperature": 1.5}}, "temperature"),
        ({"extra_body": {"frequency_penalty": 1}}, "Extra inputs are not permitted"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "Unexpected role"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "a", "name": "n", "input": {}}],
                    },
                    {"role": "user", "content": "and?"},
                ]
            },
            "without `tool_result` blocks immediately after",
        ),
    ],
)
def test_what_anthropic_refuses_is_refused(client, change, says):
    with pytest.raises(anthropic.BadRequestError, match=says):
        client().messages.create(**(ASKED | change))


def test_models_are_listed_anthropics_way(client):
    assert [model.type for model in client().models.list()] == ["model"] * 3
