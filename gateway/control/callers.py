"""Who may come to the control port, and what each route asks of them.

Knows headers, principals and permissions. Knows nothing of what routes do.

Where the port is open it answers only requests that name a loopback host: a web page that a browser
on this machine shows cannot reach it by another name. Where it asks for keys, that page has none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.headers import credential
from gateway.access.keyring import Keyring
from gateway.access.local import PREFIX, is_local
from gateway.access.principal import TOKENS, Principal
from gateway.access.roles import Permission
from gateway.errors import GatewayError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
PRINCIPAL = "penstock_principal"
"""Where routes find who asks: `scope["state"]`. Not there where the port is open."""
NOBODY = "control port"
"""Who made a change on an open port, as far as anybody knows."""


class Permitted(Route):
    """A route with what it asks of its caller: a permission, or None where everybody may."""

    def __init__(
        self,
        path: str,
        answer: Callable[[Request], Awaitable[Response]],
        permission: Permission | None,
        methods: Sequence[str] = ("GET",),
    ) -> None:
        """`answer` is called for those who have the permission."""
        self.permission = permission

        async def ask(request: Request) -> Response:
            principal = principal_of(request)
            if principal is not None and permission is not None:
                principal.require(permission)
            return await answer(request)

        super().__init__(path, ask, methods=list(methods))


def principal_of(request: Request) -> Principal | None:
    """Who asks; None where the port is open, or the route."""
    found: Principal | None = request.scope.get("state", {}).get(PRINCIPAL)
    return found


def who(request: Request) -> str:
    """Who asks, for the record."""
    principal = principal_of(request)
    return NOBODY if principal is None else principal.name


class KnownCallersOnly:
    """Refuses a request whose sender is not known, whatever it asks for."""

    def __init__(
        self,
        app: ASGIApp,
        keyring: Keyring,
        secret: bytes,
        open_paths: frozenset[str],
        used: Callable[[int], None],
    ) -> None:
        """`used` is told the number of every key that is used."""
        self._app = app
        self._keyring = keyring
        self._secret = secret
        self._open_paths = open_paths
        self._used = used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 401."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            try:
                principal = self._principal(scope)
            except GatewayError as error:
                await failure(error)(scope, receive, send)
                return
            self._used(principal.id)
            scope.setdefault("state", {})[PRINCIPAL] = principal
        await self._app(scope, receive, send)

    def _principal(self, scope: Scope) -> Principal:
        given = credential(scope["headers"])
        if given.startswith(PREFIX.encode()) and is_local(self._secret, given, time.time()):
            return Principal(TOKENS, "local", "admin")
        return self._keyring.find(given)


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
                refusal = as_json({"error": error, "code": "forbidden_host"}, 403)
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def failure(error: GatewayError) -> Response:
    """Every refusal and failure of the control port."""
    response = as_json({"error": str(error), "code": error.code}, error.status)
    if error.status == 401:
        response.headers["www-authenticate"] = 'Bearer realm="penstock"'
    return response


def as_json(value: Any, status: int = 200) -> Response:
    """A JSON document."""
    return Response(orjson.dumps(value), status, media_type="application/json")
