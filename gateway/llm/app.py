"""What of the language model APIs goes through Starlette: lists of models, and other carriers.

Knows paths and both dialects' shapes. Knows nothing of how requests are answered on the lane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.errors import GatewayError, ModelNotFound, NotFound
from gateway.llm import listing
from gateway.llm.names import Names
from gateway.wire.answers import error_headers
from gateway.wire.asgi import EndpointApp
from gateway.wire.cycle import NOTES_STATE, Notes
from gateway.wire.head import read_echo
from gateway.wire.llm import azure
from gateway.wire.llm.errors import error_body, request_id_header
from gateway.wire.llm.paths import WITHOUT_V1
from gateway.wire.llm.words import PATHS, Dialect
from gateway.wire.services import Services

_DEPLOYMENTS = azure.DEPLOYMENTS.decode()
_ENDS = tuple(end.decode() for end in azure.ENDS.values())
_METHODS = ["GET", "POST", "DELETE", "PUT"]
_BELOW_V1 = ": these APIs are below /v1, so OpenAI's clients want a base_url that ends in /v1"
_TWICE_V1 = ": OpenAI's clients want a base_url that ends in /v1 once, Anthropic's one without /v1"
_OURS = ", ".join(sorted({*(path.decode() for path in PATHS.values()), "/v1/models"}))


def _hint(path: str) -> str:
    """What whoever asks at a path that is not ours has most likely got wrong."""
    if path.startswith("/openai/"):
        return ""
    if path.startswith("/v1/v1/"):
        return _TWICE_V1
    return f": there are {_OURS}" if path.startswith("/v1/") else _BELOW_V1


class ModelLists:
    """Answers /v1/models."""

    def __init__(self, names: Names, since: float, answered: Callable[[int], None]) -> None:
        """Takes what it tells of.

        Args:
            names: of models.
            since: when this worker began, seconds since 1970: what stands for their birth.
            answered: hears of each answer's status.
        """
        self._names = names
        self._since = since
        self._answered = answered

    async def all(self, request: Request) -> Response:
        """Every model that the caller may call."""
        return self._answer(request, lambda: self._list(request))

    async def one(self, request: Request) -> Response:
        """One of them."""
        return self._answer(request, lambda: self._one(request))

    async def unknown(self, request: Request) -> Response:
        """No path of these APIs."""

        def tell() -> dict[str, Any]:
            path = request.scope["path"]
            raise NotFound(f"{request.method} {path[:200]}: nothing is served here{_hint(path)}")

        return self._answer(request, tell)

    async def no_deployment(self, request: Request) -> Response:
        """No model that an Azure's path could name; who may not call it is told no more."""
        path = request.scope["path"]
        end = next((end for end in _ENDS if path.endswith(end)), None)
        if end is None:
            return await self.unknown(request)
        called = path.removeprefix(_DEPLOYMENTS).removesuffix(end)[:200]

        def tell() -> dict[str, Any]:
            principal = principal_of(request.scope)
            if principal is not None and principal.models is not None:
                principal.require(Permission.INFER, called)
            raise ModelNotFound(f"model '{called}': no model has this name")

        return self._answer(request, tell)

    def _list(self, request: Request) -> dict[str, Any]:
        names = list(self._known(request))
        tell = listing.anthropic_list if _anthropic(request) else listing.openai_list
        return tell(names, self._since)

    def _one(self, request: Request) -> dict[str, Any]:
        name = request.path_params["model"]
        if name not in set(self._known(request)):
            raise ModelNotFound(f"model '{name[:200]}': no model has this name")
        tell = listing.anthropic_model if _anthropic(request) else listing.openai_model
        return tell(name, self._since)

    def _known(self, request: Request) -> Iterable[str]:
        principal = principal_of(request.scope)
        if principal is not None:
            principal.require(Permission.DESCRIBE)
        for called, name in self._names.all:
            if principal is None or principal.may_call(called) or principal.may_call(name):
                yield called

    def _answer(self, request: Request, tell: Callable[[], dict[str, Any]]) -> Response:
        dialect = Dialect.MESSAGES if _anthropic(request) else Dialect.CHAT
        request_id, echo = _named(request)
        status, headers = 200, [*request_id_header(dialect, request_id, echo)]
        try:
            body = orjson.dumps(tell())
        except GatewayError as error:
            error.request_id = request_id.decode()
            status, body = error.status, error_body(dialect, error)
            headers += error_headers(error)
        self._answered(status)
        told = {name.decode(): value.decode() for name, value in headers}
        return Response(body, status, told, media_type="application/json")


class Deployments:
    """Where Azure's clients ask; the models are those that the lane has paths of."""

    def __init__(self, lists: ModelLists, services: Services) -> None:
        """Takes who answers: the endpoints of `services`, or else `lists`."""
        self._lists = lists
        self._services = services
        self._ask = EndpointApp(services)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["raw_path"] in self._services.endpoints:
            await self._ask(scope, receive, send)
        else:
            answer = await self._lists.no_deployment(Request(scope, receive))
            await answer(scope, receive, send)


def routes(lists: ModelLists, services: Services) -> list[BaseRoute]:
    """What stands under /v1, and under /openai where Azure's clients ask."""
    ask = EndpointApp(services)
    return [
        Route("/v1/models", lists.all, methods=["GET"]),
        Route("/v1/models/{model:path}", lists.one, methods=["GET"]),
        *(Route(path.decode(), ask) for path in PATHS.values()),
        Route("/v1/{path:path}", lists.unknown, methods=_METHODS),
        *(Route(path.decode(), lists.unknown, methods=_METHODS) for path in WITHOUT_V1),
        Route(_DEPLOYMENTS + "{path:path}", Deployments(lists, services)),
        *(Route(path.decode(), ask) for path in azure.NAMELESS),
        Route("/openai/models", lists.all, methods=["GET"]),
        Route("/openai/v1/models", lists.all, methods=["GET"]),
        Route("/openai/v1/models/{model:path}", lists.one, methods=["GET"]),
        Route("/openai/{path:path}", lists.unknown, methods=_METHODS),
    ]


def _named(request: Request) -> tuple[bytes, bytes | None]:
    """What the lane calls a request, and what its client does."""
    notes: Notes = request.scope["state"][NOTES_STATE]
    given = request.headers.get("x-request-id")
    return notes.request_id, None if given is None else read_echo(given.encode("latin-1"))


def _anthropic(request: Request) -> bool:
    """Anthropic's clients say which version of its API they speak."""
    return "anthropic-version" in request.headers
