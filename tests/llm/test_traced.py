"""What traces tell of requests to language models, and what goes on to upstreams."""

from __future__ import annotations

from time import perf_counter

import pytest

from gateway.llm.traced import generation
from gateway.wire.trace import TRACEPARENT
from tests.llm.journey_rig import chat, chunk, rig

pytestmark = pytest.mark.anyio

SECRET = "what nobody else may read"
TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
DOCUMENT = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models: {m: {upstreams: [{provider: one, model: gpt-4o-mini}]}}
"""


@pytest.fixture
async def one():
    return rig(DOCUMENT)


async def test_a_request_tells_who_answered_how_much_and_when_and_nothing_of_what(one):
    client = one.ask(chat(stream=True, messages=[{"role": "user", "content": SECRET}]))
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    one.last.streams(
        chunk({"content": SECRET}, model="gpt-4o-mini-x", system_fingerprint="fp_1"),
        chunk({}, "stop"),
        chunk(usage=usage),
        b"[DONE]",
    )
    told = generation(client.generation, perf_counter())
    assert told is not None
    assert (told["operation"], told["system"]) == ("chat", "openai")
    assert (told["upstream"], told["address"]) == ("one/gpt-4o-mini", "one.example")
    assert (told["response_model"], told["fingerprint"]) == ("gpt-4o-mini-x", "fp_1")
    assert (told["finish"], told["result"], told["attempts"]) == ("stop", "ok", 1)
    assert told["tokens"] is not None
    assert (told["tokens"]["input"], told["tokens"]["output"]) == (10, 5)
    asked, content, over = told["ages_ns"]
    assert asked is not None
    assert content is not None
    assert over is not None
    assert asked >= content >= over >= 0
    assert SECRET not in str(told)


async def test_tokens_that_are_estimated_are_not_told_as_known(one):
    client = one.ask(chat())
    one.last.answers({"choices": [], "model": "gpt-4o-mini"})
    told = generation(client.generation, perf_counter())
    assert told is not None
    assert told["tokens"] is None


async def test_the_trace_of_a_request_goes_on_to_its_upstream(one):
    client = one.ask(chat(), headers=[(TRACEPARENT, b"00-%b-00f067aa0ba902b7-01" % TRACE)])
    (line,) = [line for line in one.last.head.split(b"\r\n") if line.startswith(b"traceparent")]
    assert line == b"traceparent: " + client.head.trace.header
    assert TRACE in line
    one.ask(chat())
    assert b"traceparent" not in one.last.head
