"""The stock OpenAI and Anthropic clients against a real gateway, whoever answers behind it."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from gateway.llm.fake import embeddings
from tests.end_to_end.llm_world import SECRETS

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
TEXT = "water flows through "
# By the gateway's name of a model: the family of the provider behind it.
BEHIND = ["assistant", "claude", "azure"]
FUNCTION = {
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
TOOL: Any = {"type": "function", "function": FUNCTION}
CLAUDE_TOOL: Any = {"name": "weather", "input_schema": FUNCTION["parameters"]}
ARGUMENTS = {"city": "water", "days": 1}


class Place(BaseModel):
    city: str
    days: int


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def say(script: str) -> list[Any]:
    return [{"role": "user", "content": f"hello fake?{script} there"}]


# ---- OpenAI's client ----------------------------------------------------------------------------


@pytest.mark.parametrize("model", BEHIND)
def test_a_chat_is_answered_whole_and_streamed_alike(gate, model):
    create = gate.openai.chat.completions.create
    asked = {"model": model, "messages": say("tokens=3&input=50&cached=20")}
    whole = create(**asked)
    with create(stream=True, stream_options={"include_usage": True}, **asked) as stream:
        chunks = list(stream)
    assert whole.choices[0].message.content == TEXT
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices]
    assert whole.choices[0].finish_reason == finishes[-1] == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert whole.model == chunks[0].model
    for usage in (whole.usage, chunks[-1].usage):
        assert (usage.prompt_tokens, usage.completion_tokens) == (50, 3)
        assert usage.prompt_tokens_details.cached_tokens == 20


@pytest.mark.parametrize("model", BEHIND)
def test_a_stream_tells_its_usage_only_to_who_asked(gate, model):
    create = gate.openai.chat.completions.create
    with create(model=model, messages=say("tokens=3"), stream=True) as stream:
        chunks = list(stream)
    assert [chunk for chunk in chunks if not chunk.choices and chunk.usage] == []
    assert {chunk.usage for chunk in chunks} == {None}


@pytest.mark.anyio
@pytest.mark.parametrize("model", BEHIND)
async def test_the_async_client_is_answered_alike(gate, model):
    url = f"{gate.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=gate.key, max_retries=0) as client:
        asked: Any = {"model": model, "messages": say("tokens=3")}
        whole = await client.chat.completions.create(**asked)
        text = ""
        async with await client.chat.completions.create(stream=True, **asked) as stream:
            async for chunk in stream:
                text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    assert text == whole.choices[0].message.content == TEXT


@pytest.mark.parametrize("model", BEHIND)
def test_tools_are_called_and_their_results_understood(gate, model):
    create = gate.openai.chat.completions.create
    asked = {"model": model, "messages": say("tools=2"), "tools": [TOOL]}
    message = create(tool_choice="required", **asked).choices[0].message
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == 2 * [ARGUMENTS]
    with create(stream=True, tool_choice="required", **asked) as stream:
        arguments = ["", ""]
        for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
                arguments[call.index] += call.function.arguments or ""
    assert [json.loads(each) for each in arguments] == 2 * [ARGUMENTS]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "rain"} for call in message.tool_calls
    ]
    more = [*HELLO, message.model_dump(exclude_none=True), *results]
    after = create(model=model, messages=more, tools=[TOOL])
    assert after.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("model", BEHIND)
def test_a_structured_answer_follows_its_schema(gate, model):
    parse = gate.openai.chat.completions.parse
    answer = parse(model=model, messages=HELLO, response_format=Place)
    assert answer.choices[0].message.parsed == Place(**ARGUMENTS)


@pytest.mark.parametrize("model", BEHIND)
def test_a_refusal_is_a_refusal(gate, model):
    answer = gate.openai.chat.completions.create(model=model, messages=say("refuse=1"))
    assert answer.choices[0].finish_reason == "content_filter"


@pytest.mark.parametrize("model", ["assistant", "claude"])
def test_responses_are_answered_whole_and_streamed_alike(gate, model):
    asked = {"model": model, "input": "hello fake?tokens=3&input=50&cached=20 there"}
    whole = gate.openai.responses.create(**asked)
    with gate.openai.responses.create(stream=True, **asked) as stream:
        events = list(stream)
    streamed = events[-1].response
    assert whole.output_text == streamed.output_text == TEXT
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == TEXT
    for usage in (whole.usage, streamed.usage):
        assert (usage.input_tokens, usage.output_tokens) == (50, 3)
        assert usage.input_tokens_details.cached_tokens == 20


@pytest.mark.parametrize("model", BEHIND)
def test_a_response_calls_tools_and_follows_a_schema(gate, model):
    asked = {"model": model, "tools": [{"type": "function", **FUNCTION, "strict": False}]}
    said = {"input": "hello fake?tools=2 there", "tool_choice": "required"}
    whole = gate.openai.responses.create(**asked, **said)
    with gate.openai.responses.stream(**asked, **said) as stream:
        streamed = stream.until_done().get_final_response()
    for answer in (whole, streamed):
        calls = [item for item in answer.output if item.type == "function_call"]
        assert [json.loads(call.arguments) for call in calls] == 2 * [ARGUMENTS]
    results = [
        {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
        for call in whole.output
    ]
    calls = [call.model_dump(exclude_none=True) for call in whole.output]
    after = gate.openai.responses.create(input=[*HELLO, *calls, *results], **asked)
    assert after.status == "completed"
    parsed = gate.openai.responses.parse(model=model, input="hello", text_format=Place)
    assert parsed.output_parsed == Place(**ARGUMENTS)


@pytest.mark.parametrize("model", ["assistant", "azure"])
def test_older_completions_are_passed_on(gate, model):
    asked = {"model": model, "prompt": "hello", "max_tokens": 3}
    whole = gate.openai.completions.create(**asked)
    with gate.openai.completions.create(stream=True, **asked) as stream:
        text = "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert text == whole.choices[0].text == TEXT


def test_embeddings_are_the_same_in_numbers_and_in_base64(gate):
    asked = {"model": "embedder", "input": ["hello", "there"], "dimensions": 5}
    plain = gate.openai.embeddings.create(encoding_format="float", **asked)
    coded = gate.openai.embeddings.create(**asked)
    assert [one.embedding for one in coded.data] == [one.embedding for one in plain.data]
    assert plain.data[1].embedding == embeddings.vector("there", 5)


def test_models_are_listed_under_all_their_names(gate):
    names = {model.id for model in gate.openai.models.list()}
    assert {"assistant", "gpt-4o-mini", "openai/gpt-4o-mini", "claude"} <= names
    assert gate.openai.models.retrieve("openai/gpt-4o-mini").object == "model"
    with pytest.raises(openai.NotFoundError):
        gate.openai.models.retrieve("nobody")


def test_an_alias_is_answered_as_its_model(gate):
    for name in ("gpt-4o-mini", "openai/gpt-4o-mini"):
        answer = gate.chat(name)
        assert answer.status == 200
        assert answer.headers["penstock-model"] == "assistant"
    assert {one.values["model"] for one in gate.fake.received} == {"gpt-4o-mini"}


@pytest.mark.anyio
@pytest.mark.parametrize("model", BEHIND)
async def test_the_async_client_gets_tools_schemas_and_embeddings(gate, model):
    url = f"{gate.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=gate.key, max_retries=0) as client:
        chats = client.chat.completions
        called = await chats.create(
            model=model, messages=say("tools=1"), tools=[TOOL], tool_choice="required"
        )
        parsed = await chats.parse(model=model, messages=HELLO, response_format=Place)
        made = await client.embeddings.create(model="embedder", input="there", dimensions=5)
    (call,) = called.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments) == ARGUMENTS
    assert parsed.choices[0].message.parsed == Place(**ARGUMENTS)
    assert made.data[0].embedding == embeddings.vector("there", 5)


# ---- Anthropic's client -------------------------------------------------------------------------


@pytest.mark.parametrize("model", BEHIND)
def test_a_message_is_answered_whole_and_streamed_alike(gate, model):
    asked = {"model": model, "max_tokens": 50, "messages": say("tokens=3&input=50&cached=20")}
    whole = gate.anthropic.messages.create(**asked)
    with gate.anthropic.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert text == whole.content[0].text == TEXT
    assert whole.stop_reason == streamed.stop_reason == "end_turn"
    for usage in (whole.usage, streamed.usage):
        assert usage.output_tokens == 3
        assert (usage.input_tokens, usage.cache_read_input_tokens) == (30, 20)


@pytest.mark.anyio
@pytest.mark.parametrize("model", BEHIND)
async def test_anthropics_async_client_is_answered_alike(gate, model):
    asked: Any = {"model": model, "max_tokens": 50, "messages": say("tokens=3")}
    async with anthropic.AsyncAnthropic(
        base_url=gate.url, api_key=gate.key, max_retries=0
    ) as client:
        whole: Any = await client.messages.create(**asked)
        async with client.messages.stream(**asked) as stream:
            text = await stream.get_final_text()
    assert text == whole.content[0].text == TEXT


@pytest.mark.parametrize("model", BEHIND)
def test_anthropics_tools_are_called_and_their_results_understood(gate, model):
    choice = {"type": "any"}
    asked = {"model": model, "max_tokens": 50, "tools": [CLAUDE_TOOL]}
    whole = gate.anthropic.messages.create(messages=say("tools=2"), tool_choice=choice, **asked)
    with gate.anthropic.messages.stream(
        messages=say("tools=2"), tool_choice=choice, **asked
    ) as stream:
        streamed = stream.get_final_message()
    for message in (whole, streamed):
        assert [block.input for block in message.content] == 2 * [ARGUMENTS]
        assert message.stop_reason == "tool_use"
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "rain"}
        for block in whole.content
    ]
    said = [{"role": "assistant", "content": [b.model_dump() for b in whole.content]}]
    more = [*HELLO, *said, {"role": "user", "content": results}]
    assert gate.anthropic.messages.create(messages=more, **asked).stop_reason == "end_turn"


@pytest.mark.parametrize("model", BEHIND)
def test_anthropics_structured_answer_follows_its_schema(gate, model):
    asked = {"model": model, "max_tokens": 50, "messages": HELLO}
    parsed = gate.anthropic.messages.parse(output_format=Place, **asked)
    assert parsed.parsed_output == Place(**ARGUMENTS)
    with gate.anthropic.messages.stream(output_format=Place, **asked) as stream:
        assert stream.get_final_message().parsed_output == Place(**ARGUMENTS)


def test_tokens_are_counted_by_the_provider_that_can(gate):
    count = gate.anthropic.messages.count_tokens
    assert count(model="claude", messages=HELLO).input_tokens == 3


def test_models_are_listed_anthropics_way(gate):
    assert {"assistant", "claude"} <= {model.id for model in gate.anthropic.models.list()}


# ---- errors, as the caller's dialect has them ----------------------------------------------------


def test_errors_are_in_the_callers_dialect(gate):
    with pytest.raises(openai.NotFoundError) as missing:
        gate.openai.chat.completions.create(model="nobody", messages=HELLO)
    assert missing.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError) as unknown:
        gate.anthropic.messages.create(model="nobody", max_tokens=5, messages=HELLO)
    body: Any = unknown.value.body
    assert body["error"]["type"] == "not_found_error"
    with pytest.raises(openai.InternalServerError) as failed:
        gate.openai.chat.completions.create(model="tried-twice", messages=HELLO)
    assert len(gate.fake.received) == 2
    assert failed.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("model", BEHIND)
def test_what_an_upstream_says_of_the_request_is_told_to_its_caller(gate, model):
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        gate.openai.chat.completions.create(model=model, messages=say("error=context_window"))
    with pytest.raises(anthropic.BadRequestError, match="maximum context length"):
        gate.anthropic.messages.create(
            model=model, max_tokens=5, messages=say("error=context_window")
        )


def test_a_wrong_key_is_unauthorized_in_both_dialects(gate):
    stranger = gate.clients.openai(f"{gate.url}/v1", "sk-nobody")
    with pytest.raises(openai.AuthenticationError) as one:
        stranger.chat.completions.create(model="assistant", messages=HELLO)
    assert one.value.request_id == one.value.response.headers["penstock-request-id"]
    other = gate.clients.anthropic(gate.url, "sk-nobody")
    with pytest.raises(anthropic.AuthenticationError) as two:
        other.messages.create(model="assistant", max_tokens=5, messages=HELLO)
    told: Any = two.value.body
    assert two.value.request_id == two.value.response.headers["penstock-request-id"]
    assert two.value.request_id == told["request_id"]
    assert gate.fake.received == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("POST", "/v1/chat/completions", b'{"model": "nobody"}', id="no-such-model"),
        pytest.param("POST", "/v1/chat/completions", b"{", id="no-json"),
        pytest.param("GET", "/v1/models/nobody", None, id="of-a-list"),
        pytest.param("GET", "/v1/models", None, id="no-refusal"),
        pytest.param("POST", "/v1/moderations", b"{}", id="no-such-path"),
    ],
)
def test_every_answer_has_its_request_id_where_clients_look_for_one(gate, method, path, body):
    told = {"authorization": f"Bearer {gate.key}", "content-type": "application/json"}
    answer = gate.server.request(method, path, body, told)
    assert answer.headers["x-request-id"] == answer.headers["penstock-request-id"]
    own = gate.server.request(method, path, body, told | {"x-request-id": "mine"})
    assert own.headers["x-request-id"] == "mine"


_NOT_PASSED_ON = {"cookie", "openai-organization", "x-goog-api-key", "x-stainless-lang"}

# ---- Azure's own client -------------------------------------------------------------------------


@pytest.mark.parametrize("model", BEHIND)
def test_azures_own_client_is_answered_as_openais_is(gate, model):
    client = gate.clients.azure(gate.url, gate.key)
    asked = {"model": model, "messages": say("tokens=3")}
    assert client.chat.completions.create(**asked).choices[0].message.content == TEXT
    with client.chat.completions.create(stream=True, **asked) as stream:
        assert "".join(c.choices[0].delta.content or "" for c in stream if c.choices) == TEXT
    said = client.responses.create(model=model, input="hello fake?tokens=3 there")
    assert said.output_text == TEXT


def test_azures_own_client_asks_all_else_that_it_has_here(gate):
    client = gate.clients.azure(gate.url, gate.key)
    told = client.embeddings.create(model="embedder", input=["water", "wine"])
    assert len(told.data) == 2
    text = "hello fake?tokens=3 there"
    assert client.completions.create(model="assistant", prompt=text).choices[0].text == TEXT
    assert "assistant" in {model.id for model in client.models.list()}


def test_a_client_of_one_deployment_asks_that_whatever_it_calls_the_model(gate):
    client = gate.clients.azure(gate.url, gate.key, "assistant")
    create = client.chat.completions.create
    answer = create(model="gpt-4-of-old", messages=say("tokens=3"))
    assert answer.choices[0].message.content == TEXT
    assert gate.fake.received[-1].values["model"] == "gpt-4o-mini"


def test_azures_own_client_is_told_what_is_wrong(gate):
    with pytest.raises(openai.NotFoundError, match="no model has this name"):
        gate.clients.azure(gate.url, gate.key).chat.completions.create(
            model="nobody", messages=HELLO
        )
    with pytest.raises(openai.AuthenticationError):
        gate.clients.azure(gate.url, "sk-nobody").chat.completions.create(
            model="assistant", messages=HELLO
        )


def test_who_may_not_call_a_deployment_is_not_told_whether_there_is_one(gate):
    key = gate.new_key("one-alone", models=["claude"])
    client = gate.clients.azure(gate.url, key)
    said = []
    for model in ("assistant", "nobody"):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client.chat.completions.create(model=model, messages=HELLO)
        said.append(refused.value.message.replace(model, "it"))
    assert said[0] == said[1]


# ---- what reaches a provider ---------------------------------------------------------------------


def test_a_provider_gets_its_own_key_and_none_of_the_callers_headers(gate):
    for model in BEHIND:
        answer = gate.post(
            "/v1/chat/completions",
            {"model": model, "messages": HELLO, "user": "ann", "vendor_field": [1, 2]}
            if model != "claude"
            else {"model": model, "messages": HELLO},
            cookie="session=1",
            x_goog_api_key="sk-of-the-caller",
            openai_organization="org-x",
            x_stainless_lang="python",
        )
        assert answer.status == 200, answer.body
    shown = [
        [value for name in ("authorization", "x-api-key", "api-key") if (value := one.header(name))]
        for one in gate.fake.received
    ]
    assert shown == [[f"Bearer {SECRETS['openai']}"], [SECRETS["claude"]], [SECRETS["azure"]]]
    for one in gate.fake.received:
        assert _NOT_PASSED_ON & dict(one.headers).keys() == set()
        assert gate.key not in str(one.headers)
    assert gate.fake.received[0].values["vendor_field"] == [1, 2]


def test_what_an_upstream_says_of_itself_is_not_passed_on(gate):
    answer = gate.chat("assistant", "fake?headers=1")
    private = {"set-cookie", "alt-svc", "cf-ray", "openai-organization", "x-request-id"}
    assert answer.status == 200
    assert private & answer.headers.keys() <= {"x-request-id"}
    assert "req_fake" not in answer.headers.get("x-request-id", "")


def test_secrets_appear_in_no_answer_line_or_figure(gate):
    told = [gate.chat(model, "fake?status=401&leak=1").body for model in BEHIND]
    told += [gate.chat(model, "fake?status=400&leak=1").body for model in BEHIND]
    told.append(gate.server.admin("GET", "/metrics").body)
    told.append(gate.server.admin("GET", "/api/config").body)
    told.append(gate.server.log.encode())
    for secret in (*SECRETS.values(), gate.key):
        assert [text for text in told if secret.encode() in text] == []
