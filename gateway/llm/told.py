"""What happened to one request, as it is counted afterwards, and what headers say on either way.

Knows times, counts and names; which of a client's headers go on to an upstream or say how long it
waits, and which tell it of its answer. Knows nothing of who counts, or of how requests go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gateway.exchange import Header
from gateway.wire.answers import Written
from gateway.wire.trace import TRACEPARENT, Trace, new_span

if TYPE_CHECKING:
    from gateway.llm.names import Chosen
    from gateway.llm.relay import Relay, Spoken
    from gateway.llm.targets import Target
    from gateway.wire.llm.reading import Reading
    from gateway.wire.llm.requests import Call
    from gateway.wire.llm.words import Usage
    from kernels.generations import Result

MODEL, VERSION = b"penstock-model", b"penstock-version"
VARIANT, UPSTREAM = b"penstock-variant", b"penstock-upstream"
COST, ATTEMPTS = b"penstock-cost-usd", b"penstock-attempts"
UPSTREAM_REQUEST_ID = b"penstock-upstream-request-id"
UNPRICED = b"unpriced"
# What both vendors' own clients say of the time that they wait for the first of an answer.
_PATIENCE = (b"x-stainless-timeout", b"x-stainless-read-timeout")
# What providers call the id that their support asks for: OpenAI's, Anthropic's and Azure's.
_REQUEST_IDS = frozenset({b"x-request-id", b"request-id", b"apim-request-id"})
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_PICO = 10**12


class Failed(NamedTuple):
    """A try that another followed, or may follow.

    Attributes:
        target: who was asked.
        span_id: of the try, as its upstream was told it.
        asked_at, ended_at: seconds.
        why: what was wrong, in a word.
    """

    target: Target
    span_id: bytes
    asked_at: float
    ended_at: float
    why: str


class Happened:
    """Written while a request is under way, read once it is over. Seconds of one monotonic clock.

    Attributes:
        arrived: when its first byte was read.
        call: what it asked for.
        values: the request, until whoever hears of its end has no more need of it; then at most
            what a trace tells of it.
        copy: a shadow was asked, and nobody got the answer.
        trace: that the request is part of.
        span_id: of the present try; empty where it is part of no trace.
        tries: that failed, where it is part of a trace.
        spoken: how the answer came, and went on.
        target: the upstream that was asked last; None: none was.
        asked_at: when that was asked.
        content_at: when the client got the first of it; 0: it got none.
        stamps: when each piece came that the client got before the answer was whole.
        last_byte_at: when the answer was whole.
        attempts: how often an upstream was asked.
        retries: how often the model that is asked now was asked again.
        fallbacks: models that were asked in another's place.
        usage: tokens of the answer; of one that nobody counted, what it is taken for.
        estimated: that is so.
        relay: what has passed the answer on; None: there is none.
        cost: pico-dollars; None: nobody knows what it costs.
        at_fault: it came to an error, and the version that was asked last is to blame.
        result: how it ended; not set before it did.
    """

    __slots__ = (
        "arrived",
        "asked_at",
        "at_fault",
        "attempts",
        "call",
        "content_at",
        "copy",
        "cost",
        "ended_at",
        "estimated",
        "fallbacks",
        "last_byte_at",
        "relay",
        "result",
        "retries",
        "span_id",
        "spoken",
        "stamps",
        "target",
        "trace",
        "tries",
        "usage",
        "values",
    )

    def __init__(
        self,
        arrived: float,
        call: Call,
        values: Mapping[str, Any],
        copy: bool = False,
        trace: Trace | None = None,
    ) -> None:
        self.arrived = arrived
        self.call = call
        self.values = values
        self.copy = copy
        self.trace = trace
        self.span_id = b""
        self.tries: list[Failed] = []
        self.spoken: Spoken | None = None
        self.target: Target | None = None
        self.asked_at = self.content_at = 0.0
        self.last_byte_at = self.ended_at = 0.0
        self.stamps: list[float] = []
        self.estimated = self.at_fault = False
        self.attempts = self.retries = self.fallbacks = 0
        self.usage: Usage | None = None
        self.relay: Relay | None = None
        self.cost: int | None = None
        self.result: Result

    def failed(self, why: str, now: float) -> None:
        """The present try came to nothing."""
        if self.trace is not None and self.target is not None:
            self.tries.append(Failed(self.target, self.span_id, self.asked_at, now, why))

    def fell_back(self, result: Result, now: float) -> Happened:
        """All that belongs to the model that was asked until now: another is asked from now on."""
        if result == "filtered":
            self.failed(result, now)
        parted = copy(self)
        parted.result, parted.ended_at = result, now
        parted.values = {}
        self.relay = self.usage = self.cost = self.target = None
        self.estimated = self.at_fault = False
        self.last_byte_at, self.stamps = 0.0, []
        self.fallbacks += 1
        self.retries = 0
        return parted

    @property
    def reading(self) -> Reading | None:
        """What is kept of the answer: read now, where nobody has asked before."""
        return None if self.relay is None else self.relay.reading


def dollars(pico: int) -> str:
    """An amount as a plain decimal number of dollars."""
    whole, rest = divmod(pico, _PICO)
    return f"{whole}.{rest:012d}".rstrip("0") if rest else str(whole)


def request_headers(exchange: Any, target: Target, happened: Happened) -> list[Header]:
    """What goes to an upstream beside what every request to it says.

    Of the client's headers those alone that the document names for this provider. Where it is part
    of a trace, that goes on: random numbers, which say nothing of the client. Each try is a span of
    its own, but for a copy's, of which nobody tells.
    """
    wanted = target.forward_headers
    found: list[Header] = []
    if wanted:
        found += [one for one in exchange.headers if one[0] in wanted and one[0] != TRACEPARENT]
    trace = happened.trace
    if trace is not None:
        happened.span_id = trace.span_id if happened.copy else new_span()
        found.append((TRACEPARENT, trace.above(happened.span_id)))
    return found


def patience_s(exchange: Any) -> float:
    """How long its client waits, in seconds > 0; infinite: it does not say."""
    told = [exchange.header(name) for name in _PATIENCE]
    return min((seconds for one in told if one and (seconds := _seconds(one)) > 0.0), default=inf)


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0
    return seconds if isfinite(seconds) else 0.0


def answer_headers(chosen: Chosen, target: Target | None) -> Written:
    """What an answer says of who gave it: of all alike that one upstream gives for one variant."""
    deployment = chosen.deployment
    found = [(MODEL, quoted(deployment.name)), (VERSION, b"%d" % deployment.version)]
    if chosen.variant:
        found.append((VARIANT, chosen.variant.encode()))
    if target is not None:
        found.append((UPSTREAM, quoted(target.called)))
    return Written.write(found)


def cost_line(cost: int | None) -> bytes:
    """What an answer has cost, as a line of its head."""
    return b"%b: %b\r\n" % (COST, UNPRICED if cost is None else dollars(cost).encode())


def upstream_request_id(headers: Sequence[Header]) -> Header | None:
    """The id that the upstream gave a request, under a name of ours; None: it gave none."""
    for name, value in headers:
        if name in _REQUEST_IDS and _REQUEST_ID.fullmatch(value):
            return UPSTREAM_REQUEST_ID, value
    return None


def quoted(name: str) -> bytes:
    """A name as a header may hold it."""
    return quote(name, safe="/:@+ ").encode()
