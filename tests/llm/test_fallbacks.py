"""A model that is asked in another's place, and what is told of both."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from gateway.access.principal import Principal
from gateway.monitor.arena import Arena
from gateway.monitor.upstreams import Generations, read_upstreams
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import Rig, chat, rig, whole
from tests.llm.limits.rig import Rig as Limits
from tests.llm.test_content_policy import FILTERED
from tests.llm.test_features import counters

pytestmark = pytest.mark.anyio

CHAINED = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    other: {base_url: "http://other.example/v1"}
  models:
    m:
      upstreams: [{provider: one, model: gpt-4o-mini}]
      retries: {attempts: 1, base_s: 0.001}
      fallbacks: [n]
      context_window_fallbacks: [n]
    n: {upstreams: [{provider: other, model: gpt-4o}], retries: {attempts: 0}}
"""
DOWN = {"error": {"message": "down"}}
TOO_LONG = {"error": {"message": "too long", "code": "context_length_exceeded"}}


@pytest.fixture
async def counted():
    """A model with a fallback, and where it is counted."""
    arena = Arena.create(1)
    return rig(CHAINED, counters=partial(counters, arena)), arena


def generations(arena: Arena) -> dict[tuple[str, str], Generations]:
    """What was counted, by model and upstream."""
    return {
        (one.called.model, one.called.upstream): one.generations[0]
        for one in read_upstreams(arena)
        if one.generations
    }


async def fails(one: Rig) -> Any:
    """A request that its model fails twice."""
    client = one.ask(chat())
    one.last.answers(DOWN, status=503)
    await one.sent(2)
    one.last.answers(DOWN, status=503)
    return client


async def test_a_version_that_falls_back_counts_its_failure_and_the_other_the_answer(counted):
    one, arena = counted
    client = await fails(one)
    one.last.answers()
    assert client.answers == [(200, whole())]
    assert client.told[b"penstock-attempts"] == b"3"
    assert (one.counting["m", 1].told, one.counting["m", 1].failed) == (["upstream_failed"], 1)
    assert one.counting["n", 1].told == ["ok"]
    given = generations(arena)
    gave_up, answered = given["m", "one/gpt-4o-mini"], given["n", "other/gpt-4o"]
    assert (gave_up.results["fell_back"], gave_up.requests) == (1, 1)
    assert (answered.results["ok"], answered.requests) == (1, 1)
    assert (gave_up.sums["retries"], gave_up.sums["fallbacks"]) == (1, 1)
    assert (answered.sums["retries"], answered.sums["fallbacks"]) == (0, 0)
    assert answered.time_ns["overhead"] == 0  # another's failures are none of the gateway's time


async def test_what_is_no_fault_of_the_version_is_none_because_another_is_asked(counted):
    one, arena = counted
    one.ask(chat())
    one.last.answers(TOO_LONG, status=400)
    one.last.answers()
    assert (one.counting["m", 1].told, one.counting["m", 1].failed) == (["upstream_refused"], 0)
    assert generations(arena)["m", "one/gpt-4o-mini"].results["fell_back"] == 1


async def test_where_both_fail_each_counts_its_own_failure(counted):
    one, arena = counted
    client = await fails(one)
    one.last.answers(DOWN, status=503)
    assert client.answers[0][0] == 502
    assert [one.counting[name, 1].told for name in "mn"] == [["upstream_failed"]] * 2
    assert generations(arena)["n", "other/gpt-4o"].results["failed"] == 1


async def test_a_version_that_nobody_can_be_asked_for_falls_back_and_is_counted_so(counted):
    one, arena = counted
    for _ in range(3):
        await fails(one)  # six failures: its upstream is left alone
        one.last.answers()
        one.upstreams.sent.clear()
    one.ask(chat())
    assert [sent.origin.host for sent in one.upstreams.sent] == ["other.example"]
    assert one.counting["m", 1].failed == 4
    assert generations(arena)["m", ""].results["fell_back"] == 1


INSIDE = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    other: {base_url: "http://other.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      upstreams: [{provider: one, model: gpt-4o-mini}]
      retries: {attempts: 0}
      fallbacks: [n]
      context_window_fallbacks: [long]
    alone: {upstreams: [{provider: one, model: gpt-4o-mini}], retries: {attempts: 0}}
    claude: {upstreams: [{provider: claude, model: claude-sonnet-4}], retries: {attempts: 0}}
    n: {upstreams: [{provider: other, model: gpt-4o}]}
    long: {upstreams: [{provider: other, model: gpt-4.1}]}
"""
SAYS_TOO_LONG = {
    "message": "This model's maximum context length is 4096 tokens",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}
RESPONSE_FAILED = {
    "type": "response.failed",
    "response": {"id": "r", "status": "failed", "error": SAYS_TOO_LONG},
}


@pytest.mark.parametrize(
    ("dialect", "body", "event"),
    [
        pytest.param(Dialect.CHAT, chat(stream=True), {"error": SAYS_TOO_LONG}, id="stream"),
        pytest.param(Dialect.CHAT, chat(), {"error": SAYS_TOO_LONG}, id="whole"),
        pytest.param(
            Dialect.RESPONSES,
            {"model": "m", "input": "hi", "stream": True},
            RESPONSE_FAILED,
            id="responses",
        ),
    ],
)
async def test_an_error_inside_a_200_is_told_apart_as_one_outside(dialect, body, event):
    one = rig(INSIDE)
    one.ask(body, dialect)
    if body.get("stream"):
        one.last.streams(event, end=False)
    else:
        one.last.answers(event)
    assert one.last.body["model"] == "gpt-4.1"


async def test_a_client_of_another_dialect_hears_of_geminis_list_that_its_prompt_is_too_long():
    one = rig(INSIDE)
    client = one.ask(chat("alone", max_tokens=5), Dialect.MESSAGES)
    said = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    one.last.answers([{"error": {"code": 400, "message": said}}], status=400)
    ((status, body),) = client.answers
    assert (status, body["error"]["message"]) == (400, f"prompt is too long: {said}")


async def test_a_prompt_that_is_too_long_within_a_200_does_not_shut_its_upstream():
    one = rig(INSIDE)
    for _ in range(6):
        client = one.ask(chat("alone", stream=True))
        one.last.streams({"error": SAYS_TOO_LONG}, end=False)
        assert client.answers == [(400, {"error": SAYS_TOO_LONG})]
    assert len(one.upstreams.sent) == 6
    assert one.counting["alone", 1].failed == 0


async def test_what_another_dialect_says_within_a_200_is_told_in_the_clients():
    one = rig(INSIDE)
    client = one.ask(chat("claude", stream=True, max_tokens=9))
    told = {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"}
    one.last.streams({"type": "error", "error": told}, end=False)
    [(status, answer)] = client.answers
    assert status == 400
    assert answer["error"]["code"] == "context_length_exceeded"
    assert answer["error"]["type"] == "invalid_request_error"


async def test_an_upstream_that_takes_no_more_says_so_within_a_200_and_is_well():
    one = rig(INSIDE)
    client = one.ask(chat("alone", stream=True))
    told = {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
    one.last.streams({"error": told}, end=False)
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
    assert one.counting["alone", 1].failed == 0


ODD = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    other: {base_url: "http://other.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      upstreams: [{provider: one, model: gpt-4o-mini}]
      retries: {attempts: 0}
      fallbacks: [FALLBACKS]
      content_policy_fallbacks: [unpriced]
    claude: {upstreams: [{provider: claude, model: claude-sonnet-4}]}
    strict:
      upstreams: [{provider: claude, model: claude-sonnet-4}]
      unsupported: refuse
    unpriced: {upstreams: [{provider: other, model: nobody-knows}]}
    dear: {upstreams: [{provider: other, model: gpt-4-32k}]}
    last: {upstreams: [{provider: other, model: gpt-4o-mini}]}
"""


def odd(*fallbacks: str, dollars: float | None = None) -> tuple[Rig, Principal | None]:
    """A model with these fallbacks, and a key that has so many dollars left."""
    document = ODD.replace("FALLBACKS", ", ".join(fallbacks))
    if dollars is None:
        return rig(document), None
    limits = Limits(1)
    limits.limit(0, ceilings={2: int(dollars * 10**12)})
    return rig(document, limits=limits.workers[0]), Principal(7, "k", "client", rows=(0,))


def asked(one: Rig) -> list[str]:
    return [sent.body["model"] for sent in one.upstreams.sent]


async def test_a_fallback_that_does_not_speak_what_was_asked_is_passed_over():
    one, _ = odd("claude", "last")
    one.ask({"model": "m", "prompt": "hi"}, Dialect.COMPLETIONS)
    one.last.answers(DOWN, status=503)
    assert asked(one) == ["gpt-4o-mini", "gpt-4o-mini"]
    assert one.last.origin.host == "other.example"


@pytest.mark.parametrize("fallback", ["unpriced", "dear"])
async def test_a_fallback_that_a_budget_does_not_allow_is_passed_over(fallback):
    one, key = odd(fallback, "last", dollars=0.001)
    client = one.ask(chat(max_tokens=100), key=key)
    one.last.answers(DOWN, status=503)
    one.last.answers()
    assert client.answers == [(200, whole())]
    assert asked(one) == ["gpt-4o-mini", "gpt-4o-mini"]
    assert client.told[b"penstock-model"] == b"last"


async def test_a_fallback_that_cannot_say_what_was_asked_is_passed_over():
    one, _ = odd("strict", "last")
    client = one.ask(chat(logit_bias={"1": 1}, max_tokens=9))
    one.last.answers(DOWN, status=503)
    one.last.answers()
    assert client.answers == [(200, whole())]
    assert client.told[b"penstock-attempts"] == b"2"


async def test_where_no_fallback_can_say_what_was_asked_the_failure_itself_is_told():
    one, _ = odd("strict")
    client = one.ask(chat(logit_bias={"1": 1}, max_tokens=9))
    one.last.answers(DOWN, status=503)
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (502, "upstream_failed")
    assert client.told[b"penstock-model"] == b"m"
    assert [one.counting[name, 1].told for name in ("m", "strict")] == [["upstream_failed"], []]


MIXED = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      upstreams:
        - {provider: PROVIDERS, model: a, priority: 1}
        - {provider: PROVIDERS, model: b, priority: 2, name: second}
      unsupported: refuse
      retries: {attempts: 1, base_s: 0.001}
      breaker: {enabled: false}
"""


def mixed(first: str, second: str) -> Rig:
    """A model of these two providers' upstreams, of which Anthropic's cannot say all."""
    return rig(MIXED.replace("PROVIDERS", first, 1).replace("PROVIDERS", second, 1))


async def test_an_upstream_that_cannot_say_what_was_asked_leaves_it_to_one_that_can():
    one = mixed("claude", "one")
    client = one.ask(chat(logit_bias={"1": 1}))
    one.last.answers()
    assert client.answers == [(200, whole())]
    assert asked(one) == ["b"]
    assert b"penstock-attempts" not in client.told


async def test_an_upstream_that_cannot_say_what_was_asked_takes_no_try_of_one_that_failed():
    one = mixed("one", "claude")
    client = one.ask(chat(logit_bias={"1": 1}))
    one.last.answers(DOWN, status=503)
    assert client.answers == []  # it is asked again after a pause
    await one.sent(2)
    one.last.answers(DOWN, status=503)
    assert asked(one) == ["a", "a"]
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (502, "upstream_failed")


async def test_what_no_upstream_can_say_is_refused_and_says_why():
    one = mixed("claude", "claude")
    one.upstreams.broken = True  # whoever is asked all the same
    client = one.ask(chat(logit_bias={"1": 1}))
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (400, "invalid_parameter")
    assert "logit_bias" in answer["error"]["message"]


async def test_where_no_fallback_can_be_asked_the_failure_itself_is_told():
    one, key = odd("unpriced", "dear", dollars=0.001)
    client = one.ask(chat(max_tokens=100), key=key)
    one.last.answers(DOWN, status=503)
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (502, "upstream_failed")
    assert client.told[b"penstock-model"] == b"m"
    assert client.told[b"penstock-upstream"] == b"one/gpt-4o-mini"
    assert [one.counting[name, 1].told for name in ("m", "unpriced", "dear")] == [
        ["upstream_failed"],
        [],
        [],
    ]


async def test_a_model_that_fails_in_a_chain_tells_of_itself_and_that_enough_was_tried():
    one, _ = odd("last", "claude")
    client = one.ask({"model": "m", "prompt": "hi"}, Dialect.COMPLETIONS)
    one.last.answers(DOWN, status=503)
    one.last.answers({"error": {"message": "no key"}}, status=401)
    assert client.answers[0][0] == 502
    assert client.told[b"x-should-retry"] == b"false"
    assert client.told[b"penstock-model"] == b"last"
    assert client.told[b"penstock-upstream"] == b"other/gpt-4o-mini"


async def test_a_filtered_answer_is_an_answer_where_no_other_model_can_be_asked():
    one, key = odd("last", dollars=0.001)
    client = one.ask(chat(max_tokens=100), key=key)
    one.last.answers(FILTERED)
    assert client.answers == [(200, FILTERED)]
    assert client.told[b"penstock-cost-usd"] == b"0.0000045"
    assert [happened.result for happened in one.over] == ["ok"]
    assert one.counting["m", 1].told == ["ok"]


PATIENT = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models:
    m:
      upstreams: [{provider: one, model: gpt-4o-mini}]
      retries: {base_s: 30, max_s: 30, within_s: WITHIN}
"""


@pytest.mark.parametrize(
    ("within_s", "headers", "waits"),
    [
        pytest.param(600, [], True, id="in-time"),
        pytest.param(10, [], False, id="past-what-the-document-says"),
        pytest.param(600, [(b"x-stainless-read-timeout", b"10.5")], False, id="python-clients"),
        pytest.param(600, [(b"x-stainless-timeout", b"10")], False, id="javascript-clients"),
        pytest.param(600, [(b"x-stainless-timeout", b"0")], True, id="less-than-a-second"),
        pytest.param(600, [(b"x-stainless-timeout", b"nan")], True, id="no-number"),
        pytest.param(10, [(b"x-stainless-timeout", b"99")], False, id="longer-than-is-allowed"),
    ],
)
async def test_nobody_is_asked_again_once_it_is_too_late(within_s, headers, waits):
    one = rig(PATIENT.replace("WITHIN", str(within_s)))
    client = one.ask(chat(), headers=headers)
    one.last.answers(DOWN, status=503)  # the pause before the next try is 15 s at least
    assert (client.answers == []) == waits
    client.leave()


async def test_a_chain_ends_once_it_is_too_late():
    one = rig(CHAINED.replace("base_s: 0.001", "within_s: 0.000001"))
    client = one.ask(chat())
    one.last.answers(DOWN, status=503)
    assert len(one.upstreams.sent) == 1
    assert client.answers[0][0] == 502


async def test_a_fallback_whose_version_does_not_serve_is_passed_over():
    document = """
llm:
  providers: {p: {base_url: "http://p.example/v1"}}
  models:
    m: {upstreams: [{provider: p, model: m}], fallbacks: [gone, spare], retries: {attempts: 0}}
    gone: {upstreams: [{provider: p, model: gone}]}
    spare: {upstreams: [{provider: p, model: spare}]}
"""
    one = rig(document)
    serving = {
        name: (1, dict(named._versions), None) for name, named in one.llm.names.models.items()
    }
    one.llm.follow(serving | {"gone": (2, serving["gone"][1], None)})
    client = one.ask(chat())
    one.last.answers({"error": {"message": "down"}}, status=503)
    assert one.last.body["model"] == "spare"
    one.last.answers()
    assert client.answers == [(200, whole())]
