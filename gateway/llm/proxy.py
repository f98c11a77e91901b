"""The endpoint of one path of a language model API: reads a request, and sends it on its journey.

Knows the order: who asks, what for, which version answers, what it may cost. Knows nothing of how
upstreams are asked (`journey`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from random import Random
from time import monotonic_ns, perf_counter, time
from typing import Any, Final, cast

import orjson

from gateway.access.principal import Principal
from gateway.access.roles import Permission
from gateway.errors import GatewayError
from gateway.exchange import Exchange, Header
from gateway.llm.account import Account
from gateway.llm.deployment import LlmDeployment
from gateway.llm.journey import Journey
from gateway.llm.later import Later, at_once
from gateway.llm.limits.words import NO_RATES, Limits, Rates
from gateway.llm.names import Chosen, Named, Names
from gateway.llm.pools import Attempts
from gateway.llm.told import Happened, patience_s
from gateway.llm.upstream.upstreams import Upstreams
from gateway.wire import coding
from gateway.wire.answers import Written, error_headers
from gateway.wire.laden import Laden
from gateway.wire.llm.counted import ESTIMATED, estimated_count
from gateway.wire.llm.errors import error_body, rate_lines, request_id_header
from gateway.wire.llm.requests import Call, read_at_once, read_call, read_values
from gateway.wire.llm.words import Dialect
from gateway.wire.services import Services
from gateway.wire.trace import Trace

log = logging.getLogger("penstock.llm")

NOBODY: Final = ()

Count = Callable[[Any, str, int], None]
"""Counts a caller's request: by its head, the model, and the version that answers."""
Over = Callable[[Exchange, Chosen, Happened], None]
"""Hears of every request that is over, with all that happened to it."""
FellBack = Callable[[Chosen, Happened], None]
"""Hears of every version that has no answer for a client, so that another model is asked."""


class Proxy:
    """Of one dialect in one worker. Lives on its event loop.

    Attributes:
        dialect: of its clients.
        names: models, by what clients call them.
        upstreams: connections.
        over: hears of what happened.
        fell_back: hears of versions that have no answer, where others are asked.
        loop: the worker's.
        later: has whole answers written.
        clock, wall: seconds, monotonic and since 1970.
        max_answer_bytes: of one answer, whole or streamed.
        asides: what is under way on threads.
        begin_trace: begins the trace of a request that is part of none; None: nobody is told.
    """

    def __init__(
        self,
        dialect: Dialect,
        names: Names,
        upstreams: Upstreams,
        limits: Limits | None,
        services: Services,
        pool: Executor,
        loop: asyncio.AbstractEventLoop,
        count: Count | None,
        over: Over,
        fell_back: FellBack,
        later: Later = at_once,
        clock: Callable[[], float] = perf_counter,
        wall: Callable[[], float] = time,
    ) -> None:
        self.dialect = dialect
        self.names = names
        self.upstreams = upstreams
        self.over = over
        self.fell_back = fell_back
        self.loop = loop
        self.later = later
        self.clock = clock
        self.wall = wall
        self.max_answer_bytes = services.limits.max_body_bytes
        self._max_body_bytes = services.limits.max_body_bytes
        self._limits = limits
        self._count = count
        self.begin_trace: Callable[[], Trace] | None = None
        self.asides: set[asyncio.Future[None]] = set()
        self._services = services
        self._pool = pool
        self._random = Random()

    def __call__(self, exchange: Exchange, model: str = "") -> None:
        """Takes a request that has wholly arrived; it is answered once, now or later.

        Args:
            exchange: whom to answer.
            model: that its path names, whatever its body says; empty: the path names none.
        """
        encoding = exchange.header(b"content-encoding")
        values = read_at_once(exchange.body, self.dialect) if encoding is None else None
        if values is None:
            self._read_on_thread(exchange, encoding, model)
        else:
            self._begin(exchange, values, self._called(values, model))

    def refuse(self, exchange: Any, error: GatewayError, *more: Header) -> None:
        """Answers that a request is not sent on; `more`: what else there is to say."""
        self._services.counters.refused(error.code)
        body, headers = self.refusal(exchange, error)
        exchange.reply(error.status, body, [*headers, *more, *self.named_so(exchange)])

    def refusal(self, exchange: Exchange, error: GatewayError) -> tuple[bytes, list[Header]]:
        """What an error says in this dialect."""
        error.request_id = exchange.about.get("request_id", "")
        return error_body(self.dialect, error), list(error_headers(error))

    def attempts(
        self, exchange: Any, deployment: LlmDeployment, mute: frozenset[int], *, copy: bool
    ) -> Attempts:
        """How often a request that has failed may be tried, here and at models it may call.

        A copy may call none: what another model would say is not what it is made for. Upstreams
        that are `mute` could never answer it.
        """
        principal = _principal(exchange)

        def name_of(called: str) -> str:
            if copy:
                return ""
            found = self.names.called.get(called)
            return found.name if found is not None and _may(principal, found, called) else ""

        return Attempts(
            deployment.name,
            deployment.settings.version,
            deployment.pool,
            random=self._random,
            deadline=self._deadline(exchange, deployment, copy),
            name_of=name_of,
            mute=mute,
        )

    def _deadline(self, exchange: Any, deployment: LlmDeployment, copy: bool) -> float:
        """When it is too late to try again: nobody waits any more, or not for that."""
        within_s = deployment.settings.version.retries.within_s
        if copy:  # its client has an answer, and may have waited long for it
            return self.clock() + within_s
        return float(exchange.arrived) + min(within_s, patience_s(exchange))

    def copy(self, exchange: Any, call: Call, values: Mapping[str, Any], chosen: Chosen) -> None:
        """Has a shadow asked what was answered; `exchange` takes the answer to nobody.

        Its caller's limits are not asked: it is not the caller who wants to know.
        """
        account = Account(None, NOBODY, self.dialect, call, exchange.body)
        # As it was read: a copy of a dict that is `Abridged` would be none.
        read = cast(dict[str, Any], values)
        Journey(self, exchange, call, read, chosen, account, copy=True).start()

    def aside(self, work: Callable[[], None], then: Callable[[asyncio.Future[None]], None]) -> None:
        """Has something done on a thread, and what follows from it on the loop again."""
        going = self.loop.run_in_executor(self._pool, work)
        self.asides.add(going)
        going.add_done_callback(then)
        going.add_done_callback(self.asides.discard)

    def rates(self, rates: Rates) -> bytes:
        """The lines of a head that tell how limits per minute stand."""
        lines = b""
        if rates is not NO_RATES:
            for unit, rate in zip(Rates._fields, rates, strict=True):
                if rate is not None:
                    lines += rate_lines(self.dialect, unit, *rate, self.wall())
        return lines

    def named_so(self, exchange: Any) -> tuple[Header, ...]:
        """What a request is called, where clients of this dialect look for that."""
        return request_id_header(self.dialect, exchange.request_id, exchange.head.echo)

    # ---- the way in -----------------------------------------------------------------------------

    def _called(self, values: dict[str, Any], model: str) -> Call:
        if model:
            values["model"] = model
        return read_call(self.dialect, values)

    def _begin(self, exchange: Any, values: dict[str, Any], call: Call) -> None:
        passage = exchange.head.passage
        principal = None if passage is None else passage.principal
        found = self._permitted(principal, call.model)
        if self.dialect is Dialect.EMBEDDINGS and call.model in self.names.ours:
            self.names.ours[call.model](self, exchange, values)
            return
        named = found or self.names.find(call.model)
        chosen = named.choose(exchange.headers, values)
        deployment = chosen.deployment
        exchange.note_model(deployment.noted)
        if self._count is not None:
            self._count(exchange.head, deployment.name, deployment.version)
        rows = NOBODY if principal is None else principal.rows
        account = Account(self._limits, rows, self.dialect, call, exchange.body)
        try:
            account.cover(deployment, monotonic_ns())
        except GatewayError as error:
            self.refuse(exchange, error, *Written(self.rates(account.rates)))
            return
        if self.dialect is Dialect.COUNT and deployment.counts_nothing:
            account.settle(None, None)
            told = [ESTIMATED, *self.named_so(exchange)]
            exchange.reply(200, orjson.dumps(estimated_count(values)), told)
            return
        Journey(self, exchange, call, values, chosen, account).start()

    def _permitted(self, principal: Principal | None, called: str) -> Named | None:
        """The model that is called so; None: it is none that others answer for.

        Raises:
            Forbidden: it may not. Whether there is such a model is not told.
        """
        found = self.names.called.get(called)
        if (
            principal is not None
            and principal.models is not None
            and not _may(principal, found, called)
        ):
            principal.require(Permission.INFER, called[:200])
        return found

    def _read_on_thread(self, exchange: Exchange, encoding: bytes | None, model: str) -> None:
        def read() -> tuple[dict[str, Any], Call, bytes] | GatewayError:
            try:
                body = exchange.body
                if encoding is not None:
                    body = coding.inflate(body, encoding, self._max_body_bytes)
                values = read_values(body, self.dialect)
                call = self._called(values, model)
                _ = call.prompt  # which takes longer than all else, where there is much of it
            except GatewayError as error:
                return error.bare()
            return values, call, body

        def begin(
            done: asyncio.Future[tuple[dict[str, Any], Call, bytes] | GatewayError],
        ) -> None:
            if exchange.gone or done.cancelled():
                return
            taken = exchange
            try:
                found = done.result()
                if isinstance(found, GatewayError):
                    self.refuse(taken, found)
                    return
                values, call, body = found
                if encoding is not None:
                    taken = Laden(exchange, len(body), self._services, body)
                self._begin(taken, values, call)
            except GatewayError as error:
                self.refuse(taken, error)
            except Exception:
                log.exception("a request was not read", extra=exchange.about)
                self.refuse(taken, GatewayError("internal error"))

        self.loop.run_in_executor(self._pool, read).add_done_callback(begin)


def _principal(exchange: Any) -> Principal | None:
    """Who asks; None where access is open."""
    passage = exchange.head.passage
    return None if passage is None else passage.principal


def _may(principal: Principal | None, named: Named | None, called: str) -> bool:
    """Whether somebody may use a model, by the alias it is called by or by its name."""
    if principal is None or principal.may_call(called):
        return True
    return named is not None and principal.may_call(named.name)
