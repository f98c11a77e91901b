"""What becomes of a request to a language model, whatever its upstreams do."""

from __future__ import annotations

import json

import pytest

from gateway.errors import InvalidRequest, UpstreamFailed, UpstreamTimedOut
from gateway.plan import Shadow, Split, Variant
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import USAGE, Rig, chat, chunk, rig, whole

pytestmark = pytest.mark.anyio

TWO = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    other: {base_url: "http://other.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      aliases: [gpt-4o]
      upstreams:
        - {provider: one, model: gpt-4o-mini}
        - {provider: other, model: gpt-4o-mini, priority: 2}
      fallbacks: [n]
      retries: {attempts: 1}
    n: {upstreams: [{provider: claude, model: claude-sonnet-4}], retries: {attempts: 0}}
"""
VERSIONS = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models:
    m:
      versions:
        1: {upstreams: [{provider: one, model: first}]}
        2: {upstreams: [{provider: one, model: second}]}
"""


@pytest.fixture
async def two() -> Rig:
    return rig(TWO)


async def test_a_whole_answer_comes_as_the_upstream_gave_it_and_tells_what_it_cost(two):
    client = two.ask(chat("gpt-4o"))
    two.last.answers()
    assert client.answers == [(200, whole())]
    assert client.told[b"penstock-model"] == b"m"
    assert client.told[b"penstock-upstream"] == b"one/gpt-4o-mini"
    # 10 tokens read at $0.15 a million, 5 written at $0.60
    assert client.told[b"penstock-cost-usd"] == b"0.0000045"
    assert two.counting["m", 1].told == ["ok"]
    assert [one.result for one in two.over] == ["ok"]


async def test_an_upstream_gets_its_own_name_of_the_model_and_nothing_of_the_callers_headers(two):
    client = two.ask(chat("gpt-4o", top_k=7))
    assert two.last.body == chat("gpt-4o-mini", top_k=7)
    assert client.model == ("m", "1")


async def test_a_failure_has_another_upstream_asked_and_the_client_sees_none_of_it(two):
    client = two.ask(chat())
    two.last.answers({"error": {"message": "overloaded"}}, status=503)
    assert len(two.upstreams.sent) == 2
    assert two.last.origin.host == "other.example"
    two.last.answers()
    assert client.answers == [(200, whole())]
    assert client.told[b"penstock-attempts"] == b"2"


async def test_once_retries_are_spent_another_model_is_asked_in_its_own_dialect(two):
    client = two.ask(chat(max_tokens=9))
    for _ in range(2):
        two.last.sink.on_failure(UpstreamTimedOut("slow"), sent=True, answered=False)
    assert two.last.origin.host == "claude.example"
    assert two.last.body["max_tokens"] == 9
    two.last.answers(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4",
            "content": [{"type": "text", "text": "hello"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 10, "output_tokens": 5},
        }
    )
    [(status, answer)] = client.answers
    assert status == 200
    assert answer["choices"][0]["message"]["content"] == "hello"
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (10, 5)
    assert client.told[b"penstock-model"] == b"n"
    assert two.over[0].fallbacks == 1


async def test_the_last_failure_is_told_with_the_advice_not_to_repeat_what_was_repeated(two):
    client = two.ask(chat())
    for _ in range(3):
        two.last.sink.on_failure(UpstreamFailed("closed"), sent=True, answered=False)
    [(status, answer)] = client.answers
    assert (status, answer["error"]["code"]) == (502, "upstream_failed")
    assert client.told[b"x-should-retry"] == b"false"


async def test_what_is_wrong_with_a_request_is_told_in_the_upstreams_words_and_not_repeated(two):
    client = two.ask(chat())
    fault = {"error": {"message": "no such tool", "type": "invalid_request_error", "code": None}}
    two.last.answers(fault, status=400)
    assert client.answers == [(400, fault)]
    assert len(two.upstreams.sent) == 1


async def test_that_the_gateways_key_is_refused_is_not_told_as_if_it_were_the_clients(two):
    client = two.ask(chat())
    for _ in range(3):
        two.last.answers({"error": {"message": "Incorrect API key: sk-abc"}}, status=401)
    [(status, answer)] = client.answers
    assert status == 502
    assert "sk-abc" not in json.dumps(answer)


async def test_a_stream_goes_on_from_its_first_content_without_the_usage_nobody_asked_for(two):
    client = two.ask(chat(stream=True))
    assert two.last.body["stream_options"] == {"include_usage": True}
    two.last.streams(chunk({"role": "assistant", "content": ""}, usage=None), end=False)
    assert client.heads == []  # nothing has begun
    two.last.sends(
        chunk({"content": "hel"}, usage=None),
        chunk({"content": "lo"}, usage=None),
        chunk({}, "stop", usage=None),
        chunk(usage=USAGE),
        b"[DONE]",
    )
    two.last.sink.on_end()
    told = client.streamed.data
    assert b"hel" in told
    assert b"usage" not in told
    assert told.endswith(b"data: [DONE]\n\n")
    assert client.streamed.ended
    assert two.over[0].usage.output == 5
    assert two.over[0].reading.texts == ("hello",)


async def test_a_stream_that_begins_with_an_error_is_answered_by_another_upstream(two):
    client = two.ask(chat(stream=True))
    two.last.streams({"error": {"message": "overloaded", "code": "overloaded"}}, end=False)
    assert two.upstreams.sent[0].cancelled
    two.last.streams(chunk({"content": "x"}), chunk({}, "stop"), b"[DONE]")
    assert b'"x"' in client.streamed.data
    assert two.over[0].result == "ok"


async def test_a_stream_that_breaks_ends_with_an_error_event_and_is_paid_as_far_as_it_came(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "four"}), end=False)
    two.last.sink.on_failure(UpstreamFailed("cut"), sent=True, answered=True)
    last = json.loads(client.streamed.data.split(b"data: ")[-1])
    assert last["error"]["code"] == "upstream_failed"
    assert client.streamed.ended
    assert len(two.upstreams.sent) == 1
    [happened] = two.over
    assert (happened.result, happened.estimated, happened.usage.output) == ("broken", True, 1)


async def test_a_client_that_leaves_has_its_upstream_cancelled_and_counts_as_having_left(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "some"}), end=False)
    client.leave()
    assert two.last.cancelled
    assert two.counting["m", 1].told == ["left"]
    assert [one.result for one in two.over] == ["left"]


async def test_a_client_that_reads_slowly_holds_its_upstream_back(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "a"}), end=False)
    client.streamed.slow = True
    two.last.sends(chunk({"content": "b"}))
    assert two.last.paused
    client.streamed.waiting()
    assert not two.last.paused


async def test_what_goes_wrong_behind_an_answer_is_no_second_answer_and_lets_a_version_go(two):
    two.counting["m", 1].broken = True
    client = two.ask(chat())
    two.last.answers()
    assert client.answers == [(200, whole())]
    assert [one.result for one in two.over] == ["ok"]
    left = []
    next(two.llm.names.find("m").deployments).drain(lambda: left.append("m"))
    assert left == ["m"]


async def test_a_client_that_leaves_between_its_answer_and_the_end_of_the_turn_pays_for_it():
    put_off = []
    two = rig(TWO, later=lambda *call: put_off.append(call))
    client = two.ask(chat())
    two.last.answers()
    assert client.answers == []
    client.leave()
    for call, *arguments in put_off:  # to which the first adds another
        call(*arguments)
    (happened,) = two.over
    assert (happened.result, happened.cost) == ("ok", 4_500_000)
    assert two.counting["m", 1].told == ["ok"]
    assert next(two.llm.deployments).in_flight == 0


async def test_an_answer_that_is_no_json_is_asked_of_another(two):
    client = two.ask(chat())
    two.last.sink.on_head(200, [(b"content-type", b"text/html")])
    two.last.sink.on_data(b"<html>")
    two.last.sink.on_end()
    two.last.answers()
    assert client.answers == [(200, whole())]


async def test_what_no_upstream_speaks_is_refused(two):
    client = two.ask({"model": "n", "input": "x"}, Dialect.EMBEDDINGS)
    assert client.answers[0][0] == 501


async def test_an_unknown_model_is_refused_before_anybody_is_asked(two):
    with pytest.raises(InvalidRequest, match="no model has this name"):
        two.ask(chat("nobody"))
    assert two.upstreams.sent == []


async def test_variants_are_divided_as_those_of_every_model():
    split = Split((Variant("old", 1, 1.0), Variant("new", 2, 1.0)), override_header="x-want")
    one = rig(VERSIONS, {"m": split})
    asked = []
    for _ in range(4):
        client = one.ask(chat())
        asked.append(one.last.body["model"])
        one.last.answers()
        assert client.told[b"penstock-variant"] in (b"old", b"new")
    assert sorted(asked) == ["first", "first", "second", "second"]


async def test_a_shadow_is_asked_after_the_answer_and_counts_for_nobody():
    split = Split((Variant("main", 1, 1.0),), shadows=(Shadow(2, 1.0),))
    one = rig(VERSIONS, {"m": split})
    client = one.ask(chat())
    one.last.answers()
    assert len(one.upstreams.sent) == 1
    await one.turn()
    assert one.last.body["model"] == "second"
    one.last.answers(whole("other"))
    assert client.answers == [(200, whole())]
    assert one.counting["m", 2].told == []
    assert [(it.copy, it.result) for it in one.over] == [(False, "ok"), (True, "ok")]


async def test_a_shadow_that_fails_fails_nobody():
    split = Split((Variant("main", 1, 1.0),), shadows=(Shadow(2, 1.0),))
    one = rig(VERSIONS, {"m": split})
    client = one.ask(chat())
    one.last.answers()
    await one.turn()
    one.last.answers({"error": {"message": "bad"}}, status=400)
    assert client.answers == [(200, whole())]
    assert [it.result for it in one.over] == ["ok", "failed"]
