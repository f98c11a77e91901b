"""What can be asked of alarms through the control port: list them, and try dead letters again.

Knows parameters and answers. Knows nothing of how alarms come about or are delivered.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.access.roles import Permission
from gateway.control.alert_documents import AlertList, DeadLetter, DeadLetters, LetterPath
from gateway.control.alert_store import AlertStore, Letter
from gateway.control.alerting import Alerting
from gateway.control.deliveries import Deliveries
from gateway.control.operations import Asked, Operation
from gateway.errors import NotFound, StoreFailed


def operations(
    alerting: Alerting, store: AlertStore, deliveries: Deliveries
) -> tuple[Operation, ...]:
    """The table."""

    async def list_alerts(asked: Asked) -> Any:
        return {"alerts": [one for one in alerting.lines() if asked.may_see(one["model"])]}

    async def list_dead_letters(asked: Asked) -> Any:
        dead = await asyncio.to_thread(store.dead)
        shown = [one for one in dead if asked.may_see(one.notice["model"])]
        return {"letters": [_line(one) for one in shown]}

    async def retry_dead_letter(asked: Asked) -> Any:
        letter = await asyncio.to_thread(store.revive, asked.actor, asked.path.number)
        deliveries.put([letter])
        return _line(letter)

    return (
        Operation(
            "GET",
            "/api/alerts",
            list_alerts,
            "Alarms that fire, are pending, or were over within a day",
            Permission.READ,
            scope="caller",
            answer=AlertList,
        ),
        Operation(
            "GET",
            "/api/alerts/dead-letters",
            list_dead_letters,
            "What could not be delivered",
            Permission.READ,
            scope="caller",
            answer=DeadLetters,
            errors=(StoreFailed,),
        ),
        Operation(
            "POST",
            "/api/alerts/dead-letters/{number}/retry",
            retry_dead_letter,
            "Try to deliver a dead letter again",
            Permission.OPERATE,
            answer=DeadLetter,
            path_parameters=LetterPath,
            errors=(NotFound, StoreFailed),
        ),
    )


def _line(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "sink": letter.sink,
        "event": letter.notice["event"],
        "summary": letter.notice["summary"],
        "attempts": letter.attempts,
        "dead_at": letter.dead_at,
        "reason": letter.reason,
        "notice": dict(letter.notice),
    }
