"""Days and months of UTC that budgets are of, by a clock that may jump.

Knows the calendar. Knows nothing of money.

A window begins when the clock has passed its start, once. A clock that is set back by no more than
a day stays in the window that it had reached: what was spent there must not be had twice. One that
is set back further was wrong before: its window is left for that of now, and what was spent is
taken along.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Windows:
    """The present ones: `2027-01-31` and `2027-01`."""

    day: str
    month: str

    @classmethod
    def at(cls, now: float) -> Windows:
        """Those of a moment, seconds since 1970."""
        there = time.gmtime(now)
        return cls(time.strftime("%Y-%m-%d", there), time.strftime("%Y-%m", there))

    def later(self, now: float) -> tuple[Windows, bool, bool]:
        """Those that follow, and whether a new day and a new month have begun."""
        then = Windows.at(now)
        day, new_day = _follow(self.day, f"{self.day}", then.day, now)
        month, new_month = _follow(self.month, f"{self.month}-01", then.month, now)
        return Windows(day, month), new_day, new_month


def _follow(known: str, start: str, then: str, now: float) -> tuple[str, bool]:
    """The window after one that begins at `start`, and whether it begins anew."""
    if then >= known:
        return then, then > known
    back_s = calendar.timegm(time.strptime(start, "%Y-%m-%d")) - now
    return (known if back_s <= DAY_S else then), False
