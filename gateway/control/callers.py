"""Who may come to the control port.

Knows headers and principals. Knows nothing of what operations do or ask for.

Where the port is open it answers only requests that name a loopback host: a web page that a browser
on this machine shows cannot reach it by another name. Where it asks for keys, that page has none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.credentials import Credentials
from gateway.access.headers import Header, presented
from gateway.access.local import PREFIX, local_user
from gateway.access.principal import LOCAL, Principal
from gateway.access.scopes import keep, principal_of, shown_of
from gateway.control.audit import Actor, Door
from gateway.control.failures import failure
from gateway.errors import ForbiddenHost, GatewayError, Unauthenticated

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


@dataclass(frozen=True, slots=True)
class Known:
    """How callers are known.

    Attributes:
        asks: nobody else may come.
        credentials: keys, tokens and certificates.
        secret: of the server, which commands on its machine can read.
        used: is told the number of every key that is used.
        refused: is told the code of every error that says who may not.
    """

    asks: bool
    credentials: Credentials
    secret: bytes
    used: Callable[[int], None]
    refused: Callable[[str], None]

    def find(self, scope: Mapping[str, Any]) -> Principal:
        """Who sends a request: a command on this machine, or whoever else is known.

        Raises:
            Unauthenticated: nobody that is known.
        """
        headers = scope["headers"]
        return self.local(headers) or self.credentials.find(headers, shown_of(scope))

    def local(self, headers: Iterable[Header]) -> Principal | None:
        """The command on this machine that sends a request; None where it is none."""
        try:
            given = presented(headers)
        except Unauthenticated:  # what it has is nobody's, and refused as such where that matters
            return None
        if given is None or not given.startswith(PREFIX.encode()):
            return None
        user = local_user(self.secret, given, time.time())
        return None if user is None else Principal(LOCAL, user, "admin")


def actor_of(request: Request) -> Actor:
    """Who asks, for the audit. Of a stranger on an open port nobody knows more than the address."""
    host, port = request.client or ("", 0)
    principal = principal_of(request.scope)
    if principal is None:
        return Actor(f"anonymous@{host}", "admin", f"{host}:{port}")
    door: Door = "cli" if principal.id == LOCAL else "admin"
    return Actor(principal.name, door, f"{host}:{port} {principal.shown}")


class KnownCallersOnly:
    """Refuses a request whose sender is not known, whatever it asks for."""

    def __init__(self, app: ASGIApp, known: Known, public: frozenset[str]) -> None:
        """`public` are the paths where nobody is asked."""
        self._app = app
        self._known = known
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 401."""
        if scope["type"] == "http" and scope["path"] not in self._public:
            try:
                principal = self._known.find(scope)
            except GatewayError as error:
                self._known.refused(error.code)
                await failure(error)(scope, receive, send)
                return
            self._known.used(principal.id)
            keep(scope, principal)
        await self._app(scope, receive, send)


class LoopbackNamesOnly:
    """Refuses a request whose Host is no name of the loopback interface (DNS rebinding).

    A command of this machine is known here as well, so that the audit names its user.
    """

    def __init__(self, app: ASGIApp, known: Known | None) -> None:
        self._app = app
        self._known = known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 403."""
        if scope["type"] == "http":
            hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(hosts) != 1 or _name(hosts[0]) not in LOOPBACK:
                names = ", ".join(sorted(LOOPBACK))
                got = ", ".join(f"'{host[:80]}'" for host in hosts[:2]) or "none"
                error = ForbiddenHost(f"Host: expected one loopback name ({names}), got {got}")
                if self._known is not None:
                    self._known.refused(error.code)
                await failure(error)(scope, receive, send)
                return
            local = None if self._known is None else self._known.local(scope["headers"])
            if local is not None:
                keep(scope, local)
        await self._app(scope, receive, send)


def _name(host: str) -> str:
    """A Host without its port."""
    return host if host.endswith("]") else host.rsplit(":", 1)[0]
