"""What is not read of a long prompt is charged, translated, copied and sent as all else is."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest

from gateway.errors import UpstreamFailed
from gateway.llm.wording import TRANSLATED_AT_ONCE_BYTES
from gateway.plan import Shadow, Split, Variant
from gateway.wire.llm.abridged import LONG_BYTES
from gateway.wire.llm.crowds import DENSE_NESTED
from gateway.wire.llm.words import Dialect
from tests.llm.journey_rig import Counted, Rig, chat, key_for, rig, whole

pytestmark = pytest.mark.anyio

LONG = "Where does the water flow?\n" * (LONG_BYTES // 27)
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": LONG}]},
]
WORLD = """
llm:
  providers:
    one: {base_url: "http://one.example/v1"}
    claude: {base_url: "http://claude.example", kind: anthropic}
  models:
    m:
      versions:
        1:
          upstreams: [{provider: one, model: gpt-4o-mini}]
          fallbacks: [n]
          retries: {attempts: 0}
        2: {upstreams: [{provider: claude, model: claude-sonnet-4}]}
    n: {upstreams: [{provider: claude, model: claude-sonnet-4}]}
"""
ALONE = Split((Variant("main", 1, 1.0),))
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
SPLIT = Split((Variant("main", 1, 1.0),), shadows=(Shadow(2, 1.0, blocks=((1, 7),)),))


@pytest.fixture
async def world() -> Rig:
    return rig(WORLD, {"m": SPLIT})


async def test_a_long_prompt_is_sent_on_and_counted_as_if_it_were_read(world):
    client = world.ask(chat(messages=MESSAGES, top_k=7))
    assert world.last.body == chat("gpt-4o-mini", messages=MESSAGES, top_k=7)
    world.last.answers()
    assert client.answers == [(200, whole())]
    (over,) = world.over
    assert over.call.prompt.chars == len(LONG) + len("Be brief.")


async def test_a_long_prompt_is_read_where_another_dialect_is_spoken(world):
    client = world.ask(chat(messages=MESSAGES))
    world.last.sink.on_failure(UpstreamFailed("gone"), sent=True, answered=False)
    assert world.last.origin.host == "claude.example"
    assert _texts(world.last.body) == [LONG]
    assert client.answers == []


async def test_a_shadow_in_another_dialect_is_asked_the_same_long_prompt(world):
    world.ask(chat(messages=MESSAGES))
    world.last.answers()
    await world.turn()
    assert world.last.origin.host == "claude.example"
    assert _texts(world.last.body) == [LONG]


async def test_others_are_answered_while_a_body_of_many_parts_is_read():
    world = rig(WORLD, {"m": ALONE})
    many = world.ask({"model": "m", "messages": [{}] * (DENSE_NESTED + 1)})
    assert world.upstreams.sent == []
    few = world.ask(chat())
    world.last.answers()
    assert [status for status, _ in few.answers] == [200]
    await world.sent(2)
    world.last.answers()
    assert [status for status, _ in many.answers] == [200]


def several(size):
    """Messages of so many bytes and more, which another dialect has to be said in one by one."""
    return [{"role": "user", "content": f"{n:07}"} for n in range(size // 32)]


async def test_others_are_answered_while_a_long_prompt_is_translated():
    world = rig(WORLD, {"m": ALONE})
    messages = several(TRANSLATED_AT_ONCE_BYTES)
    client = world.ask(chat("n", messages=messages, max_tokens=5))
    assert world.upstreams.sent == []
    other = world.ask(chat())
    world.last.answers()
    assert [status for status, _ in other.answers] == [200]
    await world.sent(2)
    said = json.dumps(world.last.body)
    assert all(one["content"] in said for one in messages)
    world.last.answers(MESSAGE)
    assert client.answers[0][0] == 200


async def test_others_are_answered_while_a_long_prompt_is_translated_for_a_fallback():
    world = rig(WORLD, {"m": ALONE})
    client = world.ask(chat(messages=several(TRANSLATED_AT_ONCE_BYTES), max_tokens=5))
    world.last.answers({"error": {"message": "no"}}, 503)
    assert [one.origin.host for one in world.upstreams.sent] == ["one.example"]
    await world.sent(2)
    assert world.last.origin.host == "claude.example"
    world.last.answers(MESSAGE)
    assert client.answers[0][0] == 200


async def test_a_long_prompt_is_translated_beforehand_for_who_stands_in_for_a_cut_answer():
    world = rig(WORLD.replace("fallbacks: [n]", "content_policy_fallbacks: [n]"), {"m": ALONE})
    client = world.ask(chat(messages=several(TRANSLATED_AT_ONCE_BYTES), max_tokens=5))
    await world.sent(1)
    cut = whole()
    cut["choices"][0]["finish_reason"] = "content_filter"
    world.last.answers(cut)
    assert [one.origin.host for one in world.upstreams.sent] == ["one.example", "claude.example"]
    world.last.answers(MESSAGE)
    assert client.answers[0][0] == 200


async def test_a_long_prompt_is_translated_beforehand_for_every_fallback_that_may_be_asked():
    unknown = "    o: {upstreams: [{provider: one, model: nobody-knows}], unpriced: refuse}\n"
    limits = Counted(None, 10**9)
    document = WORLD.replace("fallbacks: [n]", "fallbacks: [o, n]") + unknown
    world = rig(document, {"m": ALONE}, limits=limits)
    asked = chat(messages=several(TRANSLATED_AT_ONCE_BYTES), max_tokens=5)
    client = world.ask(asked, key=key_for(rows=(1,)))
    world.last.answers({"error": {"message": "no"}}, 503)
    assert len(limits.reserved) == 1, "who stands in is chosen once the prompt is translated"
    await world.sent(2)
    assert world.last.origin.host == "claude.example"
    world.last.answers(MESSAGE)
    assert client.answers[0][0] == 200


async def test_who_leaves_while_its_prompt_is_translated_is_asked_for_nobody_and_pays_nothing():
    limits = Counted(None, 10**9)
    world = rig(WORLD, {"m": ALONE}, limits=limits)
    client = world.ask(
        chat("n", messages=several(TRANSLATED_AT_ONCE_BYTES)), key=key_for("n", rows=(1,))
    )
    client.leave()
    assert limits.ends == [("released", 0, 0)]
    await asyncio.get_running_loop().shutdown_default_executor()  # it has come to its end
    await world.turn()
    assert world.upstreams.sent == []
    assert limits.ends == [("released", 0, 0)]
    assert [one.result for one in world.over] == ["left"]


async def test_a_long_prompt_that_cannot_be_said_in_another_dialect_is_refused():
    world = rig(WORLD.replace("    n: {", "    n: {unsupported: refuse, "), {"m": ALONE})
    gc.collect()
    gc.disable()
    try:
        client = world.ask(
            chat("n", messages=several(TRANSLATED_AT_ONCE_BYTES), logit_bias={"1": 2})
        )
        while not client.answers:
            await world.turn()
        assert client.answers[0][0] == 400
        assert world.upstreams.sent == []
        client.on_leave.clear()  # as an exchange does that is answered
        world.over.clear()
        await world.turn()
        gone = weakref.ref(client)
        del client
        assert gone() is None, "an error that is kept would keep its request"
    finally:
        gc.enable()


async def test_what_nobody_has_counted_is_charged_by_all_characters_of_a_long_prompt():
    limits = Counted()
    one = rig(WORLD, {"m": SPLIT}, limits=limits)
    client = one.ask(chat(messages=MESSAGES, max_tokens=5), key=key_for(rows=(1,)))
    assert client.answers == []
    one.last.answers(whole("", usage=None))
    tokens = -(-(len(LONG) + len("Be brief.")) // 4)
    assert [(what, taken) for what, _, taken in limits.ends] == [("settled", tokens)]


async def test_a_long_prompt_of_anthropics_dialect_goes_to_such_an_upstream_as_it_came(world):
    asked = {"model": "n", "max_tokens": 5, "system": LONG, "messages": MESSAGES[1:]}
    world.ask(asked, Dialect.MESSAGES)
    assert world.last.body == asked | {"model": "claude-sonnet-4"}


def _texts(body):
    return [one["content"] for one in body["messages"]]


PICTURE = {
    "type": "image_url",
    "image_url": {"url": "data:image/png;base64," + "iVBO" * (LONG_BYTES // 4)},
}
ASKED: dict[Dialect, dict[str, Any]] = {
    Dialect.CHAT: {"messages": [{"role": "user", "content": [PICTURE]}]},
    Dialect.RESPONSES: {"input": "Whither?", "instructions": LONG},
}


@pytest.mark.parametrize("dialect", ASKED)
async def test_what_is_not_read_hinders_nobody_from_asking_another_model(world, dialect):
    client = world.ask({"model": "m", **ASKED[dialect]}, dialect)
    world.last.sink.on_failure(UpstreamFailed("gone"), sent=True, answered=False)
    assert client.answers == []
    assert world.last.origin.host == "claude.example"


@pytest.mark.parametrize("parameter", ["system", "messages"])
async def test_requests_with_the_same_long_text_stay_with_a_variant(parameter):
    halves = (Variant("old", 1, 1.0), Variant("new", 2, 1.0))
    one = rig(WORLD, {"m": Split(halves, sticky_parameter=parameter)})
    asked = {"model": "m", "max_tokens": 5, "system": LONG, "messages": MESSAGES[1:]}
    for _ in range(12):
        one.ask(asked, Dialect.MESSAGES)
    await one.sent(12)
    assert len({sent.origin.host for sent in one.upstreams.sent}) == 1
