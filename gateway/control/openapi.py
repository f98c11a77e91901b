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
    ForbiddenHost,
    GatewayError,
    InvalidParameter,
    InvalidRequest,
    MalformedJson,
    NotFound,
    UnsupportedEncoding,
    UnsupportedMediaType,
)

_REFERENCE = "#/components/schemas/{model}"
# Whatever is asked: a body or a parameter that is not taken, a foreign host name, our own fault.
ALWAYS = (InvalidRequest, InvalidParameter, ForbiddenHost, GatewayError)
WITH_BODY = (MalformedJson, BodyTooLarge, UnsupportedEncoding, UnsupportedMediaType)


def errors_of(operation: Operation) -> tuple[type[GatewayError], ...]:
    """Everything that an operation may be refused with."""
    by_path = (NotFound,) if operation.path_parameters else ()  # a name with a slash in it
    by_body = WITH_BODY if operation.body else ()
    return (*ALWAYS, *by_path, *by_body, *operation.errors)


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for operation in operations:
        described = _operation(operation)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock admin API",
            "version": __version__,
            "description": "Operation of a Penstock server, on its control port.",
        },
        "paths": paths,
        "components": {"schemas": _schemas(operations)},
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


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "x-permission": operation.permission,
        "parameters": [
            *_parameters("path", operation.path_parameters),
            *_parameters("query", operation.query),
            *_parameters("header", operation.headers),
        ],
        "responses": {str(operation.status): _success(operation), **_failures(operation)},
    }
    if operation.body is not None:
        content = (
            {operation.body: {"schema": {"type": "string"}}}
            if isinstance(operation.body, str)
            else {"application/json": {"schema": _reference(operation.body)}}
        )
        described["requestBody"] = {"required": True, "content": content}
    return described


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


def _failures(operation: Operation) -> dict[str, Any]:
    codes: dict[int, list[str]] = {}
    for error in errors_of(operation):
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
