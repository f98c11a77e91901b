"""The control port: health, metrics, status, and the changes an operator asks for.

Knows HTTP routes and their answers. Knows nothing of how plans are made or counters kept.
Every route says what it asks of its caller (`callers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from gateway.access.roles import Permission
from gateway.control.callers import Permitted, as_json, failure
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.plan import Absent

HEALTH = frozenset({"/health/live", "/health/ready"})


@dataclass(frozen=True, slots=True)
class Admin:
    """What the routes call."""

    metrics: Callable[[str, bool], tuple[bytes, str]]
    status: Callable[[], Mapping[str, Any]]
    models: Callable[[], list[dict[str, Any]]]
    reload: Callable[[str | None], Awaitable[tuple[Absent, ...]]]
    load: Callable[[str], Awaitable[None]]
    unload: Callable[[str], Awaitable[None]]


def build_app(admin: Admin, callers: Middleware, more: Sequence[Permitted] = ()) -> Starlette:
    """The ASGI application of the control port.

    Args:
        admin: what the routes call.
        callers: finds out who asks, or refuses.
        more: routes that others bring.
    """

    async def live(_: Request) -> Response:
        return as_json({"live": True})

    async def ready(_: Request) -> Response:
        state = admin.status()
        return as_json({"ready": state["ready"]}, 200 if state["ready"] else 503)

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        triton = request.query_params.get("triton", "1") != "0"
        body, content_type = await asyncio.to_thread(admin.metrics, accept, triton)
        return Response(body, media_type=None, headers={"content-type": content_type})

    async def status(_: Request) -> Response:
        return as_json(admin.status())

    async def models(_: Request) -> Response:
        return as_json({"models": admin.models()})

    async def reload(request: Request) -> Response:
        absent = await admin.reload(request.query_params.get("model"))
        lines = [
            {"name": a.name, "version": a.version, "state": a.state, "reason": a.reason}
            for a in absent
        ]
        return as_json({"plan": admin.status()["plan"], "absent": lines})

    async def load(request: Request) -> Response:
        await admin.load(request.path_params["model"])
        return as_json({"loaded": request.path_params["model"]})

    async def unload(request: Request) -> Response:
        await admin.unload(request.path_params["model"])
        return as_json({"unloaded": request.path_params["model"]})

    async def not_found(request: Request, _: Exception) -> Response:
        return failure(NotFound(f"nothing at {request.url.path}"))

    async def not_allowed(request: Request, error: Exception) -> Response:
        allowed = ", ".join(sorted(getattr(error, "headers", {})["Allow"].split(", ")))
        response = failure(MethodNotAllowed(f"method: expected {allowed}, got {request.method}"))
        response.headers["allow"] = allowed
        return response

    async def failed(_: Request, error: Exception) -> Response:
        return failure(error if isinstance(error, GatewayError) else GatewayError("internal error"))

    app = Starlette(
        routes=[
            Permitted("/health/live", live, None),
            Permitted("/health/ready", ready, None),
            Permitted("/metrics", metrics, Permission.READ),
            Permitted("/api/status", status, Permission.READ),
            Permitted("/api/models", models, Permission.READ),
            Permitted("/api/reload", reload, Permission.OPERATE, ["POST"]),
            Permitted("/api/models/{model}/load", load, Permission.OPERATE, ["POST"]),
            Permitted("/api/models/{model}/unload", unload, Permission.OPERATE, ["POST"]),
            *more,
        ],
        middleware=[callers],
        exception_handlers={
            404: not_found,
            405: not_allowed,
            GatewayError: failed,
            Exception: failed,
        },
    )
    app.router.redirect_slashes = False
    return app
