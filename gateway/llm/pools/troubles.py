"""What is wrong, when an upstream answers with an error: told alike, whichever provider says it.

Knows statuses, the codes and types of OpenAI-shaped and Anthropic errors, and the sentences by
which providers say that a prompt is not allowed, where they have no code for it (`wire.llm.told`
knows those of one that is too long). Knows nothing of what is done about it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from math import isfinite
from typing import Any, Final

from gateway.errors import GatewayError, Unavailable
from gateway.llm.pools.member import Outcome
from gateway.wire.llm.told import MAX_MESSAGE, TOO_LONG_CODES, WORDED, says_too_long

Header = tuple[bytes, bytes]


class Trouble(Enum):
    """Kinds of errors, by what helps."""

    FAILED = "failed"  # another upstream, or the same one later
    UNASKED = "unasked"  # likewise; it was the gateway that let nobody through
    LIMITED = "limited"  # the same, when it says
    CREDENTIALS = "credentials"  # another upstream; this one does not know our key
    QUOTA = "quota"  # another upstream; nobody has paid this one
    MISSING = "missing"  # another upstream; this one has no such model
    UNKNOWN = "unknown"  # another upstream; this one does not have what else the request names
    CONTEXT_WINDOW = "context_window"  # a model that reads more
    CONTENT_POLICY = "content_policy"  # a model that says more
    REFUSED = "refused"  # nothing: the request is wrong

    @property
    def outcome(self) -> Outcome:
        """What it says of the upstream that answered so."""
        return _OUTCOMES.get(self, Outcome.FAILED)


_OUTCOMES: Final = {
    Trouble.UNASKED: Outcome.LEFT,
    Trouble.LIMITED: Outcome.LIMITED,
    Trouble.UNKNOWN: Outcome.REFUSED,
    Trouble.CONTEXT_WINDOW: Outcome.REFUSED,
    Trouble.CONTENT_POLICY: Outcome.REFUSED,
    Trouble.REFUSED: Outcome.REFUSED,
}

# Codes and types, of OpenAI's, Azure's, llama.cpp's and Anthropic's errors.
_CODES: Final = {
    **dict.fromkeys(TOO_LONG_CODES, Trouble.CONTEXT_WINDOW),
    "content_filter": Trouble.CONTENT_POLICY,
    "content_policy_violation": Trouble.CONTENT_POLICY,
    "responsibleaipolicyviolation": Trouble.CONTENT_POLICY,
    "invalid_prompt": Trouble.CONTENT_POLICY,
    "moderation_blocked": Trouble.CONTENT_POLICY,
    "insufficient_quota": Trouble.QUOTA,
    "billing_hard_limit_reached": Trouble.QUOTA,
    "billing_error": Trouble.QUOTA,
    "rate_limit_exceeded": Trouble.LIMITED,
    "rate_limit_error": Trouble.LIMITED,
    "invalid_api_key": Trouble.CREDENTIALS,
    "authentication_error": Trouble.CREDENTIALS,
    "permission_error": Trouble.CREDENTIALS,
    "model_not_found": Trouble.MISSING,
    "deploymentnotfound": Trouble.MISSING,
    "server_error": Trouble.FAILED,
    "api_error": Trouble.FAILED,
    "overloaded_error": Trouble.FAILED,
    "timeout_error": Trouble.FAILED,
}
_STATUSES: Final = {
    401: Trouble.CREDENTIALS,
    402: Trouble.QUOTA,
    403: Trouble.CREDENTIALS,
    404: Trouble.UNKNOWN,
    408: Trouble.FAILED,
    409: Trouble.FAILED,  # both vendors' own clients repeat it
    425: Trouble.FAILED,
    429: Trouble.LIMITED,
}
_NOT_ALLOWED: Final = re.compile(
    r"content filtering policy|content management policy|usage polic(?:y|ies)|PROHIBITED_CONTENT",
    re.IGNORECASE,
)
# From its first word on: further ones may be of what the request names.
_NO_MODEL: Final = re.compile(
    r"(?:the )?models?\b.{1,300}(?:not found|not exist)|model: ", re.IGNORECASE
)
_UNPAID: Final = re.compile(r"credit balance is too low", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failure:
    """One request that an upstream did not answer.

    Attributes:
        trouble: what is wrong.
        retry_after_s: how long it wants to be left; None: it does not say.
        should_retry: whether it says that trying again helps (`x-should-retry`).
        why: in a few words, without what a request or an answer says.
    """

    trouble: Trouble
    retry_after_s: float | None = None
    should_retry: bool | None = None
    why: str = ""


def of_answer(
    status: int,
    headers: Sequence[Header],
    values: Any,
    *,
    now_s: float | None = None,
) -> Failure:
    """What an error that an upstream answered with says.

    Args:
        status: of the answer; 200 where the error stands inside a stream.
        headers: of it, names in lower case.
        values: its body, or the event's data, as JSON has it; anything else where it is none.
        now_s: seconds since 1970, for a `Retry-After` that is a date beside no `Date`.
    """
    words = _words(values)
    code = _code(words)
    trouble = _trouble(status, code, str(words.get("message", ""))[:MAX_MESSAGE])
    told = dict(headers)
    should = {b"true": True, b"false": False}.get(told.get(b"x-should-retry", b"").lower())
    if should and trouble is Trouble.REFUSED:
        trouble = Trouble.FAILED
    why = f"{status} {code}".strip() if _is_word(code) else str(status)
    if trouble in (Trouble.CREDENTIALS, Trouble.QUOTA):  # which no status or code says alone
        why = f"{trouble.value}: {why}"
    return Failure(trouble, retry_after_s(told, now_s), should, why)


def of_error(error: GatewayError) -> Failure:
    """What it means that no answer came, or none that could be read.

    That all connections to an upstream are taken says nothing of it: its breaker stays closed.
    """
    if isinstance(error, Unavailable):
        return Failure(Trouble.UNASKED, why=error.code)
    return Failure(Trouble.FAILED, why=error.code)


def retry_after_s(headers: Mapping[bytes, bytes], now_s: float | None = None) -> float | None:
    """How long an answer asks to be left, >= 0; None: it does not say, or not in numbers.

    `retry-after-ms` goes before `Retry-After`, as in both vendors' own clients. A date is held
    against the answer's own `Date`, so that no clock needs to be right.
    """
    for name, scale in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        text = headers.get(name, b"").decode("latin-1").strip()
        if text:
            try:
                seconds = float(text) * scale
            except ValueError:
                continue
            return max(seconds, 0.0) if isfinite(seconds) else None
    then = _date(headers.get(b"retry-after"))
    if then is None:
        return None
    sent = _date(headers.get(b"date"))
    if sent is None:
        if now_s is None:
            return None
        return max(then.timestamp() - now_s, 0.0)
    return max((then - sent).total_seconds(), 0.0)


# ---- how it is read -----------------------------------------------------------------------------


def _trouble(status: int, code: str, message: str) -> Trouble:
    if (known := _CODES.get(code)) is not None and known is not Trouble.FAILED:
        return known
    if says_too_long(status, message):
        return Trouble.CONTEXT_WINDOW
    if status in WORDED:
        for words, trouble in (
            (_NOT_ALLOWED, Trouble.CONTENT_POLICY),
            (_UNPAID, Trouble.QUOTA),
        ):
            if words.search(message):
                return trouble
    if known is not None:
        return known
    if status == 404 and _NO_MODEL.match(message):
        return Trouble.MISSING
    if (by_status := _STATUSES.get(status)) is not None:
        return by_status
    # An error inside a 200 that says nothing of a wrong request is its writer's own.
    wrong = code in ("invalid_request_error", "badrequesterror", "request_too_large")
    return Trouble.REFUSED if 400 <= status < 500 or (status == 200 and wrong) else Trouble.FAILED


def _words(values: Any) -> Mapping[str, Any]:
    """The part of a body that says what is wrong, wherever the provider has put it."""
    if isinstance(values, list) and values:  # Gemini's
        values = values[0]
    if not isinstance(values, dict):
        return {"message": values if isinstance(values, str) else ""}
    response = values.get("response")  # of a `response.failed` event
    for one in (values.get("error"), response.get("error") if isinstance(response, dict) else None):
        if isinstance(one, dict):
            return one
        if isinstance(one, str):  # Ollama's
            return {"message": one}
    return values


def _code(words: Mapping[str, Any]) -> str:
    """The most telling of its codes, in lower case; empty: it has none."""
    inner = words.get("innererror")
    found = [inner.get("code") if isinstance(inner, dict) else None, words.get("code")]
    told = [
        one.lower()
        for one in (*found, words.get("type"), words.get("status"))
        if isinstance(one, str)
    ]
    return next((one for one in told if one in _CODES), told[0] if told else "")


def _is_word(code: str) -> bool:
    """Whether it may be told: not a sentence, nor whatever else somebody sends in its place."""
    return 0 < len(code) <= 64 and code.replace("_", "").replace(".", "").isalnum()


def _date(value: bytes | None) -> datetime | None:
    if value is None:
        return None
    try:
        found = parsedate_to_datetime(value.decode("latin-1"))
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else None
