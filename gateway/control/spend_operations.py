"""What can be asked of spending through the control port.

Knows parameters and answers. Knows nothing of how spending is counted or kept.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field

from gateway.access.roles import Permission
from gateway.control.documents import PageSize
from gateway.control.key_documents import KeyLimits
from gateway.control.operations import Asked, Document, Operation
from gateway.control.spend_report import lines
from gateway.control.spending import Spending
from gateway.control.store import Store
from gateway.errors import StoreFailed


class Sums(Document):
    """What was settled."""

    usd: str = Field(description="dollars, exactly")
    tokens: int
    requests: int


class SpentIn(Document):
    """By window of UTC, those that are now."""

    day: Sums
    month: Sums
    total: Sums


class RatesLeft(Document):
    """Of limits per minute, what may come at once at this moment; null: there is no such limit."""

    requests: int | None
    tokens: int | None


class SpendLine(Document):
    """Where one key, team, tag or caller with a certificate stands."""

    owner: str
    kind: Literal["key", "team", "tag", "certificate"]
    name: str
    id: int | None = Field(description="of a key: the first of those that took each other's place")
    spent: SpentIn
    limits: KeyLimits | None = Field(description="null: it is none that is in force")
    under_way: int = Field(description="requests that have reserved, and are not settled")
    rates_left: RatesLeft
    refusals: int = Field(description="by its limits, since the server was started")


class SpendList(Document):
    """Whatever has spent something, or was refused by its limits, by its owner's name."""

    spend: list[SpendLine]
    next: str | None = Field(description="`after` of the next page; null where this was the last")


class SpendQuery(Document):
    """Whose."""

    after: str = Field("", max_length=100, description="an owner; those past it are told")
    limit: PageSize = 100


def operations(store: Store, spending: Spending) -> tuple[Operation, ...]:
    """The table."""

    async def read_spend(asked: Asked) -> Any:
        return await asyncio.to_thread(page, asked.query.after, asked.query.limit)

    def page(after: str, limit: int) -> dict[str, Any]:
        with suppress(StoreFailed):  # a disk that is full tells what it knows
            spending.look()  # so that a page holds all that was settled by now
        found = lines(store, time.time(), after, limit, spending.refused())
        standing = {one.owner: one for one in spending.standings(line.owner for line in found)}

        def told(owner: str) -> dict[str, Any]:
            one = standing.get(owner)
            return {
                "limits": None if one is None else one.allowance.as_json(),
                "under_way": 0 if one is None else one.under_way,
                "rates_left": {
                    "requests": None if one is None else one.requests_left,
                    "tokens": None if one is None else one.tokens_left,
                },
                "refusals": 0 if one is None else one.refusals,
            }

        return {
            "spend": [
                {"owner": line.owner, **line.as_json(), **told(line.owner)} for line in found
            ],
            "next": found[-1].owner if len(found) == limit else None,
        }

    return (
        Operation(
            "GET",
            "/api/spend",
            read_spend,
            "What callers, teams and tags have spent, page by page",
            Permission.READ,
            answer=SpendList,
            bulky=True,
            query=SpendQuery,
            errors=(StoreFailed,),
        ),
    )
