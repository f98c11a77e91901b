"""How many requests may be sent again: a share of those that come, so that retries are no storm.

Knows counts and times. Knows nothing of requests.
"""

from __future__ import annotations

from math import exp
from typing import Final

# Requests of the last ten seconds count: when an upstream dies, all that it had under way may be
# sent again at once.
_WINDOW_S: Final = 10.0
# Where few requests come no share of them is a whole one: so many are allowed anyway, and one more
# each second.
_RESERVE: Final = 10.0
_RESERVE_A_SECOND: Final = 1.0


class RetryBudget:
    """Of one version, in one worker.

    Nothing is done per request: what came since is worked out when somebody wants to send again.
    """

    __slots__ = ("_asked", "_at", "_left", "_reserve", "_share")

    def __init__(self, share: float) -> None:
        """`share`: of requests that may be sent again; 0: none ever is."""
        self._share = share
        self._reserve = _RESERVE if share else 0.0
        self._left = 0.0
        self._asked = 0
        self._at = 0.0

    def take(self, now: float, asked: int) -> bool:
        """Whether one more may be sent again; it is counted if so.

        Args:
            now: seconds, not before those of the last call.
            asked: requests that were sent so far, repeated ones included.
        """
        if not self._share:
            return False
        passed = max(now - self._at, 1e-9)
        # Those that came in the meantime, each forgotten a bit since; evenly, for want of better.
        kept = exp(-passed / _WINDOW_S)
        came = max(asked - self._asked, 0) * self._share * (1.0 - kept) * _WINDOW_S / passed
        self._left = self._left * kept + came
        self._reserve = min(self._reserve + passed * _RESERVE_A_SECOND, _RESERVE)
        self._asked, self._at = asked, now
        if self._left >= 1.0:
            self._left -= 1.0
        elif self._reserve >= 1.0:
            self._reserve -= 1.0
        else:
            return False
        self._asked += 1  # the one that is sent now earns nothing
        return True
