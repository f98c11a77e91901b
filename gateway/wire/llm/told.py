"""Reads the errors that providers tell, whole answers and events of streams alike.

Knows the shapes that errors come in, and in which codes and sentences providers say that a prompt
is too long. Knows nothing of what follows from one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from gateway.wire.llm.fields import text

TOO_LONG: Final = "context_length_exceeded"
TOO_LONG_CODES: Final = frozenset(
    {TOO_LONG, "exceed_context_size_error", "model_max_prompt_tokens_exceeded"}
)
"""OpenAI's, llama.cpp's and GitHub's, in lower case."""
WORDED: Final = frozenset({200, 400, 413, 422, 500})
"""Statuses with which providers refuse a request for what it says; 200: within a stream, and some
answer a prompt that is too long with 500."""
# What providers say is short; what comes after may be the caller's own words, quoted.
MAX_MESSAGE: Final = 1000
_TOO_LONG: Final = re.compile(
    r"maximum (?:context|prompt) length"
    r"|exceeds? the (?:available )?(?:model's )?(?:maximum )?context (?:length|size|window)"
    r"|longer than the model's context length"
    r"|exceeds? context limit"
    r"|prompt is too long"
    r"|input is too long"
    r"|input token count .{0,40}exceeds the maximum number of tokens"
    r"|too large for model with \d+ maximum context",
    re.IGNORECASE,
)
_STATUS: Final = re.compile(r"[45][0-9]{2}")
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
        if _STATUS.fullmatch(self.code):
            return int(self.code)
        return _STATUSES.get(self.type) or _STATUSES.get(self.code, 500)

    def too_long(self, status: int) -> bool:
        """The prompt does not fit into what the model reads, by an answer of this status."""
        known = {self.code.lower(), self.type.lower()}
        return not TOO_LONG_CODES.isdisjoint(known) or says_too_long(status, self.message)


def says_too_long(status: int, message: str) -> bool:
    """Whether an error of this status says in words that a prompt is too long."""
    return status in WORDED and _TOO_LONG.search(message, 0, MAX_MESSAGE) is not None


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
