"""What is told to alert sinks of a rollout that took its candidate back.

Knows rollouts and the fields of a notice. Knows nothing of who is told.
"""

from __future__ import annotations

from typing import Final

from gateway.alerts.notices import Notice, Subject
from gateway.control.rollout_store import Rollout
from gateway.rollouts.stand import Event

RULE: Final = "rollout_rolled_back"
SEVERITY: Final = "critical"


def notice(rollout: Rollout, event: Event) -> Notice:
    """Told once: what happened is over, so that nothing follows to say so."""
    given = rollout.given
    subject = Subject(RULE, given.model, given.candidate)
    alarm = f"{subject.fingerprint}-{rollout.number}"
    return {
        "id": alarm,
        "event": f"{alarm}-1",
        "fingerprint": subject.fingerprint,
        "status": "firing",
        "rule": RULE,
        "severity": SEVERITY,
        "model": given.model,
        "version": given.candidate,
        "summary": f"model '{given.model}' version {given.candidate}: {rollout.owner} {event.says}",
        "reason": "",
        "at": event.at,
        "since": event.at,
        "fired_at": event.at,
        "resolved_at": None,
        "condition": event.says,
        "window_s": None,
        "reference": None,
        "self_referenced": None,
        "columns": [],
        "more_columns": 0,
    }
