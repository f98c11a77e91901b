"""Walks one inference request through the rooms: decode, queue, run, encode, answer, count.

Knows the order of the rooms. Knows nothing of how any of them works inside: bytes belong to
`wire.oip`, waiting and running to `serving`, counters to `monitor`, what else is done with an
answered batch to `afterwards`.

All of it runs on the worker's event loop, once per request or once per batch, but for large bodies
and answers, which are decoded, encoded and compressed on the worker's pool; what depends only on
the deployment is worked out when the endpoint is built.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from copy import copy
from functools import partial
from time import perf_counter

from gateway.afterwards import NOTHING, Afterwards
from gateway.errors import Draining, GatewayError, Overloaded
from gateway.exchange import JSON_TYPE, Exchange, Header, Model
from gateway.monitor.capture import CaptureWriter
from gateway.monitor.contracts import Enforced, Examined
from gateway.monitor.finite import non_finite_rows
from gateway.monitor.observe import BatchObserver
from gateway.serving.batcher import Batcher
from gateway.serving.riders import Batch, Rider
from gateway.tensors import Array
from gateway.wire import coding
from gateway.wire.answers import (
    HOLD_OUT,
    VIOLATIONS,
    error_body,
    error_headers,
    header_text,
)
from gateway.wire.head import TIMING
from gateway.wire.laden import Laden, footprint
from gateway.wire.oip.binary import parse_header_length
from gateway.wire.oip.codec import Codec, InferRequest, Variant
from gateway.wire.oip.fields import Parameters
from gateway.wire.services import Services

log = logging.getLogger("penstock.inference")

BINARY_TYPE = b"application/octet-stream"
# Parsing more JSON than this holds the loop longer than a hop to a thread costs.
THREAD_BYTES = 32_768
# Writing more than this, in bytes of JSON (about 16,000 numbers, or 0.4 ms), on the loop would be
# felt by others, and is several times what a hop to a thread costs the answer itself.
THREAD_WEIGHT = 196_608
_INFINITE = float("inf")
_HEADER_LENGTH = b"inference-header-content-length"
_CONTENT_ENCODING = b"content-encoding"
_ACCEPT_ENCODING = b"accept-encoding"
_OURS = frozenset({_HEADER_LENGTH, _CONTENT_ENCODING, _ACCEPT_ENCODING, TIMING})
# Further ones are told the whole time alone.
MAX_TIMED = 1024

Answer = tuple[bytes, int | None]
"""A body, and the length of its JSON part where binary tensors follow it."""


Judged = tuple[Enforced, Examined] | None
"""What a contract that is enforced says of a request, and which one that was."""


Decoded = tuple[InferRequest, int, Judged] | GatewayError
"""A request, how many bytes its tensors take, and what its contract says; or why it is none."""


Encoded = tuple[list[Rider], list[Answer], list[tuple[Rider, GatewayError]], int]
"""Who gets an answer, which, who cannot have one, and why; and how many rows of the batch hold
something else than finite numbers."""


Copy = Callable[[Batch, list[Rider]], None] | None
"""Gets each batch with those of its riders who got an answer; None: nobody does. Never raises."""


class Arm:
    """A variant of a route, as it is answered here.

    Attributes:
        variant: what its answers say.
        model, version: what answers.
        endpoint: of the deployment behind it.
        enter: that endpoint, as it is called soonest.
        lot: how its requests got it, as `kernels.lots` has it; 0: not by chance.
    """

    __slots__ = ("endpoint", "enter", "lot", "model", "variant", "version")

    def __init__(self, name: str, model: str, version: int, endpoint: InferEndpoint) -> None:
        self.variant = Variant(name, version)
        self.model = model
        self.version = version
        self.endpoint = endpoint
        self.enter = endpoint.__call__
        self.lot = 0

    def by_lot(self, lot: int) -> Arm:
        """The same, for requests that got it in that way."""
        found = copy(self)
        found.lot = lot
        return found


Choose = Callable[[Exchange, InferRequest | None], Arm] | None
"""Who answers a request, decoded or, None, one that cannot be; it is asked once of each. None: that
is known before, or no route sent it here."""


class InferEndpoint:
    """The endpoint of one deployment: POST .../infer.

    Attributes:
        decoding: requests that are being decoded on the pool, or wait for it.
    """

    __slots__ = (
        "_afterwards",
        "_batched",
        "_batcher",
        "_clock",
        "_codec",
        "_compress_min_bytes",
        "_contract",
        "_copy",
        "_heir",
        "_hold_out",
        "_light_rows",
        "_logged",
        "_max_body_bytes",
        "_observer",
        "_parted",
        "_pool",
        "_services",
        "_timed",
        "decoding",
    )

    def __init__(
        self,
        codec: Codec,
        observer: BatchObserver,
        pool: Executor,
        services: Services,
        clock: Callable[[], float] = perf_counter,
        logged: Model | None = None,
        parted: bool = False,
    ) -> None:
        """Takes its collaborators.

        Args:
            codec: of the deployment.
            observer: counts.
            pool: threads for what is large.
            services: of the port.
            clock: seconds.
            logged: what answers, as every exchange is told, with its phases; None: nobody logs.
            parted: some requests come in parts, of which only the last one is counted as one.
        """
        self._codec = codec
        self._batched = codec.signature.batched
        self._light_rows = codec.light_rows(THREAD_WEIGHT)
        self._observer = observer
        self._pool = pool
        self._services = services
        self._clock = clock
        self._max_body_bytes = services.limits.max_body_bytes
        self._compress_min_bytes = services.server.compress_min_bytes
        self._heir: Callable[[Exchange], bool] | None = None
        self._logged = logged
        self._parted = parted
        self._copy: Copy = None
        self.watch(NOTHING)
        self._contract: Enforced | None = None
        self._timed: set[int] = set()
        """Those under way that asked to be told their phases, by `id`."""
        self.decoding = 0

    def attach(self, batcher: Batcher) -> None:
        """Where requests go once decoded; the batcher needs `deliver` and `refuse`, hence later."""
        self._batcher = batcher

    def watch(self, afterwards: Afterwards) -> None:
        """From the next batch on, answered ones go there."""
        self._afterwards = afterwards
        self._hold_out = afterwards.hold_out

    def copy(self, copy: Copy) -> None:
        """From the next batch on, `copy` gets what a route sent here, once it is answered."""
        self._copy = copy

    def count(self, batch: Batch) -> None:
        """Counts the values of a batch of copies, which nobody was answered with."""
        self._afterwards.count(batch)

    @property
    def capture(self) -> CaptureWriter | None:
        """What keeps its inputs and outputs; None: nobody does."""
        return self._afterwards.capture

    @property
    def recorded(self) -> bool:
        """Its answers are written down, for outcomes to be joined to."""
        return self._afterwards.ledger is not None

    def agree(self, contract: Enforced | None) -> None:
        """From the next request on, inputs are held against this one before they are queued."""
        self._contract = contract

    def retire(self, heir: Callable[[Exchange], bool]) -> None:
        """The deployment leaves: what arrives late goes to `heir`, if that returns True."""
        self._heir = heir

    # ---- in -------------------------------------------------------------------------------------

    def __call__(self, exchange: Exchange, arm: Arm | None = None, choose: Choose = None) -> None:
        """Takes a request that has wholly arrived; it is answered once, now or later.

        Args:
            exchange: the request.
            arm: as which variant this endpoint was chosen to answer, where a route did.
            choose: finds the variant once the request is decoded.
        """
        body = exchange.body
        header_length = encoding = accept = None
        for name, value in exchange.headers:
            if name in _OURS:
                if name == _HEADER_LENGTH:
                    header_length = value
                elif name == _CONTENT_ENCODING:
                    encoding = value
                elif name == _ACCEPT_ENCODING:
                    accept = value
                elif value.strip() == b"1":
                    self._time(exchange)
        if encoding is not None or len(body) > THREAD_BYTES:
            self._decode_on_thread(exchange, header_length, encoding, accept, arm, choose)
            return
        try:
            length = None
            if header_length is not None:
                length = parse_header_length(header_length, len(body))
            request = self._codec.decode(body, length)
        except GatewayError as error:
            self._turn_back(exchange, error, choose)
            return
        except Exception:
            self._fail(exchange)
            return
        try:
            self._submit(exchange, request, accept, None, arm, choose)
        except GatewayError as error:
            self._refuse(exchange, error)
        except Exception:
            self._fail(exchange)

    def ask(
        self,
        exchange: Exchange,
        inputs: tuple[Array, ...],
        rows: int,
        parameters: Parameters,
        arm: Arm | None = None,
        more: bool = False,
    ) -> None:
        """Takes tensors that were made here; `exchange` gets all outputs as bytes, once, later.

        Args:
            exchange: of whoever wants them.
            inputs: in the signature's order, and such as it has.
            rows: leading dimension of these.
            parameters: that its request has, by name.
            arm: as which variant this endpoint was chosen to answer, where a route did.
            more: they are a part of a request, and others follow once it is answered.
        """
        request = self._codec.request(inputs, rows, parameters)
        request.more = more
        self._take(exchange, request, None, arm)

    def named(self, exchange: Exchange) -> None:
        """As calling it, with a request whose path names the version: whoever would miss it."""
        self._observer.named()
        self(exchange)

    def _turn_back(self, exchange: Exchange, error: GatewayError, choose: Choose) -> None:
        """Refuses what cannot be decoded, in the name of whoever answers such requests."""
        if choose is not None:
            choose(exchange, None)
        self._refuse(exchange, error)

    def _time(self, exchange: Exchange) -> None:
        if len(self._timed) < MAX_TIMED:
            # Not the exchange, in whose own list this callback is: its body would wait for the
            # collector.
            self._timed.add(id(exchange))
            exchange.on_gone(partial(self._timed.discard, id(exchange)))

    def _submit(
        self,
        exchange: Exchange,
        request: InferRequest,
        accept: bytes | None,
        judged: Judged = None,
        arm: Arm | None = None,
        choose: Choose = None,
    ) -> None:
        if arm is not None:
            request.variant, request.lot = arm.variant, arm.lot
        elif choose is not None:
            arm = choose(exchange, request)
            request.variant, request.lot = arm.variant, arm.lot
            if arm.endpoint is not self:
                self._hand_over(exchange, request, accept, arm.endpoint)
                return
        if judged is None and self._contract is not None:
            judged = self._judge(request)
        if judged is not None:
            contract, examined = judged
            request.warning = contract.settle(examined, request.rows)
        hold_out = self._hold_out
        if hold_out is not None and hold_out.holds(exchange.sequence):
            request.policy = hold_out.policy
        timeout_us = request.timeout_us
        rider = Rider(
            exchange,
            request,
            request.inputs,
            request.rows,
            request.choice.indices,
            request.priority,
            self._clock() + timeout_us * 1e-6 if timeout_us else _INFINITE,
        )
        rider.accept = accept
        self._batcher.submit(rider)

    def _hand_over(
        self, exchange: Exchange, request: InferRequest, accept: bytes | None, to: InferEndpoint
    ) -> None:
        """Another deployment of the same signature answers what was decoded here."""
        if id(exchange) in self._timed:
            self._timed.discard(id(exchange))
            to._time(exchange)
        to._take(exchange, request, accept)

    def _take(
        self,
        exchange: Exchange,
        request: InferRequest,
        accept: bytes | None,
        arm: Arm | None = None,
    ) -> None:
        """Takes what was decoded elsewhere."""
        try:
            self._submit(exchange, request, accept, None, arm)
        except GatewayError as error:
            self._refuse(exchange, error)
        except Exception:
            self._fail(exchange)

    def _judge(self, request: InferRequest) -> Judged:
        """Holds a request against the contract. On the loop or on a thread: never raises."""
        contract = self._contract
        return None if contract is None else (contract, contract.examine(request.inputs))

    def _decode_on_thread(
        self,
        exchange: Exchange,
        header_length: bytes | None,
        encoding: bytes | None,
        accept: bytes | None,
        arm: Arm | None,
        choose: Choose,
    ) -> None:
        loop = asyncio.get_running_loop()

        def decode() -> None:
            outcome: Decoded = GatewayError("the client left")
            if not exchange.gone:  # while it waited for a thread
                outcome = self._decode(exchange, header_length, encoding)
            loop.call_soon_threadsafe(self._decoded, exchange, outcome, accept, arm, choose)

        self._pool.submit(decode)
        self.decoding += 1

    def _decode(
        self, exchange: Exchange, header_length: bytes | None, encoding: bytes | None
    ) -> Decoded:
        """On a thread: never raises."""
        body = exchange.body
        try:
            if encoding is not None:
                body = coding.inflate(body, encoding, self._max_body_bytes)
            length = None
            if header_length is not None:
                length = parse_header_length(header_length, len(body))
            request = self._codec.decode(body, length)
            return request, footprint(request.inputs, len(body)), self._judge(request)
        except GatewayError as error:
            return error.bare()
        except Exception:
            log.exception("decoding a request failed", extra=exchange.about)
            return GatewayError("internal error")

    def _decoded(
        self,
        exchange: Exchange,
        outcome: Decoded,
        accept: bytes | None,
        arm: Arm | None = None,
        choose: Choose = None,
    ) -> None:
        self.decoding -= 1
        if exchange.gone:
            self._observer.left()
        elif isinstance(outcome, GatewayError):
            self._turn_back(exchange, outcome, choose)
        else:
            request, size, judged = outcome
            try:
                laden = Laden(exchange, size, self._services)
                if id(exchange) in self._timed:
                    self._timed.discard(id(exchange))
                    self._time(laden)
                exchange = laden
                self._submit(exchange, request, accept, judged, arm, choose)
            except GatewayError as error:
                self._refuse(exchange, error)
            except Exception:
                self._fail(exchange)

    def _fail(self, exchange: Exchange) -> None:
        """Nobody foresaw this; whoever sent it is answered and counted like any other."""
        log.exception("taking a request failed", extra=exchange.about)
        self._refuse(exchange, GatewayError("internal error"))

    # ---- out ------------------------------------------------------------------------------------

    def deliver(self, batch: Batch) -> None:
        """Answers the riders of a batch that has run, and counts it."""
        if batch.isolated:
            self._observer.reran(len(batch.riders))
        if batch.error is not None:
            for rider in batch.riders:
                self.refuse(rider, batch.error)
            return
        if batch.rows > self._light_rows and self._heavy(batch):
            self._encode_on_thread(batch)
        else:
            self._answer(batch, self._encode(batch))

    def _heavy(self, batch: Batch) -> bool:
        requests = (rider.request for rider in batch.riders)
        return self._codec.weighs_over(THREAD_WEIGHT, batch.outputs, requests)

    def _encode_on_thread(self, batch: Batch) -> None:
        if self._services.crowded:
            # Who asked before the others' answers piled up would have come in nonetheless.
            for rider in batch.riders:
                self.refuse(rider, Overloaded("answers that nobody reads fill the server"))
            return
        loop = asyncio.get_running_loop()

        def encode() -> None:
            loop.call_soon_threadsafe(self._encoded, batch, self._encode(batch))

        # First, so that nobody believes the batch answered; should the pool find no new thread, it
        # still keeps what it was given for those that it has.
        self._batcher.answers_later(batch)
        self._pool.submit(encode)

    def _encoded(self, batch: Batch, encoded: Encoded) -> None:
        try:
            self._answer(batch, _still_awaited(encoded))
        finally:
            self._batcher.answered(batch)

    def _answer(self, batch: Batch, encoded: Encoded) -> None:
        """Counts, then writes what has been encoded, then notes the times."""
        answered, answers, failed, non_finite = encoded
        for rider, error in failed:
            self._refuse(rider.exchange, error)
        observer = self._observer
        left = len(batch.riders) - len(answered) - len(failed)
        rows = batch.rows
        if len(answered) < len(batch.riders):
            rows = sum([rider.rows for rider in answered])
        pruned = batch.runtime is not None
        whole = answered
        if self._parted:
            whole = [rider for rider in answered if not rider.request.more]
        observer.counted(batch.reason, batch.rows, len(whole), rows, left, pruned, non_finite)
        if self._timed or self._logged is not None:
            self._tell_phases(batch, answered)
        for rider, answer in zip(answered, answers, strict=True):
            try:
                self._reply(rider, answer)
            except Exception:  # one connection's trouble is not its batch-mates'
                log.exception("an answer could not be sent", extra=rider.exchange.about)
        observer.observed(
            [rider.exchange.arrived for rider in whole],
            [rider.queued for rider in whole],
            batch.started,
            batch.assembled,
            batch.finished,
            self._clock(),
            batch.rows,
            batch.cpu_s,
            batch.on_loop,
            batch.padded_cells,
            batch.cells,
        )
        self._afterwards.take(batch, answered)
        if self._copy is not None:
            self._copy(batch, answered)

    def _tell_phases(self, batch: Batch, answered: list[Rider]) -> None:
        timed, logged = self._timed, self._logged
        started, finished = batch.started, batch.finished
        for rider in answered:
            exchange = rider.exchange
            if logged is not None:
                # A route may have come to divide its path since it came in.
                exchange.note_model(logged)
                exchange.note_phases((rider.queued, started, finished))
            elif id(exchange) in timed:
                exchange.note_phases((rider.queued, started, finished))
        if timed:
            timed.difference_update([id(rider.exchange) for rider in answered])

    def turn_away(self, exchange: Exchange, error: GatewayError) -> None:
        """Answers a request that is refused before it is looked at."""
        self._refuse(exchange, error)

    def refuse(self, rider: Rider, error: GatewayError) -> None:
        """Answers a rider that will not ride, or whose run failed."""
        self._refuse(rider.exchange, error)

    def _encode(self, batch: Batch) -> Encoded:
        """The bodies of all who still wait for one. On the loop or on a thread: never raises."""
        codec = self._codec
        rendered = None if batch.trimmed else codec.render(batch.outputs)
        answered: list[Rider] = []
        answers: list[Answer] = []
        failed: list[tuple[Rider, GatewayError]] = []
        start = 0
        for place, rider in enumerate(batch.riders):
            first, start = start, start + rider.rows
            if rider.exchange.gone:
                continue
            try:
                if rendered is not None:
                    answer = codec.answer(rendered, rider.request, first, start)
                else:
                    own = codec.render(batch.trimmed[place])  # type: ignore[index]
                    answer = codec.answer(own, rider.request, 0, rider.rows)
            except GatewayError as error:
                failed.append((rider, error.bare()))
                continue
            except Exception:
                log.exception("an answer could not be written", extra=rider.exchange.about)
                failed.append((rider, GatewayError("internal error")))
                continue
            answered.append(rider)
            answers.append(answer)
        return answered, answers, failed, self._non_finite(batch)

    def _non_finite(self, batch: Batch) -> int:
        """Rows that are not all finite numbers; what only filled outputs up is nobody's."""
        outputs = [batch.outputs] if batch.trimmed is None else batch.trimmed
        return sum([non_finite_rows(one, self._batched) for one in outputs])

    def _reply(self, rider: Rider, answer: Answer) -> None:
        body, header_length = answer
        warning = rider.request.warning
        headers: Sequence[Header] = () if header_length is None else _binary(header_length)
        variant = rider.request.variant
        if variant is not None:
            headers = (*variant.headers, *headers) if headers else variant.headers
        if warning:
            headers = (*headers, (VIOLATIONS, header_text(warning)))
        if rider.request.policy:
            headers = (*headers, (HOLD_OUT, rider.request.policy.encode()))
        content_type = JSON_TYPE if header_length is None else BINARY_TYPE
        if rider.accept is not None and len(body) >= self._compress_min_bytes:
            chosen = coding.choose(rider.accept)
            if chosen is not None:
                self._compress_on_thread(rider.exchange, body, headers, content_type, chosen)
                return
        rider.exchange.reply(200, body, headers, content_type)

    def _compress_on_thread(
        self,
        exchange: Exchange,
        body: bytes,
        headers: Sequence[Header],
        content_type: bytes,
        chosen: bytes,
    ) -> None:
        loop = asyncio.get_running_loop()

        def compress() -> None:
            try:
                small = coding.compress(body, chosen)
            except Exception:  # of memory, say: large as it is, it is still the answer
                log.exception("an answer could not be compressed", extra=exchange.about)
                loop.call_soon_threadsafe(reply, body, headers)
                return
            encoded = (*headers, (b"content-encoding", chosen), (b"vary", b"accept-encoding"))
            loop.call_soon_threadsafe(reply, small, encoded)

        def reply(made: bytes, encoded: Sequence[Header]) -> None:
            self._services.buffered_bytes -= len(body)
            exchange.reply(200, made, encoded, content_type)

        # It waits for a thread, and no batch holds a slot for it any more.
        self._services.buffered_bytes += len(body)
        self._pool.submit(compress)

    def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        """Counted before it is written, so that no client ever saw more than the counters did."""
        if exchange.gone:
            self._observer.left()
            return
        self._timed.discard(id(exchange))
        if isinstance(error, Draining) and self._heir is not None and self._heir(exchange):
            return
        if self._logged is not None:
            exchange.note_model(self._logged)
        self._observer.erred(error, self._clock() - exchange.arrived)
        try:
            exchange.reply(error.status, error_body(str(error)), error_headers(error))
        except Exception:
            log.exception("a refusal could not be sent", extra=exchange.about)


def _binary(header_length: int) -> tuple[Header, ...]:
    return ((b"inference-header-content-length", b"%d" % header_length),)


def _still_awaited(encoded: Encoded) -> Encoded:
    """Without those whose client left while it was written."""
    answered, answers, failed, non_finite = encoded
    kept = [
        (rider, answer)
        for rider, answer in zip(answered, answers, strict=True)
        if not rider.exchange.gone
    ]
    return (
        [rider for rider, _ in kept],
        [answer for _, answer in kept],
        [(rider, error) for rider, error in failed if not rider.exchange.gone],
        non_finite,
    )
