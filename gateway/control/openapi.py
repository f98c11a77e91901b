"""The admin API's OpenAPI 3.1 document, made of its table.

Knows the format. Knows no operation: the same table always gives the same document.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import __version__
from gateway.control.operations import Failure, Operation
from gateway.errors import (
    BodyTooLarge,
    Forbidden,
    ForbiddenHost,
    GatewayError,
    HeadersTooLarge,
    InvalidParameter,
    InvalidRequest,
    MalformedHttp,
    MalformedJson,
    NotFound,
    Overloaded,
    RequestTooSlow,
    TooManyConnections,
    Unauthenticated,
    Unsupported,
    UnsupportedEncoding,
    UnsupportedMediaType,
    UriTooLong,
)

_REFERENCE = "#/components/schemas/{model}"
# Whatever is asked: what the port takes of nobody, a body or a parameter that is not taken, our own
# fault.
ALWAYS = (
    *(MalformedHttp, UriTooLong, HeadersTooLarge, BodyTooLarge, RequestTooSlow, Unsupported),
    *(Overloaded, TooManyConnections),
    *(InvalidRequest, InvalidParameter, GatewayError),
)
ABOUT = """Operation of a Penstock server, on its control port.

`x-permission` is what the role of a caller must allow. A caller that may use some models alone may
use operations whose `x-scope` is `model`, naming one of those, and `caller`, which tell it of no
others. What is about the whole `server` is refused it."""
KEY = {"type": "http", "scheme": "bearer", "description": "A key, or a provider's token."}
WITH_BODY = (MalformedJson, UnsupportedEncoding, UnsupportedMediaType)


def errors_of(operation: Operation, asks: bool) -> tuple[type[GatewayError], ...]:
    """Everything that an operation may be refused with, where callers are asked who they are."""
    if not asks:
        by_caller: tuple[type[GatewayError], ...] = (ForbiddenHost,)
    else:
        by_caller = () if operation.permission is None else (Unauthenticated, Forbidden)
    by_path = (NotFound,) if operation.path_parameters else ()  # a name with a slash in it
    by_body = WITH_BODY if operation.body else ()
    return (*ALWAYS, *by_caller, *by_path, *by_body, *operation.errors)


def document(operations: Sequence[Operation], asks: bool) -> dict[str, Any]:
    """The whole document; `asks`: callers are asked who they are."""
    paths: dict[str, Any] = {}
    for operation in operations:
        described = _operation(operation, asks)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock admin API",
            "version": __version__,
            "description": ABOUT,
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            **({"securitySchemes": {"key": KEY}} if asks else {}),
        },
    }


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]]
    models = [(Failure, "serialization")]
    for operation in operations:
        if operation.answer is not None:
            models.append((operation.answer, "serialization"))
        if isinstance(operation.body, type):
            models.append((operation.body, "validation"))
    _, schemas = models_json_schema(list(dict.fromkeys(models)), ref_template=_REFERENCE)
    defined: dict[str, Any] = schemas["$defs"]
    return defined


def _operation(operation: Operation, asks: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-permission": "public" if operation.permission is None else operation.permission.value,
        **({} if operation.permission is None else {"x-scope": operation.scope}),
        "parameters": [
            *_parameters("path", operation.path_parameters),
            *_parameters("query", operation.query),
            *_parameters("header", operation.headers),
        ],
        "responses": {str(operation.status): _success(operation), **_failures(operation, asks)},
    }
    if asks and operation.permission is not None:
        described["security"] = [{"key": []}]
    if operation.body is not None:
        content = (
            {operation.body: {"schema": _text(operation.body)}}
            if isinstance(operation.body, str)
            else {"application/json": {"schema": _reference(operation.body)}}
        )
        described["requestBody"] = {"required": True, "content": content}
    return described


def _text(kind: str) -> dict[str, str]:
    """The schema of a text that is taken: of YAML it is about what the text says."""
    return {"type": "object" if kind.endswith("yaml") else "string"}


def _parameters(place: str, model: type[BaseModel] | None) -> Iterator[dict[str, Any]]:
    if model is None:
        return
    schema = model.model_json_schema()
    for name, field in schema["properties"].items():
        required = name in schema.get("required", ())
        yield {"name": name, "in": place, "required": required, "schema": field}


def _success(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {kind: {"schema": {"type": "string"}} for kind in operation.texts}
    if operation.answer is not None:
        content["application/json"] = {"schema": _reference(operation.answer)}
    return {"description": f"{operation.summary}.", "content": content}


def _failures(operation: Operation, asks: bool) -> dict[str, Any]:
    codes: dict[int, list[str]] = {}
    for error in errors_of(operation, asks):
        codes.setdefault(error.status, []).append(error.code)
    return {str(status): _failure(codes[status]) for status in sorted(codes)}


def _failure(codes: list[str]) -> dict[str, Any]:
    named = {"properties": {"code": {"enum": sorted(set(codes))}}}
    schema = {"allOf": [_reference(Failure), named]}
    return {
        "description": f"Refused: {', '.join(sorted(set(codes)))}.",
        "content": {"application/json": {"schema": schema}},
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
