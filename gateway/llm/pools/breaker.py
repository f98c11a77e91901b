"""Leaves an upstream alone that fails, asks it again with one request, and pauses when told to.

Knows outcomes and times. Knows nothing of what failed, or of other upstreams.

Closed, requests pass. Too many failures open it; once its time is over it is half open: one
request, the probe, may pass, and nobody else until that has answered. A probe that succeeds closes
it, one that fails opens it for twice as long, one that says nothing (its client left) leaves the
next to try. What was under way when it opened says nothing of now, and changes nothing.

A pause is another matter: an upstream that says "not now" is well, and is asked again when it said.
"""

from __future__ import annotations

from math import inf
from typing import Literal

from gateway.config.llm import LlmBreaker

State = Literal["closed", "open", "half_open"]
# Nobody is left alone for longer than this because of one header.
MAX_PAUSE_S = 3600.0
CLOSE_BREAKER = "close_breaker"
"""What control calls it when it tells workers that somebody says that an upstream is well."""


class Breaker:
    """Of one upstream, in one worker.

    Attributes:
        ready_at: requests pass from then on; infinite while a probe is under way.
    """

    __slots__ = (
        "_in_a_row",
        "_max_failures",
        "_max_in_a_row",
        "_max_open_s",
        "_of",
        "_open_s",
        "_openings",
        "_paused_until",
        "_row",
        "ready_at",
    )

    def __init__(self, settings: LlmBreaker) -> None:
        self._of = (1 << settings.of) - 1
        # Disabled, it counts to what it never reaches.
        self._max_in_a_row: float = settings.in_a_row if settings.enabled else inf
        self._max_failures: float = settings.share * settings.of if settings.enabled else inf
        self._open_s = settings.open_s
        self._max_open_s = settings.max_open_s

        self.ready_at = 0.0
        self._paused_until = 0.0
        self._in_a_row = 0
        self._row = 0  # the last outcomes, a bit each: 1 failed
        self._openings = 0  # since it was closed

    def begin(self) -> bool:
        """A request passes. True: it is the probe, and nobody else passes."""
        if not self._openings:
            return False
        self.ready_at = inf
        return True

    def good(self, probe: bool) -> None:
        """One has answered."""
        if self._openings:
            if probe:
                self._close()
            return
        if self._row:
            self._in_a_row = 0
            self._row = (self._row << 1) & self._of

    def bad(self, now: float, probe: bool) -> None:
        """One has failed."""
        if self._openings:
            if probe:
                self._open(now)
            return
        self._in_a_row += 1
        self._row = (self._row << 1 | 1) & self._of
        if self._in_a_row >= self._max_in_a_row or self._row.bit_count() >= self._max_failures:
            self._open(now)

    def nothing(self, now: float, probe: bool) -> None:
        """One is over and says nothing of the upstream."""
        if probe and self._openings:
            self.ready_at = max(now, self._paused_until)

    def pause(self, now: float, seconds: float) -> None:
        """Nobody passes for so long; a longer pause that it has already stays."""
        until = now + min(seconds, MAX_PAUSE_S)
        self._paused_until = max(self._paused_until, until)
        self.ready_at = max(self.ready_at, self._paused_until)

    def close(self) -> None:
        """Somebody says that it is well: failures and pauses are forgotten.

        A probe that is under way counts from now on as any request.
        """
        self._paused_until = 0.0
        self._close()

    def state(self, now: float) -> State:
        """As it is shown. A pause is no state: see `ready_at`."""
        if not self._openings:
            return "closed"
        return "half_open" if self.ready_at <= now or self.ready_at == inf else "open"

    def _close(self) -> None:
        self._openings = self._in_a_row = self._row = 0
        self.ready_at = self._paused_until

    def _open(self, now: float) -> None:
        # Beyond 2^30 of any time the longest is reached, and a float overflows at 2^1024.
        seconds = min(self._open_s * 2.0 ** min(self._openings, 30), self._max_open_s)
        self._openings += 1
        self.ready_at = max(now + seconds, self._paused_until)
