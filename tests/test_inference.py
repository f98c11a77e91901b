"""One rider's trouble is that rider's alone, and every rider of a batch is answered once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
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

    def __init__(self, broken: bool = False, gone: bool = False) -> None:
        self.broken = broken
        self.gone = gone
        self.arrived = 0.0
        self.answers: list[tuple[int, Any]] = []

    def reply(self, status: int, body: bytes, *_: Any) -> None:
        if self.broken:
            raise RuntimeError("the transport is in a state nobody foresaw")
        self.answers.append((status, orjson.loads(body)))


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


def batch_of(codec: Codec, *callers: Caller) -> Batch:
    body = orjson.dumps(
        {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    )
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
