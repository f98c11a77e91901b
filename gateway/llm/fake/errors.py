"""Errors as providers answer them: by kind, in both families' shapes.

Knows nothing of when one is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """An error: status, type and code of OpenAI; status and type of Anthropic; what it says."""

    status: int
    type: str
    code: str | None
    anthropic_status: int
    anthropic_type: str
    message: str


_INVALID = "invalid_request_error"
KINDS = {
    "invalid": Kind(400, _INVALID, "invalid_value", 400, _INVALID, "That value is invalid."),
    "context_window": Kind(
        400,
        _INVALID,
        "context_length_exceeded",
        400,
        _INVALID,
        "prompt is too long: this model's maximum context length is 8192 tokens.",
    ),
    "content_policy": Kind(
        400,
        _INVALID,
        "content_policy_violation",
        400,
        _INVALID,
        "Output blocked by content filtering policy.",
    ),
    "auth": Kind(
        401, _INVALID, "invalid_api_key", 401, "authentication_error", "Incorrect API key provided."
    ),
    "quota": Kind(
        429,
        "insufficient_quota",
        "insufficient_quota",
        402,
        "billing_error",
        "You exceeded your current quota.",
    ),
    "permission": Kind(403, _INVALID, None, 403, "permission_error", "You may not use this."),
    "not_found": Kind(
        404, _INVALID, "model_not_found", 404, "not_found_error", "The model does not exist."
    ),
    "timeout": Kind(408, "timeout", "timeout", 504, "timeout_error", "The request timed out."),
    "conflict": Kind(409, _INVALID, "conflict", 409, _INVALID, "Another request was first."),
    "too_large": Kind(
        413, _INVALID, "request_too_large", 413, "request_too_large", "The request is too large."
    ),
    "unprocessable": Kind(422, _INVALID, "unprocessable", 422, _INVALID, "Not to be understood."),
    "rate_limit": Kind(
        429,
        "requests",
        "rate_limit_exceeded",
        429,
        "rate_limit_error",
        "Rate limit reached for requests.",
    ),
    "server": Kind(
        500, "server_error", "server_error", 500, "api_error", "The server had an error."
    ),
    "bad_gateway": Kind(502, "server_error", None, 502, "api_error", "Bad gateway."),
    "overloaded": Kind(
        503,
        "server_error",
        "overloaded",
        529,
        "overloaded_error",
        "The engine is currently overloaded, please try again later.",
    ),
    "gateway_timeout": Kind(504, "server_error", None, 504, "timeout_error", "Gateway timeout."),
}
_BY_STATUS = {kind.status: kind for kind in reversed(KINDS.values())} | {
    529: KINDS["overloaded"],
    400: KINDS["invalid"],
    429: KINDS["rate_limit"],
}


def kind_of(error: str, status: int) -> Kind:
    """The kind by its name, or else the one that has this status.

    Raises:
        KeyError: there is no kind of this name.
    """
    if error:
        return KINDS[error]
    return _BY_STATUS.get(status, KINDS["server" if status >= 500 else "invalid"])


def openai_body(kind: Kind, message: str) -> dict[str, Any]:
    """An error of OpenAI."""
    return {
        "error": {
            "message": message or kind.message,
            "type": kind.type,
            "param": None,
            "code": kind.code,
        }
    }


def anthropic_body(kind: Kind, message: str, number: int) -> dict[str, Any]:
    """An error of Anthropic."""
    told = {"type": kind.anthropic_type, "message": message or kind.message}
    return {"type": "error", "error": told, "request_id": f"req_fake{number}"}
