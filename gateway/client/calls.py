"""Every request that the clients make, as a value: where it goes, and how its answer is read.

Knows the paths of both ports. Knows nothing of connections, retries or clocks: a `Call` is made by
a pure function and carried out by a line, synchronous or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import orjson

from gateway.client.encoding import Answer, Payload, Tensor, decode, encode
from gateway.client.errors import BadAnswer, refusal
from gateway.client.models import Model, model_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; header names are found in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        method, path: of the request; the path is quoted, and holds the query.
        read: makes its value of the answer, or raises what the answer tells of.
        payload: its body, given the seconds that it may take (None: any).
        repeatable: may be sent again after a refusal, since it changes nothing.
    """

    method: str
    path: str
    read: Callable[[Reply], T]
    payload: Callable[[float | None], Payload] = lambda _: Payload()
    repeatable: bool = True


# ---- reading answers ----------------------------------------------------------------------------


def _success(reply: Reply) -> bytes:
    if not 200 <= reply.status < 300:
        raise refusal(reply.status, reply.headers, reply.body)
    return reply.body


def _json(reply: Reply) -> Any:
    body = _success(reply)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadAnswer(f"expected JSON, got {body[:80]!r}") from error


def _object(reply: Reply) -> dict[str, Any]:
    value = _json(reply)
    if not isinstance(value, dict):
        raise BadAnswer(f"expected a JSON object, got {reply.body[:80]!r}")
    return value


def _list(reply: Reply, name: str | None = None) -> list[dict[str, Any]]:
    value = _json(reply) if name is None else _object(reply).get(name)
    if not isinstance(value, list):
        raise BadAnswer(f"expected a JSON array, got {reply.body[:80]!r}")
    return value


def _yes(reply: Reply) -> bool:
    """Whether the answer is yes; being refused access, or a name that is not there, is neither."""
    if reply.status in (401, 403, 404):
        raise refusal(reply.status, reply.headers, reply.body)
    return reply.status == 200


# ---- the data port ------------------------------------------------------------------------------


def _model_path(model: str, version: int | str | None, *rest: str) -> str:
    named = ["/v2/models", quote(model, safe="")]
    if version is not None:
        named += ["versions", quote(str(version), safe="")]
    return "/".join([*named, *rest])


def infer(
    model: str,
    version: int | str | None,
    inputs: Sequence[Tensor],
    outputs: Sequence[str],
    parameters: Mapping[str, Any] | None,
    id: str | None,
    json: bool,
) -> Call[Answer]:
    """An inference; the time that it may take becomes its `timeout` on the server, too."""

    def payload(left_s: float | None) -> Payload:
        return encode(
            inputs,
            outputs=outputs,
            parameters=parameters,
            id=id,
            timeout_us=None if left_s is None else max(1, round(left_s * 1e6)),
            json=json,
        )

    def read(reply: Reply) -> Answer:
        return decode(_success(reply), reply.headers)

    return Call("POST", _model_path(model, version, "infer"), read, payload)


def server() -> Call[dict[str, Any]]:
    """Name, version and extensions of the server."""
    return Call("GET", "/v2", _object)


def live() -> Call[bool]:
    """Whether the data port answers."""
    return Call("GET", "/v2/health/live", _yes)


def ready(model: str | None, version: int | str | None) -> Call[bool]:
    """Whether the server, or a model, takes requests."""
    if model is None:
        return Call("GET", "/v2/health/ready", _yes)
    return Call("GET", _model_path(model, version, "ready"), _yes)


def index() -> Call[list[dict[str, Any]]]:
    """Every version known."""
    return Call("POST", "/v2/repository/index", _list)


def model(name: str, version: int | str | None) -> Call[Model]:
    """A model's metadata."""
    return Call("GET", _model_path(name, version), lambda reply: model_of(_json(reply)))


def statistics(name: str | None, version: int | str | None) -> Call[list[dict[str, Any]]]:
    """Triton's statistics, one entry a version."""
    path = "/v2/models/stats" if name is None else _model_path(name, version, "stats")
    return Call("GET", path, lambda reply: _list(reply, "model_stats"))


def outcomes(some: Sequence[Mapping[str, Any]]) -> Call[dict[str, Any]]:
    """What came of answers; the same once more changes nothing."""
    sent = Payload(orjson.dumps([*some]), {"content-type": "application/json"})
    return Call("POST", "/v2/outcomes", _object, lambda _: sent)


# ---- the control port ---------------------------------------------------------------------------


def admin_health(what: str) -> Call[bool]:
    """`live` or `ready` of the control process."""
    return Call("GET", f"/health/{what}", _yes)


def metrics(triton: bool) -> Call[str]:
    """Prometheus' text."""
    path = "/metrics" if triton else "/metrics?triton=0"
    return Call("GET", path, lambda reply: _success(reply).decode())


def admin_models() -> Call[list[dict[str, Any]]]:
    """Every version that control knows, with state and reason."""
    return Call("GET", "/api/models", lambda reply: _list(reply, "models"))


def change_model(name: str, action: str) -> Call[dict[str, Any]]:
    """`load` or `unload` of a model."""
    return admin("POST", f"/api/models/{quote(name, safe='')}/{action}")


def reload(model: str | None, config: bool) -> Call[dict[str, Any]]:
    """Reading configuration and models again, and waiting for one model or for all."""
    return admin("POST", "/api/reload", query={"model": model, "config": None if config else 0})


def config(number: int | None = None) -> Call[dict[str, Any]]:
    """A revision with its document; the newest where none is named."""
    return admin("GET", "/api/config" if number is None else f"/api/config/revisions/{number}")


def effective_config() -> Call[dict[str, Any]]:
    """Every value in force."""
    return admin("GET", "/api/config/effective")


def apply_config(
    document: str, if_revision: int, note: str, source: str, dry_run: bool
) -> Call[dict[str, Any]]:
    """Putting a document in force, or asking what it would change."""
    query = {"note": note or None, "source": source or None, "dry_run": int(dry_run) or None}
    sent = Payload(document.encode(), {"content-type": "application/yaml", **_match(if_revision)})
    return _object_call("PUT", "/api/config", query, sent)


def roll_back_config(
    if_revision: int, number: int | None, note: str, dry_run: bool
) -> Call[dict[str, Any]]:
    """Putting an earlier document in force, or asking what it would change."""
    query = {"revision": number, "note": note or None, "dry_run": int(dry_run) or None}
    sent = Payload(headers=_match(if_revision))
    return _object_call("POST", "/api/config/rollback", query, sent)


def revisions(before: int | None, limit: int) -> Call[dict[str, Any]]:
    """A page of the history."""
    return admin("GET", "/api/config/revisions", query={"before": before, "limit": limit})


def keys() -> Call[list[dict[str, Any]]]:
    """Every key there ever was."""
    return Call("GET", "/api/keys", lambda reply: _list(reply, "keys"))


def create_key(
    name: str,
    role: str,
    models: Sequence[str],
    expires: str | None,
    belongs: Mapping[str, Any],
) -> Call[dict[str, Any]]:
    """Making a key; `belongs` holds a team, tags and limits, where it has any."""
    wanted = {"name": name, "role": role, "models": list(models), "expires": expires, **belongs}
    return admin("POST", "/api/keys", wanted)


def set_key(id: int, changes: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Changing a key."""
    return admin("PATCH", f"/api/keys/{id}", dict(changes))


def spend(after: str, limit: int) -> Call[dict[str, Any]]:
    """What was spent, a page of it."""
    return admin("GET", f"/api/spend?after={quote(after)}&limit={limit}")


def rotate_key(id: int, overlap: str | None) -> Call[dict[str, Any]]:
    """Making a key in the place of another."""
    return admin("POST", f"/api/keys/{id}/rotate", {"overlap": overlap})


def revoke_key(id: int) -> Call[dict[str, Any]]:
    """Taking a key back."""
    return admin("DELETE", f"/api/keys/{id}")


def routes() -> Call[list[dict[str, Any]]]:
    """Every route."""
    return Call("GET", "/api/routes", lambda reply: _list(reply, "routes"))


def route(model: str, action: str = "") -> str:
    """The path of a route, or of something that is done to it."""
    return f"/api/routes/{quote(model, safe='')}{action and '/' + action}"


def version(model: str, number: int, action: str) -> str:
    """The path of something that is done to a version of a model."""
    return f"/api/models/{quote(model, safe='')}/versions/{number}/{action}"


def audit(after: int, limit: int) -> Call[dict[str, Any]]:
    """A page of the audit."""
    return admin("GET", "/api/audit", query={"after": after, "limit": limit})


def admin(
    method: str,
    path: str,
    document: Any = None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Call[dict[str, Any]]:
    """Any operation of the admin API that answers with a JSON object.

    Args:
        method: of the operation.
        path: of the operation.
        document: sent as JSON.
        query: parameters behind the path; what is None is left out.
        headers: more of them, as `If-Match`.
    """
    sent = Payload(headers=headers)
    if document is not None:
        kind = {"content-type": "application/json"}
        sent = Payload(orjson.dumps(document), {**kind, **(headers or {})})
    return _object_call(method, path, query, sent)


def _match(revision: int) -> dict[str, str]:
    return {"if-match": f'"{revision}"'}


def _object_call(
    method: str, path: str, query: Mapping[str, Any] | None, sent: Payload
) -> Call[dict[str, Any]]:
    given = {name: value for name, value in (query or {}).items() if value is not None}
    whole = f"{path}?{urlencode(given)}" if given else path
    # A change whose verdict did not come may have been made: whether to ask again, people decide.
    return Call(method, whole, _object, lambda _: sent, repeatable=method in ("GET", "HEAD"))
