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

from gateway.errors import Forbidden, RateLimited, TooManyParallel
from gateway.llm.deployment import LlmDeployment
from gateway.llm.limits.words import Grant, Left, Limits
from gateway.llm.pricing import Price
from gateway.llm.relay import Relay
from gateway.llm.targets import Target
from gateway.wire.llm.reading import Reading
from gateway.wire.llm.requests import Call
from gateway.wire.llm.words import Dialect, Usage

BYTES_PER_TOKEN: Final = 4

_SEARCHED_BYTES: Final = 1024
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
        left: what was left when it began, for headers; None: nothing limits it.
        reserved: tokens.
    """

    __slots__ = (
        "_body",
        "_call",
        "_dialect",
        "_grant",
        "_limits",
        "_output",
        "_rows",
        "left",
        "reserved",
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
        self._output: int | None = None
        self._grant: Grant | None = None
        self.left: Left | None = None
        self.reserved = 0

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
        self._output = None  # which is of the model that was asked before
        # What nothing limits need not be worked out: most keys have limits of one kind or none.
        try:
            self.left, self._grant = limits.begin(self._rows, now_ns)
        except (RateLimited, TooManyParallel):
            self.left = limits.last_left
            raise
        self.reserved = 0
        if self._grant is None:
            self._reserve(limits, deployment, self.left, now_ns)

    def _reserve(self, limits: Limits, deployment: LlmDeployment, left: Left, now_ns: int) -> None:
        free = self._dialect is Dialect.COUNT
        if deployment.unpriced and left.money is not None and not free:
            raise Forbidden(
                f"model '{deployment.name}': nobody knows what it costs, and a budget in dollars"
                " is to be held"
            )
        money, tokens = (0, 0) if free else self._bounds(deployment, left)
        self._grant = limits.reserve(self._rows, money, tokens, now_ns)
        self.reserved = tokens

    def _bounds(self, deployment: LlmDeployment, left: Left) -> tuple[int, int]:
        """Pico-dollars and tokens that its answer takes at most."""
        call = self._call
        output, read = 0, self._most_input(deployment)
        if self._dialect not in _OUTPUTLESS:
            asked = call.max_output_tokens
            output = self._fitting(deployment, left, read) if asked is None else asked
        written = output * call.n
        money = max(
            [self._most(p, read, written) for p in deployment.prices if p is not None], default=0
        )
        # A budget of tokens is never passed either; a limit per minute may be, by a guess.
        return money, (self.input_tokens if left.tokens is None else read) + written

    def cap(self, dialect: Dialect, target: Target) -> dict[str, Any]:
        """Fields of the request sent on that keep its answer within what was reserved.

        Args:
            dialect: that it is sent in.
            target: that it is sent to.
        """
        if self._output is None or dialect in _OUTPUTLESS:
            return {}
        field = target.limit_field if dialect is Dialect.CHAT else _CAPS[dialect]
        return {field: target.longest(self._output)}

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
    def input_tokens(self) -> int:
        """What its prompt is taken for, until somebody counts it."""
        return -(-len(self._body) // BYTES_PER_TOKEN)

    @property
    def _read(self) -> int:
        """What its prompt is charged for where nobody has counted it, streamed or whole alike."""
        prompt = self._call.prompt
        return -(-prompt.chars // BYTES_PER_TOKEN) + prompt.tokens

    def _most_input(self, deployment: LlmDeployment) -> int:
        """As many tokens as any upstream of a version may count in it."""
        body = self._body
        # Reading a short prompt for media takes longer than to look for words that stand before
        # one (a backslash may hide them), of a long one it is the other way round.
        if (
            len(body) > _SEARCHED_BYTES
            # Written out: a generator costs each request more than all of these.
            or b'"image' in body
            or b'"file' in body
            or b'"document' in body
            or b'"input_' in body
            or b"\\u" in body
        ):
            return len(body) + self._call.prompt.media * deployment.media_tokens
        return len(body)

    def _most(self, price: Price, read: int, written: int) -> int:
        """What it costs at most; of the tier that it asks for, it may be answered on the usual."""
        most, service = price.most(read, written), self._call.service
        return max(most, price.most(read, written, service)) if service else most

    def _fitting(self, deployment: LlmDeployment, left: Left, most_input: int) -> int:
        """The output of a request that names no maximum: its model's, or a part of what is left."""
        most = deployment.max_output_tokens
        priced = [price for price in deployment.prices if price is not None]
        read = one = 0
        if priced:
            dearest = priced[0]
            if len(priced) > 1:
                dearest = max(priced, key=lambda price: self._most(price, 0, 1))
            read = self._most(dearest, most_input, 0)
            one = self._most(dearest, 0, self._call.n)
        fitting = left.output_tokens(most, self.input_tokens, read, one)
        if fitting < most:
            self._output = fitting
        return fitting


def _written(reading: Reading) -> int:
    chars = reading.text_chars + reading.reasoning_chars + reading.call_chars
    return -(-chars // BYTES_PER_TOKEN)
