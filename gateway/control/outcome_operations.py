"""What can be asked of the ledger and of outcomes through the control port.

Knows parameters and answers. Knows nothing of how records are kept or figures are made.
"""

from __future__ import annotations

from typing import Any

from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.control.operations import Asked, Operation
from gateway.control.outcome_documents import OutcomeList, OutcomesStatus, Received
from gateway.control.outcomes import Outcomes
from gateway.errors import StoreFailed
from gateway.outcomes.arrivals import MAX_BODY_BYTES, read_values
from gateway.outcomes.joins import document


def operations(outcomes: Outcomes) -> tuple[Operation, ...]:
    """The table."""

    async def receive_outcomes(asked: Asked) -> Any:
        given: OutcomeList = asked.body
        principal = principal_of(asked.request.scope)
        found = read_values(given.outcomes)
        models = None if principal is None else principal.models
        return document(found, await outcomes.receive(found.arrivals, models))

    async def outcomes_status(_: Asked) -> Any:
        return await outcomes.status()

    return (
        Operation(
            "POST",
            "/api/outcomes",
            receive_outcomes,
            "Join outcomes to what was answered",
            Permission.OPERATE,
            scope="caller",
            answer=Received,
            body=OutcomeList,
            max_body_bytes=MAX_BODY_BYTES,
            errors=(StoreFailed,),
        ),
        Operation(
            "GET",
            "/api/outcomes",
            outcomes_status,
            "What the ledger holds, what it lost, and what became of outcomes",
            Permission.READ,
            answer=OutcomesStatus,
            errors=(StoreFailed,),
        ),
    )
