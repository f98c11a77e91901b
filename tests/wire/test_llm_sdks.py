"""What we write is what the stock clients of OpenAI and Anthropic read: their own parsers judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import orjson
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from gateway.errors import BudgetExceeded, GatewayError, RateLimited, Unauthenticated
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.errors import error_body, stream_error
from gateway.wire.llm.reading import read_answer
from gateway.wire.llm.sse import Frames, event_of, frame
from gateway.wire.llm.translate import PAIRS, Translation
from gateway.wire.llm.words import Dialect
from tests.wire.llm_streams import (
    SHAPES,
    Shape,
    chat_events,
    chunk,
    delta,
    message_end,
    message_start,
    named,
    text_block,
)

ASKED = Asked("assistant", "7", 1700000000, include_usage=True)
CHAT_OF_MESSAGES = PAIRS[Dialect.CHAT, Dialect.MESSAGES]
MESSAGES_OF_CHAT = PAIRS[Dialect.MESSAGES, Dialect.CHAT]
HELLO: Any = [{"role": "user", "content": "Hello"}]


def transport(body: bytes, status: int = 200, kind: str = "") -> httpx2.Client:
    """A connection on which every request gets this answer."""
    kind = kind or ("application/json" if body.startswith(b"{") else "text/event-stream")

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": kind})

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai_client(body: bytes, status: int = 200) -> openai.OpenAI:
    client = transport(body, status)
    url = "http://gateway.test/v1"
    return openai.OpenAI(api_key="k", base_url=url, http_client=client, max_retries=0)


def anthropic_client(body: bytes, status: int = 200) -> anthropic.Anthropic:
    client = transport(body, status)
    url = "http://gateway.test"
    return anthropic.Anthropic(api_key="k", base_url=url, http_client=client, max_retries=0)


def shape(name: str) -> Shape:
    return next(shape for shape in SHAPES if shape.name == name)


def streamed(pair: Translation, name: str) -> bytes:
    stream = pair.stream(ASKED)
    events = shape(name).events
    return b"".join(stream.feed(event, data) for event, data in events) + stream.end()


def whole(pair: Translation, name: str) -> bytes:
    return orjson.dumps(pair.answer(shape(name).answer, ASKED))


def streamed_completion(client: openai.OpenAI) -> Any:
    with client.chat.completions.stream(
        model="m", messages=HELLO, stream_options={"include_usage": True}
    ) as stream:
        return stream.get_final_completion()


def whole_completion(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model="m", messages=HELLO)


def streamed_message(client: anthropic.Anthropic) -> Any:
    with client.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream:
        return stream.get_final_message()


def whole_message(client: anthropic.Anthropic) -> Any:
    return client.messages.create(model="m", max_tokens=9, messages=HELLO)


@pytest.mark.parametrize(
    ("written", "read"), [(streamed, streamed_completion), (whole, whole_completion)]
)
def test_the_openai_client_reads_what_claude_said(
    written: Callable[[Translation, str], bytes], read: Callable[[Any], Any]
) -> None:
    answer = read(openai_client(written(CHAT_OF_MESSAGES, "messages thinking and tools")))
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Looking."
    assert choice.message.reasoning_content == "Hm, two cities."
    assert [orjson.loads(call.function.arguments) for call in choice.message.tool_calls] == [
        {"city": "Paris"},
        {},
    ]
    assert [call.function.name for call in choice.message.tool_calls] == ["weather", "time"]
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (60, 25, 85)
    assert usage.prompt_tokens_details.cached_tokens == 30
    assert usage.prompt_tokens_details.cache_write_tokens == 20
    assert usage.completion_tokens_details.reasoning_tokens == 7


@pytest.mark.parametrize(
    ("written", "read"), [(streamed, streamed_message), (whole, whole_message)]
)
def test_the_anthropic_client_reads_what_gpt_said(
    written: Callable[[Translation, str], bytes], read: Callable[[Any], Any]
) -> None:
    answer = read(anthropic_client(written(MESSAGES_OF_CHAT, "chat parallel tools")))
    assert answer.stop_reason == "tool_use"
    assert [(block.name, block.input) for block in answer.content] == [
        ("weather", {"city": "Paris"}),
        ("time", {}),
    ]
    usage = answer.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (14, 16, 12)
    thinking = read(anthropic_client(written(MESSAGES_OF_CHAT, "chat reasoning"))).content
    assert [block.type for block in thinking] == ["thinking", "text"]


def test_text_comes_to_the_anthropic_client_as_it_is_said() -> None:
    client = anthropic_client(streamed(MESSAGES_OF_CHAT, "chat text"))
    with client.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream:
        assert list(stream.text_stream) == ["Héllo ", "wörld"]


def test_the_openai_client_parses_structured_output_of_claude() -> None:
    events = named(message_start(), *text_block(0, '{"a":', "1}"), *message_end())
    stream = CHAT_OF_MESSAGES.stream(ASKED)
    sent = b"".join(stream.feed(event, data) for event, data in events)
    choice = streamed_completion(openai_client(sent)).choices[0]
    assert orjson.loads(choice.message.content) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (Unauthenticated("no key"), openai.AuthenticationError, "invalid_api_key"),
        (RateLimited("slow"), openai.RateLimitError, "rate_limit_exceeded"),
        (BudgetExceeded("spent"), openai.RateLimitError, "insufficient_quota"),
    ],
)
def test_the_openai_client_knows_our_errors(
    error: GatewayError, raised: type[openai.APIStatusError], code: str
) -> None:
    client = openai_client(error_body(Dialect.CHAT, error), error.status)
    with pytest.raises(raised) as told:
        whole_completion(client)
    assert (told.value.code, told.value.body) == (code, told.value.body)
    assert str(error) in told.value.message


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (Unauthenticated("no key"), anthropic.AuthenticationError),
        (RateLimited("slow"), anthropic.RateLimitError),
    ],
)
def test_the_anthropic_client_knows_our_errors(
    error: GatewayError, raised: type[anthropic.APIStatusError]
) -> None:
    client = anthropic_client(error_body(Dialect.MESSAGES, error), error.status)
    with pytest.raises(raised, match=str(error)):
        whole_message(client)


def test_clients_raise_what_a_stream_tells_of_a_failure() -> None:
    error = RateLimited("too fast")
    begun = b"".join(frame(data) for _, data in chat_events(chunk(delta(content="Hi")), done=False))
    with pytest.raises(openai.APIError, match="too fast"):
        streamed_completion(openai_client(begun + stream_error(Dialect.CHAT, error)))
    stream = MESSAGES_OF_CHAT.stream(ASKED)
    sent = stream.feed(b"", orjson.dumps(chunk(delta(content="Hi")))) + stream.fail(error)
    with pytest.raises(anthropic.APIError, match="too fast"):
        streamed_message(anthropic_client(sent))


def test_a_comment_between_events_disturbs_no_client() -> None:
    sent = streamed(CHAT_OF_MESSAGES, "messages text").replace(b"\n\n", b"\n\n: ping\n\n")
    assert streamed_completion(openai_client(sent)).choices[0].message.content == "Hello wörld"
    sent = streamed(MESSAGES_OF_CHAT, "chat text").replace(b"\n\n", b"\n\n: ping\n\n")
    assert streamed_message(anthropic_client(sent)).content[0].text == "Héllo wörld"


@pytest.mark.parametrize(
    ("upstream", "name"),
    [
        (Dialect.CHAT, "chat parallel tools"),
        (Dialect.CHAT, "chat reasoning"),
        (Dialect.CHAT, "chat refusal"),
        (Dialect.MESSAGES, "messages thinking and tools"),
    ],
)
def test_the_openai_client_reads_responses_of_any_upstream(upstream: Dialect, name: str) -> None:
    pair = PAIRS[Dialect.RESPONSES, upstream]
    with openai_client(streamed(pair, name)).responses.stream(model="m", input="Hello") as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    whole_answer = openai_client(whole(pair, name)).responses.create(model="m", input="Hello")
    assert [item.type for item in answer.output] == [item.type for item in whole_answer.output]
    assert answer.output_text == whole_answer.output_text
    assert answer.usage == whole_answer.usage
    assert answer.usage is not None
    said = read_answer(upstream, shape(name).answer)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [item.name for item in calls] == [one.name for one in said.calls]
    assert [item.type for item in answer.output if item.type == "reasoning"] == [
        "reasoning" for _ in range(min(1, said.reasoning_chars))
    ]


DECLARED: dict[Dialect, tuple[Any, Any]] = {
    Dialect.CHAT: (ChatCompletion, ChatCompletionChunk),
    Dialect.MESSAGES: (Message, RawMessageStreamEvent),
    Dialect.RESPONSES: (Response, ResponseStreamEvent),
}
"""What the clients declare of a whole answer and of an event; at work they do not check it."""
CASES = [
    pytest.param(pair, one, id=f"{pair.client}-of-{one.name}")
    for pair in PAIRS.values()
    for one in SHAPES
    if one.dialect is pair.upstream
]


@pytest.mark.parametrize(("pair", "one"), CASES)
def test_answers_are_of_the_types_that_clients_declare(pair: Translation, one: Shape) -> None:
    declared, event_declared = map(TypeAdapter, DECLARED[pair.client])
    declared.validate_python(pair.answer(one.answer, ASKED))
    for frame_of_it in Frames().feed(streamed(pair, one.name)):
        data = event_of(frame_of_it)[1]
        if data != b"[DONE]":
            event_declared.validate_python(orjson.loads(data))
