"""The rest of the data port: health, metadata, configuration, statistics, repository, outcomes.

Knows which path asks for what and whom to ask. Knows nothing of HTTP carriers (Starlette brings the
request), of how documents are written (`wire.oip` does), or of how a model is loaded.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import quote

import orjson
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.access.roles import Permission
from gateway.access.scopes import keep, principal_of
from gateway.catalogue import Catalogue, Served
from gateway.config import Config
from gateway.errors import (
    BodyTooLarge,
    ControlUnavailable,
    GatewayError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    RepositoryForbidden,
)
from gateway.inference import THREAD_BYTES
from gateway.monitor.arena import Arena
from gateway.monitor.observe import WorkerObserver
from gateway.monitor.report import find_model
from gateway.monitor.statistics import statistics
from gateway.names import check_name
from gateway.outcomes.documents import MAX_BODY_BYTES, read_body
from gateway.outcomes.results import Joined, document
from gateway.plan import READY
from gateway.wire import coding
from gateway.wire.answers import error_body, error_headers, refusal
from gateway.wire.asgi import EndpointApp, read_scope
from gateway.wire.cycle import NOTES_STATE, Notes
from gateway.wire.guard import OPEN_PATHS, Guard
from gateway.wire.oip import metadata, repository
from gateway.wire.services import Refusal, Services

Target = TypeVar("Target")

MAX_TICKETS = 64
# Bodies of the repository extension are a few names.
MAX_SMALL_BODY = 65_536
# Control writes ten thousand of them within a tenth of a second.
OUTCOMES_TIMEOUT_S = 30.0
OPEN = frozenset(path.decode() for path in OPEN_PATHS)


class OpenInference:
    """Answers everything under /v2 but inference on the lane."""

    def __init__(
        self,
        catalogue: Catalogue,
        config: Config,
        arena: Arena,
        observer: WorkerObserver,
        mail: Callable[[dict[str, Any]], bool],
        draining: Callable[[], bool],
        pool: Executor,
        first_ticket: int = 1,
    ) -> None:
        self._catalogue = catalogue
        self._config = config
        self._arena = arena
        self._observer = observer
        self._mail = mail
        self._draining = draining
        self._pool = pool
        self._tickets: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._numbers = itertools.count(first_ticket)
        self._refusal: Refusal = refusal

    def infer_paths(
        self,
        target: Callable[[Served], Target],
        divided: Mapping[str, Target] = MappingProxyType({}),
        named: Callable[[Served], Target] | None = None,
    ) -> dict[bytes, Target]:
        """Every path that the lane takes, as clients usually write it, and what it leads to.

        Args:
            target: what a path leads to, by what serves it.
            divided: what paths that name no version lead to, of models whose requests are divided.
            named: what paths that name a version lead to; None: the same.
        """
        paths: dict[bytes, Target] = {}
        for name, version, served in self._catalogue.served():
            leads_to = target(served)
            by_name = leads_to if named is None else named(served)
            alone = self._catalogue.split(name) is None and self._catalogue.default(name) is served
            for written in _written(name):
                base = f"/v2/models/{written}"
                paths[f"{base}/versions/{version}/infer".encode()] = by_name
                if alone:
                    paths[f"{base}/infer".encode()] = leads_to
        for name, leads_to in divided.items():
            paths |= {f"/v2/models/{w}/infer".encode(): leads_to for w in _written(name)}
        return paths

    def hear(self, message: Mapping[str, Any]) -> None:
        """Control's answer to what a client waits for, or that there is a new one.

        A new control knows nothing of what its predecessor was asked.
        """
        if message["type"] == "control":
            lost = ControlUnavailable("control was replaced before it gave its verdict")
            for waiting in self._tickets.values():
                if not waiting.done():
                    waiting.set_exception(lost)
            return
        asked = self._tickets.get(message["ticket"])
        if asked is not None and not asked.done():
            asked.set_result(message)

    def build_app(self, services: Services, more: Sequence[BaseRoute] = ()) -> Starlette:
        """The application behind the lane; `more`: what is served beside this protocol."""
        self._refusal = services.refusal
        register_url_convertor("version", VersionNumber())
        version = "/v2/models/{model}/versions/{version:version}"
        infer = AnyInfer(self._catalogue, EndpointApp(services))
        app = Starlette(
            routes=[
                Route("/v2", self._server),
                Route("/v2/", self._server),
                Route("/v2/health/live", self._live),
                Route("/v2/health/ready", self._ready),
                Route("/v2/models/stats", self._all_statistics),
                Route("/v2/models/{model}", self._model),
                Route(version, self._model),
                Route("/v2/models/{model}/ready", self._model_ready),
                Route(version + "/ready", self._model_ready),
                Route("/v2/models/{model}/config", self._configuration),
                Route(version + "/config", self._configuration),
                Route("/v2/models/{model}/stats", self._statistics),
                Route(version + "/stats", self._statistics),
                Route("/v2/models/{model}/infer", infer, methods=["POST"]),
                Route(version + "/infer", infer, methods=["POST"]),
                Route("/v2/outcomes", self._outcomes, methods=["POST"]),
                Route("/v2/repository/index", self._index, methods=["POST"]),
                # Names with slashes, too, come here: they are refused by name, not as paths.
                Route("/v2/repository/models/{model:path}/load", self._load, methods=["POST"]),
                Route("/v2/repository/models/{model:path}/unload", self._unload, methods=["POST"]),
                *more,
            ],
            middleware=[]
            if services.guard is None
            else [Middleware(KnownCallersOnly, guard=services.guard, failed=self._failed)],
            exception_handlers={
                404: self._unknown,
                405: self._not_allowed,
                GatewayError: self._failed,
                Exception: self._failed,
            },
        )
        # A redirect would name whatever host the client claims to have asked.
        app.router.redirect_slashes = False
        return app

    # ---- health and metadata --------------------------------------------------------------------

    async def _server(self, request: Request) -> Response:
        _require(request, Permission.DESCRIBE)
        return self._json(metadata.server_metadata())

    async def _live(self, _: Request) -> Response:
        return self._json({"live": True})

    async def _ready(self, _: Request) -> Response:
        ready = not self._draining() and self._catalogue.ready(self._config.server.ready)
        return self._json({"ready": ready}, 200 if ready else self._config.server.not_ready_status)

    async def _model(self, request: Request) -> Response:
        served = self._served(request)
        name = served.held.name
        return self._json(
            metadata.model_metadata(
                name, self._catalogue.versions(name), served.deployment.signature
            )
        )

    async def _model_ready(self, request: Request) -> Response:
        _require(request, Permission.DESCRIBE, request.path_params["model"])
        try:
            served = self._served(request)
        except GatewayError as error:
            params = request.path_params
            if not self._catalogue.knows(params["model"], params.get("version")):
                raise
            return self._json({"error": str(error)}, self._config.server.not_ready_status)
        return self._json({"name": served.held.name, "ready": True})

    async def _configuration(self, request: Request) -> Response:
        served = self._served(request)
        return self._json(
            metadata.model_config(
                served.held.name,
                self._catalogue.versions(served.held.name),
                served.deployment.signature,
                served.deployment.settings,
            )
        )

    # ---- statistics -----------------------------------------------------------------------------

    async def _all_statistics(self, request: Request) -> Response:
        _require(request, Permission.DESCRIBE)
        known = (served.held for _, _, served in self._catalogue.served())
        held = [held for held in known if _knows(request, held.name)]
        return self._json({"model_stats": [self._statistics_of(h.name, h.version) for h in held]})

    async def _statistics(self, request: Request) -> Response:
        served = self._served(request)
        name = served.held.name
        versions = self._catalogue.versions(name)
        if "version" in request.path_params:
            versions = [served.held.version]
        return self._json({"model_stats": [self._statistics_of(name, v) for v in versions]})

    def _statistics_of(self, name: str, version: int) -> dict[str, Any]:
        counters = find_model(self._arena, name, version)
        return {} if counters is None else statistics(counters)

    # ---- repository -----------------------------------------------------------------------------

    async def _index(self, request: Request) -> Response:
        _require(request, Permission.DESCRIBE)
        only_ready = repository.read_index_request(await _body(request, MAX_SMALL_BODY))
        known = [e for e in self._catalogue.index() if _knows(request, e.name)]
        entries = [e for e in known if e.state == READY or not only_ready]
        return self._json(
            repository.index([(e.name, e.version, e.state, e.reason) for e in entries])
        )

    async def _load(self, request: Request) -> Response:
        return await self._change(request, "load")

    async def _unload(self, request: Request) -> Response:
        return await self._change(request, "unload")

    async def _change(self, request: Request, action: str) -> Response:
        """Asks control, which alone decides, and waits for its verdict without blocking anybody."""
        if not self._config.repository.allow_load:
            raise RepositoryForbidden(
                f"{action} is off on this port: set repository.allow_load, or use the control port"
            )
        name = check_name(request.path_params["model"])
        _require(request, Permission.OPERATE, name)
        body = await _body(request, MAX_SMALL_BODY)
        (repository.read_load_request if action == "load" else repository.read_unload_request)(body)
        principal = principal_of(request.scope)
        message = {
            "type": "repository",
            "action": action,
            "model": name,
            "client": request.client.host if request.client else "",
            "who": None if principal is None else [principal.name, principal.shown],
        }
        timeout_s = self._config.repository.change_timeout_s
        found = await self._ask(message, f"{action} of '{name}'", timeout_s)
        return self._answer(Response(status_code=200)) if found["ok"] else self._refused(found)

    # ---- outcomes -------------------------------------------------------------------------------

    async def _outcomes(self, request: Request) -> Response:
        """Control has the ledger: it is asked, and its answer passed on."""
        _require(request, Permission.INFER)
        principal = principal_of(request.scope)
        models = None if principal is None or principal.models is None else [*principal.models]
        body = await _body(request, MAX_BODY_BYTES)
        if len(body) > THREAD_BYTES:
            loop = asyncio.get_running_loop()
            outcomes, faults = await loop.run_in_executor(self._pool, _read_outcomes, body)
        else:
            outcomes, faults = _read_outcomes(body)
        message = {"type": "outcomes", "outcomes": outcomes, "models": models}
        verdict = await self._ask(message, "outcomes", OUTCOMES_TIMEOUT_S)
        if not verdict["ok"]:
            return self._refused(verdict)
        return self._json(document(faults, Joined(verdict["counts"], verdict["faults"])))

    # ---- control --------------------------------------------------------------------------------

    async def _ask(self, message: dict[str, Any], what: str, timeout_s: float) -> Mapping[str, Any]:
        """Control's verdict on a message; nothing is blocked meanwhile.

        Raises:
            ControlUnavailable: it takes no message, or gave no verdict in time.
        """
        if len(self._tickets) >= MAX_TICKETS:
            raise ControlUnavailable(f"{what}: {MAX_TICKETS} others wait for control")
        ticket = next(self._numbers)
        verdict = self._tickets[ticket] = asyncio.get_running_loop().create_future()
        sent = self._mail({**message, "ticket": ticket})
        self._observer.mailed(sent)
        if not sent:
            del self._tickets[ticket]
            raise ControlUnavailable(f"{what}: control takes no messages now")
        try:
            return await asyncio.wait_for(verdict, timeout_s)
        except TimeoutError as error:
            raise ControlUnavailable(f"{what}: no verdict from control") from error
        finally:
            self._tickets.pop(ticket, None)

    def _refused(self, found: Mapping[str, Any]) -> Response:
        """What control refused, as it says."""
        self._observer.refused(found["code"])
        headers = {"penstock-error-code": found["code"]}
        if found["status"] == 503:
            headers["retry-after"] = "1"
        refused = Response(
            error_body(found["error"]), found["status"], headers, media_type="application/json"
        )
        return self._answer(refused)

    # ---- helpers --------------------------------------------------------------------------------

    def _served(self, request: Request) -> Served:
        params = request.path_params
        # Before anybody looks whether it exists: that, too, is nobody else's business.
        _require(request, Permission.DESCRIBE, params["model"])
        return self._catalogue.resolve(params["model"], params.get("version"))

    async def _unknown(self, request: Request, _: Exception) -> Response:
        return await self._failed(
            request,
            NotFound(f"{request.method} {request.scope['path'][:200]}: nothing is served here"),
        )

    async def _not_allowed(self, request: Request, error: Exception) -> Response:
        allowed = ", ".join(sorted(getattr(error, "headers", {})["Allow"].split(", ")))
        response = await self._failed(
            request, MethodNotAllowed(f"method: expected {allowed}, got {request.method}")
        )
        response.headers["allow"] = allowed
        return response

    async def _failed(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, GatewayError):
            error = GatewayError("internal error")
        self._observer.refused(error.code)
        head = read_scope(request.scope)
        notes: Notes | None = request.scope.get("state", {}).get(NOTES_STATE)
        request_id = b"" if notes is None else notes.request_id
        body, more = self._refusal(error, head.path, request_id, head.echo)
        headers = {n.decode(): v.decode() for n, v in (*error_headers(error), *more)}
        return self._answer(Response(body, error.status, headers, media_type="application/json"))

    def _json(self, value: Any, status: int = 200) -> Response:
        response = Response(orjson.dumps(value), status, media_type="application/json")
        return self._answer(response)

    def _answer(self, response: Response) -> Response:
        self._observer.answered(response.status_code)
        return response


def _written(name: str) -> set[str]:
    """A name as clients write it in a path."""
    return {quote(name, safe=""), quote(name)}


class VersionNumber(Convertor[int]):
    """A version in a path: digits, and not more of them than a number needs."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        """The number that the digits spell."""
        return int(value)

    def to_string(self, value: int) -> str:
        """The digits of a number."""
        return str(value)


class AnyInfer:
    """Inference by a path that the lane does not know: other spellings, unknown models, errors."""

    def __init__(self, catalogue: Catalogue, app: EndpointApp) -> None:
        self._catalogue = catalogue
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Finds the deployment by its decoded name and passes on under the path the lane knows."""
        params = scope["path_params"]
        _require(Request(scope), Permission.INFER, params["model"])
        name, version = params["model"], params.get("version")
        if version is None and self._catalogue.split(name) is not None:
            path, answers = f"/v2/models/{quote(name, safe='')}", ""
        else:
            served = self._catalogue.resolve(name, version)
            name, answers = served.held.name, str(served.held.version)
            path = f"/v2/models/{quote(name, safe='')}"
            if version is not None:
                path += f"/versions/{answers}"
        path += "/infer"
        notes: Notes | None = scope.get("state", {}).get(NOTES_STATE)
        if notes is not None:
            notes.model = (name, answers)
        await self._app({**scope, "raw_path": path.encode()}, receive, send)


class KnownCallersOnly:
    """Asks who sends a request, whatever carried it here, unless it asks for the server's health.

    What they may do is asked by whoever answers: only there it is known what is asked for.
    """

    def __init__(
        self, app: ASGIApp, guard: Guard, failed: Callable[[Request, Exception], Any]
    ) -> None:
        self._app = app
        self._guard = guard
        self._failed = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on, or answers 401."""
        if scope["type"] == "http" and scope["path"] not in OPEN:
            try:
                head = read_scope(scope)
                # What asks for inference is counted at its model's door.
                infers = head.method == b"POST" and head.path.endswith(b"/infer")
                known = self._guard.principal if infers else self._guard.calling
                principal = known(head)
            except GatewayError as error:
                response = await self._failed(Request(scope), error)
                await response(scope, receive, send)
                return
            keep(scope, principal)
        await self._app(scope, receive, send)


def _read_outcomes(body: bytes) -> tuple[dict[str, Any], list[str]]:
    """Outcomes for control, and what is wrong with the others."""
    found = read_body(body)
    return found.arrivals.message(), found.faults


def _require(request: Request, permission: Permission, model: str | None = None) -> None:
    principal = principal_of(request.scope)
    if principal is not None:
        principal.require(permission, model)


def _knows(request: Request, model: str) -> bool:
    principal = principal_of(request.scope)
    return principal is None or principal.may_call(model)


async def _body(request: Request, most: int) -> bytes:
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > most:
                raise BodyTooLarge(f"body: expected at most {most} bytes here, got more")
    except ClientDisconnect as error:
        raise InvalidRequest("body: cut short by its client") from error
    encoding = request.headers.get("content-encoding")
    if encoding is None:
        return bytes(body)
    return coding.inflate(bytes(body), encoding.encode("latin-1"), most)
