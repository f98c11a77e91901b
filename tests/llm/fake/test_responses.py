"""The stock OpenAI client against the fake: responses, completions, embeddings, models."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from gateway.llm.fake import embeddings
from gateway.llm.fake.server import FakeProvider
from tests.llm.clients import Clients

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class Place(BaseModel):
    city: str


@pytest.fixture
def client(fake: FakeProvider, clients: Clients):
    """The stock client, with instructions."""
    return lambda script="": clients.openai(fake.url(script))


@pytest.mark.parametrize(
    ("script", "more"),
    [
        pytest.param("tokens=5", {}, id="text"),
        pytest.param("tokens=500", {"max_output_tokens": 16}, id="cut"),
        pytest.param("refuse=1", {}, id="refusal"),
        pytest.param("reasoning=4&tokens=3&cached=2", {}, id="reasoning"),
        pytest.param("tools=2", {"tools": [TOOL]}, id="calls of tools"),
    ],
)
def test_a_stream_of_a_response_ends_with_the_whole_one(client, script, more):
    asked = {"model": "m", "input": "hello there", **more}
    whole = client(script).responses.create(**asked)
    with client(script).responses.create(stream=True, **asked) as stream:
        events = list(stream)
    streamed = events[-1].response
    assert streamed.output_text == whole.output_text
    assert streamed.status == whole.status
    assert streamed.usage == whole.usage
    assert [item.type for item in streamed.output] == [item.type for item in whole.output]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


def test_pieces_of_a_response_add_up(client):
    with client("tokens=6").responses.stream(model="m", input="hello") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert "".join(pieces) == "water flows through the gate and "


def test_a_structured_response_follows_its_schema(client):
    parsed = client().responses.parse(model="m", input="where?", text_format=Place)
    assert parsed.output_parsed == Place(city="water")


@pytest.mark.parametrize("shape", ["asked", "always", "finish"])
def test_an_older_completion_streams_what_it_says_whole(client, shape):
    asked = {"model": "m", "prompt": ["one", "two"], "max_tokens": 3}
    whole = client().completions.create(**asked)
    options = {"include_usage": True} if shape == "asked" else None
    script = f"usage={shape}"
    with client(script).completions.create(stream=True, stream_options=options, **asked) as stream:
        chunks = list(stream)
    for choice in whole.choices:
        mine = [c for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert "".join(c.text for c in mine) == choice.text
        assert mine[-1].finish_reason == choice.finish_reason == "length"
    assert [chunk.usage for chunk in chunks if chunk.usage][-1] == whole.usage


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("hello fake?tokens=3&finish=odd there", id="text"),
        pytest.param(["fake?tokens=9", "fake?tokens=3&finish=odd"], id="the-last-of-several"),
    ],
)
def test_a_prompt_may_say_how_it_is_answered(client, prompt):
    answer = client().completions.create(model="m", prompt=prompt)
    assert answer.choices[-1].text == "water flows through "
    assert answer.choices[-1].finish_reason == "odd"


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param([1, 2, 3], id="tokens"),
        pytest.param([[1, 2], [3]], id="several-of-tokens"),
    ],
)
def test_a_prompt_of_tokens_says_nothing(client, prompt):
    assert client().completions.create(model="m", prompt=prompt).choices[0].text


def test_embeddings_are_the_same_in_numbers_and_in_base64(client, fake):
    create = client().embeddings.create
    asked = {"model": "m", "input": ["hello", "there"], "dimensions": 5}
    plain = create(**asked, encoding_format="float")
    coded = create(**asked)  # the client asks for base64 by itself
    assert [one.embedding for one in coded.data] == [one.embedding for one in plain.data]
    assert plain.data[1].embedding == embeddings.vector("there", 5)
    assert [r.values.get("encoding_format") for r in fake.received] == ["float", "base64"]
    assert plain.usage.prompt_tokens == 3


def test_models_are_listed_and_told_of_one_by_one(client):
    models = client().models
    assert [model.id for model in models.list()] == list(embeddings.MODELS)
    assert models.retrieve("vendor/with-slash").id == "vendor/with-slash"
