"""Keys over the control port: list, create, rotate, revoke.

Knows bodies and answers. Knows nothing of how keys are kept. What an answer says has happened
holds: workers have been told before it is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from gateway.access.durations import read_duration, read_moment
from gateway.access.roles import Permission
from gateway.control.callers import Permitted, as_json, who
from gateway.control.keys import EVERYTHING, Key, Keys
from gateway.errors import BodyTooLarge, InvalidParameter, MalformedJson

MAX_BODY_BYTES = 65_536


def key_routes(keys: Keys, refresh: Callable[[], Awaitable[None]]) -> list[Permitted]:
    """The routes; `refresh` brings everybody to what the store says."""

    async def every(_: Request) -> Response:
        now = time.time()
        known = await asyncio.to_thread(keys.all)
        return as_json({"keys": [key.as_json(now) for key in known]})

    async def create(request: Request) -> Response:
        wanted = await _document(request, {"name", "role", "models", "expires"})
        expires = wanted.get("expires")
        moment = None if expires is None else read_moment(_text(expires), time.time(), "expires")
        models = wanted.get("models", EVERYTHING)
        if not isinstance(models, list | tuple):
            raise InvalidParameter("models: expected a list of names")
        return await once(
            keys.create,
            who(request),
            _text(wanted.get("name", "")),
            _text(wanted.get("role", "")),
            [_text(model) for model in models],
            moment,
        )

    async def rotate(request: Request) -> Response:
        wanted = await _document(request, {"overlap"})
        overlap = wanted.get("overlap")
        overlap_s = 0.0 if overlap is None else read_duration(_text(overlap), "overlap")
        return await once(keys.rotate, who(request), request.path_params["id"], overlap_s)

    async def once(change: Callable[..., tuple[Key, str]], *arguments: Any) -> Response:
        key, raw = await asyncio.to_thread(change, *arguments)
        await refresh()
        response = as_json({**key.as_json(time.time()), "key": raw}, 201)
        response.headers["cache-control"] = "no-store"
        return response

    async def revoke(request: Request) -> Response:
        key = await asyncio.to_thread(keys.revoke, who(request), request.path_params["id"])
        await refresh()
        return as_json(key.as_json(time.time()))

    admin = Permission.ADMINISTER
    return [
        Permitted("/api/keys", every, admin),
        Permitted("/api/keys", create, admin, ["POST"]),
        Permitted("/api/keys/{id:int}", revoke, admin, ["DELETE"]),
        Permitted("/api/keys/{id:int}/rotate", rotate, admin, ["POST"]),
    ]


async def _document(request: Request, fields: set[str]) -> dict[str, Any]:
    """A small JSON object with known fields.

    A browser asks first before it sends this content type to somebody else's server.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise InvalidParameter("content-type: expected application/json")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"body: expected at most {MAX_BODY_BYTES} bytes, got more")
    try:
        value = orjson.loads(bytes(body) or b"{}")
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"body: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidParameter("body: expected an object")
    unknown = sorted(set(value) - fields)
    if unknown:
        raise InvalidParameter(f"body: no such field: {', '.join(unknown)[:200]}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidParameter(f"expected text, got {type(value).__name__}")
    return value
