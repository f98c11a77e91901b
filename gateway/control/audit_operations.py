"""What can be asked of the audit through the control port.

Knows parameters and answers. Knows nothing of how the audit is kept.
"""

from __future__ import annotations

import asyncio
from typing import Any

from gateway.access.roles import Permission
from gateway.control.audit import EVER, Audit
from gateway.control.documents import AuditPage, AuditQuery
from gateway.control.operations import Asked, Operation
from gateway.errors import StoreFailed


def operations(audit: Audit) -> tuple[Operation, ...]:
    """The table."""

    async def read_audit(asked: Asked) -> Any:
        after, limit = asked.query.after, asked.query.limit
        page = await asyncio.to_thread(audit.page, after, EVER, limit)
        following = page[-1].id if len(page) == limit else None
        return {"entries": [entry.as_json() for entry in page], "next": following}

    return (
        Operation(
            "GET",
            "/api/audit",
            read_audit,
            "Who changed what, ascending, page by page",
            Permission.READ,
            answer=AuditPage,
            bulky=True,
            query=AuditQuery,
            errors=(StoreFailed,),
        ),
    )
