"""What can be asked of keys through the control port: list, create, rotate, revoke.

Knows parameters and answers. Knows nothing of how keys are kept. What an answer says has happened
holds: workers have been told before it is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.access.durations import read_duration, read_moment
from gateway.access.roles import Permission
from gateway.control.key_documents import (
    KeyLine,
    KeyList,
    KeyPath,
    KeysQuery,
    KeyWanted,
    NewKey,
    Rotation,
)
from gateway.control.keys import Key, Keys
from gateway.control.operations import Asked, Operation, Told
from gateway.errors import Conflict, NotFound, StoreFailed


def operations(keys: Keys, refresh: Callable[[], Awaitable[None]]) -> tuple[Operation, ...]:
    """The table; `refresh` brings everybody to what the store says."""

    async def list_keys(asked: Asked) -> Any:
        return await asyncio.to_thread(page, asked.query.after, asked.query.limit)

    def page(after: int, limit: int) -> dict[str, Any]:
        now = time.time()
        found = keys.page(after, limit)
        following = found[-1].id if len(found) == limit else None
        return {"keys": [key.as_json(now) for key in found], "next": following}

    async def create_key(asked: Asked) -> Any:
        wanted: KeyWanted = asked.body
        ends = wanted.expires
        moment = None if ends is None else read_moment(ends, time.time(), "expires")
        return await once(keys.create, asked.actor, wanted.name, wanted.role, wanted.models, moment)

    async def rotate_key(asked: Asked) -> Any:
        overlap = asked.body.overlap
        overlap_s = 0.0 if overlap is None else read_duration(overlap, "overlap")
        return await once(keys.rotate, asked.actor, asked.path.id, overlap_s)

    async def once(change: Callable[..., tuple[Key, str]], *arguments: Any) -> Told:
        key, raw = await asyncio.to_thread(change, *arguments)
        await refresh()
        return Told({**key.as_json(time.time()), "key": raw}, {"cache-control": "no-store"})

    async def revoke_key(asked: Asked) -> Any:
        key = await asyncio.to_thread(keys.revoke, asked.actor, asked.path.id)
        await refresh()
        return key.as_json(time.time())

    admin = Permission.ADMINISTER
    return (
        Operation(
            "GET",
            "/api/keys",
            list_keys,
            "Every key, and when it was last used, page by page",
            admin,
            answer=KeyList,
            bulky=True,
            query=KeysQuery,
            errors=(StoreFailed,),
        ),
        Operation(
            "POST",
            "/api/keys",
            create_key,
            "Make a key, which is shown once",
            admin,
            answer=NewKey,
            status=201,
            body=KeyWanted,
            errors=(Conflict, StoreFailed),
        ),
        Operation(
            "DELETE",
            "/api/keys/{id}",
            revoke_key,
            "Take a key back at once and for good",
            admin,
            answer=KeyLine,
            path_parameters=KeyPath,
            errors=(NotFound, Conflict, StoreFailed),
        ),
        Operation(
            "POST",
            "/api/keys/{id}/rotate",
            rotate_key,
            "Make a key in the place of another, which is shown once",
            admin,
            answer=NewKey,
            status=201,
            path_parameters=KeyPath,
            body=Rotation,
            errors=(NotFound, Conflict, StoreFailed),
        ),
    )
