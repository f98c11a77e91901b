"""What can be asked of keys through the control port: list, create, rotate, revoke.

Knows parameters and answers. Knows nothing of how keys are kept. What an answer says has happened
holds: workers have been told before it is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.access.durations import read_duration, read_moment
from gateway.access.roles import Permission
from gateway.config.llm import Llm
from gateway.control.key_documents import (
    KeyChange,
    KeyLine,
    KeyList,
    KeyPath,
    KeysQuery,
    KeyWanted,
    NewKey,
    Rotation,
)
from gateway.control.key_limits import check_team
from gateway.control.key_values import Belongs, Key
from gateway.control.keys import Keys
from gateway.control.operations import Asked, Operation, Told
from gateway.errors import Conflict, NotFound, StoreFailed


def operations(
    keys: Keys, refresh: Callable[[], Awaitable[None]], settings: Callable[[], Llm]
) -> tuple[Operation, ...]:
    """The table.

    Args:
        keys: of the home.
        refresh: brings everybody to what the store says.
        settings: the section in force, which says what teams there are.
    """

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
        check_team(wanted.team, settings())
        belongs = Belongs(wanted.team, tuple(wanted.tags), wanted.limits.allowance)
        named = (wanted.name, wanted.role, wanted.models)
        return await once(keys.create, asked.actor, *named, moment, belongs)

    async def set_key(asked: Asked) -> Any:
        wanted: KeyChange = asked.body
        check_team(wanted.team, settings())
        key = await asyncio.to_thread(
            keys.set, asked.actor, asked.path.id, wanted.models, partial(_changed, wanted)
        )
        await refresh()
        return key.as_json(time.time())

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
            "PATCH",
            "/api/keys/{id}",
            set_key,
            "Change what a key may call, and what it may spend",
            admin,
            answer=KeyLine,
            path_parameters=KeyPath,
            body=KeyChange,
            errors=(NotFound, Conflict, StoreFailed),
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


def _changed(wanted: KeyChange, before: Belongs) -> Belongs:
    """What a key's requests count against, with all that is given in the place of what was."""
    given = wanted.model_fields_set
    allowance = before.allowance
    if wanted.limits is not None:
        fields = wanted.limits.model_fields_set
        fresh = wanted.limits.allowance
        allowance = replace(allowance, **{name: getattr(fresh, name) for name in fields})
    return Belongs(
        wanted.team if "team" in given else before.team,
        before.tags if wanted.tags is None else tuple(wanted.tags),
        allowance,
    )
