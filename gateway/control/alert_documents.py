"""What the admin API takes and answers about alarms, as models.

Knows fields. Knows nothing of how alarms come about.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from gateway.control.documents import Number
from gateway.control.operations import Document


class AlertColumn(Document):
    """A column that is part of an alarm."""

    name: str
    role: Literal["features", "outputs", "dataset", "performance", "concept"]
    tensor: str
    value: float | None = Field(description="of a verdict: 0 ok, 1 watch, 2 drift")


class AlertLine(Document):
    """An alarm: one rule, and one version of a model."""

    id: str | None = Field(description="of the last time that it fired")
    state: Literal["pending", "firing", "resolved"]
    rule: str
    severity: Literal["info", "warning", "critical"]
    model: str
    version: int
    condition: str
    window_s: float | None
    since: float = Field(description="when its pending began, in seconds since 1970")
    fired_at: float | None
    resolved_at: float | None
    suppressed: str | None = Field(description="why it may not fire now")
    columns: list[AlertColumn]


class AlertList(Document):
    """Alarms: those that fire, those that are pending, those that were over within a day."""

    alerts: list[AlertLine]


class LetterPath(Document):
    """Which dead letter."""

    number: Number


class DeadLetter(Document):
    """Something that could not be delivered."""

    number: int
    sink: str
    event: str
    summary: str
    attempts: int
    dead_at: float | None = Field(description="null: it is on its way again")
    reason: str | None
    notice: dict[str, Any]


class DeadLetters(Document):
    """What could not be delivered, the newest first."""

    letters: list[DeadLetter]
