"""Writes our errors as each dialect has them: whole answers, events in a stream, and headers.

Knows what clients of OpenAI and Anthropic look at. Knows nothing of why anything failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from gateway.errors import (
    BudgetExceeded,
    GatewayError,
    InvalidParameter,
    RateLimited,
    RequestTooExpensive,
    Unauthenticated,
)
from gateway.exchange import Header
from gateway.wire.llm.sse import frame
from gateway.wire.llm.told import TOO_LONG, Told
from gateway.wire.llm.words import Dialect

_ANTHROPIC = frozenset({Dialect.MESSAGES, Dialect.COUNT})
_RATES = {
    unit: tuple(
        b"x-ratelimit-%b-%b" % (what, unit.encode()) for what in (b"limit", b"remaining", b"reset")
    )
    for unit in ("requests", "tokens")
}
_PARAMETER = re.compile(r"parameter '([^']+)'")

_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Where clients look for a code of OpenAI's, it stands for ours.
_OPENAI_CODES: tuple[tuple[type[GatewayError], str], ...] = (
    (Unauthenticated, "invalid_api_key"),
    (BudgetExceeded, "insufficient_quota"),
    (RequestTooExpensive, "rate_limit_exceeded"),
    (RateLimited, "rate_limit_exceeded"),
)


def error_body(dialect: Dialect, error: GatewayError) -> bytes:
    """The body of an answer that tells of `error`."""
    if dialect in _ANTHROPIC:
        return orjson.dumps(anthropic_error(error.status, _message(error), error.request_id))
    return orjson.dumps({"error": _openai_error(error)})


def stream_error(dialect: Dialect, error: GatewayError, sequence: int = 0) -> bytes:
    """The event that tells of `error` in a stream that has begun; it is the stream's last.

    Args:
        dialect: of the client.
        error: what went wrong.
        sequence: the number of the event, which the responses API counts.
    """
    if dialect is Dialect.RESPONSES:
        return _responses_event(_openai_error(error), sequence)
    return frame(error_body(dialect, error), b"error" if dialect in _ANTHROPIC else b"")


def told_body(dialect: Dialect, status: int, told: Told) -> tuple[int, dict[str, Any]]:
    """A provider's error in the words of a client that speaks another dialect.

    Args:
        dialect: of the client.
        status: of the provider's answer.
        told: what it says.

    Returns:
        The status of the answer, and its body.
    """
    if dialect in _ANTHROPIC:
        message = told.message
        # By these words clients know that they must shorten it.
        if told.too_long(status) and not message.startswith("prompt is too long"):
            message = f"prompt is too long: {message}"
        return status, anthropic_error(status, message)
    code = TOO_LONG if told.too_long(status) else told.code or told.type
    status = 503 if status == 529 else status  # the latter is Anthropic's alone
    return status, {"error": openai_error(status, told.message, code, told.param)}


def told_event(dialect: Dialect, told: Told, sequence: int = 0) -> bytes:
    """The same within a stream that has begun; the arguments are those of `stream_error`."""
    _, body = told_body(dialect, told.status, told)
    if dialect is Dialect.RESPONSES:
        return _responses_event(body["error"], sequence)
    return frame(orjson.dumps(body), b"error" if dialect in _ANTHROPIC else b"")


def openai_type(status: int) -> str:
    """The kind of error that a status stands for in OpenAI's dialects."""
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def anthropic_type(status: int) -> str:
    """The kind of error that a status stands for in Anthropic's dialects."""
    other = "invalid_request_error" if status < 500 else "api_error"
    return _ANTHROPIC_TYPES.get(status, other)


def anthropic_error(
    status: int, message: str, request_id: str = "", kind: str = ""
) -> dict[str, Any]:
    """An error of Anthropic's, of the kind that its status stands for if none is given."""
    told = {"type": kind or anthropic_type(status), "message": message}
    return {"type": "error", "error": told, "request_id": request_id or None}


def openai_error(
    status: int, message: str, code: str | None = None, param: str | None = None, kind: str = ""
) -> dict[str, Any]:
    """What stands at `error` in OpenAI's dialects."""
    return {
        "message": message,
        "type": kind or openai_type(status),
        "param": param or None,
        "code": code or None,
    }


def _openai_error(error: GatewayError) -> dict[str, Any]:
    code = next((code for kind, code in _OPENAI_CODES if isinstance(error, kind)), error.code)
    message = _message(error)
    about = _PARAMETER.match(message) if isinstance(error, InvalidParameter) else None
    kind = "insufficient_quota" if isinstance(error, BudgetExceeded) else ""
    return openai_error(error.status, message, code, about and about[1], kind)


def _responses_event(told: dict[str, Any], sequence: int) -> bytes:
    event = {"type": "error", "sequence_number": sequence}
    event |= {name: told[name] for name in ("code", "message", "param")}
    return frame(orjson.dumps(event), b"error")


def _message(error: GatewayError) -> str:
    # What a client sent may be quoted, lone surrogates included.
    return str(error).encode("utf-8", "replace").decode()


def request_id_header(
    dialect: Dialect, request_id: bytes, echo: bytes | None
) -> tuple[Header, ...]:
    """Our name for a request where the clients of a dialect look for one.

    None where the client has given it a name (`echo`): it is told that one, as every client is.
    """
    if echo is not None:
        return ()
    return ((b"request-id" if dialect in _ANTHROPIC else b"x-request-id", request_id),)


class Allowance(NamedTuple):
    """What is left of one rate.

    Attributes:
        unit: `requests` or `tokens`.
        limit: the most of them in its window.
        left: of them.
        reset_s: until all of them are there again.
    """

    unit: str
    limit: int
    left: int
    reset_s: float


def rate_headers(dialect: Dialect, allowances: Iterable[Allowance], now_s: float) -> list[Header]:
    """The headers that tell what is left, as the clients of a dialect look for them.

    Args:
        dialect: of the client.
        allowances: at most one of each unit.
        now_s: seconds since 1970.
    """
    found: list[Header] = []
    for allowance in allowances:
        if dialect in _ANTHROPIC:
            found += _anthropic_headers(allowance, now_s)
        else:
            found += _openai_headers(allowance)
    return found


def _openai_headers(allowance: Allowance) -> Iterable[Header]:
    unit, limit, left, reset_s = allowance
    of_limit, of_left, of_reset = _RATES[unit]
    return (
        (of_limit, b"%d" % limit),
        (of_left, b"%d" % left),
        (of_reset, go_duration(reset_s).encode()),
    )


def _anthropic_headers(allowance: Allowance, now_s: float) -> Iterable[Header]:
    name = b"anthropic-ratelimit-" + allowance.unit.encode()
    reset = datetime.fromtimestamp(now_s + allowance.reset_s, UTC)
    yield name + b"-limit", b"%d" % allowance.limit
    yield name + b"-remaining", b"%d" % allowance.left
    yield name + b"-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode()


def go_duration(seconds: float) -> str:
    """A duration as Go prints it, rounded up to milliseconds: `20ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = -int(-seconds * 1000 // 1)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds > 0 else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    told = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{told}"
    return f"{minutes}m{told}" if minutes else told
