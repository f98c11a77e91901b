"""What a window is held against, as people write it: `fixed`, `rolling:7d` or `same-hours:4w`.

Knows the words and what they allow. Knows nothing of counts, or of how long those are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.access.durations import read_duration
from gateway.errors import InvalidParameter

# What is kept as days goes back so far.
_MAX_ROLLING_S: Final = 30 * 86_400
# A month of weeks and one more: hours of it are kept, which are many.
MAX_WEEKS: Final = 5
# A weekend with the day before it. Hours of a whole week are what `rolling:7d` adds up as well.
MAX_SAME_HOURS_S: Final = 3 * 86_400

PATTERN: Final = f"^(fixed|rolling:[1-9][0-9]{{0,6}}[smhdw]|same-hours:[1-{MAX_WEEKS}]w)$"


@dataclass(frozen=True, slots=True)
class Against:
    """The profile's counts, or those of earlier traffic in the same bins.

    Attributes:
        rolling_s: what came so long before the window; 0: it is not that.
        weeks: the same hours of so many weeks before; 0: it is not that.
    """

    rolling_s: float = 0.0
    weeks: int = 0

    @property
    def kind(self) -> str:
        """As reports call it."""
        if self.weeks:
            return f"same-hours:{self.weeks}w"
        return f"rolling:{self.rolling_s:g}s" if self.rolling_s else "fixed"


FIXED: Final = Against()


def read_against(text: str, window_s: float) -> Against:
    """What a window of `window_s` is to be held against.

    Raises:
        InvalidParameter: it is none of the three, or more than is kept.
    """
    if not re.fullmatch(PATTERN, text):
        raise InvalidParameter(
            f"reference: expected fixed, rolling:7d or same-hours:4w (at most {MAX_WEEKS}w),"
            f" got '{text[:80]}'"
        )
    kind, _, length = text.partition(":")
    if kind == "rolling":
        rolling_s = read_duration(length, "reference")
        if window_s + rolling_s > _MAX_ROLLING_S:
            raise InvalidParameter(f"reference: expected at most 30d with the window, got '{text}'")
        return Against(rolling_s=rolling_s)
    if kind == "same-hours":
        if window_s > MAX_SAME_HOURS_S:
            raise InvalidParameter("window: expected at most 3d with same-hours; rolling has more")
        return Against(weeks=int(length[:-1]))
    return FIXED
