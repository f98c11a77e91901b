"""What requests reserve, and what they are charged for, whoever ends them and how."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.config import parse
from gateway.errors import ConfigInvalid
from gateway.wire.llm.crowds import MAX_ANSWERED
from gateway.wire.llm.sse import MAX_FRAME_BYTES
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import (
    EVENTS,
    JSON,
    Counted,
    Rig,
    Sent,
    chat,
    chunk,
    key_for,
    rig,
)
from tests.llm.scripted import eventually

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
    old: {base_url: "http://old.example/v1", apis: [chat]}
  models:
    old: {upstreams: [{provider: old, model: gpt-4o-mini}], retries: {attempts: 0}}
    m: {upstreams: [{provider: one, model: gpt-4o-mini}], retries: {attempts: 0}}
    seen: {upstreams: [{provider: one, model: gpt-4o}]}
    bounded:
      upstreams: [{provider: one, model: our-own, price: {}}]
      max_output_tokens: 100
    unbounded: {upstreams: [{provider: one, model: our-own, price: {}}]}
    told: {upstreams: [{provider: one, model: gpt-4o, media_tokens: 123}]}
    c: {upstreams: [{provider: claude, model: claude-sonnet-4-5}], retries: {attempts: 0}}
    mixed:
      upstreams:
        - {provider: claude, model: claude-sonnet-5, priority: 2}
        - {provider: claude, model: claude-opus-4-1}
"""
KEY = key_for(rows=(7,))
PIECE = "abcd" * 10  # ten tokens, as estimated


def limited(money: int | None = 10**15, tokens: int | None = 10**9) -> tuple[Rig, Counted]:
    limits = Counted(money, tokens)
    return rig(DOCUMENT, limits=limits), limits


def tells(sent: Sent, kind: str, **values: Any) -> None:
    """An event of a stream of messages."""
    data = json.dumps({"type": kind, **values}).encode()
    sent.sink.on_data(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))


def begins(sent: Sent, pieces: int) -> None:
    """A stream of messages, up to so many pieces; it tells one token of output beforehand."""
    sent.sink.on_head(200, EVENTS)
    usage = {"input_tokens": 3, "output_tokens": 1}
    tells(sent, "message_start", message={"id": "a", "model": "b", "usage": usage})
    tells(sent, "content_block_start", index=0, content_block={"type": "text", "text": ""})
    for _ in range(pieces):
        delta = {"type": "text_delta", "text": PIECE}
        tells(sent, "content_block_delta", index=0, delta=delta)


# ---- what is charged -----------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", [Dialect.MESSAGES, Dialect.CHAT])
async def test_what_came_of_a_stream_of_messages_is_charged_to_who_leaves(dialect):
    r, limits = limited()
    talker = r.ask(chat("c", stream=True, max_tokens=5000), dialect, key=KEY)
    begins(r.last, pieces=100)
    talker.leave()
    ((how, money, tokens),) = limits.ends
    assert (how, tokens) == ("settled", 3 + 1000)
    assert money == 3 * 3_000_000 + 1000 * 15_000_000
    assert r.over[0].estimated


async def test_what_came_of_a_stream_of_messages_is_charged_where_it_breaks():
    r, limits = limited()
    r.ask(chat("c", stream=True, max_tokens=5000), key=KEY)
    begins(r.last, pieces=100)
    tells(r.last, "error", error={"type": "overloaded_error", "message": "Overloaded"})
    r.last.sink.on_end()
    assert limits.ends == [("settled", 3 * 3_000_000 + 1000 * 15_000_000, 1003)]


async def test_what_a_whole_stream_of_messages_tells_at_its_end_goes_before_any_estimate():
    r, limits = limited()
    r.ask(chat("c", stream=True, max_tokens=5000), key=KEY)
    begins(r.last, pieces=100)
    tells(r.last, "message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 77})
    tells(r.last, "message_stop")
    r.last.sink.on_end()
    assert [end[2] for end in limits.ends] == [80]
    assert not r.over[0].estimated


async def test_an_answer_that_fails_after_its_words_is_broken_and_its_words_are_charged():
    r, limits = limited()
    r.ask({"model": "m", "input": "hi", "stream": True}, Dialect.RESPONSES, key=KEY)
    failed = {"id": "r", "status": "failed", "error": {"code": "server_error"}, "usage": None}
    r.last.streams(
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "response.output_text.delta", "delta": PIECE * 100},
        {"type": "response.failed", "response": failed},
    )
    assert (r.over[0].result, r.counting["m", 1].told) == ("broken", ["upstream_failed"])
    assert [end[2] for end in limits.ends] == [1 + 1000]


@pytest.mark.parametrize("dialect", [Dialect.CHAT, Dialect.RESPONSES, Dialect.MESSAGES])
async def test_what_came_before_an_event_without_end_is_charged_and_the_stream_is_broken(dialect):
    r, limits = limited()
    r.llm.proxies[dialect].max_answer_bytes = 4 * MAX_FRAME_BYTES
    asked = "input" if dialect is Dialect.RESPONSES else "messages"
    body = {"model": "old", asked: [{"role": "user", "content": "hi"}], "stream": True}
    r.ask(body | ({"max_tokens": 5} if dialect is Dialect.MESSAGES else {}), dialect, key=KEY)
    r.last.streams(*[chunk({"content": PIECE})] * 100, end=False)
    r.last.sink.on_data(b"data: {")
    while not r.over:
        r.last.sink.on_data(b"x" * (MAX_FRAME_BYTES // 8))
    assert r.last.cancelled
    assert (r.over[0].result, r.counting["old", 1].told) == ("broken", ["upstream_failed"])
    assert [end[2] for end in limits.ends] == [1 + 1000]


async def test_an_answer_of_nothing_but_signs_is_none_and_its_prompt_is_charged():
    r, limits = limited()
    r.llm.proxies[Dialect.CHAT].max_answer_bytes = 4 * MAX_ANSWERED
    r.ask(chat("old"), key=KEY)
    r.last.sink.on_head(200, JSON)
    r.last.sink.on_data(b'{"choices":[%b{}]}' % (b"{}," * MAX_ANSWERED))
    r.last.sink.on_end()
    await eventually(lambda: r.over)
    assert (r.over[0].result, r.counting["old", 1].told) == ("failed", ["upstream_failed"])
    assert [end[0] for end in limits.ends] == ["settled"]


async def test_an_error_in_mid_stream_that_is_said_to_be_the_end_is_one_all_the_same():
    r, _ = limited()
    talker = r.ask(chat(stream=True), key=KEY)
    error = {"error": {"message": "out of memory", "type": "server_error", "code": 500}}
    r.last.streams(chunk({"role": "assistant", "content": "hel"}), error, b"[DONE]")
    assert (r.over[0].result, r.counting["m", 1].told) == ("broken", ["upstream_failed"])
    assert talker.streamed.data.count(b"out of memory") == 1
    assert talker.streamed.ended


async def test_who_leaves_before_anything_was_sent_pays_nothing():
    r, limits = limited()
    talker = r.ask(chat(), key=KEY)
    r.last.sent = False  # it waits for a connection
    talker.leave()
    assert limits.ends == [("released", 0, 0)]
    assert r.last.cancelled


async def test_counting_the_tokens_of_a_prompt_costs_nothing_but_a_request():
    r, limits = limited()
    body = {"model": "c", "messages": [{"role": "user", "content": "hello there " * 1000}]}
    talker = r.ask(body, Dialect.COUNT, key=KEY)
    r.last.answers({"input_tokens": 3000})
    assert limits.reserved == [(0, 0)]
    assert limits.ends == [("settled", 0, 0)]
    assert talker.told[b"penstock-cost-usd"] == b"0"


async def test_an_estimate_of_the_tokens_of_a_prompt_is_a_request_too():
    r, limits = limited()
    body = {"model": "m", "messages": [{"role": "user", "content": "hello there"}]}
    talker = r.ask(body, Dialect.COUNT, key=KEY)
    assert talker.answers[0][0] == 200
    assert talker.told[b"penstock-estimated"] == b"input_tokens"
    assert (limits.reserved, limits.ends) == ([(0, 0)], [("settled", 0, 0)])


# ---- what nobody knows the price of --------------------------------------------------------------

UNPRICED = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    served: {upstreams: [{provider: one, model: nobody-knows}]}
    refused: {upstreams: [{provider: one, model: nobody-knows}], unpriced: refuse}
    counted: {upstreams: [{provider: claude, model: nobody-knows}], unpriced: refuse}
"""


async def test_an_answer_of_unknown_price_says_so_and_never_costs_zero():
    r = rig(UNPRICED, limits=Counted(None, 1000))
    talker = r.ask(chat(model="served"), key=KEY)
    r.last.answers()
    assert talker.answers[0][0] == 200
    assert talker.told[b"penstock-cost-usd"] == b"unpriced"


@pytest.mark.parametrize(
    ("model", "left", "says"),
    [
        pytest.param("refused", (None, 1000), "", id="as-the-document-says"),
        pytest.param("served", (10**12, None), ", and a budget in dollars", id="a-budget"),
    ],
)
async def test_a_model_of_unknown_price_is_refused_before_anybody_is_asked(model, left, says):
    limits = Counted(*left)
    r = rig(UNPRICED, limits=limits)
    talker = r.ask(chat(model=model), key=KEY)
    status, body = talker.answers[0][:2]
    assert status == 403
    assert f"nobody knows what it costs{says}" in body["error"]["message"]
    assert (r.upstreams.sent, limits.reserved) == ([], [])


async def test_a_model_of_unknown_price_that_is_refused_counts_tokens_all_the_same():
    r = rig(UNPRICED, limits=Counted(10**12, None))
    talker = r.ask(chat(model="counted"), Dialect.COUNT, key=KEY)
    r.last.answers({"input_tokens": 3})
    assert talker.answers[0][0] == 200


# ---- what is reserved ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "answers"),
    [("hi", 1), ([1, 2, 3], 1), (["hi"] * 20, 20), ([[1, 2], [3]], 2), ([], 1)],
)
@pytest.mark.parametrize("n", [1, 3])
async def test_every_prompt_of_a_list_reserves_its_answers(prompt, answers, n):
    r, limits = limited(10**15, None)
    body = {"model": "m", "prompt": prompt, "max_tokens": 100, "n": n}
    r.ask(body, Dialect.COMPLETIONS, key=KEY)
    ((money, tokens),) = limits.reserved
    read = -(-len(json.dumps(body)) // 4)
    assert tokens == read + 100 * answers * n
    assert money >= 100 * answers * n * 600_000


@pytest.mark.parametrize(("model", "tokens"), [("m", 50_000), ("seen", 8192), ("told", 123)])
async def test_a_picture_named_by_its_address_reserves_what_its_model_may_read_it_as(model, tokens):
    r, limits = limited()
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = chat(model, max_tokens=10)
    body["messages"] = [{"role": "user", "content": [picture, picture]}]
    r.ask(body, key=KEY)
    assert limits.reserved[0][1] == len(json.dumps(body)) + 2 * tokens + 10


async def test_each_upstream_is_sent_no_more_than_its_own_model_can_write():
    r, _ = limited()
    r.ask(chat("mixed"), key=KEY)
    assert r.last.body["max_tokens"] == 32_000


async def test_a_model_that_stands_in_gets_its_own_longest_answer_and_not_the_first_ones():
    limits = Counted(None, 60_000)
    r = rig(
        DOCUMENT.replace("gpt-4o-mini}], retries", "gpt-5}], fallbacks: [seen], retries"),
        limits=limits,
    )
    r.ask(chat(), key=KEY)
    assert r.last.body["max_completion_tokens"] < 16_384  # a quarter of what is left
    limits.leave(None, 10**9)
    r.last.answers({"error": {"message": "down"}}, status=503)
    assert r.last.body["model"] == "gpt-4o"
    assert not {"max_completion_tokens", "max_tokens"} & r.last.body.keys()


@pytest.mark.parametrize(("model", "most"), [("bounded", 100), ("unbounded", 4096)])
async def test_who_might_write_more_than_was_reserved_is_sent_that_as_a_maximum(model, most):
    r, limits = limited(None)
    body = chat(model)
    r.ask(body, key=KEY)
    assert limits.reserved == [(0, len(json.dumps(body)) + most)]
    assert r.last.body["max_completion_tokens"] == most


async def test_no_output_at_all_is_a_maximum_like_any_other():
    r, limits = limited(None, 4000)
    warm = {"model": "c", "max_tokens": 0, "messages": [{"role": "user", "content": "hi"}]}
    r.ask(warm, Dialect.MESSAGES, key=KEY)
    assert r.last.body["max_tokens"] == 0
    assert limits.reserved[0][1] == len(json.dumps(warm))


# ---- prices --------------------------------------------------------------------------------------


def priced(price: str) -> str:
    return DOCUMENT.replace("model: gpt-4o}", f"model: gpt-4o, price: {price}}}")


@pytest.mark.parametrize("given", ["input_cost_per_token", "output_cost_per_token"])
def test_half_a_price_is_refused_since_the_rest_would_be_a_silent_zero(given):
    with pytest.raises(ConfigInvalid, match=r"expected \w+put_cost_per_token, too"):
        parse(priced(f"{{{given}: 0.000001}}"))


@pytest.mark.parametrize(
    "price", ["{}", "{input_cost_per_token: 0.000001, output_cost_per_token: 0}"]
)
def test_a_price_is_whole_or_nothing(price):
    parse(priced(price))
