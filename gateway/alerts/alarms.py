"""When an alarm fires and when it is over: a state machine without clocks or I/O.

Knows rules, readings and a time that is handed in. Knows nothing of models, storage or delivery.

One alarm stands for a rule and a version of a model, whatever number of columns meet the rule: who
is called in the night wants one call, with names in it.

    (none) --a pane meets the condition--> pending --enough of the last panes do--> firing
    firing --enough clear panes in a row, for every column--> resolved --> pending ...

While the cooldown of the last telling lasts, or something suppresses it, an alarm stays pending. A
reading that tells nothing (too few rows) moves nothing. Columns that join an alarm that fires are
told once the cooldown is over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.alerts.readings import Column, Look, Readings, clears, raises
from gateway.config import AlertRule

PENDING: Final = "pending"
FIRING: Final = "firing"
RESOLVED: Final = "resolved"
Phase = Literal["pending", "firing", "resolved"]


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of one column.

    Attributes:
        recent: the last panes as bits, the newest lowest; 1: it met the condition.
        calm: clear panes in a row.
        alarmed: it is part of the alarm.
        value: of the last pane that told something.
        rows: of the shortest look that met the condition when it became part of the alarm: the
            same look tells when it is over.
        after_s: looks that begin before it are not heeded: they see what is over.
    """

    recent: int = 0
    calm: int = 0
    alarmed: bool = False
    value: float | None = None
    rows: int = 0
    after_s: float = -math.inf


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is remembered of a rule and a version.

    Attributes:
        phase: where it stands.
        number: counts the times that it fired.
        tellings: counts what was told of this time.
        since_s: when its pending began.
        fired_at, resolved_at: of the last time; 0 for never.
        told_at: when it was last told that it fires.
        told: the columns that were named.
        suppressed: why it may not fire now; empty: it may.
        columns: those that are of interest.
    """

    phase: Phase = PENDING
    number: int = 0
    tellings: int = 0
    since_s: float = 0.0
    fired_at: float = 0.0
    resolved_at: float = 0.0
    told_at: float = -math.inf
    told: tuple[Column, ...] = ()
    suppressed: str = ""
    columns: Mapping[Column, Watch] = field(default_factory=dict)

    @property
    def alarmed(self) -> tuple[Column, ...]:
        """The columns that are part of it now."""
        return tuple(sorted(name for name, watch in self.columns.items() if watch.alarmed))


def evaluate(
    rule: AlertRule, alarm: Alarm | None, readings: Readings, now: float, suppressed: str = ""
) -> tuple[Alarm | None, bool]:
    """Takes one pane.

    Args:
        rule: its own.
        alarm: what is remembered; None: nothing of interest.
        readings: of every column that there is.
        now: seconds since 1970.
        suppressed: why it may not begin to fire; empty: it may.

    Returns:
        What is to be remembered; and whether it is to be told: that it fires, also where columns
        joined it, or that it is resolved.
    """
    before = alarm or Alarm(phase=RESOLVED)
    columns = {}
    for column, looks in readings.items():
        watch = _seen(rule, before.columns.get(column, Watch()), looks, now)
        if watch.alarmed or watch.recent or watch.after_s > -math.inf:
            columns[column] = watch
    after = replace(before, columns=columns, suppressed=suppressed)
    if before.phase == FIRING:
        return _go_on(rule, after, now)
    return _come(rule, after, now)


def end(alarm: Alarm | None, now: float) -> tuple[Alarm | None, bool]:
    """What it was about is gone: its rule, or the version. Told where it fired."""
    if alarm is None or alarm.phase != FIRING:
        return None, False
    return _resolved(replace(alarm, columns={}), now), True


# ---- the phases ---------------------------------------------------------------------------------


def _come(rule: AlertRule, alarm: Alarm, now: float) -> tuple[Alarm | None, bool]:
    if alarm.alarmed and not alarm.suppressed and now >= alarm.told_at + rule.cooldown_s:
        since = alarm.since_s if alarm.phase == PENDING else now
        fired = replace(
            alarm, phase=FIRING, number=alarm.number + 1, tellings=0, since_s=since, fired_at=now
        )
        return _told(replace(fired, told=()), now), True
    if any(watch.recent or watch.alarmed for watch in alarm.columns.values()):
        since = alarm.since_s if alarm.phase == PENDING else now
        return replace(alarm, phase=PENDING, since_s=since), False
    if alarm.number or alarm.columns:
        return replace(alarm, phase=RESOLVED), False
    return None, False


def _go_on(rule: AlertRule, alarm: Alarm, now: float) -> tuple[Alarm, bool]:
    if not alarm.alarmed:
        return _resolved(alarm, now), True
    joined = set(alarm.alarmed) - set(alarm.told)
    if joined and now >= alarm.told_at + rule.cooldown_s:
        return _told(alarm, now), True
    return alarm, False


def _told(alarm: Alarm, now: float) -> Alarm:
    named = tuple(sorted({*alarm.told, *alarm.alarmed}))
    return replace(alarm, told_at=now, told=named, tellings=alarm.tellings + 1)


def _resolved(alarm: Alarm, now: float) -> Alarm:
    return replace(alarm, phase=RESOLVED, resolved_at=now, tellings=alarm.tellings + 1)


# ---- one column ---------------------------------------------------------------------------------


def _seen(rule: AlertRule, watch: Watch, looks: tuple[Look, ...], now: float) -> Watch:
    heeded = [look for look in looks if look.value is not None and look.start_s >= watch.after_s]
    if not heeded:
        return _calmed(rule, watch, looks, now) if watch.alarmed else watch
    met = [look for look in heeded if look.value is not None and raises(rule, look.value)]
    mask = (1 << rule.of_last) - 1
    recent = (watch.recent << 1 | bool(met)) & mask
    shown = (met or heeded)[0]
    seen = replace(watch, recent=recent, value=shown.value)
    if watch.alarmed:
        return _calmed(rule, seen, looks, now)
    if recent.bit_count() >= rule.panes and met:
        return replace(seen, alarmed=True, calm=0, rows=shown.rows)
    return seen


def _calmed(rule: AlertRule, watch: Watch, looks: Iterable[Look], now: float) -> Watch:
    """Part of the alarm until enough panes in a row are clear."""
    told = next((look for look in looks if look.rows == watch.rows), None)
    if told is None or told.value is None:
        return watch
    if not clears(rule, told.value):
        return replace(watch, calm=0, value=told.value)
    if watch.calm + 1 < rule.clear_panes:
        return replace(watch, calm=watch.calm + 1, value=told.value)
    # Looks by rows still reach back into what is over.
    after = now if told.rows else -math.inf
    return Watch(value=told.value, after_s=after)
