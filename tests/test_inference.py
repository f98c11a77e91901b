"""One rider's trouble is that rider's alone, and every rider of a batch is answered once."""

from __future__ import annotations

import asyncio
import gc
import gzip
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest

from gateway.afterwards import Afterwards
from gateway.config import Limits, Server
from gateway.errors import BodyTooLarge, ContractViolated, ModelFailed, QueueFull
from gateway.inference import Arm, InferEndpoint
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.monitor.hold_out import HoldOut
from gateway.monitor.ledger import NO_MARKS
from gateway.monitor.observe import BatchObserver
from gateway.monitor.parts import Parts
from gateway.monitor.report import find_model
from gateway.monitor.slices import Slicer
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Signature, TensorSpec
from gateway.wire.laden import STRING_BYTES, Laden, footprint
from gateway.wire.oip.codec import Codec
from gateway.wire.services import Services
from tests.wire.http_rig import CountingCounters

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
        self.sequence = 0
        self.answers: list[tuple[int, Any]] = []
        self.heads: list[Any] = []
        self.on_reply: Callable[[], object] = lambda: None
        self.method, self.path, self.query = b"POST", b"/v2/models/m/infer", b""
        self.on_leave: list[Callable[[], None]] = []
        self.phases: Any = None
        self.model: Any = None
        self.about: dict[str, str] = {}

    def on_gone(self, callback: Callable[[], None]) -> None:
        self.on_leave.append(callback)

    def leave(self) -> None:
        self.gone = True
        for callback in self.on_leave:
            callback()

    def note_phases(self, phases: Any) -> None:
        self.phases = phases

    def note_model(self, model: Any) -> None:
        self.model = model

    def note_generation(self, happened: Any) -> None:
        self.generation = happened

    def reply(self, status: int, body: bytes, headers: Any = (), *_: Any) -> None:
        if self.broken:
            raise RuntimeError("the transport is in a state nobody foresaw")
        self.heads.append(headers)
        self.on_reply()
        if status != 200 or b"inference-header-content-length" not in dict(headers):
            self.answers.append((status, orjson.loads(body)))


class Kept(Caller):
    """An exchange that keeps its answer as it was written."""

    def __init__(self, replied: Callable[[], object]) -> None:
        super().__init__()
        self.on_reply = replied

    def reply(self, status: int, body: bytes, headers: Any = (), *_: Any) -> None:
        self.body, self.headers = bytes(body), list(headers)
        self.on_reply()


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


def new_services() -> Services:
    limits = Limits(max_body_bytes=1 << 20, max_buffered_bytes=1 << 20)
    return Services({}, limits, Server(compress_min_bytes=1 << 14), CountingCounters())


@pytest.fixture
def services():
    return new_services()


class Clock:
    """Says what a test says it is."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def endpoint(arena, services, clock):
    block = arena.allocate(layout.MODEL, layout.model_key("m", 1))
    with ThreadPoolExecutor(1) as pool:
        observer = BatchObserver(arena, block, 0)
        codec = Codec("m", "1", SIGNATURE, 1 << 20, 8)
        made = InferEndpoint(codec, observer, pool, services, clock)
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


def test_who_answers_or_refuses_is_noted_where_answers_are_logged(arena, services):
    # Whatever its path means by then: a route may have come to divide it.
    block = arena.allocate(layout.MODEL, layout.model_key("m", 1))
    codec = Codec("m", "1", SIGNATURE, 1 << 20, 8)
    with ThreadPoolExecutor(1) as pool:
        observer = BatchObserver(arena, block, 0)
        endpoint = InferEndpoint(codec, observer, pool, services, logged=("m", "1"))
        answered, refused = Caller(), Caller()
        endpoint.deliver(batch_of(codec, answered))
        (rider,) = batch_of(codec, refused).riders
        endpoint.refuse(rider, QueueFull("full"))
    assert answered.model == refused.model == ("m", "1")
    assert answered.phases is not None


class Writer:
    """A ledger that remembers."""

    def __init__(self, hold_out: HoldOut | None = None, client_ids: bool = False) -> None:
        self.hold_out = hold_out
        self.client_ids = client_ids
        self.taken: list[tuple[list[int], list[int], int]] = []
        self.marks: list[int] = []
        self.ids: list[str | None] = []

    def record(
        self,
        outputs: Any,
        sequences: list[int],
        rows: list[int],
        marks: Any = NO_MARKS,
        ids: Sequence[str | None] = (),
        lots: Sequence[int] = (),
    ) -> None:
        assert len(lots) == len(sequences)
        self.taken.append((sequences, rows, len(outputs[0])))
        self.marks += marks().tolist() if callable(marks) else marks.tolist()
        self.ids += ids


def written_by(writer: Any, parts: Parts | None = None) -> Afterwards:
    return Afterwards(ledger=writer, parts=parts)


@pytest.mark.parametrize("trimmed", [False, True])
def test_the_ledger_takes_who_was_answered_and_passes_over_who_left(endpoint, trimmed):
    deliverer, codec, _ = endpoint
    callers = [Caller(), Caller(gone=True), Caller()]
    for number, caller in enumerate(callers):
        caller.sequence = 70 + number
    batch, writer = batch_of(codec, *callers), Writer(client_ids=trimmed)
    if trimmed:
        batch.riders[2].request.id = "its own"
        batch.trimmed = [[np.zeros((1, 1), np.float32)] for _ in callers]
    deliverer.watch(written_by(writer))
    deliverer.deliver(batch)
    if trimmed:
        assert writer.taken == [([70], [1], 1), ([-1], [1], 1), ([72], [1], 1)]
        assert writer.ids == [None, None, "its own"]
    else:
        assert writer.taken == [([70, -1, 72], [1, 1, 1], 3)]
        assert writer.ids == []


def test_who_is_held_out_is_told_which_policy_to_follow(endpoint):
    deliverer, _, _ = endpoint
    hold_out = HoldOut(0.5, "approve", seed=1)
    riders: list[Rider] = []
    deliverer.attach(Taker(riders))
    deliverer.watch(written_by(Writer(hold_out)))
    callers = [Caller(body=body_of()) for _ in range(8)]
    for number, caller in enumerate(callers):
        caller.sequence = number
        deliverer(caller)
    batch = Batch(riders, len(riders), "idle", 0.0)
    batch.outputs = [np.zeros((len(riders), 1), np.float32)]
    deliverer.deliver(batch)
    held = [hold_out.holds(number) for number in range(8)]
    told = [dict(caller.heads[0]).get(b"penstock-hold-out") for caller in callers]
    assert told == [b"approve" if one else None for one in held]
    said = [caller.answers[0][1].get("parameters") for caller in callers]
    assert said == [{"hold_out": "approve"} if one else None for one in held]
    assert len(set(held)) == 2


@pytest.mark.parametrize("large", [False, True], ids=["on-the-loop", "on-a-thread"])
def test_what_one_variant_decodes_another_answers(endpoint, arena, services, clock, large):
    decoder, codec, slot = endpoint
    block = arena.allocate(layout.MODEL, layout.model_key("m", 2))
    riders: list[Rider] = []
    came = asyncio.Event()
    with ThreadPoolExecutor(1) as pool:
        observer = BatchObserver(arena, block, 0)
        other: Any = InferEndpoint(codec, observer, pool, services, clock)
        other.attach(Taker(riders, came.set))
        arm = Arm("canary", "m", 2, other)
        parameters = {"user": "x" * 40_000 if large else "x"}
        caller = Caller(body=body_of(parameters=parameters))

        async def ask() -> None:
            def choose(_: Any, request: Any) -> Arm:
                return {True: arm}[request.parameters == parameters]

            decoder(caller, choose=choose)
            await came.wait()

        asyncio.run(ask())
    batch = Batch(riders, 1, "idle", 0.0)
    batch.outputs = [np.zeros((1, 1), np.float32)]
    other.deliver(batch)
    told = dict(caller.heads[0])
    assert (told[b"penstock-variant"], told[b"penstock-version"]) == (b"canary", b"2")
    assert caller.answers[0][1]["parameters"] == {"variant": "canary"}
    assert (slot[layout.OK], arena.slot(block, 0)[layout.OK]) == (0, 1)


def test_rows_without_a_number_are_counted_whoever_reads_them(endpoint):
    deliverer, codec, slot = endpoint
    batch = batch_of(codec, Caller(), Caller(gone=True), Caller())
    batch.outputs = [np.array([[np.nan], [np.inf], [1.0]], np.float32)]
    deliverer.deliver(batch)
    assert (slot[layout.NON_FINITE], slot[layout.EXECUTED_ROWS]) == (2, 3)
    batch = batch_of(codec, Caller(), Caller())
    batch.outputs = [np.full((2, 1), np.nan, np.float32)]
    batch.trimmed = [[np.zeros((1, 1), np.float32)], [np.full((1, 1), np.nan, np.float32)]]
    deliverer.deliver(batch)  # what filled one of them up is nobody's answer
    assert slot[layout.NON_FINITE] == 2 + 1


def test_a_request_that_no_route_divided_says_nothing_of_variants(endpoint):
    deliverer, codec, _ = endpoint
    caller = Caller()
    deliverer.deliver(batch_of(codec, caller))
    assert not {b"penstock-variant", b"penstock-version"} & set(dict(caller.heads[0]))
    assert "parameters" not in caller.answers[0][1]


@pytest.mark.parametrize("trimmed", [False, True])
def test_the_ledger_is_told_the_groups_of_every_row(endpoint, trimmed):
    deliverer, codec, _ = endpoint
    batch, writer, slicer = batch_of(codec, *(Caller() for _ in range(3))), Writer(), Slicer()
    gold = codec.decode(body_of(parameters={"tier": "gold", "priority": 1}), None)
    batch.riders[1] = Rider(Caller(), gold, gold.inputs, 1, gold.wanted)
    batch.inputs = [np.array([[1, 2], [3, 4], [5, 6]], np.float32)]
    for rider, row in zip(batch.riders, batch.inputs[0], strict=True):
        rider.inputs = (row.reshape(1, 2),)
    if trimmed:
        batch.trimmed = [[np.zeros((1, 1), np.float32)] for _ in range(3)]
    slicer.by_column(0, (0, 1), SIGNATURE.inputs[0], [3.0, 5.0], [])
    slicer.by_parameter(1, "tier", [["silver"], ["gold"]])
    deliverer.watch(written_by(writer, Parts(slicer)))
    deliverer.deliver(batch)
    assert writer.marks == [1, 2 | 2 << 5, 3]


def test_a_caller_whose_connection_breaks_costs_its_batch_mates_nothing(endpoint):
    deliverer, codec, _ = endpoint
    first, broken, last = Caller(), Caller(broken=True), Caller()
    deliverer.deliver(batch_of(codec, first, broken, last))
    assert [len(c.answers) for c in (first, broken, last)] == [1, 0, 1]


class Door:
    """A contract that finds the same in every request."""

    def __init__(self, says: str = "", refuses: bool = False) -> None:
        self.says, self.refuses = says, refuses
        self.threads: list[int] = []

    def examine(self, _inputs: Any) -> bool:
        self.threads.append(threading.get_ident())
        return True

    def settle(self, _examined: bool, _rows: int) -> str:
        if self.refuses:
            raise ContractViolated("contract: row 0, feature 'a': expected 1, got 2")
        return self.says


def test_what_breaks_the_contract_is_refused_before_it_is_queued(endpoint):
    deliverer, _, slot = endpoint
    riders: list[Rider] = []
    deliverer.attach(Taker(riders))
    deliverer.agree(Door(refuses=True))
    refused, taken = Caller(body=body_of()), Caller(body=body_of())
    deliverer(refused)
    assert refused.answers == [(422, {"error": "contract: row 0, feature 'a': expected 1, got 2"})]
    assert dict(refused.heads[0])[b"penstock-error-code"] == b"contract_violated"
    assert slot[layout.ERRORS + layout.CODE_PLACE["contract_violated"]] == 1
    deliverer.agree(None)
    deliverer(taken)
    assert [rider.exchange for rider in riders] == [taken]


def test_a_large_request_is_examined_where_it_is_decoded(endpoint):
    deliverer, _, _ = endpoint
    riders: list[Rider] = []
    door = Door("a=above:1")

    async def scenario() -> None:
        taken = asyncio.Event()
        deliverer.attach(Taker(riders, taken.set))
        deliverer.agree(door)
        deliverer(Caller(body=body_of() + b" " * 40_000))
        await asyncio.wait_for(taken.wait(), 10)

    asyncio.run(scenario())
    assert [rider.request.warning for rider in riders] == ["a=above:1"]
    assert len(door.threads) == 1
    assert door.threads[0] != threading.get_ident()


@pytest.mark.parametrize("accept", [None, b"gzip"], ids=["plain", "compressed"])
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_an_answer_warns_in_a_parameter_and_a_header(endpoint, binary, accept):
    deliverer, codec, _ = endpoint
    deliverer._compress_min_bytes = 1

    async def scenario() -> Kept:
        replied = asyncio.Event()
        caller = Kept(replied.set)
        request = codec.decode(body_of(parameters={"binary_data_output": binary}), None)
        request.warning = "caf\u00e9, 100%=above:1"
        rider = Rider(caller, request, request.inputs, 1, request.wanted)
        rider.accept = accept
        batch = Batch([rider], 1, "idle", 0.0)
        batch.outputs = [np.zeros((1, 1), np.float32)]
        deliverer.deliver(batch)
        await asyncio.wait_for(replied.wait(), 10)
        return caller

    caller = asyncio.run(scenario())
    headers = dict(caller.headers)
    assert headers[b"penstock-contract-violations"] == b"caf%C3%A9, 100%25=above:1"
    body = caller.body if accept is None else gzip.decompress(caller.body)
    length = headers.get(b"inference-header-content-length")
    assert (length is not None) == binary
    document = orjson.loads(body[: None if length is None else int(length)])
    assert document["parameters"] == {"contract_violations": "caf\u00e9, 100%=above:1"}


def test_results_are_counted_before_the_first_answer_is_written(endpoint):
    deliverer, codec, slot = endpoint
    seen: list[int] = []
    callers = [Caller(), Caller()]
    for caller in callers:
        caller.on_reply = lambda: seen.append(slot[layout.OK])
    deliverer.deliver(batch_of(codec, *callers))
    assert seen == [2, 2]


def test_priority_and_timeout_of_a_request_reach_the_batcher(endpoint, clock):
    deliverer, _, _ = endpoint
    riders: list[Rider] = []
    deliverer.attach(Taker(riders))
    caller = Caller(body=body_of(parameters={"priority": 9, "timeout": 2_000_000}))
    clock.now = 7.0
    deliverer(caller)
    assert (riders[0].priority, riders[0].deadline) == (9, 9.0)


@pytest.mark.parametrize("padding", [0, 40_000], ids=["on-the-loop", "on-a-thread"])
def test_a_request_that_nobody_foresaw_is_answered_and_counted(endpoint, padding):
    deliverer, _, slot = endpoint

    def fail() -> None:
        raise OverflowError("int too large to convert to float")

    async def scenario() -> Caller:
        deliverer.attach(Taker([], fail))
        replied = asyncio.Event()
        caller = Caller(body=body_of() + b" " * padding)
        caller.on_reply = replied.set
        deliverer(caller)
        await asyncio.wait_for(replied.wait(), 10)
        return caller

    assert asyncio.run(scenario()).answers == [(500, {"error": "internal error"})]
    assert slot[layout.FAILED] == 1


def test_a_large_body_is_decoded_off_the_loop(endpoint):
    deliverer, _codec, _ = endpoint
    riders: list[Rider] = []

    async def scenario() -> list[int]:
        both = asyncio.Event()
        deliverer.attach(Taker(riders, lambda: both.set() if len(riders) == 2 else None))
        small, large = Caller(body=body_of()), Caller(body=body_of() + b" " * 40_000)
        deliverer(small)
        deliverer(large)
        taken = [len(riders), deliverer.decoding]
        await asyncio.wait_for(both.wait(), 10)
        return [*taken, len(riders), deliverer.decoding]

    assert asyncio.run(scenario()) == [1, 1, 2, 0]


def one_large() -> bytes:
    """A compressed body of a few bytes that holds 400,000 bytes of numbers."""
    tensor = {"name": "x", "shape": [1, 100_000], "datatype": "FP32", "data": [0] * 100_000}
    return gzip.compress(orjson.dumps({"inputs": [tensor]}))


class Loaded:
    """An endpoint of a model that takes rows of any length, with callers whose bodies are large."""

    def __init__(self, arena: Arena, services: Services, pool: ThreadPoolExecutor) -> None:
        block = arena.allocate(layout.MODEL, layout.model_key("wide", 1))
        wide = Signature((TensorSpec("x", "FP32", (-1, -1)),), SIGNATURE.outputs, batched=True)
        codec = Codec("wide", "1", wide, 1 << 20, 8)
        self.endpoint = InferEndpoint(codec, BatchObserver(arena, block, 0), pool, services)
        self.slot = arena.slot(block, 0)
        self.riders: list[Rider] = []
        self._settled = asyncio.Queue[None]()
        taker: Any = Taker(self.riders, lambda: self._settled.put_nowait(None))
        self.endpoint.attach(taker)

    async def take(self, *headers: tuple[bytes, bytes]) -> Caller:
        """A caller whose large request rides now, or was refused."""
        caller: Any = Caller(body=one_large())
        caller.headers = [(b"content-encoding", b"gzip"), *headers]
        caller.on_reply = lambda: self._settled.put_nowait(None)
        self.endpoint(caller)
        await asyncio.wait_for(self._settled.get(), 10)
        return caller


def test_decoded_tensors_are_bounded_with_what_is_buffered(arena, services):
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            loaded = Loaded(arena, services, pool)
            first, _second = [await loaded.take() for _ in range(2)]
            assert services.buffered_bytes == 800_000
            third = await loaded.take()
            assert third.answers[0][0] == 503
            assert "retry later" in third.answers[0][1]["error"]
            assert services.buffered_bytes == 800_000
            loaded.endpoint.refuse(loaded.riders[0], ModelFailed("model run failed"))
            assert (first.answers[0][0], services.buffered_bytes) == (500, 400_000)
            fourth = await loaded.take()
            assert fourth.answers == []

    asyncio.run(scenario())


def test_who_asked_is_told_its_phases_however_large_its_request(arena, services):
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            loaded = Loaded(arena, services, pool)
            asks = await loaded.take((b"penstock-timing", b"1"))
            plain = await loaded.take()
            batch = Batch(loaded.riders, 2, "idle", 0.0)
            batch.outputs = [np.zeros((2, 1), np.float32)]
            batch.started, batch.finished = 2.0, 3.0
            loaded.endpoint.deliver(batch)
            assert (asks.phases[1:], plain.phases) == ((2.0, 3.0), None)
            assert [caller.answers[0][0] for caller in (asks, plain)] == [200, 200]

    asyncio.run(scenario())


def test_a_client_that_leaves_takes_its_decoded_tensors_along(arena, services):
    async def scenario() -> None:
        with ThreadPoolExecutor(1) as pool:
            loaded = Loaded(arena, services, pool)
            caller = await loaded.take()
            assert not loaded.riders[0].exchange.gone
            caller.leave()
            assert loaded.riders[0].exchange.gone
            assert services.buffered_bytes == 0

    asyncio.run(scenario())


def test_tensors_that_no_server_of_this_size_could_hold_are_too_large(services):
    caller: Any = Caller()
    with pytest.raises(BodyTooLarge, match=r"limits\.max_buffered_bytes"):
        Laden(caller, (1 << 20) + 1, services)
    assert (services.buffered_bytes, caller.on_leave) == (0, [])


def test_an_answered_request_is_not_kept_for_the_collector(services):
    caller: Any = Caller()
    answered = weakref.ref(caller)
    laden = Laden(caller, 1, services)
    laden.reply(200, b"{}")
    gc.disable()
    try:
        del laden, caller
        assert answered() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "body", [body_of()[:-1] + b" " * 40_000, b'{"x": [' + b"1," * 40_000 + b"1]}"]
)
def test_a_large_request_that_is_refused_is_not_kept_for_the_collector(endpoint, body):
    deliverer, _, _ = endpoint

    async def scenario() -> None:
        replied = asyncio.Event()
        caller = Caller(body=body)
        caller.on_reply = replied.set
        deliverer(caller)
        await asyncio.wait_for(replied.wait(), 10)
        assert caller.answers[0][0] == 400
        refused = weakref.ref(caller)
        del caller
        await asyncio.sleep(0)
        deliverer._pool.submit(int).result()  # its thread has let go of what it did before
        assert refused() is None, "an error that is kept would keep its request"

    gc.collect()
    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_strings_count_with_what_each_takes():
    words = np.array([b"a"] * 1000, object)
    numbers = np.zeros(10, np.float32)
    assert footprint([numbers], 99) == 40
    assert footprint([words, numbers], 99) == 8000 + 40 + 1000 * STRING_BYTES + 99


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
    caller: Any = Caller()

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


def test_when_everything_happened_and_what_it_cost_can_be_read_back(endpoint, arena, clock):
    deliverer, codec, _ = endpoint
    early, late = Caller(), Caller()
    early.arrived, late.arrived = 10.0, 12.0
    batch = batch_of(codec, early, late)
    batch.riders[0].queued, batch.riders[1].queued = 11.0, 12.5
    batch.started, batch.assembled, batch.finished = 13.0, 13.5, 17.0
    batch.cpu_s, batch.cells, batch.padded_cells = 0.25, 10, 3
    late.on_reply = lambda: setattr(clock, "now", 25.0)
    deliverer.deliver(batch)
    model = find_model(arena, "m", 1)
    assert model is not None
    assert {phase: ns / 1e9 for phase, ns in model.phase_ns.items()} == {
        "decode": 1.0 + 0.5,
        "queue": 2.0 + 0.5,
        "infer": 4.0 + 4.0,
        "encode": 8.0 + 8.0,
        "total": 15.0 + 13.0,
    }
    assert (model.cpu_ns, model.oldest_ns) == (250_000_000, 2_000_000_000)
    assert (model.cells, model.padded_cells) == (10, 3)


def test_what_a_refused_request_took_can_be_read_back(endpoint, arena, clock):
    deliverer, codec, _ = endpoint
    caller: Any = Caller()
    caller.arrived, clock.now = 10.0, 25.0
    batch = batch_of(codec, caller)
    deliverer.refuse(batch.riders[0], ModelFailed("model run failed"))
    model = find_model(arena, "m", 1)
    assert model is not None
    assert (model.fail_ns, model.fail_timed) == (15_000_000_000, 1)


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
    leaves.leave()
    batch = Batch(riders, 3, "idle", 0.0)
    batch.outputs = [np.zeros((3, 1), np.float32)]
    batch.started, batch.finished = 2.0, 3.0
    deliverer.deliver(batch)
    assert (asks.phases, plain.phases, leaves.phases) == ((0.0, 2.0, 3.0), None, None)
