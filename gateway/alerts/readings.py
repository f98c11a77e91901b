"""What a rule reads of a report, and what it makes of it.

Knows rules and reports as plain values. Knows nothing of earlier readings.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.config import AlertRule

DATASET: Final = "dataset"
# Whose figures are of no column.
WHOLE: Final = (DATASET, "performance", "concept")
_LEVELS: Final = {"ok": 0.0, "self_referenced": 0.0, "watch": 1.0, "drift": 2.0}
_HOLDS: Final = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_ROLES: Final = {
    "features": ("features",),
    "outputs": ("outputs",),
    "columns": ("features", "outputs"),
}


@dataclass(frozen=True, slots=True, order=True)
class Column:
    """Whose figure it is; of the whole window, `Column("dataset")`."""

    role: str
    tensor: str = ""
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.role


@dataclass(frozen=True, slots=True)
class Look:
    """A figure of one stretch of traffic.

    Attributes:
        value: None where it cannot be told.
        rows: how far it was asked to look back; 0 where the rule's window says that.
        start_s: seconds since 1970 of where it begins; infinite where that does not matter.
    """

    value: float | None
    rows: int = 0
    start_s: float = math.inf


Readings = Mapping[Column, tuple[Look, ...]]
"""By column, what is read of it: one look, or several of different length, ascending."""


def level(value: float | str | None) -> float | None:
    """A figure as a number: verdicts by how alarming they are; None where it tells nothing."""
    return _LEVELS.get(value) if isinstance(value, str) else value


def bound(threshold: float | str) -> float:
    """A rule's threshold as a number."""
    return _LEVELS[threshold] if isinstance(threshold, str) else threshold


def raises(rule: AlertRule, value: float) -> bool:
    """Whether a figure meets the rule's condition."""
    return bool(_HOLDS[rule.comparison](value, bound(rule.threshold)))


def clears(rule: AlertRule, value: float) -> bool:
    """Whether a figure is far enough from the rule's condition for an alarm to be over."""
    calm = rule.threshold if rule.clear is None else rule.clear
    return not _HOLDS[rule.comparison](value, bound(calm))


def read(rule: AlertRule, report: Mapping[str, Any]) -> Readings:
    """What a rule reads of the report of its window; what has too few rows tells nothing.

    The same of a reference that is earlier traffic: a server may be too young for it.
    """
    if rule.of == "dataset":
        counted = report["rows"] + report["skipped_rows"]
        value = _dataset(rule.figure, report) if counted >= rule.min_rows else None
        return {Column(DATASET): (Look(value),)}
    return {column: (Look(value),) for column, value in _columns(rule, report)}


def _columns(rule: AlertRule, report: Mapping[str, Any]) -> Iterator[tuple[Column, float | None]]:
    young = rule.reference != "fixed" and report["reference_rows"] < rule.min_rows
    for role in roles(rule):
        for line in report[role]:
            enough = line["rows"] >= rule.min_rows and not young
            value = level(line[rule.figure]) if enough else None
            yield Column(role, line["tensor"], line["name"]), value


def _dataset(figure: str, report: Mapping[str, Any]) -> float | None:
    if figure == "skipped_ratio":
        skipped = float(report["skipped_rows"])
        return skipped / (report["rows"] + skipped) if skipped else 0.0
    return level(report[figure])


def roles(rule: AlertRule) -> tuple[str, ...]:
    """The lists of a report in which the rule's columns stand."""
    return _ROLES[rule.of]
