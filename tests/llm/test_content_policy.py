"""An answer that a provider's content policy cuts off within a 200 has another model asked."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gateway.access.principal import Principal
from gateway.errors import UpstreamFailed
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import read_upstreams
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import USAGE, chat, chunk, rig, whole
from tests.llm.limits.rig import Rig as Limits
from tests.llm.test_features import Watching, counters

pytestmark = pytest.mark.anyio

CHAINED = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      upstreams: [{provider: one, model: gpt-4o-mini}]
      fallbacks: [n]
      content_policy_fallbacks: [n]
    n:
      upstreams: [{provider: one, model: gpt-4.1-mini}]
      retries: {attempts: 0}
      content_policy_fallbacks: [m]
    unchained: {upstreams: [{provider: one, model: gpt-4o-mini}], fallbacks: [n]}
    claude:
      upstreams: [{provider: claude, model: claude-sonnet-4}]
      content_policy_fallbacks: [n]
"""
FILTERED = whole(
    "I was about to",
    choices=[
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I was about to"},
            "finish_reason": "content_filter",
        }
    ],
)
REFUSED = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4",
    "content": [],
    "stop_reason": "refusal",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
ROLE = chunk({"role": "assistant", "content": ""})
TOLD = {"id": "c1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE}
CUT_OFF = (ROLE, chunk({}, "content_filter"), TOLD, b"[DONE]")
HELLO = (ROLE, chunk({"content": "hello"}), chunk({}, "stop"), TOLD, b"[DONE]")


@pytest.fixture
async def chained():
    return rig(CHAINED)


def models(one: Any) -> list[str]:
    return [sent.body["model"] for sent in one.upstreams.sent]


async def test_an_answer_that_is_filtered_is_given_by_the_next_model_of_the_chain(chained):
    client = chained.ask(chat())
    chained.last.answers(FILTERED)
    assert client.answers == []
    chained.last.answers()
    assert client.answers == [(200, whole())]
    assert models(chained) == ["gpt-4o-mini", "gpt-4.1-mini"]
    assert client.told[b"penstock-model"] == b"n"
    assert client.told[b"penstock-attempts"] == b"2"
    # 10 tokens read and 5 written, at $0.15 and $0.60 a million, then at $0.40 and $1.60
    assert client.told[b"penstock-cost-usd"] == b"0.0000165"


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.MESSAGES])
async def test_a_refusal_of_anthropics_is_one_too_in_whichever_dialect_it_was_asked(
    chained, dialect
):
    client = chained.ask(chat("claude", max_tokens=9), dialect)
    chained.last.answers(REFUSED)
    chained.last.answers()
    assert [status for status, _ in client.answers] == [200]
    assert client.told[b"penstock-model"] == b"n"


async def test_a_stream_that_is_filtered_before_it_says_anything_is_another_models(chained):
    client = chained.ask(chat(stream=True))
    chained.last.streams(*CUT_OFF)
    assert not client.heads
    chained.last.streams(*HELLO)
    assert client.streamed.ended
    assert b'"content":"hello"' in client.streamed.data.replace(b": ", b":")
    assert b"content_filter" not in client.streamed.data
    assert len(client.heads) == 1
    assert client.told[b"penstock-model"] == b"n"


async def test_a_responses_stream_that_is_filtered_at_once_is_another_models(chained):
    client = chained.ask({"model": "m", "input": "hi", "stream": True}, Dialect.RESPONSES)
    response = {"id": "r", "model": "gpt-4o-mini", "status": "incomplete", "output": []}
    why = {"incomplete_details": {"reason": "content_filter"}}
    chained.last.streams(
        {"type": "response.created", "response": {"id": "r", "model": "gpt-4o-mini"}},
        {"type": "response.incomplete", "response": response | why},
    )
    assert client.streamed is None
    assert models(chained) == ["gpt-4o-mini", "gpt-4.1-mini"]


async def test_a_stream_that_has_said_something_goes_on_as_it_is(chained):
    client = chained.ask(chat(stream=True))
    chained.last.streams(ROLE, chunk({"content": "hel"}), *CUT_OFF[1:])
    assert len(chained.upstreams.sent) == 1
    assert client.streamed.ended
    assert b"content_filter" in client.streamed.data


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(chat("unchained"), id="no-chain-for-it"),
        pytest.param(chat(n=2), id="several-choices"),
    ],
)
async def test_what_asks_for_no_other_answer_gets_the_filtered_one(chained, body):
    client = chained.ask(body)
    chained.last.answers(FILTERED)
    assert client.answers == [(200, FILTERED)]
    assert len(chained.upstreams.sent) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_no_model_is_asked_twice_and_the_last_ones_filtered_answer_is_given(chained, stream):
    client = chained.ask(chat(stream=stream))
    for _ in range(2):
        if stream:
            chained.last.streams(*CUT_OFF)
        else:
            chained.last.answers(FILTERED)
    assert models(chained) == ["gpt-4o-mini", "gpt-4.1-mini"]
    assert client.told[b"penstock-model"] == b"n"
    if stream:
        assert client.streamed.ended
        assert client.streamed.data.count(b"content_filter") == 1
    else:
        assert client.answers == [(200, FILTERED)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_where_the_other_model_fails_the_filtered_answer_is_given_after_all(chained, stream):
    client = chained.ask(chat(stream=stream))
    if stream:
        chained.last.streams(*CUT_OFF)
    else:
        chained.last.answers(FILTERED)
    chained.last.sink.on_failure(UpstreamFailed("closed"), sent=True, answered=False)
    assert client.told[b"penstock-model"] == b"m"
    if stream:
        assert client.streamed.ended
        assert b"content_filter" in client.streamed.data
        assert b"[DONE]" in client.streamed.data
    else:
        assert client.answers == [(200, FILTERED)]
        assert client.told[b"penstock-cost-usd"] == b"0.0000045"


async def test_a_key_that_may_not_call_the_other_model_gets_the_filtered_answer(chained):
    client = chained.ask(chat(), key=Principal(7, "k", "client", frozenset({"m"})))
    chained.last.answers(FILTERED)
    assert client.answers == [(200, FILTERED)]


async def test_both_answers_are_paid_and_nothing_stays_reserved():
    limits = Limits(1)
    limits.limit(0, ceilings={2: 10**12}, parallel=1)
    one = rig(CHAINED, limits=limits.workers[0])
    client = one.ask(chat(), key=Principal(7, "k", "client", rows=(0,)))
    one.last.answers(FILTERED)
    one.last.answers()
    assert [status for status, _ in client.answers] == [200]
    assert limits.spent(0)[:2] == [16_500_000, 30]
    assert limits.held(0) == [0, 0, 0]


async def test_a_budget_that_the_first_answer_ends_leaves_its_client_that_answer():
    limits = Limits(1)
    limits.limit(0, ceilings={2: 20_000_000})  # pico-dollars: for one at most, not for the other
    one = rig(CHAINED, limits=limits.workers[0])
    client = one.ask(chat(max_tokens=1), key=Principal(7, "k", "client", rows=(0,)))
    one.last.answers(FILTERED)
    assert client.answers == [(200, FILTERED)]
    assert limits.spent(0)[:2] == [4_500_000, 15]
    assert limits.held(0) == [0, 0, 0]


async def test_whoever_leaves_while_the_other_is_asked_has_paid_for_the_first(chained):
    client = chained.ask(chat())
    chained.last.answers(FILTERED)
    client.leave()
    assert chained.last.cancelled
    assert client.answers == []
    assert [one.result for one in chained.over] == ["left"]


async def test_a_filtered_answer_is_counted_and_watched_with_who_gave_it():
    arena = Arena.create(1)
    one = rig(CHAINED, counters=partial(counters, arena))
    watching: Any = {found.name: Watching() for found in one.llm.deployments}
    for found in one.llm.deployments:
        found.watch(watching[found.name])
    one.ask(chat())
    one.last.answers(FILTERED)
    one.last.answers()
    one.llm.flush()
    assert [row["finish"] for row in watching["m"].counted] == [b"refused"]
    assert watching["m"].rows == []
    assert [row["finish"] for row in watching["n"].rows] == [b"stop"]
    given = {
        upstream.called.model: upstream.generations[0]
        for upstream in read_upstreams(arena)
        if upstream.generations
    }
    assert given["m"].results["filtered"] == 1
    assert given["n"].results["ok"] == 1
    assert [given[name].sums["output"] for name in "mn"] == [5, 5]
    assert [given[name].sums["fallbacks"] for name in "mn"] == [1, 0]
    assert (one.counting["m", 1].told, one.counting["m", 1].failed) == (["upstream_refused"], 0)
