"""An alarm as JSON and back, for whoever keeps it.

Knows alarms. Knows nothing of where they are kept.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

from gateway.alerts.alarms import Alarm, Watch
from gateway.alerts.readings import Column


def written(alarm: Alarm) -> str:
    """Everything of an alarm."""
    values = {name: getattr(alarm, name) for name in Alarm.__slots__ if name != "columns"}
    values["told_at"] = _finite(alarm.told_at)
    values["told"] = [[one.role, one.tensor, one.name] for one in alarm.told]
    values["columns"] = [
        {**asdict(column), **asdict(watch), "after_s": _finite(watch.after_s)}
        for column, watch in alarm.columns.items()
    ]
    return json.dumps(values)


def read(text: str) -> Alarm:
    """The alarm that was written.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    values: dict[str, Any] = json.loads(text)
    columns = {}
    for one in values.pop("columns"):
        column = Column(one.pop("role"), one.pop("tensor"), one.pop("name"))
        columns[column] = Watch(**{**one, "after_s": _or_never(one["after_s"])})
    told = tuple(Column(*parts) for parts in values.pop("told"))
    values["told_at"] = _or_never(values["told_at"])
    return Alarm(**values, told=told, columns=columns)


def _finite(at: float) -> float | None:
    return at if math.isfinite(at) else None


def _or_never(at: float | None) -> float:
    return -math.inf if at is None else at
