"""The same hours of earlier weeks: which they are, and for how long hours are kept.

Knows times. Knows nothing of what is counted. Weeks are of seven times 24 hours, by UTC: where
clocks are put forward, the same hours are an hour off until so many weeks have passed.
"""

from __future__ import annotations

from typing import Final

from gateway.config.against import MAX_SAME_HOURS_S, MAX_WEEKS

HOUR_S: Final = 3600
WEEK_S: Final = 7 * 86_400
# A window may begin a third of its length earlier than was asked for, and within an hour.
KEPT_S: Final = MAX_WEEKS * WEEK_S + MAX_SAME_HOURS_S * 4 // 3 + HOUR_S

Stretch = tuple[int, int]


def same_hours(start_s: float, end_s: float, weeks: int) -> list[Stretch]:
    """Of each of so many weeks before, the newest first, the whole hours that a window touches."""
    first, last = int(start_s) // HOUR_S * HOUR_S, -(-int(end_s) // HOUR_S) * HOUR_S
    return [(first - back * WEEK_S, last - back * WEEK_S) for back in range(1, weeks + 1)]
