"""The words of the admin API: what a row of its table says, and what a handler is given.

Knows no operation, and nothing of how requests are read or the document is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from gateway.access.roles import Permission
from gateway.access.scopes import principal_of
from gateway.control.audit import Actor
from gateway.control.callers import actor_of
from gateway.errors import GatewayError

Scope = Literal["server", "model", "caller"]
"""What an operation is about: the whole server, the model that it names, or what its caller may
know of, be that everything."""
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

# Of a body; a row may allow more.
MAX_BODY_BYTES = 1 << 20


class Document(BaseModel):
    """A JSON document or query of the API. A field that nobody declared is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Failure(Document):
    """Every error."""

    error: str
    code: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a handler gets.

    Attributes:
        request: headers, client.
        path: the operation's model of path parameters, checked; None where it has none.
        query: the operation's query model, checked; None where it has none.
        headers: the operation's model of request headers, checked; None where it has none.
        body: the operation's body model, checked, or its text; None where it has none.
    """

    request: Request
    path: Any
    query: Any
    headers: Any
    body: Any

    @property
    def actor(self) -> Actor:
        """Who asks, for the audit."""
        return actor_of(self.request)

    def may_see(self, model: str) -> bool:
        """Whether a model is among those that the caller may know of."""
        principal = principal_of(self.request.scope)
        return principal is None or principal.may_call(model)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer with headers of its own; a handler without any returns the value alone."""

    value: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table.

    Attributes:
        method: what is done; HEAD and OPTIONS follow from the others.
        path: where; `{name}` is a path parameter.
        handle: returns what the answer model takes, maybe as `Told`, or a whole Response where the
            answer is text. Its name is the operation's id in the document.
        summary: one line for people.
        permission: what its caller must be allowed to; None: nothing.
        scope: what it is about; a caller that may use some models alone has no business with the
            whole server.
        answer: model of the JSON that it answers with; None: texts alone.
        bulky: the answer may be long: it is checked and encoded on a thread, beside the loop.
        texts: media types of the texts that it answers with, maybe by what the caller accepts.
        status: of its success.
        path_parameters: model of the path's `{name}`s.
        query: model of the query parameters; other parameters are refused either way.
        headers: model of the request headers that it heeds, by their alias.
        body: model of the JSON that it takes, or the media type of a text; others take no body.
        max_body_bytes: more is refused.
        errors: what it may answer with, beyond what every operation may.
    """

    method: Method
    path: str
    handle: Callable[[Asked], Awaitable[Any]]
    summary: str
    permission: Permission | None
    scope: Scope = "server"
    answer: type[BaseModel] | None = None
    bulky: bool = False
    texts: tuple[str, ...] = ()
    status: int = 200
    path_parameters: type[Document] | None = None
    query: type[Document] | None = None
    headers: type[Document] | None = None
    body: type[Document] | str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    errors: tuple[type[GatewayError], ...] = ()

    @property
    def name(self) -> str:
        """Its id in the document."""
        return self.handle.__name__
