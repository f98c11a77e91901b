"""Large answers are written on a thread, and keep every promise that small ones keep."""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest

from gateway.inference import InferEndpoint
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.observe import BatchObserver
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Signature, TensorSpec
from gateway.wire.oip.codec import Codec
from tests.serving.fakes import FakeExecutor
from tests.test_inference import Caller, new_services

WIDTH = 40_000
SIGNATURE = Signature(
    (TensorSpec("x", "FP32", (-1, 2)),),
    (TensorSpec("y", "FP32", (-1, WIDTH)), TensorSpec("words", "BYTES", (-1, -1))),
    batched=True,
)
NUMBERS = [{"name": "y"}]
WORDS = [{"name": "words"}]


class Ledger:
    """What a batcher is told of answers that are written later."""

    def __init__(self) -> None:
        self.owed: list[Batch] = []
        self.all_written = asyncio.Event()

    def answers_later(self, batch: Batch) -> None:
        self.owed.append(batch)

    def answered(self, batch: Batch) -> None:
        self.owed.remove(batch)
        if not self.owed:
            self.all_written.set()


class Scene:
    """An endpoint whose pool writes nothing before it is told to."""

    def __init__(self, arena: Arena, pool: Any, ledger: Any) -> None:
        block = arena.allocate(layout.MODEL, layout.model_key("m", 1))
        self.slot = arena.slot(block, 0)
        self.codec = Codec("m", "1", SIGNATURE, 1 << 20, 8)
        self.pool = pool
        self.services = new_services()
        observer = BatchObserver(arena, block, 0)
        self.endpoint = InferEndpoint(self.codec, observer, self.pool, self.services)
        self.ledger = ledger
        self.endpoint.attach(self.ledger)

    def batch(self, *callers: Caller, outputs=NUMBERS, words: bytes = b"w") -> Batch:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
        riders = []
        for caller in callers:
            body = orjson.dumps({"inputs": [tensor], "outputs": outputs})
            request = self.codec.decode(body, None)
            riders.append(Rider(caller, request, request.inputs, 1, request.wanted))
        batch = Batch(riders, len(riders), "idle", 0.0)
        numbers = np.random.default_rng(3).normal(size=(len(riders), WIDTH)).astype(np.float32)
        batch.outputs = [numbers, np.full((len(riders), 5000), words, object)]
        return batch

    async def write(self) -> None:
        """Lets a thread do what the pool was given."""
        with ThreadPoolExecutor(1) as thread:
            thread.submit(self.pool.run_next).result()
        await asyncio.wait_for(self.ledger.all_written.wait(), 10)


@pytest.fixture
def arena():
    made = Arena.create(1)
    yield made
    made.close()


def played(arena: Arena, scenario) -> None:
    async def play() -> None:
        await scenario(Scene(arena, FakeExecutor(), Ledger()))

    asyncio.run(play())


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param(NUMBERS, id="numbers"),
        pytest.param(WORDS, id="strings"),
        pytest.param([*NUMBERS, *WORDS], id="both"),
        pytest.param([{"name": "y", "parameters": {"classification": 3}}], id="classes"),
    ],
)
def test_a_large_answer_waits_for_a_thread_and_says_what_the_codec_says(arena, outputs):
    async def scenario(scene: Scene) -> None:
        first, second = Caller(), Caller()
        batch = scene.batch(first, second, outputs=outputs)
        rendered = scene.codec.render(batch.outputs)
        expected = [
            orjson.loads(scene.codec.answer(rendered, rider.request, row, row + 1)[0])
            for row, rider in enumerate(batch.riders)
        ]
        scene.endpoint.deliver(batch)
        assert (first.answers, second.answers, scene.slot[layout.OK]) == ([], [], 0)
        assert scene.ledger.owed == [batch]
        await scene.write()
        assert [*first.answers, *second.answers] == [(200, body) for body in expected]

    played(arena, scenario)


def test_small_answers_and_copies_are_written_at_once(arena):
    async def scenario(scene: Scene) -> None:
        small, binary = Caller(), Caller()
        batch = scene.batch(small)
        batch.outputs = [np.ones((1, 100), np.float32), None]
        scene.endpoint.deliver(batch)
        raw = [{"name": "y", "parameters": {"binary_data": True}}]
        batch = scene.batch(binary, outputs=raw)
        batch.outputs[1] = None
        scene.endpoint.deliver(batch)
        assert (len(small.heads), len(binary.heads)) == (1, 1)
        assert (scene.pool.waiting, scene.ledger.owed) == ([], [])

    played(arena, scenario)


def test_results_of_large_answers_are_counted_before_the_first_is_written(arena):
    async def scenario(scene: Scene) -> None:
        seen: list[int] = []
        callers = [Caller(), Caller()]
        for caller in callers:
            caller.on_reply = lambda: seen.append(scene.slot[layout.OK])
        scene.endpoint.deliver(scene.batch(*callers))
        await scene.write()
        assert seen == [2, 2]

    played(arena, scenario)


@pytest.mark.parametrize("when", ["before", "while"])
def test_who_leaves_before_or_while_it_is_written_is_counted_and_not_answered(arena, when):
    async def scenario(scene: Scene) -> None:
        stays, leaves = Caller(), Caller()
        scene.endpoint.deliver(scene.batch(leaves, stays))
        leaves.gone = when == "before"
        with ThreadPoolExecutor(1) as thread:
            thread.submit(scene.pool.run_next).result()
        leaves.gone = True
        await asyncio.wait_for(scene.ledger.all_written.wait(), 10)
        assert (leaves.answers, len(stays.answers)) == ([], 1)
        assert (scene.slot[layout.OK], scene.slot[layout.LEFT]) == (1, 1)

    played(arena, scenario)


def test_a_rider_whose_answer_cannot_be_written_is_refused_alone(arena):
    async def scenario(scene: Scene) -> None:
        callers = [Caller(), Caller(), Caller()]
        batch = scene.batch(*callers, outputs=WORDS)
        words = np.full((3, 5000), b"w", object)
        words[1, 4321] = b"\xff"
        batch.outputs = [None, words]
        scene.endpoint.deliver(batch)
        await scene.write()
        assert [caller.answers[0][0] for caller in callers] == [200, 400, 200]
        assert "element 4321" in callers[1].answers[0][1]["error"]
        assert [len(caller.answers) for caller in callers] == [1, 1, 1]
        assert (scene.slot[layout.OK], scene.slot[layout.REFUSED]) == (2, 1)

    played(arena, scenario)


def test_who_could_not_be_answered_and_left_meanwhile_is_counted_once(arena):
    async def scenario(scene: Scene) -> None:
        leaves = Caller()
        scene.endpoint.deliver(scene.batch(leaves, outputs=WORDS, words=b"\xff"))
        scene.pool.run_next()
        leaves.gone = True
        await asyncio.wait_for(scene.ledger.all_written.wait(), 10)
        assert (leaves.answers, scene.slot[layout.LEFT], scene.slot[layout.REFUSED]) == ([], 1, 0)

    played(arena, scenario)


def test_a_large_answer_is_compressed_where_asked(arena):
    async def scenario(scene: Scene) -> None:
        caller = Caller()
        replied = asyncio.Event()
        caller.on_reply = replied.set
        batch = scene.batch(caller)
        batch.riders[0].accept = b"gzip"
        scene.endpoint.deliver(batch)
        await scene.write()
        scene.pool.run_next()
        await asyncio.wait_for(replied.wait(), 10)
        assert (b"content-encoding", b"gzip") in caller.heads[0]

    played(arena, scenario)


def test_an_answer_that_waits_to_be_compressed_counts_as_bytes_that_the_worker_holds(arena):
    async def scenario(scene: Scene) -> None:
        caller = Caller()
        replied = asyncio.Event()
        caller.on_reply = replied.set
        batch = scene.batch(caller)
        batch.riders[0].accept = b"gzip"
        scene.endpoint.deliver(batch)
        await scene.write()
        assert scene.services.buffered_bytes > WIDTH
        scene.pool.run_next()
        await asyncio.wait_for(replied.wait(), 10)
        assert scene.services.buffered_bytes == 0

    played(arena, scenario)


def test_where_unread_answers_fill_the_worker_no_large_one_is_added(arena):
    async def scenario(scene: Scene) -> None:
        scene.services.buffered_bytes = scene.services.limits.max_buffered_bytes + 1
        first, second, small = Caller(), Caller(), Caller()
        scene.endpoint.deliver(scene.batch(first, second))
        assert [len(caller.heads) for caller in (first, second)] == [1, 1]
        assert scene.slot[layout.ERRORS + layout.CODE_PLACE["overloaded"]] == 2
        assert (scene.pool.waiting, scene.ledger.owed) == ([], [])
        batch = scene.batch(small)
        batch.outputs = [np.ones((1, 100), np.float32), None]
        scene.endpoint.deliver(batch)
        assert small.answers[0][0] == 200
        assert (scene.slot[layout.REFUSED], scene.slot[layout.OK]) == (2, 1)

    played(arena, scenario)


def test_what_a_batch_holds_is_let_go_once_it_is_answered(arena):
    async def scenario(scene: Scene) -> None:
        batch = scene.batch(Caller())
        held = weakref.ref(batch.outputs[0])
        scene.endpoint.deliver(batch)
        del batch
        assert held() is not None
        await scene.write()
        await asyncio.sleep(0)  # the call that wrote it is over
        assert held() is None

    played(arena, scenario)
