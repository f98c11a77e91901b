"""The control port's application: a table of operations, with requests read and answers written.

Knows HTTP: methods, queries, bodies, and that every row says what its caller must be allowed to.
Knows no operation, and nothing of how callers are known (`callers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from gateway.access.principal import Principal
from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.config.faults import nearest, without_value
from gateway.control import openapi
from gateway.control.callers import Known, KnownCallersOnly, LoopbackNamesOnly
from gateway.control.documents import OpenApi
from gateway.control.failures import failure
from gateway.control.operations import Asked, Document, Operation, Told
from gateway.errors import (
    BodyTooLarge,
    Forbidden,
    GatewayError,
    InvalidParameter,
    InvalidRequest,
    MalformedJson,
    MethodNotAllowed,
    NotFound,
    UnsupportedEncoding,
    UnsupportedMediaType,
)

# Where models answer, and nothing of this port does.
_OF_MODELS = ("/v1/", "/v2/", "/openai/", "/chat/completions")


class Nothing(Document):
    """The parameters of an operation that takes none."""


def build_app(operations: Sequence[Operation], known: Known | None = None) -> Starlette:
    """The application of a table, which comes to hold its own document as well.

    Args:
        operations: the table.
        known: how callers are known; None: nobody is, and whoever can reach it may come.
    """
    asks = known is not None and known.asks
    table = (*operations, _document_of(operations, asks))
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in table:
        by_path.setdefault(operation.path, {})[operation.method] = operation

    async def forbidden(_: Request, error: Exception) -> Response:
        assert isinstance(error, Forbidden)
        if known is not None:
            known.refused(error.code)
        return failure(error)

    app = Starlette(
        routes=[Route(path, Resource(methods)) for path, methods in by_path.items()],
        middleware=[_door(by_path, known)],
        exception_handlers={
            404: _not_found,
            Forbidden: forbidden,
            GatewayError: _failed,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return app


def _door(by_path: Mapping[str, Mapping[str, Operation]], known: Known | None) -> Middleware:
    if known is None or not known.asks:
        return Middleware(LoopbackNamesOnly, known=known)
    public = frozenset(
        path
        for path, methods in by_path.items()
        if all(operation.permission is None for operation in methods.values())
    )
    return Middleware(KnownCallersOnly, known=known, public=public)


def _document_of(operations: Sequence[Operation], asks: bool) -> Operation:
    async def describe(_: Asked) -> dict[str, Any]:
        return document

    row = Operation(
        "GET",
        "/api/openapi.json",
        describe,
        "This document",
        Permission.READ,
        scope="caller",
        answer=OpenApi,
    )
    document = openapi.document([*operations, row], asks)
    return row


class Resource:
    """One path, with an operation for each of its methods."""

    def __init__(self, methods: Mapping[str, Operation]) -> None:
        self._methods = methods
        implied = {"OPTIONS", *({"HEAD"} if "GET" in methods else ())}
        self._allowed = ", ".join(sorted({*methods, *implied}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request; errors are left to the application."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"allow": self._allowed})
        operation = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            error = MethodNotAllowed(f"method: expected {self._allowed}, got {request.method}")
            return failure(error, {"allow": self._allowed})
        principal = principal_of(request.scope)
        _require(principal, operation)
        path = _read_strings(operation.path_parameters, "path parameter", request.path_params)
        query = _read_strings(operation.query, "query parameter", _once(request.query_params))
        _require_model(principal, operation, path, query)
        headers = _read_headers(operation.headers, request.headers)
        body = await _read_body(operation, request)
        given = await operation.handle(Asked(request, path, query, headers, body))
        if operation.bulky:
            return await asyncio.to_thread(_told, operation, given)
        return _told(operation, given)


# ---- who may ------------------------------------------------------------------------------------


def _require(principal: Principal | None, operation: Operation) -> None:
    """Refuses whoever may not use an operation, whatever they would ask of it.

    Raises:
        Forbidden: by its role, or as one that may use some models alone.
    """
    if principal is None or operation.permission is None:
        return
    principal.require(operation.permission)
    if operation.scope == "server":
        principal.require_all_models()


def _require_model(
    principal: Principal | None, operation: Operation, path: Any, query: Any
) -> None:
    """Refuses whoever may not use the model that is named, or who should have named one.

    Raises:
        Forbidden: the model is not among the caller's.
    """
    if principal is None or operation.permission is None or operation.scope != "model":
        return
    model = getattr(path, "model", None) or getattr(query, "model", None)
    if model is None:
        principal.require_all_models()
    else:
        principal.require(operation.permission, model)


# ---- writing ------------------------------------------------------------------------------------


def _told(operation: Operation, given: Any) -> Response:
    if isinstance(given, Response):
        return given
    assert operation.answer is not None, "a text is answered by its handler, as a Response"
    told = given if isinstance(given, Told) else Told(given)
    body = operation.answer.model_validate(told.value).model_dump_json()
    return Response(body, operation.status, dict(told.headers), media_type="application/json")


# ---- reading ------------------------------------------------------------------------------------


def _once(query: QueryParams) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query.multi_items():
        if name in given:
            raise InvalidParameter(f"query parameter '{name[:80]}': expected once, got it again")
        given[name] = value
    return given


def _read_strings(model: type[Document] | None, what: str, given: Mapping[str, str]) -> Document:
    try:
        return (model or Nothing).model_validate_strings(given)
    except ValidationError as error:
        raise InvalidParameter(_faults(what, error, model or Nothing)) from error


def _read_headers(model: type[Document] | None, headers: Headers) -> Document | None:
    if model is None:
        return None
    names = [field.alias or name for name, field in model.model_fields.items()]
    return _read_strings(model, "header", {n: headers[n] for n in names if n in headers})


async def _read_body(operation: Operation, request: Request) -> BaseModel | str | None:
    if operation.body is None:
        if await _collect(request, 0):
            raise InvalidRequest("body: expected none, got one")
        return None
    headers = request.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = operation.body if isinstance(operation.body, str) else "application/json"
    if kind != wanted:
        raise UnsupportedMediaType(f"content-type: expected {wanted}, got '{kind[:80]}'")
    if headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedEncoding("content-encoding: expected none here")
    data = await _collect(request, operation.max_body_bytes)
    if isinstance(operation.body, str):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise InvalidRequest(f"body: expected UTF-8: {error.reason}") from error
    try:
        return _strictly(operation.body, data)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise MalformedJson(_faults("body", error, operation.body)) from error
        raise InvalidRequest(_faults("body", error, operation.body)) from error


def _strictly(model: type[BaseModel], data: bytes) -> BaseModel:
    """Reads JSON in which numbers are numbers: "5" is none, and nobody is to guess what it meant.

    Raises:
        ValidationError: with every fault.
    """
    try:
        return model.model_validate_json(data, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        if not all(map(_is_whole, faults)):
            raise
    return model.model_validate_json(data)


def _is_whole(fault: Any) -> bool:
    """Whether JSON has no fault there: 2.0 is a whole number to it."""
    given = fault["input"]
    return fault["type"] == "int_type" and isinstance(given, float) and given.is_integer()


async def _collect(request: Request, limit: int) -> bytes:
    """The body; one byte over the limit is enough to know that there is too much."""
    # The port has seen that it is a number.
    if limit and int(request.headers.get("content-length", "0")) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                if limit:
                    raise _too_large(limit)
                break
    except ClientDisconnect as error:
        raise InvalidRequest("body: cut short by its client") from error
    return bytes(body)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"body: expected at most {limit} bytes, got more")


def _faults(what: str, error: ValidationError, model: type[BaseModel]) -> str:
    """All faults at once, each with its path; what was given is not repeated: it may be secret."""
    lines = []
    for fault in error.errors(include_url=False):
        path = ".".join(str(part)[:80] for part in fault["loc"])
        said = without_value(fault)
        if fault["type"] == "extra_forbidden":
            near = nearest(model, fault["loc"])
            said = "unknown" + (f": is '{near}' meant?" if near else "")
        got = f", got {_kind(fault['input'])}" if fault["type"].endswith("_type") else ""
        lines.append(f"{what} '{path}': {said}{got}")
    return "; ".join(lines[:20])


def _kind(value: Any) -> str:
    """What a value of JSON is, as people call it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


# ---- errors -------------------------------------------------------------------------------------


async def _not_found(request: Request, _: Exception) -> Response:
    path = request.url.path
    elsewhere = path.startswith(_OF_MODELS)
    hint = ": this is the control port, and models answer at the data port" if elsewhere else ""
    return failure(NotFound(f"nothing at {path}{hint}"))


async def _failed(_: Request, error: Exception) -> Response:
    return failure(error if isinstance(error, GatewayError) else GatewayError("internal error"))
