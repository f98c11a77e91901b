"""Whole answers that take long to read are read on a thread, and count as all others do."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from gateway.llm.journey import ASIDE_BYTES
from gateway.wire.llm.requests import AT_ONCE_BYTES
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import JSON, Counted, Rig, Talker, chat, key_for, rig, whole
from tests.llm.scripted import eventually

pytestmark = pytest.mark.anyio

WORLD = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m: {upstreams: [{provider: one, model: gpt-4o-mini}], fallbacks: [n], retries: {attempts: 0}}
    n: {upstreams: [{provider: claude, model: claude-sonnet-4-5}]}
    alone: {upstreams: [{provider: one, model: gpt-4o-mini}], retries: {attempts: 0}}
"""
KEY = key_for(rows=(7,))
LARGE = "large " * (ASIDE_BYTES // 6)


@pytest.fixture
def limits() -> Counted:
    return Counted()


@pytest.fixture
async def world(limits: Counted) -> Rig:
    return rig(WORLD, limits=limits)


def garbage(sent: Any) -> None:
    sent.sink.on_head(200, JSON)
    sent.sink.on_data(b"{" * (ASIDE_BYTES + 1))
    sent.sink.on_end()


async def test_a_large_answer_is_read_beside_the_event_loop_and_costs_what_it_says(world, limits):
    small, large = world.ask(chat(), key=KEY), world.ask(chat(), key=KEY)
    world.upstreams.sent[0].answers(whole())
    world.upstreams.sent[1].answers(whole(LARGE))
    assert (len(small.answers), len(large.answers)) == (1, 0)
    await eventually(lambda: large.answers)
    status, body = large.answers[0][:2]
    assert (status, body["choices"][0]["message"]["content"]) == (200, LARGE)
    assert large.told[b"penstock-cost-usd"] == small.told[b"penstock-cost-usd"]
    assert [one.result for one in world.over] == ["ok", "ok"]
    assert limits.ends[0] == limits.ends[1]


async def test_a_large_answer_is_translated_there(world):
    client = world.ask(chat("n", max_tokens=9) | {"max_tokens": 9}, Dialect.MESSAGES)
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4"}
    said = {"content": [{"type": "text", "text": LARGE}], "stop_reason": "end_turn"}
    usage = {"usage": {"input_tokens": 10, "output_tokens": 5}}
    translated = world.ask(chat("n"))
    for sent in world.upstreams.sent:
        sent.answers(told | said | usage)
    await eventually(lambda: client.answers and translated.answers)
    assert client.answers[0][1]["content"][0]["text"] == LARGE
    assert translated.answers[0][1]["choices"][0]["message"]["content"] == LARGE


async def test_who_leaves_while_a_large_answer_is_read_pays_it_and_has_left(world, limits):
    client = world.ask(chat(), key=KEY)
    world.last.answers(whole(LARGE))
    client.leave()
    assert (limits.ends, world.over) == ([], [])
    await eventually(lambda: world.over)
    ((how, money, tokens),) = limits.ends
    assert (how, money > 0, tokens) == ("settled", True, 15)
    assert ([one.result for one in world.over], client.answers) == (["left"], [])
    (deployment,) = [one for one in world.llm.deployments if one.name == "m"]
    assert deployment.in_flight == 0
    assert [one.in_flight for one in deployment.pool.health(0.0)] == [0]


async def test_who_has_left_is_charged_before_the_worker_ends(world, limits):
    client = world.ask(chat(), key=KEY)
    world.last.answers(whole(LARGE))
    client.leave()
    await world.llm.read_out(20.0)
    await world.turn()
    assert [end[0] for end in limits.ends] == ["settled"]


async def test_a_large_answer_that_is_none_has_failed_and_another_model_is_asked(world, limits):
    client = world.ask(chat(), key=KEY)
    garbage(world.last)
    await world.sent(2)
    assert world.last.origin.host == "claude.example"
    assert client.answers == []
    assert limits.ends == [("released", 0, 0)]


async def test_a_large_answer_that_is_none_is_not_kept_for_the_collector(world):
    gc.collect()
    gc.disable()
    try:
        client = world.ask(chat("alone"))
        garbage(world.last)
        while not client.answers:
            await world.turn()
        assert client.answers[0][0] == 502
        client.on_leave.clear()  # as an exchange does that is answered
        world.upstreams.sent.clear()
        world.over.clear()
        await asyncio.get_running_loop().shutdown_default_executor()
        await world.turn()
        gone = weakref.ref(client)
        del client
        assert gone() is None, "an error that is kept would keep its request"
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "body",
    [b'{"model": "m", "x": "' + b"x" * AT_ONCE_BYTES, b'{"x": "' + b"x" * AT_ONCE_BYTES + b'"}'],
    ids=["no-json", "no-model"],
)
async def test_a_large_request_that_is_refused_is_not_kept_for_the_collector(world, body):
    gc.collect()
    gc.disable()
    try:
        client: Any = Talker({})
        client.body = body
        world.llm.proxies[Dialect.CHAT](client)
        while not client.answers:
            await world.turn()
        assert client.answers[0][0] == 400
        await asyncio.get_running_loop().shutdown_default_executor()
        await world.turn()
        gone = weakref.ref(client)
        del client
        assert gone() is None, "an error that is kept would keep its request"
    finally:
        gc.enable()


async def test_nobody_is_asked_for_who_left_before_a_large_answer_was_found_to_be_none(
    world, limits
):
    client = world.ask(chat(), key=KEY)
    garbage(world.last)
    client.leave()
    await eventually(lambda: world.over)
    await world.turn()
    assert len(world.upstreams.sent) == 1
    assert [end[0] for end in limits.ends] == ["settled"]
