"""A request for embeddings is read, run in parts, answered in its order, and counted once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from gateway.access.principal import Principal
from gateway.errors import BudgetExceeded, GatewayError
from gateway.llm.limits.words import Limits, Rate, Rates
from gateway.monitor import layout
from gateway.monitor.upstreams import read_upstreams
from gateway.plan import Held, Split, Variant
from gateway.wire.llm.words import Dialect
from tests.embeddings import maker
from tests.embeddings.rig import PATIENCE_S, Rig, answered, held, room, vectors

pytestmark = pytest.mark.anyio


@pytest.fixture
async def serve():
    """Makes a rig, and has it end."""
    with room() as (arena, pool), ExitStack() as stack:

        def new(*wanted: Held, limits: Limits | None = None, split: Split | None = None) -> Rig:
            made = Rig(arena, pool, limits)
            stack.callback(made.close)
            made.serve(*wanted, split=split)
            return made

        yield new


@pytest.fixture
async def rig(tmp_path, serve) -> Rig:
    """Serves one version that takes four rows at once."""
    return serve(held(tmp_path, max_batch_size=4))


async def test_one_text_gets_the_vector_of_its_tokens(rig):
    caller = await rig.ask("water and wine")
    assert np.allclose(vectors(caller), maker.expected(["water and wine"]), atol=1e-6)
    (_, body) = caller.answers[0]
    used = maker.tokens(["water and wine"])
    assert body["usage"] == {"prompt_tokens": used, "total_tokens": used}
    assert (body["model"], body["object"]) == ("texts", "list")
    told = dict(caller.heads[-1])
    assert (told[b"penstock-model"], told[b"penstock-version"]) == (b"texts", b"1")
    assert told[b"x-request-id"] == b"r-1"
    assert rig.noted == [("texts", 1)]


async def test_vectors_keep_their_length_where_that_is_asked_for(tmp_path, serve):
    plain = serve(held(tmp_path, embeddings={"normalize": False}))
    (vector,) = vectors(await plain.ask("water and wine"))
    (unit,) = maker.expected(["water and wine"])
    length = np.linalg.norm(vector)
    assert abs(length - 1) > 0.01
    assert np.allclose(vector, length * unit, atol=1e-6)


async def test_tokens_and_times_are_counted_as_those_of_other_servers_are(rig):
    texts = maker.some_texts(30)  # which run part by part
    await rig.ask(texts)
    await rig.ask("water and wine")
    ((one, of),) = generated(rig)
    assert (one.called.model, one.called.asked, one.called.system) == ("texts", "texts", "penstock")
    assert of.operation == "embeddings"
    assert {name: count for name, count in of.results.items() if count} == {"ok": 2}
    used = maker.tokens(texts) + maker.tokens(["water and wine"])
    assert (of.sums["input"], of.sums["output"], of.sums["unpriced"]) == (used, 0, 0)
    assert (of.tokens.sum(axis=1).tolist(), of.histograms["duration"].sum()) == ([2, 2], 2)
    assert 0 <= of.time_ns["overhead"] <= of.time_ns["duration"]


async def test_what_is_turned_away_before_a_model_is_asked_is_no_answer_of_it(rig):
    await rig.ask(["water", ""])
    assert generated(rig) == []


async def test_counts_of_a_version_stay_where_another_takes_its_place(tmp_path, serve):
    first, second = held(tmp_path), held(tmp_path, 2)
    rig = serve(first)
    await rig.ask("water")
    rig.serve(second)
    await rig.ask("water")
    found = {one.called.version: (of.requests, bool(one.workers)) for one, of in generated(rig)}
    assert found == {1: (1, False), 2: (1, True)}


def generated(rig):
    return [(one, of) for one in read_upstreams(rig.arena) for of in one.generations]


@pytest.mark.parametrize("form", ["float", "base64"])
async def test_many_texts_of_all_lengths_are_answered_in_their_order_and_counted_once(rig, form):
    texts = maker.some_texts(30)
    caller = await rig.ask(texts, encoding_format=form)
    assert np.allclose(vectors(caller), maker.expected(texts), atol=1e-6)
    assert (rig.counted(layout.OK), rig.counted(layout.ROWS)) == (1, 30)
    assert rig.counted(layout.EXECUTIONS) >= 8  # of four rows each


async def test_who_rides_along_changes_no_vector(rig):
    texts = maker.some_texts(12, seed=3)
    callers = [rig.send(text) for text in texts]
    for caller in callers:
        await answered(caller)
    together = np.concatenate([vectors(caller) for caller in callers])
    assert np.allclose(together, maker.expected(texts), atol=1e-6)
    assert rig.counted(layout.OK) == 12


async def test_fewer_dimensions_are_the_first_ones_at_a_length_of_one(rig):
    found = vectors(await rig.ask(["water", "wine"], dimensions=3))
    first = maker.expected(["water", "wine"])[:, :3]
    assert np.allclose(found, first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-6)


async def test_many_vectors_are_written_beside_the_loop(rig):
    texts = maker.some_texts(1500, longest=3)
    found = vectors(await rig.ask(texts, encoding_format="base64"))
    assert np.allclose(found[::100], maker.expected(texts[::100]), atol=1e-6)


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"inputs": []}, 400, {"param": "input", "code": "invalid_parameter"}),
        ({"inputs": ["water", 3]}, 400, {"param": "input[1]"}),
        ({"inputs": "water", "dimensions": 13}, 400, {"param": "dimensions"}),
        ({"inputs": "water " * 600}, 400, {"param": "input[0]", "type": "invalid_request_error"}),
    ],
)
async def test_what_cannot_be_answered_is_refused_as_openai_does_and_counted(
    rig, asked, status, told
):
    caller = await rig.ask(**asked)
    (answer,) = caller.answers
    assert (answer[0], answer[1]["error"] | told) == (status, answer[1]["error"])
    code = layout.ERRORS + layout.CODE_PLACE["invalid_parameter"]
    assert (rig.counted(layout.REFUSED), rig.counted(code), rig.counted(layout.OK)) == (1, 1, 0)


async def test_texts_that_are_refused_are_not_kept_for_the_collector(rig):
    gc.collect()
    gc.disable()
    try:
        talker = await rig.ask("water " * 600)
        assert talker.answers[0][0] == 400
        rig.pool.submit(int).result()  # its thread has let go of what it did before
        await asyncio.sleep(0)
        gone = weakref.ref(talker)
        del talker
        assert gone() is None, "an error that is kept would keep its request"
    finally:
        gc.enable()


async def test_other_dialects_are_told_where_to_ask(rig):
    with pytest.raises(GatewayError, match="makes embeddings: ask /v1/embeddings"):
        rig.send("water", dialect=Dialect.CHAT, messages=[])


async def test_who_may_not_use_a_model_is_not_told_of_it(rig):
    key = Principal(7, "k", "client", frozenset({"others"}))
    with pytest.raises(GatewayError) as refused:
        rig.send("water", key=key)
    assert refused.value.status == 403


async def test_a_full_queue_refuses_what_finds_no_room(tmp_path, serve):
    rig = serve(held(tmp_path, max_queue_rows=1))
    callers = [rig.send("water") for _ in range(3)]
    for caller in callers:
        await answered(caller)
    (status, body) = callers[-1].answers[0]
    assert (callers[0].answers[0][0], status) == (200, 503)
    assert (body["error"]["code"], body["error"]["type"]) == ("queue_full", "server_error")
    assert dict(callers[-1].heads[-1])[b"retry-after"] == b"1"


async def test_who_waits_too_long_is_told_so(tmp_path, serve):
    rig = serve(held(tmp_path, timeout_ms=1e-6))  # nothing is run in so short a time
    (status, body) = (await rig.ask("water")).answers[0]
    assert (status, body["error"]["code"]) == (503, "deadline_unmeetable")


async def test_a_client_that_leaves_is_not_answered_and_counts_once(rig):
    caller = rig.send(maker.some_texts(40))
    caller.leave()
    other = await rig.ask("water")
    assert (caller.answers, len(other.answers)) == ([], 1)
    await rig.ask(maker.some_texts(40))  # behind whatever was left to do of the first
    assert (rig.counted(layout.LEFT), rig.counted(layout.OK)) == (1, 2)


class Purse:
    """Limits that keep what is taken of them."""

    def __init__(self, tokens: int = 10_000) -> None:
        self.tokens = tokens
        self.held: list[int] = []
        self.settled: list[int | None] = []

    @property
    def refused_at(self) -> Rates:
        return Rates(Rate(60, 60, 0), Rate(self.tokens, self.tokens, 0))

    @property
    def rates(self) -> Rates:
        return Rates(Rate(60, 59, 1000), Rate(self.tokens, self.tokens - self.held[-1], 1000))

    def reserve(self, rows: Sequence[int], money: int, tokens: int, now_ns: int) -> Purse:
        assert (list(rows), money) == ([5], 0)
        if tokens > self.tokens:
            raise BudgetExceeded("key 'k': 3 tokens left of its budget")
        self.held.append(tokens)
        return self

    def settle(self, money: int, tokens: int) -> None:
        self.settled.append(tokens)

    def release(self) -> None:
        self.settled.append(None)


KEY = Principal(7, "k", "client", None, rows=(5,))


async def test_the_tokens_that_are_read_are_reserved_and_settled_exactly(tmp_path, serve):
    purse = Purse()
    rig = serve(held(tmp_path), limits=purse)
    texts = maker.some_texts(9)
    caller = await rig.ask(texts, key=KEY)
    used = maker.tokens(texts)
    assert (purse.held, purse.settled) == ([used], [used])
    told = dict(caller.heads[-1])
    assert told[b"x-ratelimit-remaining-tokens"] == b"%d" % (10_000 - used)
    assert told[b"x-ratelimit-remaining-requests"] == b"59"


async def test_a_budget_that_is_spent_reads_as_openais_does(tmp_path, serve):
    purse = Purse(tokens=2)
    rig = serve(held(tmp_path), limits=purse)
    caller = await rig.ask("water", key=KEY)
    (status, body) = caller.answers[0]
    assert (status, body["error"]["code"]) == (429, "insufficient_quota")
    assert caller.told[b"x-should-retry"] == b"false"
    assert caller.told[b"x-ratelimit-remaining-requests"] == b"60"  # it has taken none
    assert caller.told[b"x-request-id"] == b"r-1"
    assert purse.settled == []


async def test_who_leaves_before_anything_was_read_has_used_nothing(tmp_path, serve):
    purse = Purse()
    rig = serve(held(tmp_path), limits=purse)
    caller = rig.send("water", key=KEY)
    caller.leave()
    assert (purse.held, purse.settled) == ([3], [None])
    await rig.ask("water", key=KEY)
    assert (caller.answers, purse.settled) == ([], [None, 3])


async def test_what_was_read_for_a_client_that_left_is_settled_and_no_more(tmp_path, serve):
    purse = Purse()
    rig = serve(held(tmp_path, max_batch_size=1), limits=purse)
    texts = maker.some_texts(60)
    caller, left = rig.send(texts, key=KEY), asyncio.Event()

    def leave(*_: Any) -> None:
        caller.leave()
        left.set()

    rig.served[1].endpoint.copy(leave)  # once the first part was run
    await asyncio.wait_for(left.wait(), PATIENCE_S)
    rig.served[1].endpoint.copy(None)
    (settled,) = purse.settled
    assert settled is not None
    assert 0 < settled < maker.tokens(texts)
    assert caller.answers == []


async def test_a_route_divides_requests_and_sticks_to_a_key(tmp_path, serve):
    first, second = held(tmp_path, 1), held(tmp_path, 2, seed=1)
    split = Split(
        (Variant("old", 1, 1.0), Variant("new", 2, 1.0)),
        sticky_parameter="user",
        override_header="x-want",
    )
    rig = serve(first, second, split=split)
    want = [(b"x-want", b"new")]
    caller = await rig.ask("water", headers=want)
    assert np.allclose(vectors(caller), maker.expected(["water"], seed=1), atol=1e-6)
    told = dict(caller.heads[-1])
    assert (told[b"penstock-variant"], told[b"penstock-version"]) == (b"new", b"2")
    sticky = {(await rig.ask("water", user=f"u{n}")).told[b"penstock-variant"] for n in range(16)}
    assert sticky == {b"old", b"new"}
    more: list[dict[str, Any]] = [
        {},
        {"metadata": {"tier": "gold"}},
        {"user": "u2", "metadata": {"user": "u1"}},
    ]
    again = {
        (await rig.ask("water", **{"user": "u1", **one})).told[b"penstock-variant"] for one in more
    }
    assert len(again) == 1


async def test_a_request_for_a_variant_that_there_is_not_is_refused(tmp_path, serve):
    split = Split((Variant("old", 1, 1.0),), override_header="x-want")
    rig = serve(held(tmp_path), split=split)
    with pytest.raises(GatewayError, match="x-want"):
        rig.send("water", headers=[(b"x-want", b"none")])


async def test_what_a_leaving_version_has_begun_another_answers_whole(tmp_path, serve):
    rig = serve(held(tmp_path, 1, max_batch_size=1))
    texts = maker.some_texts(20)
    caller = rig.send(texts)
    rig.serve(held(tmp_path, 2, seed=1))
    await answered(caller)
    assert np.allclose(vectors(caller), maker.expected(texts, seed=1), atol=1e-6)
    assert rig.noted == [("texts", 1), ("texts", 2)]
