"""The control port: health, metrics, status, and the changes an operator asks for.

Knows HTTP routes and their answers. Knows nothing of how plans are made or counters kept.

Until there is access control the port listens on loopback only, and it answers only requests that
name a loopback host: a web page that a browser on this machine shows cannot reach it by another
name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control.audit import Actor
from gateway.errors import GatewayError, InvalidParameter, MethodNotAllowed, NotFound
from gateway.plan import Absent

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class Admin:
    """What the routes call."""

    metrics: Callable[[str, bool], tuple[bytes, str]]
    status: Callable[[], Mapping[str, Any]]
    models: Callable[[], list[dict[str, Any]]]
    reload: Callable[[Actor, str | None], Awaitable[tuple[Absent, ...]]]
    load: Callable[[Actor, str], Awaitable[None]]
    unload: Callable[[Actor, str], Awaitable[None]]


def build_app(admin: Admin, more: Sequence[Route] = ()) -> Starlette:
    """The ASGI application of the control port; `more` are routes of other rooms."""

    async def live(_: Request) -> Response:
        return json_answer({"live": True})

    async def ready(_: Request) -> Response:
        state = admin.status()
        return json_answer({"ready": state["ready"]}, 200 if state["ready"] else 503)

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        triton = request.query_params.get("triton", "1") != "0"
        body, content_type = await asyncio.to_thread(admin.metrics, accept, triton)
        return Response(body, media_type=None, headers={"content-type": content_type})

    async def status(_: Request) -> Response:
        return json_answer(admin.status())

    async def models(_: Request) -> Response:
        return json_answer({"models": admin.models()})

    async def reload(request: Request) -> Response:
        absent = await admin.reload(actor_of(request), request.query_params.get("model"))
        lines = [
            {"name": a.name, "version": a.version, "state": a.state, "reason": a.reason}
            for a in absent
        ]
        return json_answer({"plan": admin.status()["plan"], "absent": lines})

    async def load(request: Request) -> Response:
        await admin.load(actor_of(request), request.path_params["model"])
        return json_answer({"loaded": request.path_params["model"]})

    async def unload(request: Request) -> Response:
        await admin.unload(actor_of(request), request.path_params["model"])
        return json_answer({"unloaded": request.path_params["model"]})

    async def not_found(request: Request, _: Exception) -> Response:
        return _failure(NotFound(f"nothing at {request.url.path}"))

    async def not_allowed(request: Request, error: Exception) -> Response:
        allowed = ", ".join(sorted(getattr(error, "headers", {})["Allow"].split(", ")))
        response = _failure(MethodNotAllowed(f"method: expected {allowed}, got {request.method}"))
        response.headers["allow"] = allowed
        return response

    async def failed(_: Request, error: Exception) -> Response:
        return _failure(
            error if isinstance(error, GatewayError) else GatewayError("internal error")
        )

    app = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", metrics),
            Route("/api/status", status),
            Route("/api/models", models),
            Route("/api/reload", reload, methods=["POST"]),
            Route("/api/models/{model}/load", load, methods=["POST"]),
            Route("/api/models/{model}/unload", unload, methods=["POST"]),
            *more,
        ],
        middleware=[Middleware(LoopbackNamesOnly)],
        exception_handlers={
            404: not_found,
            405: not_allowed,
            GatewayError: failed,
            Exception: failed,
        },
    )
    app.router.redirect_slashes = False
    return app


def actor_of(request: Request) -> Actor:
    """Who asks. Without access control nobody knows more than the address."""
    host, port = request.client or ("", 0)
    return Actor(f"anonymous@{host}", "admin", f"{host}:{port}")


def number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query.

    Raises:
        InvalidParameter: it is none, or out of bounds.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise InvalidParameter(f"{name}: expected a number from {low} to {high}, got {text[:40]!r}")
    return int(text)


class LoopbackNamesOnly:
    """Refuses a request whose Host is no name of the loopback interface (DNS rebinding)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 403."""
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            name = (
                hosts[0].rsplit(":", 1)[0]
                if hosts and not hosts[0].endswith("]")
                else "".join(hosts)
            )
            if name not in LOOPBACK:
                error = (
                    f"Host: expected a loopback name ({', '.join(sorted(LOOPBACK))}), got '{name}'"
                )
                await json_answer({"error": error, "code": "forbidden_host"}, 403)(
                    scope, receive, send
                )
                return
        await self._app(scope, receive, send)


def _failure(error: GatewayError) -> Response:
    return json_answer({"error": str(error), "code": error.code}, error.status)


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of JSON."""
    return Response(orjson.dumps(value), status, headers, media_type="application/json")
