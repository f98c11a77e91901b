"""What one request may cost, and what it did.

Knows prices, bounds of what an answer may take, how upstreams call these, and limits. Knows nothing
of how upstreams are asked, or of where limits are kept. Before any upstream is asked the most that
the answer may cost is reserved; what it did cost is settled once that is known, and the rest given
back.

No more tokens are read than bytes are sent: a token stands for one byte at least. A medium may be
named by its address alone: where a body has one it is taken for as many more as the version's
upstreams may read it as. Counting the tokens of a prompt is free where it is done. For limits per
minute one token is taken for `BYTES_PER_TOKEN` bytes of what was sent; where nobody tells the
tokens of an answer, for so many characters of its prompt, and of what came.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import Forbidden, GatewayError
from gateway.llm.deployment import LlmDeployment
from gateway.llm.limits.words import NO_RATES, Grant, Limits, Unpriced
from gateway.llm.pricing import Price
from gateway.llm.relay import Relay
from gateway.llm.targets import Target
from gateway.llm.tariff import FREE
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.requests import Call
from gateway.wire.llm.words import Dialect, Usage

BYTES_PER_TOKEN: Final = 4

_OUTPUTLESS = frozenset({Dialect.EMBEDDINGS, Dialect.COUNT})
_FREE: Final = Usage(0, 0)
_CAPS = {
    Dialect.COMPLETIONS: "max_tokens",
    Dialect.RESPONSES: "max_output_tokens",
    Dialect.MESSAGES: "max_tokens",
}


class Account:
    """Of one request.

    Attributes:
        rates: how limits per minute stand now that it has taken of them, or was refused.
    """

    __slots__ = (
        "_body",
        "_call",
        "_dialect",
        "_grant",
        "_limits",
        "_output",
        "_rows",
        "rates",
    )

    def __init__(
        self,
        limits: Limits | None,
        rows: Sequence[int],
        dialect: Dialect,
        call: Call,
        body: bytes,
    ) -> None:
        """Begins with nothing reserved.

        Args:
            limits: where it is reserved; None: nobody's limits are asked for.
            rows: of whatever limits it.
            dialect: of the request.
            call: the request.
            body: of it.
        """
        self._limits = limits if rows else None
        self._rows = rows
        self._dialect = dialect
        self._call = call
        self._body = body
        self._output = -1
        self._grant: Grant | None = None
        self.rates = NO_RATES

    def cover(self, deployment: LlmDeployment, now_ns: int) -> None:
        """Reserves the most that any upstream of a version may charge, in place of what was.

        Raises:
            BudgetExceeded, RequestTooExpensive, RateLimited, TooManyParallel, LimitsUnavailable: it
                is not to be had.
            Forbidden: nobody knows what it costs, and the model is not served then.
        """
        free = self._dialect is Dialect.COUNT
        if deployment.unpriced and deployment.settings.unpriced == "refuse" and not free:
            raise Forbidden(f"model '{deployment.name}': nobody knows what it costs")
        limits = self._limits
        if limits is None:
            return
        if self._grant is not None:
            self.release()
        call, read = self._call, len(self._body)
        asked: int | None = 0
        tariff = FREE
        if free:
            read = 0
        else:
            tariff = deployment.tariff(call.service)
            if self._dialect is not Dialect.EMBEDDINGS:
                asked = call.max_output_tokens
        estimated = -(-read // BYTES_PER_TOKEN)
        if read and (media := call.prompt.media):
            read += media * deployment.media_tokens
        try:
            grant = self._grant = limits.cover(
                self._rows,
                now_ns,
                tariff,
                read,
                estimated,
                asked,
                deployment.max_output_tokens,
                call.n,
            )
        except Unpriced:
            self.rates = limits.refused_at
            raise Forbidden(
                f"model '{deployment.name}': nobody knows what it costs, and a budget in dollars"
                " is to be held"
            ) from None
        except GatewayError:
            self.rates = limits.refused_at
            raise
        self._output = grant.output  # which is of this model, and not of one that was asked before
        self.rates = grant.rates

    def cap(self, dialect: Dialect, target: Target) -> dict[str, Any]:
        """Fields of the request sent on that keep its answer within what was reserved.

        Args:
            dialect: that it is sent in.
            target: that it is sent to.
        """
        most = self._output
        # Where its model writes no more by itself that is not said: a maximum that leaves no room
        # for the prompt is refused by some.
        if most < 0 or dialect in _OUTPUTLESS or most >= (target.writes or most + 1):
            return {}
        field = target.limit_field if dialect is Dialect.CHAT else _CAPS[dialect]
        return {field: most}

    def settle(self, price: Price | None, relay: Relay | None) -> tuple[Usage, bool, int | None]:
        """The request is over, and somebody has worked for it.

        Args:
            price: of who answered; None: nobody knows.
            relay: what came, whole or not; None: nothing did.

        Returns:
            Its tokens, whether these are estimated, and its cost in pico-dollars, None where nobody
            knows.
        """
        told = None if relay is None else relay.usage
        usage, cost = told, None
        if self._dialect is Dialect.COUNT:
            usage, cost = _FREE, 0
        elif usage is None or usage.partial:
            written = 0 if relay is None else _written(relay.reading)
            if usage is None:
                usage = Usage(self._read, written, service=self._call.service)
            usage.output = max(usage.output, written)
        if cost is None and price is not None:
            cost = price.cost(usage, usage.service)
        grant = self._grant
        if grant is not None:
            self._grant = None
            grant.settle(cost or 0, usage.input + usage.output)
        return usage, told is None or told.partial, cost

    def release(self) -> None:
        """Nobody has worked for it."""
        grant = self._grant
        if grant is not None:
            self._grant = None
            grant.release()

    @property
    def _read(self) -> int:
        """What its prompt is charged for where nobody has counted it, streamed or whole alike."""
        prompt = self._call.prompt
        return -(-prompt.chars // BYTES_PER_TOKEN) + prompt.tokens


def _written(reading: Reading) -> int:
    chars = reading.text_chars + reading.reasoning_chars + reading.call_chars
    return -(-chars // BYTES_PER_TOKEN)
