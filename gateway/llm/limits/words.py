"""The words of limits: what is limited, what is left of it, and what whoever asks has to know.

Knows units and windows. Knows nothing of where anything is counted: `Limits` is the seam at which
another store than this host's memory could stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    # Its kernels take longer to import than a command that makes a key takes.
    from gateway.llm.tariff import Tariff

UNITS: Final = ("money", "tokens")
KINDS: Final = ("nobody", "key", "team", "tag", "certificate")
"""What can be limited, as numbered in the table's rows."""


class Unpriced(Exception):
    """A budget in dollars is to be held, and nobody knows what the request costs."""


def owner_of(kind: str, name: str | int) -> str:
    """The name of a limited thing: `key:17`, `team:search`."""
    return f"{kind}:{name}"


class Rate(NamedTuple):
    """One limit per minute: a bucket that holds a minute's worth and fills continuously.

    Attributes:
        limit: per minute, and at once.
        left: that may come at once.
        full_ms: until `left` is `limit` again, if nothing else comes.
    """

    limit: int
    left: int
    full_ms: int


class Rates(NamedTuple):
    """How the tightest of some limits per minute stand, each; None: nothing limits it."""

    requests: Rate | None
    tokens: Rate | None


NO_RATES: Final = Rates(None, None)


class Grant(Protocol):
    """What one request has reserved. Whoever has it ends it, once; doing it again does nothing."""

    @property
    def output(self) -> int:
        """Tokens that each of its answers must be held to; -1: to nothing but what it asks."""

    @property
    def rates(self) -> Rates:
        """How limits per minute stand, once it has taken of them."""

    def settle(self, money: int, tokens: int) -> None:
        """The request is over and has cost this much, whether or not so much was reserved."""

    def release(self) -> None:
        """Nothing was asked of anybody: the request counts nowhere, not even against a rate."""


class Limits(Protocol):
    """Reserves for a request; used on one event loop, which it never keeps waiting.

    A request counts in the window (a day or a month of UTC) in which it is settled; while it is
    under way, what it has reserved counts in the present one.
    """

    def cover(
        self,
        rows: Sequence[int],
        now_ns: int,
        tariff: Tariff,
        read: int,
        estimated: int,
        asked: int | None,
        most: int,
        choices: int,
    ) -> Grant:
        """Reserves what a request takes at most, for all rows or for none.

        Where no row has a budget or a limit of tokens that is nothing but the request. One that
        names no maximum of output reserves what the model can write, where a quarter of what is
        left covers that; else a quarter of what is left, but 256 tokens where what is left covers
        these, and else all of it. It must be sent on with that as its maximum (the grant's
        `output`) to whoever can write more: nobody could otherwise say what it costs.

        Args:
            rows: of whatever is limited, `MAX_ROWS` at the most.
            now_ns: monotonic.
            tariff: what tokens cost at whoever may answer.
            read: tokens of its prompt, at most, as budgets take it.
            estimated: the same, as limits per minute take it.
            asked: the most tokens of each answer; None: it does not say.
            most: that the model can write.
            choices: answers to it, 1 at least.

        Raises:
            Unpriced: a budget in dollars is to be held, and some price is not known.
            BudgetExceeded, RequestTooExpensive, RateLimited, TooManyParallel, LimitsUnavailable: as
                `reserve` does.
        """

    def reserve(self, rows: Sequence[int], money: int, tokens: int, now_ns: int) -> Grant:
        """Reserves so much, for all rows or for none.

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

    @property
    def refused_at(self) -> Rates:
        """How the rates stood of the request that was refused last, which has taken nothing."""
