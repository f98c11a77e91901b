"""What becomes of a request to a language model, whatever its upstreams do."""

from __future__ import annotations

import gc
import json
import weakref

import pytest

from gateway.access.principal import Principal
from gateway.errors import InvalidRequest, UpstreamFailed, UpstreamsExhausted, UpstreamTimedOut
from gateway.plan import Shadow, Split, Variant
from gateway.wire.llm.errors import go_duration
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import JSON, USAGE, Rig, chat, chunk, rig, whole
from tests.llm.limits.rig import Rig as Limits

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
LONE = """
llm:
  providers: {one: {base_url: "http://one.example/v1"}}
  models:
    m: {upstreams: [{provider: one, model: first, max_parallel: 5}], retries: {attempts: 0}}
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


def whys(r: Rig) -> list[str]:
    """What the last failure of each upstream of `m` was, as it is shown."""
    deployment = next(r.llm.names.find("m").deployments)
    return [one.why for one in deployment.pool.health(0.0)]


async def test_why_a_connection_failed_is_known_of_the_upstream_without_its_address(two):
    two.ask(chat())
    origin = two.last.origin
    error = UpstreamFailed(f"{origin}: Connection refused")
    two.last.sink.on_failure(error, sent=False, answered=False)
    assert whys(two) == ["upstream_failed: Connection refused", ""]


async def test_what_came_and_is_no_answer_is_told_by_its_code_alone(two):
    two.ask(chat())
    two.last.answers("secret")
    assert whys(two) == ["upstream_failed", ""]


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


PING = b": OPENROUTER PROCESSING\n\n"


async def test_comments_are_no_part_of_an_answer_however_many_come_before_it(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"role": "assistant", "content": ""}), end=False)
    for _ in range(1000):
        two.last.sink.on_data(PING)
    assert client.heads == []
    two.last.sends({"error": {"message": "down", "code": 502}})
    two.last.streams(chunk({"content": "x"}), chunk({}, "stop"), b"[DONE]")
    assert client.streamed.ended
    assert PING not in client.streamed.data
    assert b"error" not in client.streamed.data


async def test_what_is_held_of_a_stream_before_it_says_anything_is_bounded(two):
    client = two.ask(chat(stream=True))
    two.last.streams(*[chunk({"role": "assistant"}, odd="x" * 1024)] * 200, end=False)
    assert client.heads == []
    two.last.sends(*[chunk({"role": "assistant"}, odd="x" * 1024)] * 100)
    assert client.streamed is not None


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


async def test_what_came_before_garbage_is_passed_on_however_they_came_together(two):
    client = two.ask(chat(stream=True, max_tokens=9), Dialect.MESSAGES)
    two.last.streams(chunk({"content": "one "}), end=False)
    data = json.dumps(chunk({"content": "two "})).encode()
    two.last.sink.on_data(b"data: %b\n\ndata: {garbage\n\n" % data)
    assert client.streamed.data.count(b"content_block_delta\n") == 2
    assert b"two " in client.streamed.data
    assert b"event: error" in client.streamed.data.split(b"two ")[1]
    assert client.streamed.ended


async def test_a_stream_that_does_not_end_is_ended_with_an_error_inside_and_blames_nobody(two):
    two.llm.proxies[Dialect.CHAT].max_answer_bytes = 1000
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "some"}), end=False)
    while not two.last.cancelled:
        assert len(client.streamed.data) <= 1000
        two.last.sends(chunk({"content": "more"}))
    last = json.loads(client.streamed.data.split(b"data: ")[-1])
    assert "at most 1000 bytes" in last["error"]["message"]
    assert client.streamed.ended
    assert two.counting["m", 1].failed == 0
    assert [one.result for one in two.over] == ["broken"]


async def test_a_client_that_leaves_has_its_upstream_cancelled_and_counts_as_having_left(two):
    client = two.ask(chat(stream=True))
    two.last.streams(chunk({"content": "some"}), end=False)
    client.leave()
    assert two.last.cancelled
    assert two.counting["m", 1].told == ["left"]
    assert [one.result for one in two.over] == ["left"]


def _is_whole(two, client):
    two.last.sends(chunk({}, "stop"), b"[DONE]")
    two.last.sink.on_end()


def _is_broken(two, client):
    two.last.sink.on_failure(UpstreamFailed("reset"), sent=True, answered=True)


def _is_left(two, client):
    client.leave()


@pytest.mark.parametrize("end", [_is_whole, _is_broken, _is_left])
async def test_a_stream_that_is_over_is_let_go_of_without_a_collector(two, end):
    gc.disable()
    try:
        client = two.ask(chat(stream=True))
        two.last.streams(chunk({"content": "some"}), end=False)
        end(two, client)
        assert len(two.over) == 1
        # As an exchange does that is answered, or whose client has left.
        client.on_leave.clear()
        client.streamed = None
        two.over.clear()
        two.upstreams.sent.clear()
        gone = weakref.ref(client)
        del client
        assert gone() is None
    finally:
        gc.enable()


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
    client = two.ask({"model": "n", "prompt": "x"}, Dialect.COMPLETIONS)
    told = "no upstream of it is asked for completions: Anthropic has no such API"
    assert told in client.answers[0][1]["error"]["message"]


async def test_an_unknown_model_is_refused_before_anybody_is_asked(two):
    with pytest.raises(InvalidRequest, match="no model has this name"):
        two.ask(chat("nobody"))
    assert two.upstreams.sent == []


async def test_what_is_left_of_a_rate_is_told_as_of_after_the_request():
    limits = Limits(1)
    limits.limit(0, rates=(60, 6000))
    one = rig(TWO, limits=limits.workers[0])
    client = one.ask(chat(max_tokens=80), key=Principal(7, "k", "client", rows=(0,)))
    one.last.answers()
    reserved = 80 + -(-len(client.body) // 4)
    assert {name: told for name, told in client.told.items() if b"ratelimit" in name} == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"6000",
        b"x-ratelimit-remaining-tokens": b"%d" % (6000 - reserved),
        b"x-ratelimit-reset-tokens": go_duration(reserved * 10),
    }


@pytest.mark.parametrize(
    ("dialect", "named", "rates"),
    [
        (Dialect.CHAT, b"x-request-id", b"x-ratelimit-%b-requests"),
        (Dialect.MESSAGES, b"request-id", b"anthropic-ratelimit-requests-%b"),
    ],
)
async def test_what_a_limit_refuses_is_told_its_rates_and_its_request_id(dialect, named, rates):
    limits = Limits(1)
    limits.limit(0, rates=(1, None))
    one = rig(TWO, limits=limits.workers[0])
    key = Principal(7, "k", "client", rows=(0,))
    one.ask(chat(max_tokens=5), dialect, key=key)
    refused = one.ask(chat(max_tokens=5), dialect, key=key)
    assert [status for status, _ in refused.answers] == [429]
    assert refused.told[named] == b"r-1"
    assert refused.told[rates % b"limit"] == b"1"
    assert refused.told[rates % b"remaining"] == b"0"
    assert len(one.upstreams.sent) == 1


async def test_a_version_may_leave_though_what_follows_an_answer_went_wrong(two):
    deployment = next(two.llm.names.find("m").deployments)
    two.ask(chat())
    two.llm.proxies[Dialect.CHAT].over = None  # a mistake of the gateway's own
    two.last.answers()
    left = []
    deployment.drain(lambda: left.append(True))
    assert left == [True]


async def test_a_stream_that_cannot_be_begun_is_an_error_and_no_answer(two):
    client = two.ask(chat(stream=True))

    def stream(*_):
        raise RuntimeError("a mistake of the gateway's own")

    client.stream = stream
    two.last.streams(chunk({"role": "assistant", "content": "hel"}), end=False)
    assert [status for status, _ in client.answers] == [500]
    assert two.over[0].result == "failed"
    assert two.last.cancelled


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


@pytest.mark.parametrize(
    ("status", "failed", "says"),
    [
        pytest.param(500, 6, (503, "upstreams_exhausted"), id="it-fails"),
        pytest.param(429, 0, (429, "rate_limit_exceeded"), id="it-has-all-it-may"),
    ],
)
async def test_a_version_that_nobody_is_asked_for_fails_where_its_upstreams_do(
    status, failed, says
):
    one = rig(LONE)
    for _ in range(5):
        one.ask(chat())
    for sent in one.upstreams.sent:
        sent.answers({"error": {"message": "no"}}, status=status)
    client = one.ask(chat())
    assert len(one.upstreams.sent) == 5
    [(told, answer)] = client.answers
    assert (told, answer["error"]["code"]) == says
    assert one.counting["m", 1].failed == failed


async def test_who_waits_in_vain_for_a_connection_shuts_no_upstream_for_others():
    one = rig(LONE)
    for _ in range(6):
        client = one.ask(chat())
        error = UpstreamsExhausted("all connections are taken")
        one.last.sink.on_failure(error, sent=False, answered=False)
        assert [status for status, _ in client.answers] == [503]
    one.ask(chat())
    one.last.answers()
    assert one.over[-1].result == "ok"


async def test_a_version_whose_upstreams_have_all_they_may_is_not_at_fault():
    one = rig(LONE)
    for _ in range(5):
        one.ask(chat())
    assert one.ask(chat()).answers[0][0] == 503
    assert one.counting["m", 1].failed == 0


KEYS = [f"u{number}" for number in range(12)]


@pytest.mark.parametrize(
    ("parameter", "ask", "dialect"),
    [
        pytest.param("user", lambda key: {"user": key}, Dialect.CHAT, id="in-the-body"),
        pytest.param(
            "user",
            lambda key: {"user": key, "metadata": {"team": "x"}},
            Dialect.CHAT,
            id="beside-metadata",
        ),
        pytest.param(
            "team", lambda key: {"metadata": {"team": key}}, Dialect.CHAT, id="in-metadata"
        ),
        pytest.param(
            "user_id",
            lambda key: {"metadata": {"user_id": key}},
            Dialect.MESSAGES,
            id="anthropics-user",
        ),
    ],
)
async def test_equal_sticky_keys_get_equal_versions(parameter, ask, dialect):
    split = Split((Variant("old", 1, 1.0), Variant("new", 2, 1.0)), sticky_parameter=parameter)
    one = rig(VERSIONS, {"m": split})
    answered: dict[str, set[str]] = {key: set() for key in KEYS}
    for key in KEYS * 3:
        one.ask(chat(max_tokens=5, **ask(key)), dialect)
        answered[key].add(one.last.body["model"])
    assert {len(models) for models in answered.values()} == {1}
    assert set.union(*answered.values()) == {"first", "second"}


async def test_an_override_in_metadata_goes_before_a_sticky_key_beside_it():
    split = Split(
        (Variant("old", 1, 1.0), Variant("new", 2, 1.0)),
        sticky_parameter="user",
        override_parameter="variant",
    )
    one = rig(VERSIONS, {"m": split})
    for key in KEYS:
        one.ask(chat(user=key, metadata={"variant": "new"}))
    assert {sent.body["model"] for sent in one.upstreams.sent} == {"second"}


async def test_a_shadow_is_asked_after_the_answer_and_counts_for_nobody():
    split = Split((Variant("main", 1, 1.0),), shadows=(Shadow(2, 1.0, blocks=((1, 7),)),))
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
    split = Split((Variant("main", 1, 1.0),), shadows=(Shadow(2, 1.0, blocks=((1, 7),)),))
    one = rig(VERSIONS, {"m": split})
    client = one.ask(chat())
    one.last.answers()
    await one.turn()
    one.last.answers({"error": {"message": "bad"}}, status=400)
    assert client.answers == [(200, whole())]
    assert [it.result for it in one.over] == ["ok", "failed"]


EMBEDDING = {
    "object": "list",
    "model": "e",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}


async def test_what_never_comes_in_events_is_no_stream_whatever_is_asked():
    one = rig(LONE)
    client = one.ask({"model": "m", "input": "x", "stream": True}, Dialect.EMBEDDINGS)
    assert "stream" not in one.last.body
    one.last.answers(EMBEDDING)
    assert client.answers == [(200, EMBEDDING)]


async def test_a_404_for_what_one_client_names_shuts_no_upstream_for_others():
    one = rig(LONE)
    unknown = {"error": {"message": "Response with id 'resp_x' not found.", "code": 404}}
    body = {"model": "m", "input": "x", "previous_response_id": "resp_x"}
    for _ in range(6):
        client = one.ask(body, Dialect.RESPONSES)
        one.last.answers(unknown, status=404)
        assert client.answers == [(404, unknown)]
    assert len(one.upstreams.sent) == 6


async def test_an_answer_that_is_larger_than_is_held_is_paid_and_asked_for_once(two):
    for _ in range(6):
        client = two.ask(chat())
        two.last.sink.on_head(200, JSON)
        two.last.sink.on_data(b" " * (1 << 20))
        two.last.sink.on_data(b" ")
        assert two.last.cancelled
        [(status, answer)] = client.answers
        assert (status, answer["error"]["code"]) == (502, "upstream_failed")
        assert client.told[b"x-should-retry"] == b"false"
    assert [sent.origin.host for sent in two.upstreams.sent] == ["one.example"] * 6
    assert two.counting["m", 1].failed == 0
    assert two.over[0].usage.input > 0
    assert two.over[0].cost > 0
