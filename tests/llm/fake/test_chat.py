"""The stock OpenAI client against the fake: chat completions."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from gateway.llm.fake.server import FakeProvider
from tests.llm.clients import Clients

HELLO = [{"role": "user", "content": "hello there"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            },
        },
    }
]


class Turn(BaseModel):
    direction: str
    degrees: int
    stops: list[str]


@pytest.fixture
def client(fake: FakeProvider, clients: Clients):
    """The stock client, with instructions."""
    return lambda script="": clients.openai(fake.url(script))


def streamed(client, script: str = "", **asked) -> list:
    asked = {"model": "m", "messages": HELLO} | asked
    with client(script).chat.completions.create(stream=True, **asked) as stream:
        return list(stream)


def test_an_answer_is_what_the_stock_client_understands(client):
    answer = client("tokens=3").chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "water flows through "
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    assert answer._request_id == "req_fake1"


def test_a_stream_says_what_a_whole_answer_says(client):
    asked = {"model": "m", "messages": HELLO, "n": 2}
    whole = client().chat.completions.create(**asked)
    chunks = streamed(client, n=2, stream_options={"include_usage": True})
    for choice in whole.choices:
        mine = [c for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert "".join(c.delta.content or "" for c in mine) == choice.message.content
        assert mine[-1].finish_reason == choice.finish_reason
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []


def test_a_stream_tells_usage_only_if_asked(client):
    assert [chunk.usage for chunk in streamed(client)] == [None] * 18


@pytest.mark.parametrize(
    "shape", ["always", "finish", "empty_choice", "every", "null_after", "absent"]
)
def test_usage_comes_in_the_shape_that_is_wanted(client, shape):
    chunks = streamed(client, f"usage={shape}&tokens=2&input=7")
    told = [chunk.usage.completion_tokens if chunk.usage else None for chunk in chunks]
    assert (
        told
        == {
            "always": [None, None, None, None, 2],
            "finish": [None, None, None, 2],
            "empty_choice": [None, None, None, None, 2],
            "every": [0, 1, 2, 2, 2],
            "null_after": [None, None, None, None, 2, None],
            "absent": [None, None, None, None],
        }[shape]
    )


def test_an_answer_is_cut_at_the_tokens_it_may_have(client):
    answer = client().chat.completions.create(model="m", messages=HELLO, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 2


def test_tools_are_called_where_they_must_be_alike_streamed_or_not(client):
    asked = {"model": "m", "messages": HELLO, "tools": TOOLS, "tool_choice": "required"}
    whole = client("tools=2").chat.completions.create(**asked)
    calls = whole.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "water", "days": 1},
        {"city": "water", "days": 1},
    ]
    assert whole.choices[0].finish_reason == "tool_calls"
    del asked["model"]
    arguments = {0: "", 1: ""}
    for chunk in streamed(client, "tools=2", **asked):
        for call in chunk.choices[0].delta.tool_calls or ():
            arguments[call.index] += call.function.arguments
    assert list(arguments.values()) == [call.function.arguments for call in calls]


def test_a_structured_answer_follows_its_schema(client):
    asked = {"model": "m", "messages": HELLO, "response_format": Turn}
    answer = client().chat.completions.parse(**asked)
    assert answer.choices[0].message.parsed == Turn(direction="water", degrees=1, stops=["water"])


def test_a_refusal_is_told_as_one(client):
    message = client("refuse=1").chat.completions.create(model="m", messages=HELLO)
    assert message.choices[0].message.refusal == "I cannot help with that."
    assert message.choices[0].finish_reason == "content_filter"


def test_reasoning_and_caches_are_counted(client):
    script = "reasoning=5&tokens=2&input=100&cached=60&cache_write=20"
    usage = client(script).chat.completions.create(model="m", messages=HELLO).usage
    assert usage.completion_tokens == 7
    assert usage.completion_tokens_details.reasoning_tokens == 5
    assert usage.prompt_tokens_details.cached_tokens == 60
    assert usage.prompt_tokens_details.cache_write_tokens == 20
