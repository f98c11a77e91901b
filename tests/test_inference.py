"""One rider's trouble is that rider's alone, and every rider of a batch is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
import orjson
import pytest

from gateway.errors import ModelFailed
from gateway.inference import InferEndpoint
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Signature, TensorSpec
from gateway.wire.oip import Codec

SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 1)),), batched=True
)


class Caller:
    """An exchange that keeps its answers, or fails at answering."""

    def __init__(self, broken: bool = False, gone: bool = False, body: bytes = b"") -> None:
        self.broken = broken
        self.gone = gone
        self.body = body
        self.headers: list[tuple[bytes, bytes]] = []
        self.arrived = 0.0
        self.answers: list[tuple[int, Any]] = []
        self.heads: list[Any] = []
        self.on_reply: Callable[[], None] = lambda: None
        self.on_leaving: Callable[[], None] = lambda: None
        self.phases: Any = None
        self.about: dict[str, str] = {}

    def on_gone(self, callback: Callable[[], None]) -> None:
        self.on_leaving = callback

    def note_phases(self, phases: Any) -> None:
        self.phases = phases

    def note_error(self, code: str) -> None:
        self.code = code

    def reply(self, status: int, body: bytes, headers: Any = (), *_: Any) -> None:
        if self.broken:
            raise RuntimeError("the transport is in a state nobody foresaw")
        self.heads.append(headers)
        self.on_reply()
        if not headers:
            self.answers.append((status, orjson.loads(body)))


class Taker:
    """A batcher that only takes."""

    def __init__(self, riders: list[Rider], taken: Callable[[], None] = lambda: None) -> None:
        self._riders = riders
        self._taken = taken

    def submit(self, rider: Rider) -> None:
        self._riders.append(rider)
        self._taken()


@pytest.fixture
def arena():
    made = Arena.create(1)
    yield made
    made.close()


@pytest.fixture
def endpoint(arena):
    block = arena.allocate(layout.MODEL, layout.model_key("m", 1))
    with ThreadPoolExecutor(1) as pool:
        observer = BatchObserver(arena, block, 0)
        codec = Codec("m", "1", SIGNATURE, 1 << 20, 8)
        made = InferEndpoint(codec, observer, pool, 1 << 20, 1 << 14)
        yield made, codec, arena.slot(block, 0)


def body_of(**more: Any) -> bytes:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return orjson.dumps({"inputs": [tensor], **more})


def batch_of(codec: Codec, *callers: Caller) -> Batch:
    body = body_of()
    riders = []
    for caller in callers:
        request = codec.decode(body, None)
        riders.append(Rider(caller, request, request.inputs, 1, request.wanted))
    batch = Batch(riders, len(riders), "idle", 0.0)
    batch.outputs = [np.arange(len(riders), dtype=np.float32).reshape(-1, 1)]
    return batch


def test_each_rider_gets_its_own_rows(endpoint):
    deliverer, codec, slot = endpoint
    callers = [Caller(), Caller(), Caller()]
    deliverer.deliver(batch_of(codec, *callers))
    assert [c.answers[0][1]["outputs"][0]["data"] for c in callers] == [[0.0], [1.0], [2.0]]
    assert slot[layout.OK] == 3


def test_a_caller_whose_connection_breaks_costs_its_batch_mates_nothing(endpoint):
    deliverer, codec, _ = endpoint
    first, broken, last = Caller(), Caller(broken=True), Caller()
    deliverer.deliver(batch_of(codec, first, broken, last))
    assert [len(c.answers) for c in (first, broken, last)] == [1, 0, 1]


def test_results_are_counted_before_the_first_answer_is_written(endpoint):
    deliverer, codec, slot = endpoint
    seen: list[int] = []
    callers = [Caller(), Caller()]
    for caller in callers:
        caller.on_reply = lambda: seen.append(slot[layout.OK])
    deliverer.deliver(batch_of(codec, *callers))
    assert seen == [2, 2]


def test_priority_and_timeout_of_a_request_reach_the_batcher(endpoint):
    deliverer, _, _ = endpoint
    riders: list[Rider] = []
    deliverer.attach(Taker(riders))
    caller = Caller(body=body_of(parameters={"priority": 9, "timeout": 2_000_000}))
    before = perf_counter()
    deliverer(caller)
    assert riders[0].priority == 9
    assert before <= riders[0].deadline - 2.0 <= perf_counter()


def test_a_large_body_is_decoded_off_the_loop(endpoint):
    deliverer, _codec, _ = endpoint
    riders: list[Rider] = []

    async def scenario() -> list[int]:
        both = asyncio.Event()
        deliverer.attach(Taker(riders, lambda: both.set() if len(riders) == 2 else None))
        small, large = Caller(body=body_of()), Caller(body=body_of() + b" " * 40_000)
        deliverer(small)
        deliverer(large)
        taken = [len(riders)]
        await asyncio.wait_for(both.wait(), 10)
        return [*taken, len(riders)]

    assert asyncio.run(scenario()) == [1, 2]


@pytest.mark.parametrize(
    ("accept", "rows", "coded"),
    [
        pytest.param(b"gzip", 4000, True, id="asked-and-large"),
        pytest.param(b"gzip", 1, False, id="asked-and-small"),
        pytest.param(None, 4000, False, id="large-and-not-asked"),
        pytest.param(b"br", 4000, False, id="asked-for-what-is-not-served"),
    ],
)
def test_answers_are_compressed_only_when_asked_and_large(endpoint, accept, rows, coded):
    deliverer, codec, _ = endpoint
    caller = Caller()

    async def scenario() -> list[bytes]:
        batch = batch_of(codec, caller)
        batch.riders[0].rows = batch.rows = rows
        batch.riders[0].accept = accept
        batch.outputs = [np.arange(rows, dtype=np.float32).reshape(-1, 1)]
        replied = asyncio.Event()
        caller.on_reply = replied.set
        deliverer.deliver(batch)
        await asyncio.wait_for(replied.wait(), 10)
        return [value for name, value in caller.heads[0] if name == b"content-encoding"]

    assert asyncio.run(scenario()) == ([accept] if coded else [])


def test_who_left_is_counted_and_not_answered(endpoint):
    deliverer, codec, slot = endpoint
    stays, gone = Caller(), Caller(gone=True)
    deliverer.deliver(batch_of(codec, gone, stays))
    assert (gone.answers, len(stays.answers)) == ([], 1)
    assert (slot[layout.OK], slot[layout.LEFT]) == (1, 1)


def test_a_failed_run_is_told_to_every_rider_and_counted_for_each(endpoint):
    deliverer, codec, slot = endpoint
    callers = [Caller(), Caller(broken=True), Caller()]
    batch = batch_of(codec, *callers)
    batch.error = ModelFailed("model run failed")
    deliverer.deliver(batch)
    assert [c.answers for c in callers] == [
        [(500, {"error": "model run failed"})],
        [],
        [(500, {"error": "model run failed"})],
    ]
    assert slot[layout.FAILED] == 3


def test_only_who_asked_is_told_its_phases(endpoint):
    deliverer, _, _ = endpoint
    riders: list[Rider] = []
    deliverer.attach(Taker(riders))
    asks, plain, leaves = (Caller(body=body_of()) for _ in range(3))
    asks.headers = leaves.headers = [(b"penstock-timing", b"1")]
    for caller in (asks, plain, leaves):
        deliverer(caller)
    leaves.gone = True
    leaves.on_leaving()
    batch = Batch(riders, 3, "idle", 0.0)
    batch.outputs = [np.zeros((3, 1), np.float32)]
    batch.started, batch.finished = 2.0, 3.0
    deliverer.deliver(batch)
    assert (asks.phases, plain.phases, leaves.phases) == ((0.0, 2.0, 3.0), None, None)
