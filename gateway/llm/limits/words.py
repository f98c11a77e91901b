"""The words of limits: what is limited, what is left of it, and what whoever asks has to know.

Knows units and windows. Knows nothing of where anything is counted: `Limits` is the seam at which
another store than this host's memory could stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

UNITS: Final = ("money", "tokens")
KINDS: Final = ("nobody", "key", "team", "tag", "certificate")
"""What can be limited, as numbered in the table's rows."""

_MINUTE_S: Final = 60.0
# Of what is left, one request that names no maximum may reserve this part: several can run beside
# each other, and the last is not refused before next to nothing is left.
_SHARE: Final = 4
# Most answers are longer than a smaller number would let them be.
_LEAST_OUTPUT: Final = 256


def owner_of(kind: str, name: str | int) -> str:
    """The name of a limited thing: `key:17`, `team:search`."""
    return f"{kind}:{name}"


class Rate(NamedTuple):
    """One limit per minute: a bucket that holds a minute's worth and fills continuously.

    Attributes:
        limit: per minute, and at once.
        left: that may come at once.
        full_s: until `left` is `limit` again, if nothing else comes.
    """

    limit: int
    left: int
    full_s: float

    def less(self, amount: int) -> Rate:
        """The same once this much was taken of it: it takes that much longer until it is full."""
        if not amount:
            return self
        more_s = amount * _MINUTE_S / self.limit
        return Rate(self.limit, max(0, self.left - amount), self.full_s + more_s)


class Left(NamedTuple):
    """What is left of the tightest of some limits, each; None: nothing limits it.

    Attributes:
        money: pico-dollars, neither settled nor reserved.
        tokens: of budgets.
        parallel: requests that may be under way beside those that are.
        requests: per minute.
        token_rate: tokens per minute.
    """

    money: int | None
    tokens: int | None
    parallel: int | None
    requests: Rate | None
    token_rate: Rate | None

    def output_tokens(
        self, most: int, input_tokens: int, input_money: int, output_price: int
    ) -> int:
        """How many output tokens to reserve for a request that names no maximum.

        The rule: what the model can write at most, where a quarter of what is left covers that;
        else a quarter of what is left, but 256 tokens where what is left covers these, and else all
        of it. Where the answer is below `most`, the request must be sent on with it as its maximum:
        nobody could otherwise say what it costs.

        Args:
            most: that the model can write.
            input_tokens: of the request, as estimated.
            input_money: what they cost, pico-dollars.
            output_price: of one output token, pico-dollars.

        Returns:
            At least 1, so that a request which nothing is left for is refused when it reserves.
        """
        covered = most * _SHARE
        money, tokens, _, _, token_rate = self
        if money is not None and output_price:
            covered = min(covered, (money - input_money) // output_price)
        if tokens is not None:
            covered = min(covered, tokens - input_tokens)
        if token_rate is not None:
            covered = min(covered, token_rate.left - input_tokens)
        if covered == most * _SHARE:  # as for nearly every request
            return max(1, most)
        return max(1, min(most, max(covered // _SHARE, min(covered, _LEAST_OUTPUT))))


NOTHING_LIMITED: Final = Left(None, None, None, None, None)


class Grant(Protocol):
    """What one request has reserved. Whoever has it ends it, once; doing it again does nothing."""

    def settle(self, money: int, tokens: int) -> None:
        """The request is over and has cost this much, whether or not so much was reserved."""

    def release(self) -> None:
        """Nothing was asked of anybody: the request counts nowhere, not even against a rate."""


class Limits(Protocol):
    """Reserves for a request; used on one event loop, which it never keeps waiting.

    A request counts in the window (a day or a month of UTC) in which it is settled; while it is
    under way, what it has reserved counts in the present one.
    """

    def begin(self, rows: Sequence[int], now_ns: int) -> tuple[Left, Grant | None]:
        """What is left of some rows, by the tightest, before this request.

        Args:
            rows: of whatever is limited, `MAX_ROWS` at the most.
            now_ns: monotonic.

        Returns:
            That, and the grant of a request of no amount where no row has a budget or a limit of
            tokens; None: amounts matter, and `reserve` is to be told them.

        Raises:
            RateLimited, TooManyParallel: without amounts it is refused already.
            LimitsUnavailable: nobody can say.
        """

    @property
    def last_left(self) -> Left:
        """What was left of the rows of the request that was begun last, granted or refused."""

    def reserve(self, rows: Sequence[int], money: int, tokens: int, now_ns: int) -> Grant:
        """Reserves for all rows, or for none.

        Args:
            rows: of whatever is limited, `MAX_ROWS` at the most.
            money: what the request may cost at most, pico-dollars.
            tokens: input as estimated, and the most that may be written.
            now_ns: monotonic.

        Raises:
            BudgetExceeded: nothing is left of a budget.
            RequestTooExpensive: something is left, or a rate is, which never covers this request.
            RateLimited: a limit per minute does not cover it now.
            TooManyParallel: as many as may be are under way.
            LimitsUnavailable: nobody can say.
        """
