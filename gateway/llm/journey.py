"""One request on its way: who is asked, asked again, and what becomes of the answer.

Knows the order of things, and that each happens once. Knows nothing of how upstreams are chosen or
judged (`pools`, `faults`), of what they are told (`wording`), of connections (`upstream`), of how
answers are passed on (`relay`), or of prices (`account`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import (
    GatewayError,
    InvalidParameter,
    UpstreamFailed,
    UpstreamRefused,
)
from gateway.exchange import Header, Stream
from gateway.llm.account import Account
from gateway.llm.alike import Alike
from gateway.llm.deployment import LlmDeployment
from gateway.llm.faults import Fault, Words, broken, exhausted, named, refused, refused_inside
from gateway.llm.limits.words import NO_RATES
from gateway.llm.names import Chosen
from gateway.llm.pools import (
    Again,
    Attempts,
    Failure,
    Fallback,
    GiveUp,
    Outcome,
    Picked,
    Trouble,
)
from gateway.llm.relay import AnswerTooLarge, ErrorInside, Refusal, Relay, Whole
from gateway.llm.spare import Spare
from gateway.llm.streamed import EVENT_STREAM, Streamed, is_event_stream
from gateway.llm.targets import Target
from gateway.llm.told import (
    ATTEMPTS,
    Happened,
    cost_line,
    request_headers,
    upstream_request_id,
)
from gateway.llm.upstream.request import header_lines
from gateway.llm.upstream.words import Sending
from gateway.llm.wording import (
    TRANSLATED_AT_ONCE_BYTES,
    Translated,
    manners,
    speechless,
    translate,
    worded,
)
from gateway.wire.answers import Written, written_lines
from gateway.wire.llm.errors import request_id_line
from gateway.wire.llm.requests import Call
from gateway.wire.llm.words import Dialect

if TYPE_CHECKING:
    from gateway.llm.proxy import Proxy
    from kernels.generations import Result

log = logging.getLogger("penstock.llm")

# A whole answer that is larger is read, and translated, on a thread. Python's lock is held while
# JSON is read all the same: of megabytes of numbers, vectors of some hundred texts, that is a good
# part of what would hold everybody else up; of what is translated it is a small one.
ASIDE_BYTES: Final = 256 << 10
_STREAMED: Final = written_lines(
    (
        (b"content-type", EVENT_STREAM),
        (b"cache-control", b"no-cache"),
        # A proxy in between that gathers events would take away what they are for.
        (b"x-accel-buffering", b"no"),
    )
)


class Journey:
    """From a request that may be asked to its answer. Lives on the worker's event loop.

    It is what an upstream's answer is told to (`upstream.Sink`).
    """

    __slots__ = (
        "_account",
        "_aside",
        "_attempts",
        "_call",
        "_chosen",
        "_deployment",
        "_dialect",
        "_exchange",
        "_happened",
        "_headers",
        "_over",
        "_paused",
        "_picked",
        "_proxy",
        "_relay",
        "_sending",
        "_settled",
        "_shortened",
        "_spare",
        "_spent",
        "_status",
        "_target",
        "_translated",
        "_values",
        "_waiting",
    )

    def __init__(
        self,
        proxy: Proxy,
        exchange: Any,
        call: Call,
        values: dict[str, Any],
        chosen: Chosen,
        account: Account,
        *,
        copy: bool = False,
    ) -> None:
        """Begins with nobody asked.

        Args:
            proxy: what it was asked of.
            exchange: whom to answer.
            call: what is known of the request.
            values: the request.
            chosen: the version that is to answer.
            account: what it may cost.
            copy: nobody gets the answer, and nobody counts the request.
        """
        # fixed at start
        self._proxy = proxy
        self._dialect: Dialect = proxy.dialect
        self._exchange = exchange
        self._call = call
        self._values = values
        self._account = account
        self._translated: Translated = {}  # of a long one alone
        trace = exchange.head.trace
        if trace is None and proxy.begin_trace is not None and not copy:
            trace = proxy.begin_trace()
        self._happened = Happened(exchange.arrived, call, values, copy, trace)
        # until another model is asked
        self._chosen = chosen
        self._deployment: LlmDeployment = chosen.deployment
        self._attempts: Attempts | None = None  # most never need any
        self._spare: Spare | None = None
        self._spent: int | None = 0  # pico-dollars, for answers that were held back
        # of one attempt
        self._picked: Picked | None = None
        self._target: Target | None = None
        self._sending: Sending | None = None
        self._relay: Relay | None = None
        self._status = 0
        self._headers: Sequence[Header] = ()
        self._waiting: Any = None
        self._paused = False
        self._over = self._settled = self._shortened = self._aside = False

    def start(self) -> None:
        """Asks the first upstream."""
        self._deployment.began()
        self._exchange.note_generation(self._happened)
        self._exchange.on_gone(self._leave)
        if not self._over:
            self._ask()

    # ---- asking ---------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Asks the upstream whose turn it is."""
        self._waiting = None
        try:
            if not (self._long and self._translates_first(self._stand_ins, self._ask)):
                self._send()
        except GatewayError as error:
            if self._attempts is None and len(self._deployment.targets) > 1:
                self._ask_able(error)
            else:
                self._refuse(error)
        except Exception:
            self._crash()

    def _ask_able(self, error: GatewayError) -> None:
        """One upstream cannot be told what was asked: asks among those that can, if any do."""
        try:
            self._tries()
        except GatewayError:
            self._refuse(error)
        else:
            self._ask()

    def _send(self) -> None:
        proxy, deployment, attempts = self._proxy, self._deployment, self._attempts
        now = proxy.clock()
        mute = deployment.mute(self._dialect)
        tried = mute if attempts is None else attempts.tried
        picked = deployment.pool.choose(now, tried)
        if picked is None:
            tries = self._tries()
            error = exhausted(deployment.name, deployment.pool, now, tries.mute)
            self._follow(tries.none_free(now), error)
            return
        target, happened = deployment.targets[picked.index], self._happened
        happened.spoken, body = worded(
            self._dialect,
            self._call,
            self._values,
            self._account,
            deployment,
            target,
            self._translated,
            exchange=self._exchange,
            now_s=proxy.wall(),
            copy=happened.copy,
        )
        head = target.heads[happened.spoken.upstream]
        if target.forward_headers or happened.trace is not None:
            head += header_lines(request_headers(self._exchange, target, happened))
        self._picked, self._target, self._relay = picked, target, None
        self._status, self._headers = 0, ()
        happened.target, happened.asked_at = target, now
        happened.attempts += 1
        picked.began(now)
        self._sending = proxy.upstreams.send(
            target.origin, head, body, self, target.timeouts, awaited=not happened.copy
        )

    @property
    def _long(self) -> bool:
        return len(self._exchange.body) > TRANSLATED_AT_ONCE_BYTES

    @property
    def _stand_ins(self) -> Sequence[str]:
        """Models that are asked without a turn in between, where an answer is cut off."""
        return self._deployment.settings.version.content_policy_fallbacks

    def _translates_first(self, others: Sequence[str], then: Callable[[], None]) -> bool:
        """Has a long request translated on a thread, if it has to be, before what follows.

        Args:
            others: models that it may be put to without another wait, beside this one.
            then: what follows.

        Returns:
            Whether that was begun: what follows is called later.
        """
        translated: Translated = {}
        deployments = [self._deployment]
        for model in others:
            deployments += self._proxy.names.deployments_of(model)
        wanted = manners(self._dialect, deployments) - self._translated.keys()
        if not wanted:
            return False

        def go_on(done: asyncio.Future[None]) -> None:
            if done.cancelled() or self._over:
                return
            try:
                done.result()
                self._translated |= translated
                then()
            except Exception:
                self._crash()

        self._proxy.aside(
            partial(translate, self._dialect, self._call, self._values, wanted, translated), go_on
        )
        return True

    # ---- what an upstream tells -----------------------------------------------------------------

    def on_head(self, status: int, headers: Sequence[Header]) -> None:
        """An answer begins."""
        happened = self._happened
        self._status, self._headers = status, headers
        spoken = happened.spoken
        assert spoken is not None
        if status != 200:
            self._relay = Refusal()
        elif not self._call.stream:
            self._relay = Whole(spoken, self._proxy.max_answer_bytes)
        elif is_event_stream(headers):
            self._relay = Streamed(spoken, self._begin_stream, self._proxy.max_answer_bytes)
        else:
            self._break(UpstreamFailed("answer: a stream was asked for, and none came"))

    def on_data(self, data: bytes) -> None:
        """A piece of it."""
        relay, target, happened = self._relay, self._target, self._happened
        assert relay is not None
        assert target is not None
        try:
            if happened.copy:
                self._exchange.take(len(data))
            ready = relay.data(data if target.key is None else target.without_key(data))
        except GatewayError as error:
            self._break(error)
            return
        except Exception:
            self._crash()
            return
        if relay.committed:
            happened.stamps.append(self._proxy.clock())
            if not self._shortened:
                self._shorten(relay, target)
        if not ready:
            self.client_is_slow()

    def _shorten(self, relay: Relay, target: Target) -> None:
        """Has what comes from now on passed on in the shorter way, if there is one for it."""
        self._shortened = True
        happened, sending = self._happened, self._sending
        stream = relay.plain_stream if isinstance(relay, Streamed) else None
        if isinstance(relay, Streamed) and stream and sending and not happened.copy:
            clock = self._proxy.clock
            sending.sink = Alike(self, relay, stream, target.key, happened.stamps, clock)

    def client_is_slow(self) -> None:
        """The client reads slowly."""
        if not self._paused and not self._over:
            self._pause()

    def on_end(self) -> None:
        """The whole answer came."""
        self._sending = None
        now = self._happened.last_byte_at = self._proxy.clock()
        try:
            self._end(now)
        except Exception:
            self._crash()

    def _end(self, now: float) -> None:
        relay = self._relay
        if isinstance(relay, Refusal):
            self._refused(relay)
            return
        assert isinstance(relay, Whole | Streamed), "it has a head"
        if isinstance(relay, Whole) and relay.size > ASIDE_BYTES:
            self._end_aside(relay, now)
            return
        try:
            relay.end()
        except GatewayError as error:
            self._broke(error)
        else:
            self._concluded(relay, now)

    def _end_aside(self, relay: Whole, now: float) -> None:
        none: list[GatewayError] = []  # why it is no answer

        def read() -> None:
            try:
                relay.end()
                _ = relay.reading
            except GatewayError as error:
                none.append(error.bare())

        def conclude(done: asyncio.Future[None]) -> None:
            self._aside = False
            if done.cancelled():
                return
            try:
                if self._exchange.gone:
                    if (fault := done.exception()) is not None:
                        log.error("an answer was not read", exc_info=fault)
                    self._free(Outcome.LEFT)
                    self._settle(relay)
                    self._left()
                elif none:
                    self._broke(none[0])
                else:
                    done.result()
                    self._concluded(relay, now)
            except Exception:
                self._crash()

        self._aside = True
        self._proxy.aside(read, conclude)

    def _concluded(self, relay: Whole | Streamed, now: float) -> None:
        """Passes an answer on whose last byte has come."""
        if not (relay.filtered and self._held_back(relay)):
            self._answered(relay, now)

    def on_failure(self, error: GatewayError, *, sent: bool, answered: bool) -> None:
        """It did not."""
        self._sending = None
        try:
            self._broke(error if self._target is None else named(error, self._target))
        except Exception:
            self._crash()

    # ---- the client's end -----------------------------------------------------------------------

    def _begin_stream(self) -> Stream:
        now = self._proxy.clock()
        stream: Stream = self._exchange.stream(200, self._told(_STREAMED))
        if self._picked is not None:
            self._picked.answered(now)
        self._happened.content_at = now
        return stream

    def _pause(self) -> None:
        """Takes no more until the client has read what there is."""
        relay = self._relay
        if isinstance(relay, Streamed) and self._sending is not None:
            self._paused = True
            self._sending.pause()
            relay.on_drain(self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self._sending is not None:
            self._sending.resume()

    def _leave(self) -> None:
        """The client is gone: nobody is asked on its behalf any more."""
        if self._over or self._settled or self._aside:
            return
        if self._waiting is not None:
            self._waiting.cancel()
        relay, sending, self._sending = self._relay, self._sending, None
        if sending is not None:
            sending.cancel()
            self._free(Outcome.LEFT)
        if sending is not None and sending.sent:
            if isinstance(relay, Streamed):
                relay.leave()
            self._settle(relay)
        else:
            self._account.release()
        self._left()

    def _left(self) -> None:
        if not self._happened.copy:
            self._deployment.observer.left()
        self._finish("left")

    # ---- what becomes of it ---------------------------------------------------------------------

    def _held_back(self, relay: Whole | Streamed) -> bool:
        """Whether another model is asked in place of an answer that a content policy cut off.

        Somebody has worked for it: it is paid for, and watched as what this version says.
        """
        assert self._picked is not None, "it was asked"
        now = self._proxy.clock()
        failure = Failure(Trouble.CONTENT_POLICY, why=relay.reading.finish)
        verdict = self._tries().failed(now, self._picked.index, failure)
        if not isinstance(verdict, Fallback):
            return False
        self._free(Outcome.OK)
        self._settle(relay)
        found = self._stand_in(verdict)
        if isinstance(found, GiveUp):
            return False
        cost = self._happened.cost
        self._spent = None if cost is None or self._spent is None else self._spent + cost
        told = _STREAMED if isinstance(relay, Streamed) else cost_line(self._spent)
        self._spare = Spare.of(relay, self._told(told))
        self._relay = None
        why = UpstreamRefused(f"upstream '{self._called}': a content policy cut its answer off")
        self._fall_back(found, "filtered", why)
        return True

    def _answered(self, relay: Whole | Streamed, now: float) -> None:
        """The answer is whole; a stream has been written, any other is written now."""
        if isinstance(relay, Streamed) and relay.filtered:
            relay.pass_on()
        happened = self._happened
        if self._picked is not None:
            self._picked.ended(now, Outcome.OK)
        if not happened.copy:
            self._deployment.observer.counted("idle", 1, ok=1, rows=1)
        self._settle(relay)
        self._settled = True
        if isinstance(relay, Whole):
            self._proxy.later(self._deliver, relay, now)
        else:
            self._delivered(now, self._proxy.clock())

    def _deliver(self, relay: Whole, now: float) -> None:
        """Writes a whole answer. Its client may have left since; it is paid all the same."""
        happened = self._happened
        try:
            self._exchange.reply(200, relay.body, self._told(cost_line(self._paid)))
        except Exception:
            self._crash()
            return
        happened.content_at = now
        # Once those that are answered in the same turn have their answers, too.
        self._proxy.later(self._delivered, now, self._proxy.clock())

    def _delivered(self, now: float, done: float) -> None:
        """Its client had all of it at `done`; the upstream's last byte was there at `now`."""
        happened = self._happened
        try:
            if not happened.copy:
                arrived, asked = happened.arrived, happened.asked_at
                observer = self._deployment.observer
                observer.observed((arrived,), (asked,), asked, asked, now, done, 1)
            self._finish("ok", done)
        except Exception:
            self._crash()

    def _refused(self, relay: Refusal) -> None:
        """The upstream answered with an error."""
        target, spoken = self._target, self._happened.spoken
        assert target is not None, "it was asked"
        assert spoken is not None, "it was asked"
        body, now_s = target.without_key(relay.body), self._proxy.wall()
        self._failed(refused(target.called, spoken, self._status, self._headers, body, now_s))

    def _refused_inside(self, error: ErrorInside) -> None:
        """It says so in a 200."""
        spoken = self._happened.spoken
        assert spoken is not None, "it was asked"
        self._failed(refused_inside(self._called, spoken, error, self._proxy.wall()))

    def _break(self, error: GatewayError) -> None:
        """What came is not what it should be: no more of it is wanted."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        try:
            self._broke(error)
        except Exception:
            self._crash()

    def _broke(self, error: GatewayError) -> None:
        """There will be no whole answer from this upstream."""
        relay = self._relay
        if isinstance(relay, Streamed) and relay.committed:
            large = isinstance(error, AnswerTooLarge)
            self._free(Outcome.REFUSED if large else Outcome.FAILED, why=error.code)
            relay.fail(error)
            self._erred(error)
            self._settle(relay)
            self._finish("broken")
            return
        if isinstance(error, AnswerTooLarge):
            self._free(Outcome.REFUSED)
            self._settle(relay)
            self._give_up(GiveUp(spent=True), error)
        elif isinstance(error, ErrorInside):
            self._refused_inside(error)
        else:
            self._failed(broken(error, self._called))

    def _failed(self, fault: Fault) -> None:
        failure = fault.failure
        now, picked = self._proxy.clock(), self._picked
        assert picked is not None, "an upstream was asked"
        self._happened.failed(failure.trouble.value, now)
        self._free(failure.trouble.outcome, failure.retry_after_s, failure.why)
        self._follow(self._tries().failed(now, picked.index, failure), fault.error, fault.words)

    def _tries(self) -> Attempts:
        if self._attempts is None:
            deployment = self._deployment
            # A single one that was asked could be told.
            alone = len(deployment.targets) == 1
            mute = deployment.mute(self._dialect) if alone else self._speechless(deployment)
            self._attempts = self._proxy.attempts(
                self._exchange, deployment, mute, copy=self._happened.copy
            )
        return self._attempts

    def _speechless(self, deployment: LlmDeployment) -> frozenset[int]:
        """Upstreams of a version that are not asked this. Raises a GatewayError: none can be."""
        return speechless(self._dialect, self._call, self._values, deployment, self._translated)

    def _follow(
        self, verdict: Again | Fallback | GiveUp, error: GatewayError, words: Words | None = None
    ) -> None:
        """Asks again, asks another model, or gives up."""
        self._relay = None
        if self._long and isinstance(verdict, Fallback):
            version = self._deployment.settings.version
            # The first may not be to be had: any of them may be next.
            chain = (verdict.model, *version.fallbacks, *version.context_window_fallbacks)
            if self._translates_first(chain, partial(self._follow, verdict, error, words)):
                return
        if not isinstance(verdict, Again):
            found = self._stand_in(verdict)
            if isinstance(found, GiveUp):
                self._give_up(found, error, words)
            else:
                self._fall_back(found, "fell_back", error)
            return
        self._happened.retries += 1
        if verdict.after_s > 0.0:
            self._waiting = self._proxy.loop.call_later(verdict.after_s, self._ask)
        else:
            self._ask()

    def _stand_in(self, verdict: Fallback | GiveUp) -> Chosen | GiveUp:
        """The next model that can be asked at all; what it may cost is reserved."""
        tries = self._tries()
        while isinstance(verdict, Fallback):
            try:
                chosen = self._of(verdict.model)
                deployment = chosen.deployment
                mute = self._speechless(deployment)
                self._account.cover(deployment, monotonic_ns())
            except GatewayError:
                verdict = tries.passed_over(self._proxy.clock())
                continue
            tries.moved(deployment.settings.version, deployment.pool, mute)
            return chosen
        return verdict

    def _of(self, model: str) -> Chosen:
        found = self._proxy.names.find(model)
        try:
            return found.choose(self._exchange.headers, {})
        except InvalidParameter:  # the variant that its client wants is one of the first model's
            return found.choose((), {})

    def _fall_back(self, chosen: Chosen, result: Result, error: GatewayError) -> None:
        """Asks another model. The version that was asked until now counts its own failure."""
        self._erred(error)
        parted = self._happened.fell_back(result, self._proxy.clock())
        self._proxy.fell_back(self._chosen, parted)
        self._target, self._headers = None, ()
        self._deployment.ended()
        self._chosen, self._deployment = chosen, chosen.deployment
        self._deployment.began()
        self._ask()

    def _give_up(self, verdict: GiveUp, error: GatewayError, words: Words | None = None) -> None:
        """Tells the client, in its dialect, what went wrong last."""
        self._erred(error)
        self._account.release()
        answer, headers = self._proxy.refusal(self._exchange, error)
        status, answer = words or (error.status, answer)
        own = verdict.headers()
        names = {name for name, _ in own}
        kept = [one for one in headers if one[0] not in names]
        self._fail(status, answer, self._told(written_lines([*kept, *own])))

    def _crash(self) -> None:
        """Inside an `except`: the gateway is at fault. Nobody else notices."""
        log.exception("a request to a language model failed", extra=self._exchange.about)
        if self._over:
            return
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        self._free(Outcome.LEFT)
        error = GatewayError("internal error")
        relay = self._relay
        if isinstance(relay, Streamed) and relay.committed:
            relay.fail(error)
            self._erred(error)
            self._settle(relay)
            self._finish("broken")
        elif self._happened.content_at:  # it has its answer
            self._finish("ok")
        else:
            self._refuse(error)

    def _refuse(self, error: GatewayError) -> None:
        """Nobody is asked: the request itself is not to be sent on."""
        self._account.release()
        self._erred(error)
        answer, headers = self._proxy.refusal(self._exchange, error)
        self._fail(error.status, answer, self._told(written_lines(headers)))

    def _fail(self, status: int, answer: bytes, headers: Written) -> None:
        """The client gets what was held back, or else an error."""
        if self._spare is not None:
            self._spare.give(self._exchange)
        else:
            self._exchange.reply(status, answer, headers)
        self._finish("failed")

    # ---- accounts -------------------------------------------------------------------------------

    def _settle(self, relay: Relay | None) -> None:
        happened, target = self._happened, self._target
        happened.relay = relay
        price = None if target is None else target.price
        happened.usage, happened.estimated, happened.cost = self._account.settle(price, relay)

    def _erred(self, error: GatewayError) -> None:
        self._happened.at_fault = error.at_fault
        if not self._happened.copy:
            seconds = self._proxy.clock() - self._happened.arrived
            self._deployment.observer.erred(error, seconds)

    def _free(self, outcome: Outcome, retry_after_s: float | None = None, why: str = "") -> None:
        """The upstream has nothing more to do for this request."""
        if self._picked is not None:
            self._picked.ended(self._proxy.clock(), outcome, retry_after_s, why)

    def _finish(self, result: Result, now: float | None = None) -> None:
        happened = self._happened
        happened.result = result
        happened.ended_at = self._proxy.clock() if now is None else now
        self._over = True
        try:
            self._proxy.over(self._exchange, self._chosen, happened)
        finally:
            self._deployment.ended()

    @property
    def _paid(self) -> int | None:
        """Pico-dollars for all answers to this request; None: nobody knows."""
        cost = self._happened.cost
        return None if cost is None or self._spent is None else cost + self._spent

    @property
    def _called(self) -> str:
        return "" if self._target is None else self._target.called

    def _told(self, lines: bytes) -> Written:
        """What the answer says of who gave it, of what is left, and what else there is to say."""
        exchange, rates = self._exchange, self._account.rates
        lines += request_id_line(self._dialect, exchange.request_id, exchange.head.echo)
        if rates is not NO_RATES:
            lines += self._proxy.rates(rates)
        if (theirs := upstream_request_id(self._headers)) is not None:
            lines += b"%b: %b\r\n" % theirs
        if self._happened.attempts > 1:
            lines += b"%b: %d\r\n" % (ATTEMPTS, self._happened.attempts)
        return self._chosen.told(self._target).plus(lines)
