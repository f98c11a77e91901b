"""Reads a request to what the gateway must know of it, and writes the one that is sent on.

Knows the fields of requests in every dialect. Knows nothing of keys, limits or upstreams. What
decides where a request goes or what it may cost is read strictly; all else is the upstream's to
judge, and is sent on as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.errors import InvalidParameter, InvalidRequest
from gateway.wire.llm.fields import (
    Values,
    mapping,
    mappings,
    shown,
    text,
    wanted_count,
    wanted_flag,
    written,
)
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


@dataclass(frozen=True, slots=True)
class Call:
    """What the gateway must know of one request.

    Attributes:
        model: the public name that was asked for.
        stream: the answer is to come in events.
        max_output_tokens: the most tokens of each choice; None: the request does not say.
        n: the most answers that are made, and paid, for each prompt.
        include_usage: a stream is to tell its usage in a chunk of its own.
        messages: or items, or inputs.
        prompt_chars: of the text in them, system prompts and calls of tools included.
        prompt_tokens: in them as numbers, where a prompt was sent as tokens.
        media: images, sounds and files in them.
        tools: names of the functions that the model may call.
        json_wanted: the answer is to be JSON.
        user: the caller's own name for whom it asks, empty: none.
    """

    model: str
    stream: bool = False
    max_output_tokens: int | None = None
    n: int = 1
    include_usage: bool = False
    messages: int = 0
    prompt_chars: int = 0
    prompt_tokens: int = 0
    media: int = 0
    tools: tuple[str, ...] = ()
    json_wanted: bool = False
    user: str = ""


def read_values(body: bytes) -> dict[str, Any]:
    """The object that a request's body is.

    Raises:
        InvalidRequest: it is not JSON, or no object.
    """
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
    if not REFUSED.isdisjoint(values):
        name = min(REFUSED.intersection(values))
        raise InvalidParameter(
            f"parameter '{name}': where a request is sent and with which key is configured, "
            "and no request may say it"
        )
    size = _Size()
    size.take(dialect, values)
    return Call(
        model=_model(values),
        stream=wanted_flag(values, "stream"),
        max_output_tokens=_max_output_tokens(dialect, values),
        n=_choices(dialect, values),
        include_usage=wanted_flag(mapping(values, "stream_options"), "include_usage"),
        messages=size.messages,
        prompt_chars=size.chars,
        prompt_tokens=size.tokens,
        media=size.media,
        tools=tuple(_tool_names(values)),
        json_wanted=_json_wanted(dialect, values),
        user=_user(values),
    )


def prepared(
    dialect: Dialect,
    values: Values,
    model: str,
    *,
    include_usage: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> bytes:
    """The body to send on.

    It is written anew from what was read, which costs less than to search the bytes for the places
    to change, and leaves one key where the caller wrote two: no upstream reads another model or
    another limit than was reserved for.

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
    if dialect is Dialect.EMBEDDINGS and not sent.get("encoding_format", "float"):
        del sent["encoding_format"]  # null, or empty: some servers refuse what others send
    try:
        return orjson.dumps(sent)
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
    told = [wanted_count(values, key) for key in _LIMITS[dialect]]
    given = [limit for limit in told if limit is not None]
    if not given and dialect is Dialect.MESSAGES:
        raise InvalidParameter("parameter 'max_tokens': expected an integer, got nothing")
    return max(given, default=None)


def _choices(dialect: Dialect, values: Values) -> int:
    most = 1
    if dialect in (Dialect.CHAT, Dialect.COMPLETIONS):
        most = wanted_count(values, "n") or 1
    if dialect is Dialect.COMPLETIONS:
        most = max(most, wanted_count(values, "best_of") or 1)
    if most > MAX_CHOICES:
        raise InvalidParameter(f"parameter 'n': expected at most {MAX_CHOICES}, got {most}")
    return most


def _tool_names(values: Values) -> Iterator[str]:
    """Chat has a tool's name within its function, the other dialects beside its type."""
    for tool in mappings(values, "tools"):
        name = text(mapping(tool, "function"), "name") or text(tool, "name")
        if name:
            yield name


def _json_wanted(dialect: Dialect, values: Values) -> bool:
    if dialect is Dialect.MESSAGES:
        wanted = mapping(mapping(values, "output_config"), "format")
    elif dialect is Dialect.RESPONSES:
        wanted = mapping(mapping(values, "text"), "format")
    else:
        wanted = mapping(values, "response_format")
    return wanted.get("type") in ("json_object", "json_schema")


def _user(values: Values) -> str:
    return (
        text(values, "safety_identifier")
        or text(values, "user")
        or text(mapping(values, "metadata"), "user_id")
    )


class _Size:
    """Adds up what the prompts of one request hold."""

    __slots__ = ("chars", "media", "messages", "tokens")

    def __init__(self) -> None:
        self.chars = self.media = self.messages = self.tokens = 0

    def take(self, dialect: Dialect, values: Values) -> None:
        if dialect in (Dialect.COMPLETIONS, Dialect.EMBEDDINGS):
            self._add_inputs(values.get("prompt" if dialect is Dialect.COMPLETIONS else "input"))
            return
        self.chars += len(text(values, "instructions"))
        self._add_content(values.get("system"))
        given = values.get("input" if dialect is Dialect.RESPONSES else "messages")
        if type(given) is str:
            self.messages += 1
            self.chars += len(given)
            return
        for item in given if type(given) is list else ():
            if type(item) is dict:
                self.messages += 1
                self._add_message(item)

    def _add_inputs(self, given: object) -> None:
        """One text, one list of tokens, or a list of either."""
        if type(given) is not list or (given and type(given[0]) is int):
            given = [given]
        for one in given:
            self.messages += 1
            if type(one) is str:
                self.chars += len(one)
            elif type(one) is list:
                self.tokens += len(one)

    def _add_message(self, message: Values) -> None:
        self._add_content(message.get("content"))
        self._add_content(message.get("output"))
        self.chars += len(text(message, "arguments"))
        for call in mappings(message, "tool_calls"):
            self.chars += len(text(mapping(call, "function"), "arguments"))

    def _add_content(self, content: object) -> None:
        if type(content) is str:
            self.chars += len(content)
        elif type(content) is list:
            for part in content:
                if type(part) is dict:
                    self._add_part(part)
                    # The one kind that holds content again; deeper than that no dialect goes.
                    self._add_result(part.get("content"))

    def _add_result(self, content: object) -> None:
        if type(content) is str:
            self.chars += len(content)
        elif type(content) is list:
            for part in content:
                if type(part) is dict:
                    self._add_part(part)

    def _add_part(self, part: Values) -> None:
        kind = text(part, "type")
        if kind in _MEDIA:
            self.media += 1
        elif kind == "tool_use":
            self.chars += len(written(part.get("input")))
        else:
            self.chars += len(text(part, "text")) + len(text(part, "thinking"))


_MEDIA = frozenset(
    {
        "document",
        "file",
        "image",
        "image_url",
        "input_audio",
        "input_file",
        "input_image",
    }
)
