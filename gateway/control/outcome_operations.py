"""What can be asked of the ledger and of outcomes through the control port.

Knows parameters and answers. Knows nothing of how records are kept or figures are made.
"""

from __future__ import annotations

from typing import Any

from gateway.access.roles import Permission
from gateway.control.operations import Asked, Operation
from gateway.control.outcome_documents import OutcomesStatus
from gateway.control.outcomes import Outcomes
from gateway.errors import StoreFailed


def operations(outcomes: Outcomes) -> tuple[Operation, ...]:
    """The table."""

    async def outcomes_status(_: Asked) -> Any:
        return await outcomes.status()

    return (
        Operation(
            "GET",
            "/api/outcomes",
            outcomes_status,
            "What the ledger holds, and what it lost",
            Permission.READ,
            answer=OutcomesStatus,
            errors=(StoreFailed,),
        ),
    )
