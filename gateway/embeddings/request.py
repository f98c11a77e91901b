"""One request for embeddings under way: read, run part by part, and answered in its order.

Knows the order of that. Knows nothing of how texts are read, of how a model is waited for and run,
or of how callers' limits are kept.

To the endpoint of its model a request is an exchange like any other: what that answers are the
vectors of one part, after which the next is sent. One part is under way at a time, so that whoever
sends thousands of texts waits like everybody else for each run, and what is refused, left or
failed is so once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from gateway.embeddings.reserved import Reserved
from gateway.errors import GatewayError
from gateway.exchange import JSON_TYPE, Header
from gateway.inference import Arm, InferEndpoint
from gateway.llm.counting_here import CounterHere
from gateway.llm.limits.words import Limits
from gateway.llm.proxy import Proxy
from gateway.llm.told import MODEL, VERSION, quoted
from gateway.serving.tokens import TextReader, Texts
from gateway.tensors import Array
from gateway.wire.answers import Written, error_code
from gateway.wire.around import Around
from gateway.wire.laden import Laden
from gateway.wire.llm.embeddings import (
    EmbeddingsAsked,
    check_dimensions,
    embeddings_answer,
    read_embeddings,
)
from gateway.wire.llm.errors import openai_error
from gateway.wire.services import Services

log = logging.getLogger("penstock.embeddings")

# Reading them takes some 100 us, which is about what a hop to a thread costs.
LOOP_CHARS: Final = 512
# Printing them takes some 0.4 ms, as for every answer of tensors.
LOOP_NUMBERS: Final = 16_384
_LENGTH: Final = b"inference-header-content-length"


@dataclass(frozen=True, slots=True)
class Means:
    """What all requests of a worker are answered by.

    Attributes:
        loop: the worker's.
        services: of its port.
        pool: threads that read long texts and write many vectors.
        limits: of keys; None: nobody has a key.
        note: is told of each request which model and version answer it, before it is answered.
    """

    loop: asyncio.AbstractEventLoop
    services: Services
    pool: Executor
    limits: Limits | None
    note: Callable[[Any, str, int], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers a request.

    Attributes:
        model, version: of the deployment.
        endpoint: of it.
        reader: reads texts to what it takes.
        max_rows: in one of its runs.
        arm: as which variant it was chosen; None: no route divides requests.
        counter: counts what it answers; None: there is no room for it.
    """

    model: str
    version: int
    endpoint: InferEndpoint
    reader: TextReader
    max_rows: int
    arm: Arm | None = None
    counter: CounterHere | None = None


Choose = Callable[[Sequence[Header], Mapping[str, Any]], Choice]
"""Finds who answers, by the headers and parameters of a request. Raises why nobody does."""


class EmbeddingsRequest(Around):
    """One request, as the endpoint that answers its parts sees it. Lives on the event loop."""

    __slots__ = (
        "_asked",
        "_asked_at",
        "_choice",
        "_choose",
        "_error",
        "_means",
        "_model",
        "_next",
        "_parameters",
        "_parts",
        "_proxy",
        "_reserved",
        "_tokens",
        "_values",
        "_vectors",
    )

    def __init__(
        self,
        proxy: Proxy,
        exchange: Any,
        values: Mapping[str, Any],
        means: Means,
        choose: Choose,
    ) -> None:
        """Takes a request whose caller may use the model.

        Args:
            proxy: where it came in.
            exchange: gets the answer.
            values: the body.
            means: of its worker.
            choose: finds who answers.
        """
        super().__init__(exchange)
        # fixed
        self._proxy = proxy
        self._values = values
        self._means = means
        self._choose = choose
        self._model: str = values["model"]
        metadata = values.get("metadata")
        self._parameters = metadata if isinstance(metadata, dict) else {}
        passage = exchange.head.passage
        rows = () if passage is None else passage.principal.rows
        self._reserved = Reserved(means.limits, rows)
        if means.limits is not None and rows:
            exchange.on_gone(self._reserved.end)
        # once known; anew where another deployment begins again
        self._asked: EmbeddingsAsked
        self._choice: Choice
        self._parts: list[Texts] = []
        self._next = self._tokens = 0
        self._asked_at = 0.0
        self._vectors: Array
        self._error: GatewayError | None = None

    # ---- the way in -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Has it answered, once, now or later.

        Raises:
            InvalidParameter, ModelNotFound, ModelNotReady: nobody does.
        """
        self._begin(self._choose(self.headers, {**self._values, **self._parameters}))

    def again(self) -> bool:
        """The deployment that has it leaves: has another answer all of it. False: there is none."""
        try:
            choice = self._choose(self.headers, {**self._values, **self._parameters})
        except GatewayError:
            return False
        if choice.endpoint is self._choice.endpoint:
            return False
        self._begin(choice)
        return True

    def _begin(self, choice: Choice) -> None:
        self._choice = choice
        self._means.note(self._exchange, choice.model, choice.version)
        try:
            self._asked = read_embeddings(self._values)
            check_dimensions(self._asked, choice.reader.size)
            if sum(map(len, self._asked.texts)) > LOOP_CHARS:
                self._read_on_thread(choice)
                return
            parts = choice.reader.read(self._asked.texts, choice.max_rows)
            self._start(parts)
        except GatewayError as error:
            self._turn_away(error)

    def _read_on_thread(self, choice: Choice) -> None:
        def read() -> None:
            outcome: list[Texts] | GatewayError
            try:
                outcome = choice.reader.read(self._asked.texts, choice.max_rows, lambda: self.gone)
            except GatewayError as error:
                outcome = error.bare()
            except Exception:
                log.exception("texts were not read", extra=self.about)
                outcome = GatewayError("internal error")
            self._means.loop.call_soon_threadsafe(self._read, outcome)

        self._means.pool.submit(read)
        choice.endpoint.decoding += 1

    def _read(self, outcome: list[Texts] | GatewayError) -> None:
        self._choice.endpoint.decoding -= 1
        if isinstance(outcome, GatewayError):
            self._turn_away(outcome)
            return
        try:
            size = sum(part.nbytes for part in outcome)
            size += len(self._asked.texts) * self._choice.reader.size * 4
            self._exchange = Laden(self._exchange, size, self._means.services)
            self._start(outcome)
        except GatewayError as error:
            self._turn_away(error)
        except Exception:
            log.exception("texts were not sent on", extra=self.about)
            self._turn_away(GatewayError("internal error"))

    def _start(self, parts: list[Texts]) -> None:
        self._tokens = sum(part.tokens for part in parts)
        if not self.gone:
            self._reserved.cover(self._tokens)
        self._parts, self._next = parts, 0
        self._asked_at = self._proxy.clock()
        self._vectors = np.empty((len(self._asked.texts), self._choice.reader.size), np.float32)
        self._send()

    def _send(self) -> None:
        """Has the next part run."""
        choice, part = self._choice, self._parts[self._next]
        more = self._next + 1 < len(self._parts)
        parameters = {n: v for n, v in self._parameters.items() if isinstance(v, str | int | float)}
        choice.endpoint.ask(self, part.inputs, len(part.numbers), parameters, choice.arm, more)

    def _turn_away(self, error: GatewayError) -> None:
        """Refuses it in the name of whoever was to answer, by whom that is counted."""
        self._error = error
        self._choice.endpoint.turn_away(self, error)

    # ---- the way out ----------------------------------------------------------------------------

    def reply(
        self,
        status: int,
        body: bytes,
        headers: Sequence[Header] = (),
        content_type: bytes = JSON_TYPE,
    ) -> None:
        """Takes the vectors of a part, or why there are none."""
        try:
            if status != 200:
                self._refuse(status, body, headers)
                return
            self._take(body, headers)
            if self._next < len(self._parts):
                self._send()
            else:
                self._finish(headers)
        except Exception:
            log.exception("vectors were not answered", extra=self.about)
            self._fail()
            self._proxy.refuse(self._exchange, GatewayError("internal error"))

    def _take(self, body: bytes, headers: Sequence[Header]) -> None:
        part, self._parts[self._next] = self._parts[self._next], _TAKEN
        self._next += 1
        length = next(int(value) for name, value in headers if name == _LENGTH)
        rows = np.frombuffer(body, "<f4", offset=length).reshape(len(part.numbers), -1)
        self._vectors[list(part.numbers)] = rows
        self._reserved.read(part.tokens)

    def _finish(self, headers: Sequence[Header]) -> None:
        self._reserved.end()
        told = {MODEL: quoted(self._choice.model), VERSION: b"%d" % self._choice.version}
        told |= {name: value for name, value in headers if name != _LENGTH}
        said = [*told.items(), *self._more()]
        last = self._proxy.clock()
        if self._vectors.size > LOOP_NUMBERS:
            self._write_on_thread(said, last)
        else:
            self._write(self._answer(), said, last)

    def _write(self, body: bytes, headers: Sequence[Header], last: float) -> None:
        self._exchange.reply(200, body, headers)
        counter, proxy = self._choice.counter, self._proxy
        if counter is not None:
            times = self.arrived, self._asked_at, last, proxy.clock()
            counter.answered(self._tokens, *times)

    def _fail(self) -> None:
        """Nothing comes of it. What was refused before a model was asked is counted elsewhere."""
        self._reserved.end()
        counter = self._choice.counter
        if counter is not None and self._asked_at:
            counter.failed(self.arrived, self._asked_at, self._proxy.clock())

    def _answer(self) -> bytes:
        return embeddings_answer(self._vectors, self._asked, self._model, self._tokens)

    def _write_on_thread(self, headers: Sequence[Header], last: float) -> None:
        loop, exchange = self._means.loop, self._exchange

        def write() -> None:
            try:
                body = self._answer()
            except Exception:  # of memory, say
                log.exception("vectors were not written", extra=self.about)
                failed = GatewayError("internal error")
                loop.call_soon_threadsafe(self._fail)
                loop.call_soon_threadsafe(self._proxy.refuse, exchange, failed)
                return
            loop.call_soon_threadsafe(self._write, body, headers, last)

        self._means.pool.submit(write)

    def _refuse(self, status: int, body: bytes, headers: Sequence[Header]) -> None:
        """Passes on what the endpoint says, in the words of this dialect."""
        self._fail()
        if self._error is not None:
            body, headers = self._proxy.refusal(self._exchange, self._error)
        else:
            error = openai_error(status, orjson.loads(body)["error"], error_code(headers))
            body = orjson.dumps({"error": error})
        self._exchange.reply(status, body, [*headers, *self._more()])

    def _more(self) -> list[Header]:
        """What is left of limits per minute, and what the request is called."""
        rates = Written(self._proxy.rates(self._reserved.rates))
        return [*rates, *self._proxy.named_so(self._exchange)]


_TAKEN: Final = Texts((), (), 0)
"""Stands where a part was whose vectors are there: its tensors need not be kept."""
