"""Reads the errors that providers tell, whole answers and events of streams alike.

Knows the shapes that errors come in. Knows nothing of what follows from one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.wire.llm.fields import text

TOO_LONG = "context_length_exceeded"
_SAYS_TOO_LONG = ("prompt is too long", "input length and `max_tokens` exceed context limit")
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@dataclass(frozen=True, slots=True)
class Told:
    """An error in its provider's words; what it did not say is empty.

    Attributes:
        type: the kind of it, `invalid_request_error`.
        code: which one it is, `context_length_exceeded`; Anthropic has none.
        message: for people.
        param: the field of the request that it is about.
    """

    type: str = ""
    code: str = ""
    message: str = ""
    param: str = ""

    @property
    def name(self) -> str:
        """Its code, else its kind; never empty."""
        return self.code or self.type or "error"

    @property
    def status(self) -> int:
        """The status that an error within a stream would have had as an answer."""
        if self.code.isascii() and self.code.isdecimal() and 400 <= int(self.code[:4]) < 600:
            return int(self.code)
        return _STATUSES.get(self.type) or _STATUSES.get(self.code, 500)

    @property
    def too_long(self) -> bool:
        """The prompt does not fit into what the model reads."""
        return self.code == TOO_LONG or self.message.startswith(_SAYS_TOO_LONG)


def told_error(values: Any) -> Told | None:
    """The error that a JSON value tells of, in any of the shapes in use; None: it tells of none.

    `{"error": {...}}` of OpenAI and Anthropic, and in a list (Gemini); `{"type": "error", ...}`,
    as the responses API has it in streams; `{"error": "..."}` (Ollama); `{"object": "error", ...}`
    (older vLLM); `{"detail": ...}` (FastAPI).
    """
    if type(values) is list and values:
        values = values[0]
    if type(values) is not dict:
        return None
    error = values.get("error")
    if type(error) is dict and error:
        kind = text(error, "type") or text(error, "status")
        return Told(kind, _code(error.get("code")), text(error, "message"), text(error, "param"))
    if type(error) is str and error:
        return Told(message=error)
    if values.get("type") == "error" or values.get("object") == "error":
        kind = "" if values.get("type") == "error" else text(values, "type")
        return Told(kind, _code(values.get("code")), text(values, "message"), text(values, "param"))
    detail = values.get("detail")
    if type(detail) is str and detail:
        return Told(message=detail)
    return Told(message="the request was refused") if type(detail) is list else None


def _code(value: object) -> str:
    return str(value) if type(value) in (str, int) else ""
