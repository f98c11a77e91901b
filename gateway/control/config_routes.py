"""The control port's way to the configuration: the same revisions as `penstock config`.

Knows headers, bodies and statuses. Knows nothing of what a document says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.control.admin import actor_of, json_answer, number
from gateway.control.audit import Actor
from gateway.control.in_force import InForce
from gateway.control.revisions import Revision, changes
from gateway.errors import (
    BodyTooLarge,
    InvalidParameter,
    InvalidRequest,
    PreconditionFailed,
    PreconditionRequired,
)
from gateway.plan import Absent

MAX_DOCUMENT_BYTES = 4 << 20
YAML = "application/yaml"
Follow = Callable[[], Awaitable[tuple[Absent, ...]]]


def routes(in_force: InForce, follow: Follow) -> list[Route]:
    """Routes under /api/config.

    Args:
        in_force: what the server follows, and its revisions.
        follow: brings the workers to the newest revision.
    """
    revisions = in_force.revisions

    async def show(request: Request) -> Response:
        if request.query_params.get("effective") == "1":
            newest, settings = await asyncio.to_thread(in_force.settings)
            value = {"revision": newest.number, "settings": [asdict(one) for one in settings]}
            return json_answer(value, headers=_tag(newest))
        return _shown(request, await asyncio.to_thread(revisions.newest))

    async def put(request: Request) -> Response:
        wanted = _wanted(request)
        if wanted is None:
            raise PreconditionRequired("If-Match: expected the revision that is changed, got none")
        document = await _body(request)
        await asyncio.to_thread(in_force.check, document, "document")
        newest = await asyncio.to_thread(revisions.newest)
        found = await asyncio.to_thread(changes, newest, document, "document", wanted)
        told: dict[str, Any] = {"changes": [one.as_json() for one in found]}
        if request.query_params.get("dry_run") == "1":
            return json_answer({"revision": wanted, "dry_run": True, **told})
        note = request.query_params.get("note", "")

        def add(actor: Actor) -> Revision:
            return revisions.add(document, actor, note=note, if_revision=wanted)

        added = await asyncio.to_thread(add, actor_of(request))
        return _followed(added, await follow(), told)

    async def history(_: Request) -> Response:
        found = await asyncio.to_thread(revisions.history)
        return json_answer({"revisions": [one.as_json(whole=False) for one in found]})

    async def one(request: Request) -> Response:
        return _shown(request, await asyncio.to_thread(revisions.get, request.path_params["n"]))

    async def rollback(request: Request) -> Response:
        known = request.query_params.get("revision") is not None
        to = number(request, "revision", 0, 0, 2**63 - 1) if known else None
        note = request.query_params.get("note", "")
        wanted = _wanted(request)
        added = await asyncio.to_thread(
            revisions.rollback, actor_of(request), to, note=note, if_revision=wanted
        )
        return _followed(added, await follow(), {})

    return [
        Route("/api/config", show, methods=["GET"]),
        Route("/api/config", put, methods=["PUT"]),
        Route("/api/config/revisions", history),
        Route("/api/config/revisions/{n:int}", one),
        Route("/api/config/rollback", rollback, methods=["POST"]),
    ]


def _shown(request: Request, revision: Revision) -> Response:
    """The document itself for those who ask for YAML, else all that is known of the revision."""
    if YAML in request.headers.get("accept", ""):
        return Response(revision.document, 200, _tag(revision), media_type=YAML)
    return json_answer(revision.as_json(), headers=_tag(revision))


def _followed(added: Revision, absent: Sequence[Absent], more: dict[str, Any]) -> Response:
    value = {"revision": added.number, **more, "absent": [asdict(one) for one in absent]}
    return json_answer(value, headers=_tag(added))


def _tag(revision: Revision) -> dict[str, str]:
    return {"etag": f'"{revision.number}"'}


def _wanted(request: Request) -> int | None:
    """The revision that `If-Match` names; None where the header is not there.

    Raises:
        PreconditionFailed: it names no revision.
    """
    text = request.headers.get("if-match")
    if text is None:
        return None
    digits = text.strip().strip('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise PreconditionFailed(f'If-Match: expected a revision such as "3", got {text[:40]!r}')
    return int(digits)


async def _body(request: Request) -> str:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MAX_DOCUMENT_BYTES:
                raise BodyTooLarge(f"body: expected at most {MAX_DOCUMENT_BYTES} bytes, got more")
    except ClientDisconnect as error:
        raise InvalidRequest("body: cut short by its client") from error
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidParameter(f"body: expected UTF-8: {error}") from error
