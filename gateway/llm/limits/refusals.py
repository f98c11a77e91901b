"""Says why a request may not be spent on: which limit, of whose, what was wanted, what is left.

Knows what the kernel notes of a refusal, and the calendar of UTC. Knows nothing of shared memory.
"""

from __future__ import annotations

import calendar
import math
import time
from dataclasses import dataclass
from typing import Final

from gateway.access.allowance import WINDOWS, dollars
from gateway.errors import (
    BudgetExceeded,
    GatewayError,
    LimitsUnavailable,
    RateLimited,
    RequestTooExpensive,
    TooManyParallel,
)
from gateway.llm.limits.words import KINDS, UNITS
from kernels import budgets

DAY_S: Final = 86_400
# What is for ever spent is only had again where somebody raises it; nobody is told to try often.
LATER_S: Final = 3600
UNKNOWN: Final = "limits: what this request counts against is not known yet"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the kernel notes.

    Attributes:
        place: which limit of the row.
        kind: of the limited thing, by its place in `KINDS`.
        wanted: pico-dollars, tokens or requests.
        left: that is neither settled nor reserved; may be below zero.
        unsettled: that is not settled: `left`, and what others have reserved.
        wait_ns: until a rate covers it; below zero: it never does.
        name: of the limited thing; empty: not known.
        parallel: requests that may be under way at once, where that is the limit.
    """

    place: int
    kind: int
    wanted: int
    left: int
    unsettled: int
    wait_ns: int
    name: str = ""
    parallel: int = 0

    @property
    def whose(self) -> str:
        """As messages call it."""
        kind = KINDS[self.kind]
        return f"{kind} '{self.name}'" if self.name else f"this {kind}"


def refused(refusal: Refusal, now: float) -> GatewayError:
    """The error of a refusal.

    Args:
        refusal: what the kernel notes.
        now: seconds since 1970.
    """
    whose = refusal.whose
    if refusal.place == budgets.NO_ROW:
        return LimitsUnavailable(UNKNOWN)
    if refusal.place == budgets.PARALLEL:
        return TooManyParallel(
            f"limits: requests at once of {whose}: {refusal.parallel} are under way,"
            " as many as may be"
        )
    if refusal.place < budgets.PARALLEL:
        return _budget(refusal, whose, now)
    what = "requests" if refusal.place == budgets.REQUEST_RATE else "tokens"
    wanted = f"limits: {what} per minute of {whose}: wanted {refusal.wanted}"
    if refusal.wait_ns < 0:
        return RequestTooExpensive(f"{wanted}, may never be more than {refusal.left}")
    error = RateLimited(f"{wanted}, left {refusal.left}")
    error.retry_after_s = max(1, math.ceil(refusal.wait_ns * 1e-9))
    return error


def _budget(refusal: Refusal, whose: str, now: float) -> GatewayError:
    unit, window = divmod(refusal.place, budgets.WINDOWS)
    show = dollars if UNITS[unit] == "money" else str
    noun = "USD" if UNITS[unit] == "money" else "tokens"
    left = show(max(refusal.left, 0))
    said = (
        f"limits: budget of {whose} ({WINDOWS[window]}):"
        f" wanted {show(refusal.wanted)} {noun}, left {left}"
    )
    error: GatewayError
    error = RequestTooExpensive(said) if refusal.left > 0 else BudgetExceeded(said)
    if refusal.wanted <= refusal.unsettled:
        # What others have reserved is more than they will use: there is something soon.
        error.args = (f"{said}; the rest is reserved by requests under way",)
        return error
    error.retry_after_s = window_ends_in(WINDOWS[window], now)
    if WINDOWS[window] != "total":
        ends = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now + error.retry_after_s))
        error.args = (f"{said} until {ends}",)
    return error


def window_ends_in(window: str, now: float) -> int:
    """Whole seconds until a window of UTC ends, at least one."""
    if window == "total":
        return LATER_S
    if window == "day":
        return max(1, math.ceil(DAY_S - now % DAY_S))
    today = time.gmtime(now)
    days = calendar.monthrange(today.tm_year, today.tm_mon)[1] - today.tm_mday + 1
    return max(1, math.ceil(days * DAY_S - now % DAY_S))
