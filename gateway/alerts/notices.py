"""What is told of an alarm, as plain values that every shape is made of.

Knows alarms, rules and the report that they were read of. Knows nothing of who is told.

A notice carries two ids. `id` names this time that the alarm fired: what repeats it, and what says
that it is over, has the same. `event` names the notice itself: it is sent again until it arrives,
and who has seen it may drop it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway.alerts.alarms import FIRING, Alarm
from gateway.alerts.readings import WHOLE, Column, roles
from gateway.config import AlertRule

# Enough to know what broke; the report has the rest.
NAMED: Final = 5
SHOWN: Final = (
    *("type", "rows", "verdict", "log10_e", "distance", "psi", "psi_null_p95", "ks", "ks_bound"),
    *("ks_p_value", "js", "hellinger", "wasserstein", "chi2_p_value", "mean", "std", "min", "max"),
    *("missing_ratio", "below_ratio", "above_ratio", "unseen_ratio"),
    *("figure", "outcomes", "found", "low", "high", "limit", "baseline"),
)

Notice = Mapping[str, Any]
Lines = Mapping[Column, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """What an alarm is about: a rule's name and a version of a model."""

    rule: str
    model: str
    version: int

    @property
    def fingerprint(self) -> str:
        """The same for the same subject, on every machine and after every start."""
        text = f"{self.rule}\n{self.model}\n{self.version}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def alarm_id(self, alarm: Alarm) -> str:
        """Of this time that it fired."""
        return f"{self.fingerprint}-{alarm.number}"


def told_once(
    subject: Subject, alarm: str, at: float, severity: str, summary: str, condition: str
) -> Notice:
    """What happened and is over as it is told: nothing follows to say so.

    Args:
        subject: what it is about; its rule is none that is evaluated.
        alarm: tells this time from others.
        at: when it happened, seconds since 1970.
        severity: of it.
        summary: for people.
        condition: what happened, without whom to.
    """
    of_this_time = f"{subject.fingerprint}-{alarm}"
    return {
        "id": of_this_time,
        "event": f"{of_this_time}-1",
        "fingerprint": subject.fingerprint,
        "status": "firing",
        "rule": subject.rule,
        "severity": severity,
        "model": subject.model,
        "version": subject.version,
        "summary": f"model '{subject.model}' version {subject.version}: {summary}",
        "reason": "",
        "at": at,
        "since": at,
        "fired_at": at,
        "resolved_at": None,
        "condition": condition,
        "window_s": None,
        "reference": None,
        "self_referenced": None,
        "columns": [],
        "more_columns": 0,
    }


def lines_of(rule: AlertRule, report: Mapping[str, Any]) -> Lines:
    """The lines of a report by column."""
    if rule.of in WHOLE:
        return {}
    return {
        Column(role, line["tensor"], line["name"]): line
        for role in roles(rule)
        for line in report[role]
    }


def told_lines(last: Notice | None) -> Lines:
    """The lines that a notice named, by column; none where nothing is remembered."""
    told = () if last is None else last["columns"]
    return {Column(one["role"], one["tensor"], one["name"]): one for one in told}


def ranked(alarm: Alarm, lines: Lines) -> list[Column]:
    """The columns of an alarm, those with the most evidence first, those without a line last."""

    def evidence(column: Column) -> tuple[float, float]:
        line = lines.get(column)
        if line is None:
            return (-math.inf, 0.0)
        return (line.get("log10_e") or 0.0, line.get("distance") or 0.0)

    columns = alarm.alarmed if alarm.phase == FIRING else alarm.told
    return sorted(columns, key=evidence, reverse=True)


def notice(
    subject: Subject,
    rule: AlertRule,
    alarm: Alarm,
    now: float,
    about: Mapping[str, Any],
    lines: Lines,
    reason: str = "",
) -> Notice:
    """What is told now.

    Args:
        subject: what it is about.
        rule: its rule.
        alarm: as it stands.
        now: seconds since 1970.
        about: fields of the report: `reference`, `self_referenced`; or what it `says` of outcomes;
            may be empty.
        lines: of the report, by column; those that are not there are named without figures.
        reason: why it is over, where the figures are not why.
    """
    columns = ranked(alarm, lines)
    return {
        "id": subject.alarm_id(alarm),
        "event": f"{subject.alarm_id(alarm)}-{alarm.tellings}",
        "fingerprint": subject.fingerprint,
        "status": "firing" if alarm.phase == FIRING else "resolved",
        "rule": rule.name,
        "severity": rule.severity,
        "model": subject.model,
        "version": subject.version,
        "summary": summary(subject, rule, alarm, columns, reason, about.get("says", "")),
        "reason": reason,
        "at": now,
        "since": alarm.since_s,
        "fired_at": alarm.fired_at,
        "resolved_at": alarm.resolved_at if alarm.phase != FIRING else None,
        "condition": condition(rule),
        "window_s": rule.window_s,
        "reference": about.get("reference"),
        "self_referenced": about.get("self_referenced"),
        "columns": [_column(column, alarm, lines) for column in columns[:NAMED]],
        "more_columns": max(0, len(columns) - NAMED),
    }


def condition(rule: AlertRule) -> str:
    """The rule's condition for people."""
    panes = f", {rule.panes} of {rule.of_last} panes" if rule.of_last > 1 else ""
    threshold = rule.threshold if isinstance(rule.threshold, str) else f"{rule.threshold:g}"
    against = f" against {rule.reference}" if rule.reference != "fixed" else ""
    return f"{rule.figure} {rule.comparison} {threshold}{against}{panes}"


def summary(
    subject: Subject,
    rule: AlertRule,
    alarm: Alarm,
    columns: Sequence[Column],
    reason: str,
    says: str = "",
) -> str:
    """One line for people."""
    whose = f"model '{subject.model}' version {subject.version}"
    if alarm.phase != FIRING:
        return f"{whose}: {rule.name} is over{f': {reason}' if reason else ''}"
    if rule.of in WHOLE:
        return f"{whose}: {condition(rule)}{f': {says}' if says else ''}"
    named = ", ".join(column.name for column in columns[:NAMED])
    more = len(columns) - NAMED
    return f"{whose}: {condition(rule)}: {named}{f' and {more} more' if more > 0 else ''}"


def _column(column: Column, alarm: Alarm, lines: Lines) -> dict[str, Any]:
    line = lines.get(column, {})
    watch = alarm.columns.get(column)
    told: dict[str, Any] = {"name": str(column), "role": column.role, "tensor": column.tensor}
    told["value"] = None if watch is None else watch.value
    told.update((name, line[name]) for name in SHOWN if name in line)
    return told
