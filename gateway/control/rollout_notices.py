"""What is told to alert sinks of a rollout that took its candidate back.

Knows rollouts and the fields of a notice. Knows nothing of who is told.
"""

from __future__ import annotations

from typing import Final

from gateway.alerts.notices import Notice, Subject, told_once
from gateway.control.rollout_store import Rollout
from gateway.rollouts.stand import Event

RULE: Final = "rollout_rolled_back"
SEVERITY: Final = "critical"


def notice(rollout: Rollout, event: Event) -> Notice:
    """What a rollout did as alert sinks are told it."""
    subject = Subject(RULE, rollout.given.model, rollout.given.candidate)
    summary = f"{rollout.owner} {event.says}"
    return told_once(subject, str(rollout.number), event.at, SEVERITY, summary, event.says)
