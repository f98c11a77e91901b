"""What one request for embeddings has taken of its caller's limits.

Knows limits. Knows nothing of texts, or of who reads them. How many tokens a request has is known
before any is run, so that no more is reserved than is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns

from gateway.errors import RateLimited, TooManyParallel
from gateway.llm.limits.words import Grant, Left, Limits


class Reserved:
    """Of one request. It knows no exchange, which may have it called when its client leaves.

    Attributes:
        left: what was left before, for headers; None: nothing limits it.
        tokens: that it has reserved.
    """

    __slots__ = ("_grant", "_limits", "_read", "_rows", "left", "tokens")

    def __init__(self, limits: Limits | None, rows: Sequence[int]) -> None:
        """Begins with nothing; `rows`: of whatever limits its caller."""
        self._limits = limits if rows else None
        self._rows = rows
        self._grant: Grant | None = None
        self._read = 0
        self.left: Left | None = None
        self.tokens = 0

    def cover(self, tokens: int) -> None:
        """Reserves in place of what was.

        Raises:
            BudgetExceeded, RequestTooExpensive, RateLimited, TooManyParallel, LimitsUnavailable: it
                is not to be had.
        """
        if self._limits is None:
            return
        self.end()
        now_ns = monotonic_ns()
        try:
            self.left, granted = self._limits.begin(self._rows, now_ns)
        except (RateLimited, TooManyParallel):
            self.left = self._limits.last_left
            raise
        self._grant = granted or self._limits.reserve(self._rows, 0, tokens, now_ns)
        self.tokens = tokens

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
