"""What exchanges and streams do the same way whoever carries them: order of calls, and failures.

Knows heads, endpoints and errors. Knows nothing of how an answer gets to the client.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from time import perf_counter

from gateway.errors import GatewayError
from gateway.exchange import Endpoint, Exchange, Header, Model, Phases, Stream
from gateway.wire import answers
from gateway.wire.head import Head
from gateway.wire.services import Services
from gateway.wire.timing import SERVER_TIMING, server_timing
from gateway.wire.trace import TRACEPARENT

logger = logging.getLogger("penstock.wire")


class BaseExchange(Exchange):
    """The half of `gateway.exchange.Exchange` that has nothing to do with the carrier.

    What raises NotImplementedError is the carrier's half.
    """

    __slots__ = (
        "_answered",
        "_callbacks",
        "_endpoint",
        "_stream",
        "arrived",
        "body",
        "generation",
        "gone",
        "head",
        "headers",
        "method",
        "model",
        "path",
        "phases",
        "query",
    )

    head: Head
    _endpoint: Endpoint
    _answered: bool
    _stream: BaseStream | None
    _callbacks: list[Callable[[], None]] | None
    phases: Phases
    """Set where they are known; few ask."""
    model: Model
    """Set where a route chose who answers, and anybody notes that."""

    generation: object
    """Set where a language model is asked; whoever traces requests can read it."""

    @property
    def services(self) -> Services:
        """The worker's."""
        raise NotImplementedError

    @property
    def request_id(self) -> bytes:
        """What penstock-request-id says."""
        raise NotImplementedError

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        return self.head.first(name)

    @property
    def about(self) -> dict[str, str]:
        """Fields for a log line about this request."""
        fields = {"request_id": self.request_id.decode()}
        if self.head.trace is not None:
            fields["trace_id"] = self.head.trace.trace_id.decode()
        return fields

    def note_phases(self, phases: Phases) -> None:
        """Keeps when what happened."""
        self.phases = phases

    def note_model(self, model: Model) -> None:
        """Keeps who answers."""
        self.model = model

    def note_generation(self, happened: object) -> None:
        """Keeps what happens to a request to a language model."""
        self.generation = happened

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Calls back, once, if the client leaves before the answer is written."""
        if self.gone:
            callback()
        elif self._callbacks is None:
            self._callbacks = [callback]
        else:
            self._callbacks.append(callback)

    def begin(self) -> None:
        """Calls the endpoint."""
        try:
            self._endpoint(self)
        except GatewayError as error:
            self.refuse(error)
        except Exception:
            logger.exception("the endpoint failed", extra=self.about)
            self.refuse(GatewayError("internal error"))

    def refuse(self, error: GatewayError) -> None:
        """Counts an error, and answers with it."""
        services = self.services
        services.counters.refused(error.code)
        body, more = services.refusal(error, self.path, self.request_id, self.head.echo)
        self._give_up(error.status, body, [*answers.error_headers(error), *more])

    def drained(self) -> None:
        """The carrier takes more again, or never will."""
        if self._stream is not None:
            self._stream.drained()

    def break_off(self) -> None:
        """Has the client see that a stream will not be whole; what is whole stays as it is."""
        if self._stream is not None and not self._stream.ended and not self.gone:
            self._cut()

    def let_go(self) -> None:
        """It is answered, or its client has left: nobody waits for that any more."""
        self._callbacks = self._stream = None

    def _with_own(self, headers: Sequence[Header]) -> Sequence[Header]:
        """The endpoint's headers, and what the request asked of every answer to it."""
        head = self.head
        if head.trace is None and not head.timed:
            return headers
        own = [*headers]
        if head.trace is not None:
            own.append((TRACEPARENT, head.trace.header))
        if head.timed:
            phases = getattr(self, "phases", None)
            own.append((SERVER_TIMING, server_timing(self.arrived, phases, perf_counter())))
        return own

    def _tell_gone(self) -> None:
        self.gone = True
        callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            try:
                callback()
            except Exception:
                logger.exception("an on_gone failed", extra=self.about)

    def _give_up(self, status: int, body: bytes, headers: Sequence[Header] = ()) -> None:
        if self._answered:
            self.break_off()
        else:
            self.reply(status, body, headers)

    def _cut(self) -> None:
        """Ends the stream before its end, in a way that the client cannot take for one."""
        raise NotImplementedError


class BaseStream(Stream):
    """The half of `gateway.exchange.Stream` that has nothing to do with the carrier.

    What raises NotImplementedError is the carrier's half, as with exchanges.
    """

    __slots__ = ("_callback", "_exchange", "ended")

    def __init__(self, exchange: BaseExchange) -> None:
        self.ended = False
        self._exchange = exchange
        self._callback: Callable[[], None] | None = None

    @property
    def gone(self) -> bool:
        """The client left."""
        return self._exchange.gone

    def write(self, data: bytes) -> bool:
        """Sends one piece; False asks to wait for `on_drain`."""
        if self.ended:
            raise RuntimeError("stream: written after its end")
        if self._exchange.gone:
            return False
        if data:
            self._send(data)
        return not self._paused()

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Calls back once writing may go on or the client is gone."""
        if self._exchange.gone or not self._paused():
            callback()
        else:
            self._callback = callback

    def drained(self) -> None:
        """The carrier takes more, or never will."""
        callback, self._callback = self._callback, None
        if callback is not None:
            try:
                callback()
            except Exception:
                logger.exception("an on_drain failed", extra=self._exchange.about)
                self._exchange.break_off()

    def end(self) -> None:
        """Finishes the answer."""
        if self.ended:
            raise RuntimeError("stream: ended twice")
        self.ended = True
        exchange = self._exchange
        if not exchange.gone:
            self._finish()
        # They know each other, and whoever waits for the client to leave: see `LaneExchange.reply`.
        exchange.let_go()

    def _send(self, data: bytes) -> None:
        raise NotImplementedError

    def _paused(self) -> bool:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError
