"""What a shadow of a language model says is held against what was answered, request by request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.llm import copies
from gateway.llm.beside import beside
from gateway.llm.journey import ASIDE_BYTES
from gateway.llm.pairs import MAX_ROWS
from gateway.llm.phrases import Phrases
from gateway.monitor import layout
from gateway.monitor.different import KEPT
from gateway.plan import Shadow, Split, Variant
from gateway.wire.llm.words import Dialect
from kernels import answers as a
from kernels import pairs as p
from tests.llm.journey_rig import JSON, USAGE, Rig, Sent, chat, chunk, rig, whole
from tests.llm.scripted import eventually

pytestmark = pytest.mark.anyio

DOCUMENT = """
llm:
  providers: {p: {base_url: http://p.example/v1}}
  models:
    m:
      versions:
        1: {upstreams: [{provider: p, model: first, price: PRICE}]}
        2:
          retries: {attempts: 0}
          fallbacks: [n]
          upstreams: [{provider: p, model: second, price: DOUBLE}]
    n: {upstreams: [{provider: p, model: third}]}
"""
for price, cost in (("PRICE", 1e-6), ("DOUBLE", 2e-6)):
    plain = f"{{input_cost_per_token: {cost}, output_cost_per_token: {cost}}}"
    DOCUMENT = DOCUMENT.replace(price, plain)
BLOCK = 7
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture
async def world():
    return following(1.0)


def following(share: float) -> Rig:
    shadow = Shadow(2, share, blocks=((1, BLOCK),))
    return rig(DOCUMENT, {"m": Split((Variant("main", 1, 1.0),), shadows=(shadow,))})


async def both(one: Rig, was: Any, now: Any, dialect: Dialect = Dialect.CHAT, **asked: Any) -> None:
    """A request that is answered so, and its copy so: values of an answer, or a stream's events."""
    values = {"model": "m", "input": "x"} if dialect is Dialect.EMBEDDINGS else chat(**asked)
    one.ask(values, dialect)
    answer(one, was)
    await one.turn()
    assert one.last.body["model"] == "second"
    answer(one, now)


def answer(one: Rig, said: Any) -> None:
    if isinstance(said, list):
        one.last.streams(*said)
    else:
        one.last.answers(said)


async def compared(one: Rig) -> Any:
    """The words of the pair, once all that was answered is compared."""
    pair = one.llm._pairs.find("m", 1, 2)
    assert pair is not None
    pair.flush()
    await one.turn()
    return one.blocks.words[BLOCK]


def counts(words: Any) -> dict[str, int]:
    names = ("COPIED", "ROWS", "AGREED", "DROPPED", "FAILED", "RAN", "BROKE")
    return {name.lower(): int(words[getattr(p, name)]) for name in names if words[getattr(p, name)]}


def differing(words: Any) -> dict[str, int]:
    """Of each aspect that differs, how often it does; below 0 where what was answered has it."""
    found = {}
    for place, name in enumerate(a.ASPECTS):
        at = a.ASPECTS_FIRST + place * a.ASPECT_WIDTH
        if words[at + a.DIFFERING]:
            found[name] = int(2 * words[at + a.RISEN] - words[at + a.DIFFERING])
    return found


def measured(words: Any, name: str) -> tuple[float, float]:
    """The sums of a measure."""
    at = a.MEASURES_FIRST + a.MEASURES.index(name) * a.MEASURE_WIDTH
    floats = words.view(float)
    return float(floats[at + a.FIRST_SUM]), float(floats[at + a.SECOND_SUM])


def calling(*names: str) -> Any:
    calls = [
        {"id": str(n), "type": "function", "function": {"name": name, "arguments": "{}"}}
        for n, name in enumerate(names)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return whole(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])


def ended(finish: str, text: str = "hello") -> Any:
    message = {"role": "assistant", "content": text}
    return whole(choices=[{"index": 0, "message": message, "finish_reason": finish}])


async def test_the_same_answer_agrees_and_costs_what_it_costs(world):
    usage = USAGE | {"completion_tokens": 10}
    await both(world, whole("much the same"), whole("much the same", usage=usage))
    words = await compared(world)
    assert counts(words) == {"copied": 1, "rows": 1, "agreed": 1, "ran": 1}
    assert words[a.BY_LIKENESS + 9] == words[a.TEXTS] == 1
    assert measured(words, "output_tokens") == (5.0, 10.0)
    assert measured(words, "cost_usd") == pytest.approx((15e-6, 40e-6))
    assert min(measured(words, "duration_s")) > 0.0
    assert measured(words, "first_token_s") == (0.0, 0.0)  # nothing was streamed
    assert world.llm._copies.under_way == 0


@pytest.mark.parametrize(
    ("was", "now", "expected"),
    [
        pytest.param(ended("stop"), ended("length"), {"finish": 1}, id="finish"),
        pytest.param(
            ended("stop"), ended("content_filter"), {"finish": 1, "refused": 1}, id="refused"
        ),
        pytest.param(ended("stop", " "), ended("stop"), {"empty": -1}, id="empty"),
        pytest.param(calling("look"), calling("look"), {}, id="the-same-tool"),
        pytest.param(calling("look"), calling("look", "see"), {"tools": 1}, id="another-tool"),
        pytest.param(calling("look"), ended("tool_calls"), {"tools": -1}, id="no-tool"),
    ],
)
async def test_answers_of_another_kind_do_not_agree(world, was, now, expected):
    await both(world, was, now, tools=[TOOL])
    words = await compared(world)
    assert differing(words) == expected
    assert words[p.AGREED] == (not expected)


async def test_json_is_compared_where_it_was_wanted(world):
    await both(world, whole("{}"), whole("no"))
    assert differing(await compared(world)) == {}
    await both(world, whole("{}"), whole("no"), response_format={"type": "json_object"})
    assert differing(await compared(world)) == {"json_valid": -1}


async def test_streams_are_compared_as_whole_answers_are_and_by_their_first_token(world):
    def said(text: str) -> list[Any]:
        return [
            chunk({"content": text}),
            chunk({}, "stop"),
            chunk(usage=USAGE, choices=[]),
            b"[DONE]",
        ]

    await both(world, said("hello"), said("hello"), stream=True)
    words = await compared(world)
    assert counts(words) == {"copied": 1, "rows": 1, "agreed": 1, "ran": 1}
    assert words[a.BY_LIKENESS + 9] == 1
    assert min(measured(words, "first_token_s")) > 0.0


async def test_of_embeddings_what_they_took_is_compared(world):
    values = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "usage": USAGE}
    await both(world, values, values, Dialect.EMBEDDINGS)
    words = await compared(world)
    assert counts(words) == {"copied": 1, "rows": 1, "agreed": 1, "ran": 1}
    assert not words[a.ASPECTS_FIRST : a.MEASURES_FIRST].any()
    assert not words[a.TEXTS]
    assert min(measured(words, "cost_usd")) > 0.0


async def test_a_shadow_that_fails_is_counted_and_no_other_model_is_asked_for_it(world):
    world.ask(chat())
    world.last.answers()
    await world.turn()
    world.last.answers({"error": {"message": "down"}}, status=503)
    await world.turn()
    assert [one.body["model"] for one in world.upstreams.sent] == ["first", "second"]
    words = await compared(world)
    assert counts(words) == {"copied": 1, "failed": 1, "broke": 1}
    assert world.llm._copies.under_way == 0


@pytest.mark.parametrize("status", [400, 429])
async def test_what_a_variant_would_not_be_pulled_for_does_not_pull_a_shadow(world, status):
    world.ask(chat())
    world.last.answers()
    await world.turn()
    world.last.answers({"error": {"message": "no"}}, status=status)
    assert counts(await compared(world)) == {"copied": 1, "failed": 1}


async def test_what_finds_no_room_is_dropped_and_counted(world):
    for _ in range(copies.MAX_UNDER_WAY + 3):
        world.ask(chat())
        world.last.answers()
    await world.turn()
    words = await compared(world)
    assert counts(words) == {"copied": copies.MAX_UNDER_WAY + 3, "dropped": 3}
    asked = [one for one in world.upstreams.sent if one.body["model"] == "second"]
    for one in asked:
        one.answers()
    await compared(world)
    await world.turn()
    assert counts(words)["rows"] == len(asked) == copies.MAX_UNDER_WAY
    assert world.llm._copies.under_way == 0


async def shadowed(one: Rig, **asked: Any) -> Sent:
    """A request that was answered shortly, and its copy as the shadow has it."""
    one.llm.proxies[Dialect.CHAT].max_answer_bytes = 2 * copies.MAX_BYTES
    one.ask(chat(**asked))
    answer(one, [chunk({"content": "a"}), chunk({}, "stop")] if asked else whole())
    await one.turn()
    return one.last


async def test_a_shadow_whose_stream_does_not_end_is_ended_and_has_failed(world):
    copy = await shadowed(world, stream=True)
    copy.streams(chunk({"content": "a"}), end=False)
    came = 0
    while not copy.cancelled:
        copy.sends(chunk({"content": "a" * 50_000}))
        came += 50_000
        assert came < copies.MORE_BYTES + 100_000
    assert came > copies.MORE_BYTES - 100_000
    assert counts(await compared(world)) == {"copied": 1, "failed": 1}
    assert (world.llm._copies.under_way, world.llm._copies._bytes) == (0, 0)


async def test_answers_of_shadows_have_no_more_room_than_copies_and_are_dropped_beyond(world):
    asked = [await shadowed(world) for _ in range(12)]
    for one in asked:
        one.sink.on_head(200, JSON)
    piece = b" " * (1 << 20)
    for _ in range(3):
        for one in asked:
            if not one.cancelled:
                one.sink.on_data(piece)
                assert world.llm._copies._bytes <= copies.MAX_BYTES
    left = [one for one in asked if one.cancelled]
    assert len(left) == 2
    assert counts(await compared(world)) == {"copied": 12, "dropped": 2}
    assert world.llm._copies.under_way == 10


async def test_a_large_answer_of_a_shadow_is_read_beside_the_event_loop(world):
    copy = await shadowed(world)
    copy.answers(whole("large " * (ASIDE_BYTES // 6)))
    assert len(world.over) == 1
    await eventually(lambda: len(world.over) == 2)
    assert counts(await compared(world))["rows"] == 1


async def test_a_large_answer_of_a_shadow_that_is_none_has_failed(world):
    copy = await shadowed(world)
    copy.sink.on_head(200, JSON)
    copy.sink.on_data(b"{" * (ASIDE_BYTES + 1))
    copy.sink.on_end()
    await eventually(lambda: len(world.over) == 2)
    assert counts(await compared(world)) == {"copied": 1, "failed": 1, "broke": 1}


async def test_a_part_of_requests_is_copied():
    none = following(0.0)
    none.ask(chat())
    none.last.answers()
    await none.turn()
    assert [one.body["model"] for one in none.upstreams.sent] == ["first"]


async def test_many_are_compared_at_once_without_waiting(world):
    for _ in range(MAX_ROWS):
        await both(world, whole(), whole())
    await world.turn()
    assert counts(world.blocks.words[BLOCK])["rows"] == MAX_ROWS


@pytest.mark.parametrize("requests", [1, 2])
async def test_what_is_compared_lies_as_compiled_code_takes_it(world, requests):
    await both(world, whole(), whole())
    found = beside(Phrases(None), [(world.over[0], world.over[1])] * requests)
    assert found.first.flags.c_contiguous
    assert found.second.flags.c_contiguous


async def test_a_shadow_that_is_taken_away_leaves_nothing_waiting(world):
    await both(world, whole(), whole())  # answered, and not compared
    world.ask(chat())
    world.last.answers()
    await world.turn()  # asked, and not answered
    named = world.llm.names.models["m"]
    versions = {one.version: one for one in named.deployments}
    world.llm.follow({"m": (1, versions, Split((Variant("main", 1, 1.0),)))})
    world.last.answers()
    await world.turn()
    words = world.blocks.words[BLOCK]
    assert counts(words) == {"copied": 2, "dropped": 2}
    world.ask(chat())
    world.last.answers()
    await world.turn()
    assert counts(words) == {"copied": 2, "dropped": 2}


async def test_requests_that_differ_most_are_told_of_by_their_features_alone(world):
    client = world.ask(chat())
    client.sequence = 41
    world.last.answers(whole("a secret of the house"))
    await world.turn()
    world.last.answers(ended("length", "another secret"))
    await compared(world)
    (told,) = world.mail
    assert [told[name] for name in ("model", "answered", "shadow")] == ["m", 1, 2]
    assert (told["sequence"], told["row"], told["agree"]) == (41, 0, False)
    assert 1.2 < told["unlikeness"] <= 2.2
    assert (told["said"]["finish"], told["shadow_said"]["finish"]) == (["stop"], ["length"])
    assert told["inputs"]["messages"] == [1.0]
    assert "secret" not in json.dumps(told)


async def test_those_that_are_told_of_are_few_until_control_has_forgotten_them(world):
    for _ in range(3 * KEPT):
        await both(world, whole("one"), whole("other"))
        await compared(world)
    assert len(world.mail) == KEPT
    world.llm.begin_anew()
    await both(world, whole("one"), whole("other"))
    await compared(world)
    assert len(world.mail) == KEPT + 1


async def test_a_comparison_that_fails_is_counted_and_lets_go_of_its_copies(world, caplog):
    world.pool.broken = True
    await both(world, whole(), whole())
    words = await compared(world)
    assert counts(words) == {"copied": 1, "ran": 1}
    assert words[layout.SKETCH_SKIPPED] == 1
    assert world.llm._copies.under_way == 0
    assert "could not be compared" in caplog.text
