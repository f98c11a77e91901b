"""Writes our errors as each dialect has them: whole answers, events in a stream, and headers.

Knows what clients of OpenAI and Anthropic look at. Knows nothing of why anything failed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

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
_OPENAI_RATES = {
    unit: b"".join(
        b"x-ratelimit-%b-%b: %b\r\n" % (what, unit.encode(), form)
        for what, form in ((b"limit", b"%d"), (b"remaining", b"%d"), (b"reset", b"%b"))
    )
    for unit in ("requests", "tokens")
}
_ANTHROPIC_RATES = {
    unit: b"".join(
        b"anthropic-ratelimit-%b-%b: %b\r\n" % (unit.encode(), what, form)
        for what, form in ((b"limit", b"%d"), (b"remaining", b"%d"), (b"reset", b"%b"))
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


def request_id_line(dialect: Dialect, request_id: bytes, echo: bytes | None) -> bytes:
    """The same, as a line of a head."""
    if echo is not None:
        return b""
    form = b"request-id: %b\r\n" if dialect in _ANTHROPIC else b"x-request-id: %b\r\n"
    return form % request_id


def rate_lines(
    dialect: Dialect, unit: str, limit: int, left: int, full_ms: int, now_s: float
) -> bytes:
    """The headers that tell what is left of one rate, as the clients of a dialect look for them.

    Args:
        dialect: of the client.
        unit: `requests` or `tokens`.
        limit: the most of them in its window.
        left: of them.
        full_ms: until all of them are there again.
        now_s: seconds since 1970.
    """
    if dialect not in _ANTHROPIC:
        return _OPENAI_RATES[unit] % (limit, left, go_duration(full_ms))
    reset = datetime.fromtimestamp(now_s + full_ms / 1000, UTC)
    return _ANTHROPIC_RATES[unit] % (limit, left, reset.strftime("%Y-%m-%dT%H:%M:%SZ").encode())


def go_duration(milliseconds: int) -> bytes:
    """A duration as Go prints it: `20ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    if milliseconds < 1000:
        return b"%dms" % milliseconds if milliseconds > 0 else b"0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    told = f"{rest / 1000:g}s"
    if hours:
        told = f"{hours}h{minutes}m{told}"
    elif minutes:
        told = f"{minutes}m{told}"
    return told.encode()
