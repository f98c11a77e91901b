"""What a client raises: the server's refusals as they were, and what kept an answer from coming.

Knows how an answer names its error. Knows nothing of connections.

    GatewayError
    +-- (every class of gateway.errors, as the server named it)
    +-- BadAnswer                    bad_answer
    +-- Unavailable
        +-- Unreachable              unreachable
        +-- TimedOut                 timed_out
        +-- ConnectionLost           connection_lost

Each carries `status` (of the answer), `code`, its message as `str(error)`, `retryable`,
`retry_after_s` and `request_id` (empty where there was no answer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from gateway.errors import GatewayError, InvalidRequest, NotFound, Unavailable


class BadAnswer(GatewayError):
    """What came back is not what the protocol allows."""

    status, code = 502, "bad_answer"


class Unreachable(Unavailable):
    """Nobody took the connection: the request has not reached a server."""

    code = "unreachable"


class TimedOut(Unavailable):
    """No answer within the time; the server may still be at it."""

    status, code = 504, "timed_out"


class ConnectionLost(Unavailable):
    """The connection broke before the answer was whole; the request may have been served.

    It is not sent again unasked: a request that crashes a worker would go on to the next one.
    """

    status, code, retryable = 502, "connection_lost", False


def _tree(root: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


_BY_CODE = {kind.code: kind for kind in _tree(GatewayError)}


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
    """The error that an answer tells of.

    Args:
        status: of the answer; no success.
        headers: names in lower case, or a mapping that does not mind.
        body: a JSON object with `error`, and on the control port `code`; anything else is told by
            its status alone.
    """
    told = _object(body)
    code = headers.get("penstock-error-code") or told.get("code")
    kind = _BY_CODE.get(str(code)) or _by_status(status)
    error = kind(str(told.get("error") or f"status {status}"))
    error.status = status
    error.code = str(code or kind.code)
    error.request_id = headers.get("penstock-request-id", "")
    after = headers.get("retry-after", "")
    if after.isdecimal():
        error.retry_after_s = int(after)
    return error


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _by_status(status: int) -> type[GatewayError]:
    """The most general class for a server, or a proxy before it, that names no code of ours."""
    if status in (429, 503):
        return Unavailable
    if status == 404:
        return NotFound
    return InvalidRequest if 400 <= status < 500 else GatewayError
