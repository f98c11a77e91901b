"""What one request for embeddings has taken of its caller's limits.

Knows limits. Knows nothing of texts, or of who reads them. How many tokens a request has is known
before any is run, so that no more is reserved than is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns

from gateway.errors import GatewayError
from gateway.llm.limits.words import NO_RATES, Grant, Limits


class Reserved:
    """Of one request. It knows no exchange, which may have it called when its client leaves.

    Attributes:
        rates: how limits per minute stand now that it has taken of them, or was refused.
    """

    __slots__ = ("_grant", "_limits", "_read", "_rows", "rates")

    def __init__(self, limits: Limits | None, rows: Sequence[int]) -> None:
        """Begins with nothing; `rows`: of whatever limits its caller."""
        self._limits = limits if rows else None
        self._rows = rows
        self._grant: Grant | None = None
        self._read = 0
        self.rates = NO_RATES

    def cover(self, tokens: int) -> None:
        """Reserves in place of what was.

        Raises:
            BudgetExceeded, RequestTooExpensive, RateLimited, TooManyParallel, LimitsUnavailable: it
                is not to be had.
        """
        if self._limits is None:
            return
        self.end()
        try:
            grant = self._grant = self._limits.reserve(self._rows, 0, tokens, monotonic_ns())
        except GatewayError:
            self.rates = self._limits.refused_at
            raise
        self.rates = grant.rates

    def read(self, tokens: int) -> None:
        """The model has read so many."""
        self._read += tokens

    def end(self) -> None:
        """The request is over: what the model has read is settled."""
        grant, self._grant = self._grant, None
        if grant is None:
            return
        if self._read:
            grant.settle(0, self._read)
        else:
            grant.release()
        self._read = 0
