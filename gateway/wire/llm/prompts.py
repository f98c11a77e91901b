"""Reads how large the prompt of a request is, and what else of it is worth counting.

Knows where each dialect has texts, media and tools. Knows nothing of what a request may cost: that
is decided without any of this, which is read once the answer was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.wire.llm.abridged import Text
from gateway.wire.llm.fields import Values, mapping, mappings, text, written
from gateway.wire.llm.words import Dialect


@dataclass(slots=True)  # not frozen: that takes three times as long, for each request
class Prompt:
    """What a request says.

    Attributes:
        messages: or items, or inputs.
        chars: of the text in them, system prompts and calls of tools included.
        tokens: in them as numbers, where a prompt was sent as tokens.
        media: images, sounds and files in them.
        tools: names of the functions that the model may call.
        json_wanted: the answer is to be JSON.
    """

    messages: int = 0
    chars: int = 0
    tokens: int = 0
    media: int = 0
    tools: tuple[str, ...] = ()
    json_wanted: bool = False


def read_prompt(dialect: Dialect, values: Values) -> Prompt:
    """Reads one request; what is not as it should be is not there."""
    by_messages = dialect is Dialect.CHAT or dialect is Dialect.MESSAGES
    if by_messages and _RICH.isdisjoint(values) and (plain := _plain(values)) is not None:
        return plain
    size = _Size()
    size.take(dialect, values)
    return Prompt(
        messages=size.messages,
        chars=size.chars,
        tokens=size.tokens,
        media=size.media,
        tools=tuple(_tool_names(values)) if "tools" in values else (),
        json_wanted=_json_wanted(dialect, values),
    )


INPUTS: dict[Dialect, str] = {Dialect.COMPLETIONS: "prompt", Dialect.EMBEDDINGS: "input"}
"""Where dialects have bare inputs."""
MESSAGES: dict[Dialect, str] = {
    Dialect.CHAT: "messages",
    Dialect.RESPONSES: "input",
    Dialect.MESSAGES: "messages",
    Dialect.COUNT: "messages",
}
"""Where all others have messages."""
# What a request may have beside messages that is counted, too.
_RICH = frozenset({"instructions", "system", "tools", "response_format", "output_config", "text"})


def _plain(values: Values) -> Prompt | None:
    """Of messages that are a role and a text each, as most are: in a quarter of the time."""
    messages = values.get("messages")
    if type(messages) is not list:
        return None
    chars = 0
    for one in messages:
        if type(one) is not dict or len(one) != 2 or "role" not in one:
            return None
        content = one.get("content")
        if type(content) is not str and type(content) is not Text:
            return None
        chars += len(content)
    return Prompt(len(messages), chars)


def _tool_names(values: Values) -> Iterator[str]:
    """Chat has a tool's name within its function, the other dialects beside its type."""
    for tool in mappings(values, "tools"):
        name = text(mapping(tool, "function"), "name") or text(tool, "name")
        if name:
            yield name


def _json_wanted(dialect: Dialect, values: Values) -> bool:
    *outer, field = FORMATS[dialect]
    for one in outer:
        values = mapping(values, one)
    return mapping(values, field).get("type") in ("json_object", "json_schema")


FORMATS: dict[Dialect, tuple[str, ...]] = {
    Dialect.CHAT: ("response_format",),
    Dialect.COMPLETIONS: ("response_format",),
    Dialect.EMBEDDINGS: ("response_format",),
    Dialect.RESPONSES: ("text", "format"),
    Dialect.MESSAGES: ("output_config", "format"),
    Dialect.COUNT: ("output_config", "format"),
}
"""Where a request says how its answer is to be written."""


class _Size:
    """Adds up what the prompts of one request hold."""

    __slots__ = ("chars", "media", "messages", "tokens")

    def __init__(self) -> None:
        self.chars = self.media = self.messages = self.tokens = 0

    def take(self, dialect: Dialect, values: Values) -> None:
        if (inputs := INPUTS.get(dialect)) is not None:
            self._add_inputs(values.get(inputs))
            return
        self.chars += _chars(values.get("instructions"))
        self._add_content(values.get("system"))
        given = values.get(MESSAGES[dialect])
        if type(given) is str or type(given) is Text:
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
        self.chars += _chars(message.get("arguments"))
        for call in mappings(message, "tool_calls"):
            self.chars += _chars(mapping(call, "function").get("arguments"))

    def _add_content(self, content: object, inner: bool = False) -> None:
        """Of a message; `inner`: of one of its parts, and deeper than that no dialect goes."""
        if type(content) is str or type(content) is Text:
            self.chars += len(content)
        elif type(content) is list:
            for part in content:
                if type(part) is dict:
                    self._add_part(part)
                    if not inner:
                        self._add_content(part.get("content"), inner=True)

    def _add_part(self, part: Values) -> None:
        kind = text(part, "type")
        if kind in _MEDIA:
            self.media += 1
        elif kind == "tool_use":
            self.chars += len(written(part.get("input"), Text.read))
        else:
            self.chars += _chars(part.get("text")) + _chars(part.get("thinking"))


def _chars(value: object) -> int:
    """Of a text, read or not; nothing else has any."""
    return len(value) if type(value) is str or type(value) is Text else 0


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
