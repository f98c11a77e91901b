"""The control port's way to the audit.

Knows parameters and JSON. Knows nothing of how the audit is kept.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.control.admin import json_answer, number
from gateway.control.audit import Audit

MAX_LIMIT = 1000


def routes(audit: Audit) -> list[Route]:
    """`GET /api/audit?after=ID&limit=N`: entries after an id, ascending, and where to go on."""

    async def entries(request: Request) -> Response:
        after = number(request, "after", 0, 0, 2**63 - 1)
        limit = number(request, "limit", 100, 1, MAX_LIMIT)
        page = await asyncio.to_thread(audit.page, after, 0.0, limit)
        following = page[-1].id if len(page) == limit else None
        return json_answer({"entries": [entry.as_json() for entry in page], "next": following})

    return [Route("/api/audit", entries)]
