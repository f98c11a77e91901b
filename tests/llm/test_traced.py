"""What traces tell of requests to language models, and what goes on to upstreams."""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any

import pytest

from gateway.llm.traced import MAX_STOP_CHARS, generations, parameters
from gateway.wire.trace import TRACEPARENT, Trace
from tests.llm.journey_rig import chat, chunk, rig

pytestmark = pytest.mark.anyio

SECRET = "what nobody else may read"
TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
DOCUMENT = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models: {m: {upstreams: [{provider: one, model: gpt-4o-mini}]}}
"""
TRIED = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    other: {base_url: "http://other.example/v1"}
  models:
    m:
      upstreams:
        - {provider: one, model: first}
        - {provider: other, model: second, priority: 2}
      retries: {attempts: 1}
      fallbacks: [n]
    n: {upstreams: [{provider: one, model: third}], retries: {attempts: 0}}
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
    (told,) = generations(client.generation, perf_counter())
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
    (told,) = generations(client.generation, perf_counter())
    assert told["tokens"] is None


def traced(one):
    """Requests that are part of no trace begin one."""
    one.llm.trace(lambda: Trace(TRACE, b"00f067aa0ba902b7", sampled=True))
    return one


def told_to(sent):
    """`traceparent` as an upstream got it: trace, span and flags."""
    found = re.search(rb"traceparent: 00-(\w{32})-(\w{16})-(\w\w)\r\n", sent.head)
    assert found is not None
    return found.groups()


async def test_the_trace_of_a_request_goes_on_to_its_upstream(one):
    client = one.ask(chat(), headers=[(TRACEPARENT, b"00-%b-00f067aa0ba902b7-01" % TRACE)])
    trace, span, flags = told_to(one.last)
    assert (trace, flags) == (TRACE, b"01")
    assert span not in (b"00f067aa0ba902b7", client.head.trace.span_id)
    one.last.answers()
    (told,) = generations(client.generation, perf_counter())
    assert told["span_id"] == span.decode()


async def test_where_nobody_tells_of_traces_none_begins(one):
    one.ask(chat())
    assert b"traceparent" not in one.last.head


async def test_a_trace_that_begins_here_goes_on_to_the_upstream(one):
    client = traced(one).ask(chat())
    assert told_to(one.last)[0] == client.generation.trace.trace_id == TRACE


async def test_each_try_is_told_with_what_was_wrong_with_it():
    one = traced(rig(TRIED))
    client = one.ask(chat(temperature=0.5))
    asked = []
    for status in (429, 503):
        asked.append(told_to(one.last)[1])
        one.last.answers({"error": {"message": "no"}}, status)
    asked.append(told_to(one.last)[1])
    one.last.answers()
    tries = generations(client.generation, perf_counter())
    assert [told["result"] for told in tries] == ["limited", "failed", "ok"]
    assert [told["upstream"] for told in tries] == ["one/first", "other/second", "one/third"]
    assert [told["span_id"].encode() for told in tries] == asked
    assert len(set(asked)) == 3
    assert [told["attempts"] for told in tries] == [1, 2, 3]
    assert [told["parameters"] for told in tries] == [{"temperature": 0.5}] * 3
    assert [told["tokens"] is None for told in tries] == [True, True, False]
    began = [told["ages_ns"][0] or 0 for told in tries]
    assert began == sorted(began, reverse=True)


async def test_of_a_request_that_nobody_could_answer_each_try_is_told_once():
    one = traced(rig(TRIED))
    client = one.ask(chat())
    for _ in range(3):
        one.last.answers({"error": {"message": "no"}}, 503)
    assert client.answers[0][0] == 502
    tries = generations(client.generation, perf_counter())
    assert [told["result"] for told in tries] == ["failed"] * 3


async def test_parameters_are_told_as_a_request_says_them_and_nothing_else_of_it(one):
    said: dict[str, Any] = {
        "temperature": 0.2,
        "top_p": 1,
        "seed": 7,
        "n": 2,
        "stop": ["a", "b" * 500],
    }
    client = traced(one).ask(chat(**said, user=SECRET))
    one.last.answers()
    (told,) = generations(client.generation, perf_counter())
    assert told["parameters"] == {
        "temperature": 0.2,
        "top_p": 1,
        "seed": 7,
        "choice.count": 2,
        "stop_sequences": ["a", "b" * MAX_STOP_CHARS],
    }


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_which_api_answered_and_on_which_tier_is_told(one, stream):
    client = traced(one).ask(chat(stream=stream, service_tier="flex"))
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    if stream:
        tiered = chunk({}, "stop", usage=usage, service_tier="default")
        one.last.streams(chunk({"content": "Hi"}), tiered, b"[DONE]")
    else:
        choices = [{"message": {"content": "Hi"}, "finish_reason": "stop"}]
        one.last.answers({"choices": choices, "usage": usage, "service_tier": "default"})
    (told,) = generations(client.generation, perf_counter())
    assert (told["api"], told["service_tier"]) == ("chat_completions", "flex")
    assert told["served_tier"] == "default"
    assert told["parameters"] == {}


async def test_a_tier_that_was_not_passed_on_is_not_told():
    document = DOCUMENT.replace('"http://one.example/v1"', '"http://one.example", kind: anthropic')
    client = (one := traced(rig(document))).ask(chat(service_tier="flex"))
    usage = {"input_tokens": 10, "output_tokens": 5, "service_tier": "standard"}
    content = [{"type": "text", "text": "Hi"}]
    one.last.answers({"type": "message", "role": "assistant", "content": content, "usage": usage})
    (told,) = generations(client.generation, perf_counter())
    assert (told["api"], told["service_tier"], told["served_tier"]) == ("", "", "standard")


def test_what_is_no_number_is_no_parameter():
    odd = {"temperature": "hot", "top_p": True, "top_k": [1], "seed": 2**70, "stop": 7}
    odd["service_tier"] = 1
    assert parameters(odd) == {}
    assert parameters({"stop_sequences": ["x", 1]}) == {"stop_sequences": ["x"]}
