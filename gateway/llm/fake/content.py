"""What an answer says: words, calls of tools, refusals, and how many tokens that is.

The same for every dialect, streamed or whole. Nothing is drawn at random: the same request and
script have the same answer. Knows nothing of how any dialect writes it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.llm.fake.script import Script

CHARS_PER_TOKEN = 4
_PHRASE = ("water", "flows", "through", "the", "gate", "and", "turns", "the", "wheel", "below")
_MORE = ("stone", "mill", "grain", "sack", "river", "falls", "slowly", "under", "old", "wooden")
# Long before it comes again: a text that repeats itself is something that monitoring tells of.
_TEXT = tuple(word + " " for word in (*_PHRASE, *random.Random(7).choices(_PHRASE + _MORE, k=4086)))
_PIECES = re.compile(r"\s*\S+\s*|\s+")
_REFUSAL = "I cannot help with that."
_DEPTH = 8  # of a made-up value: a schema may refer to itself


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for, whichever dialect it is in.

    Attributes:
        model: as the request names it.
        stream: whether in pieces.
        prompt_chars: of all that is to be read.
        last_text: of the last message.
        max_tokens: of the answer; None: as many as there are.
        n: answers to give.
        tools: that may be called: name and schema of its arguments.
        must_call: a tool must be called.
        schema: that the text must follow as JSON; None: it is free.
        tells_usage: a stream shall tell it.
    """

    model: str
    stream: bool = False
    prompt_chars: int = 0
    last_text: str = ""
    max_tokens: int | None = None
    n: int = 1
    tools: Sequence[tuple[str, Mapping[str, Any]]] = ()
    must_call: bool = False
    schema: Mapping[str, Any] | None = None
    tells_usage: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call: its id, the tool's name, and its arguments (JSON) in pieces, each a token."""

    id: str
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens: `input` holds the cached ones, `output` the reasoning."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """An answer.

    Attributes:
        reasoning: its tokens.
        text: tokens; those of the refusal where it is one.
        calls: instead of a text.
        finish: `stop` | `length` | `tool_calls` | `refusal`.
        counted: what it took.
    """

    reasoning: tuple[str, ...]
    text: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: str
    counted: Counted


def content_of(wanted: Wanted, script: Script, number: int) -> Content:
    """The answer to a request.

    Args:
        wanted: by the request.
        script: that it is answered by.
        number: of the request; ids of calls are made of it.
    """
    reasoning = tuple(_words(script.reasoning))
    calls = _calls(wanted, script, number)
    text = () if calls else tuple(_text(wanted, script))
    finish = "refusal" if script.refuse else "tool_calls" if calls else "stop"
    if wanted.max_tokens is not None and not calls:
        room = max(0, wanted.max_tokens - len(reasoning))
        if len(text) > room:
            text, finish = text[:room], "length"
        reasoning = reasoning[: wanted.max_tokens]
    answered = len(text) + sum(1 + len(call.arguments) for call in calls)
    counted = Counted(
        input=script.input if script.input >= 0 else -(-wanted.prompt_chars // CHARS_PER_TOKEN),
        output=script.output if script.output >= 0 else wanted.n * (answered + len(reasoning)),
        cached=script.cached,
        cache_write=script.cache_write,
        cache_write_1h=script.cache_write_1h,
        reasoning=wanted.n * len(reasoning),
    )
    return Content(reasoning, text, calls, script.finish or finish, counted)


def _text(wanted: Wanted, script: Script) -> Iterator[str]:
    if script.refuse:
        return iter(_PIECES.findall(script.text or _REFUSAL))
    if script.text or script.echo:
        return iter(_PIECES.findall(script.text or wanted.last_text))
    if wanted.schema is not None:
        return iter(_cut(json.dumps(made_up(wanted.schema))))
    return _words(script.tokens)


def _words(count: int) -> Iterator[str]:
    return (_TEXT[n % len(_TEXT)] for n in range(count))


def _cut(text: str) -> tuple[str, ...]:
    starts = range(0, len(text), CHARS_PER_TOKEN)
    return tuple(text[start : start + CHARS_PER_TOKEN] for start in starts)


def _calls(wanted: Wanted, script: Script, number: int) -> tuple[ToolCall, ...]:
    if script.refuse or not wanted.tools:
        return ()
    count = max(script.tools, int(wanted.must_call))
    made = []
    for n in range(count):
        name, schema = wanted.tools[n % len(wanted.tools)]
        arguments = json.dumps(made_up(schema)) if script.arguments == "good" else '{"broken'
        made.append(ToolCall(f"call_{number}_{n}", name, _cut(arguments)))
    return tuple(made)


def made_up(
    schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0
) -> Any:
    """A value that a JSON Schema allows; None for what goes deeper than anybody asks.

    It knows `$ref`, `enum`, `const`, `anyOf`, `oneOf`, `allOf` (of objects) and the plain types.
    """
    root = root if root is not None else schema
    if depth > _DEPTH:
        return None
    if "$ref" in schema:
        return made_up(_looked_up(root, schema["$ref"]), root, depth + 1)
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf"):
        if schema.get(word):
            return made_up(schema[word][0], root, depth + 1)
    if schema.get("allOf"):
        parts = [made_up(part, root, depth + 1) for part in schema["allOf"]]
        return {name: value for part in parts for name, value in part.items()}
    return _of_type(schema, root, depth)


def _of_type(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: made_up(part, root, depth + 1) for name, part in properties.items()}
    if kind == "array":
        count = max(1, schema.get("minItems", 1))
        return [made_up(schema.get("items", {}), root, depth + 1) for _ in range(count)]
    lowest = schema.get("minimum", 1)
    return {"integer": lowest, "number": float(lowest), "boolean": True, "null": None}.get(
        kind, "water"
    )


def _looked_up(root: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.lstrip("#/").split("/"):
        found = found[step]
    return found  # type: ignore[no-any-return]
