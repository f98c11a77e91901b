"""Reads a request to what the gateway must know of it, and writes the one that is sent on.

Knows the fields of requests in every dialect. Knows nothing of keys, limits or upstreams. What
decides where a request goes or what it may cost is read strictly; all else is the upstream's to
judge, and is sent on as it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from gateway.errors import BodyTooLarge, InvalidParameter, InvalidRequest
from gateway.wire.llm.abridged import LONG_BYTES, Abridged, read_abridged, write_abridged
from gateway.wire.llm.crowds import crowd_of, is_dense
from gateway.wire.llm.fields import NOTHING, Values, mapping, shown, wanted_count, wanted_flag
from gateway.wire.llm.prompts import MESSAGES, Prompt, read_prompt
from gateway.wire.llm.usage import service_of
from gateway.wire.llm.words import Dialect

REFUSED = frozenset(
    {
        "api_base",
        "api_key",
        "api_type",
        "api_version",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "azure_ad_token",
        "base_url",
        "custom_llm_provider",
        "extra_headers",
        "litellm_params",
        "model_list",
        "openai_api_key",
        "organization",
        "organization_id",
        "vertex_credentials",
    }
)
"""Fields that some server might take for where to send a request, or with which key."""
MAX_MODEL_CHARS = 256
"""No provider has names nearly as long; a name is looked up, told and counted."""
MAX_CHOICES = 128
"""As OpenAI has it."""
AT_ONCE_BYTES: Final = 1 << 20
"""orjson reads a megabyte in half a millisecond, which is what a hop to a thread costs its
request."""

_WHOLE = frozenset({Dialect.EMBEDDINGS, Dialect.COUNT})
"""Whose answers come as a whole, whatever is asked."""


class Call:
    """What the gateway must know of one request before it is sent on.

    Attributes:
        model: the public name that was asked for.
        stream: the answer is to come in events.
        max_output_tokens: the most tokens of each choice; None: the request does not say.
        n: the most answers that are made, and paid, for all of its prompts.
        include_usage: a stream is to tell its usage in a chunk of its own.
        service: the tier of its provider's that it asks for; empty: the usual one.
    """

    __slots__ = (
        "_dialect",
        "_prompt",
        "_values",
        "include_usage",
        "max_output_tokens",
        "model",
        "n",
        "service",
        "stream",
    )

    def __init__(self, dialect: Dialect, values: Values) -> None:
        """Reads a request; see `read_call`."""
        self.model = _model(values)
        streams = "stream" in values and wanted_flag(values, "stream")
        self.stream = streams and dialect not in _WHOLE
        self.max_output_tokens = _max_output_tokens(dialect, values)
        self.n = _choices(dialect, values) if "n" in values or "best_of" in values else 1
        self.include_usage = "stream_options" in values and wanted_flag(
            mapping(values, "stream_options"), "include_usage"
        )
        self.service = service_of(values) if "service_tier" in values else ""
        self._dialect = dialect
        self._values = values
        self._prompt: Prompt | None = None

    @property
    def prompt(self) -> Prompt:
        """What the request says. Read when somebody first asks, and kept in its place."""
        prompt = self._prompt
        if prompt is None:
            prompt = self._prompt = read_prompt(self._dialect, self._values)
            self._values = NOTHING
        return prompt


# Of embeddings and of counts the gateway may make the answer itself.
_LONG_FIELDS: dict[Dialect, tuple[str, ...]] = {
    dialect: (MESSAGES[dialect], "system", "instructions", "tools")
    for dialect in (Dialect.CHAT, Dialect.MESSAGES, Dialect.RESPONSES)
}
"""Where requests have texts that the gateway passes on unread, once it knows how long they are."""


def read_values(body: bytes, dialect: Dialect | None = None) -> dict[str, Any]:
    """The object that a request's body is.

    Args:
        body: of a request.
        dialect: of it; where that is known, long texts may be left out (`abridged`).

    Raises:
        BodyTooLarge: it holds more values than anybody says.
        InvalidRequest: it is not JSON, or no object.
    """
    if len(body) >= LONG_BYTES:
        if (abridged := _abridged(body, dialect)) is not None:
            return abridged
        if crowd := crowd_of(body):
            raise BodyTooLarge(f"body: {crowd}")
    return _object(body)


def read_at_once(body: bytes, dialect: Dialect) -> dict[str, Any] | None:
    """As `read_values`; None: that takes so long that nobody else should wait for it.

    Raises:
        InvalidRequest: it is not JSON, or no object.
    """
    if len(body) < LONG_BYTES:
        return _object(body)
    if len(body) > AT_ONCE_BYTES:
        return None
    if (abridged := _abridged(body, dialect)) is not None:
        return abridged
    return None if is_dense(body) else _object(body)


def _abridged(body: bytes, dialect: Dialect | None) -> dict[str, Any] | None:
    return read_abridged(body, _LONG_FIELDS[dialect]) if dialect in _LONG_FIELDS else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        values = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if type(values) is not dict:
        raise InvalidRequest(f"the body: expected a JSON object, got {type(values).__name__}")
    return values


def read_call(dialect: Dialect, values: Values) -> Call:
    """Reads one request.

    Raises:
        InvalidParameter: a field that decides where it goes or what it may cost is missing, of
            another type, or not the caller's to set.
    """
    if not _NOT_TAKEN.isdisjoint(values):
        name = min(_NOT_TAKEN.intersection(values))
        if name in REFUSED:
            raise InvalidParameter(
                f"parameter '{name}': where a request is sent and with which key is configured, "
                "and no request may say it"
            )
        raise InvalidParameter(
            f"parameter '{name}': expected '{_LLAMA_CPP[name]}' in its place, or what the dialect"
            " calls that, since it is what is reserved"
        )
    if dialect is Dialect.RESPONSES and values.get("background"):
        raise InvalidParameter(
            "parameter 'background': nothing can be fetched later here, and what it would cost"
            " nobody would know"
        )
    return Call(dialect, values)


def prepared(
    dialect: Dialect,
    values: Values,
    model: str,
    *,
    include_usage: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> bytes | Sequence[bytes | memoryview]:
    """The body to send on, in pieces where long texts are among them.

    It is written anew from what was read, which costs less than to search the bytes for the places
    to change, and leaves one key where the caller wrote two: no upstream reads another model or
    another limit than was reserved for. Long texts alone are taken from where they stand.

    Args:
        dialect: of the upstream.
        values: the request, in that dialect; it is left as it is.
        model: the upstream's own name of the model.
        include_usage: has a stream tell its usage, whatever the caller asked.
        fields: further ones, put in place of the request's.

    Raises:
        InvalidParameter: it is nested deeper than can be written.
    """
    sent = {**values, "model": model, **(fields or {})}
    if include_usage and dialect in (Dialect.CHAT, Dialect.COMPLETIONS):
        sent["stream_options"] = {**mapping(values, "stream_options"), "include_usage": True}
    if fields and "max_tokens" in fields:
        sent.pop("max_completion_tokens", None)  # of two limits for one thing some refuse both
    for name in _OTHER_LIMITS.get(dialect, ()):
        sent.pop(name, None)
    if dialect in _WHOLE:
        sent.pop("stream", None)
    if dialect is Dialect.EMBEDDINGS and not sent.get("encoding_format", "float"):
        del sent["encoding_format"]  # null, or empty: some servers refuse what others send
    try:
        return write_abridged(sent) if type(values) is Abridged else orjson.dumps(sent)
    except orjson.JSONEncodeError as error:
        raise InvalidParameter(f"the body cannot be sent on: {error}") from error


def _model(values: Values) -> str:
    model = values.get("model")
    if type(model) is str and 0 < len(model) <= MAX_MODEL_CHARS:
        return model
    raise InvalidParameter(
        f"parameter 'model': expected a name of 1 to {MAX_MODEL_CHARS} characters, "
        f"got {shown(model)}"
    )


_LIMITS = {
    Dialect.CHAT: ("max_completion_tokens", "max_tokens"),
    Dialect.COMPLETIONS: ("max_tokens",),
    Dialect.EMBEDDINGS: (),
    Dialect.RESPONSES: ("max_output_tokens",),
    Dialect.MESSAGES: ("max_tokens",),
    Dialect.COUNT: (),
}


def _max_output_tokens(dialect: Dialect, values: Values) -> int | None:
    """The larger one where two are given: servers differ in which of them counts."""
    most = None
    for key in _LIMITS[dialect]:
        limit = wanted_count(values, key) if key in values else None
        if limit is not None and (most is None or limit > most):
            most = limit
    if most is None and dialect is Dialect.MESSAGES:
        raise InvalidParameter("parameter 'max_tokens': expected an integer, got nothing")
    return most


# What these dialects do not know, and some servers have go before the dialect's own.
_OTHER_LIMITS = {
    Dialect.COMPLETIONS: ("max_completion_tokens",),
    Dialect.RESPONSES: ("max_completion_tokens", "max_tokens"),
}
# llama.cpp has these go before every other limit, on paths of OpenAI's API, too.
_LLAMA_CPP = {"n_predict": "max_tokens", "n_cmpl": "n"}
_NOT_TAKEN = REFUSED | _LLAMA_CPP.keys()
_CHOICES = {Dialect.CHAT: ("n",), Dialect.COMPLETIONS: ("n", "best_of")}


def _choices(dialect: Dialect, values: Values) -> int:
    most = 1
    for key in _CHOICES.get(dialect, ()):
        most = max(most, wanted_count(values, key) or 1)
    if most > MAX_CHOICES:
        raise InvalidParameter(f"parameter 'n': expected at most {MAX_CHOICES}, got {most}")
    return most * _prompts(values) if dialect is Dialect.COMPLETIONS else most


def _prompts(values: Values) -> int:
    """One text, one list of tokens, or a list of either."""
    prompts = values.get("prompt")
    return len(prompts) if type(prompts) is list and prompts and type(prompts[0]) is not int else 1
