"""OpenAI's chat completions: reads a request, writes an answer, whole or in pieces.

Knows the dialect. Knows nothing of connections, of time, or of why an answer is what it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from gateway.llm.fake.content import Content, Counted, Wanted
from gateway.llm.fake.errors import Kind, openai_body
from gateway.llm.fake.frames import Piece, framed
from gateway.llm.fake.script import Script
from gateway.llm.fake.texts import chars_in, last_text

DONE = Piece(framed(b"[DONE]"))


def read(values: Mapping[str, Any]) -> Wanted:
    """What a request asks for.

    Raises:
        ValueError: OpenAI would refuse it: a tool's result without its call, or the reverse.
    """
    _check(values["messages"])
    choice = values.get("tool_choice")
    form = values.get("response_format") or {}
    schema = (
        form.get("json_schema", {}).get("schema") if form.get("type") == "json_schema" else None
    )
    if form.get("type") == "json_object":
        schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    tools = [tool["function"] for tool in values.get("tools") or () if "function" in tool]
    if isinstance(choice, dict) and "function" in choice:
        tools = [tool for tool in tools if tool["name"] == choice["function"]["name"]]
    most = values.get("max_completion_tokens")
    return Wanted(
        model=values["model"],
        stream=bool(values.get("stream")),
        prompt_chars=chars_in(values["messages"]),
        last_text=last_text(values["messages"]),
        max_tokens=most if most is not None else values.get("max_tokens"),
        n=values.get("n") or 1,
        tools=[(tool["name"], tool.get("parameters") or {}) for tool in tools]
        if choice != "none"
        else (),
        must_call=choice == "required" or isinstance(choice, dict),
        schema=schema,
        tells_usage=bool((values.get("stream_options") or {}).get("include_usage")),
    )


def usage(counted: Counted) -> dict[str, Any]:
    """`usage` of an answer."""
    return {
        "prompt_tokens": counted.input,
        "completion_tokens": counted.output,
        "total_tokens": counted.input + counted.output,
        "prompt_tokens_details": {
            "cached_tokens": counted.cached,
            "cache_write_tokens": counted.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning, "audio_tokens": 0},
    }


def finish_of(content: Content) -> str:
    """`finish_reason` of an answer."""
    return "content_filter" if content.finish == "refusal" else content.finish


def failed(kind: Kind, message: str, number: int) -> bytes:
    """The event of an error within a stream."""
    return framed(orjson.dumps(openai_body(kind, message)))


def head(wanted: Wanted, script: Script, number: int, created: int, kind: str) -> dict[str, Any]:
    """What all chunks of an answer begin with."""
    return {
        "id": f"chatcmpl-fake{number}",
        "object": kind,
        "created": created,
        "model": script.model or wanted.model,
        "system_fingerprint": script.fingerprint,
    }


def whole(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> dict[str, Any]:
    """A whole answer."""
    text = "".join(content.text)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if content.finish == "refusal":
        message |= {"content": None, "refusal": text}
    if content.calls:
        message |= {
            "content": None,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for call in content.calls
            ],
        }
    if content.reasoning:
        message["reasoning_content"] = "".join(content.reasoning)
    finish = finish_of(content)
    choices = [
        {"index": n, "message": message, "logprobs": None, "finish_reason": finish}
        for n in range(wanted.n)
    ]
    told = {} if script.usage == "absent" else {"usage": usage(content.counted)}
    begin = head(wanted, script, number, created, "chat.completion")
    return begin | {"choices": choices} | told


def pieces(
    content: Content, wanted: Wanted, script: Script, number: int, created: int
) -> Iterator[Piece]:
    """The frames of a streamed answer."""
    chunks = _Chunks(content, wanted, script, number, created)
    if script.azure:
        filters = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]}
        yield chunks.bare([], filters)
    for n in range(wanted.n):
        yield chunks.of(n, {"role": "assistant", "content": "", "refusal": None})
        for token in content.reasoning:
            yield chunks.of(n, {"reasoning_content": token}, token=True)
        word = "refusal" if content.finish == "refusal" else "content"
        for token in content.text:
            yield chunks.of(n, {word: token}, token=True)
        yield from _calls(chunks, n, content)
        yield chunks.of(n, {}, finish=finish_of(content))
    yield from chunks.end()
    yield DONE


def _calls(chunks: _Chunks, n: int, content: Content) -> Iterator[Piece]:
    for index, call in enumerate(content.calls):
        function = {"name": call.name, "arguments": ""}
        first = {"index": index, "id": call.id, "type": "function", "function": function}
        yield chunks.of(n, {"tool_calls": [first]}, token=True)
        for piece in call.arguments:
            part = {"index": index, "function": {"arguments": piece}}
            yield chunks.of(n, {"tool_calls": [part]}, token=True)


def _check(messages: Sequence[Mapping[str, Any]]) -> None:
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                raise ValueError("messages with role 'tool' must be a response to 'tool_calls'")
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            raise ValueError("'tool_calls' must be followed by tool messages for each of them")
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}


class _Chunks:
    """Writes chunks, and usage where the script wants it."""

    def __init__(
        self, content: Content, wanted: Wanted, script: Script, number: int, created: int
    ) -> None:
        begin = orjson.dumps(head(wanted, script, number, created, "chat.completion.chunk"))
        # A prefix made once: of a chunk, all but its choice is always the same.
        self._begin = begin[:-1] + b',"choices":'
        self._script = script
        self._usage = usage(content.counted)
        self._counted = content.counted
        shape = script.usage
        self._told_at_end = shape in ("always", "null_after") or (
            shape == "asked" and wanted.tells_usage
        )
        nulls = shape != "absent" and wanted.tells_usage
        self._padding = b',"obfuscation":"%s"' % (b"x" * script.padding) if script.padding else b""
        self._end = b',"usage":null}' if nulls else b"}"
        self._tokens = 0

    def of(
        self, index: int, delta: Mapping[str, Any], finish: str | None = None, token: bool = False
    ) -> Piece:
        """A chunk of one choice."""
        self._tokens += token
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        if finish is not None and self._script.usage == "finish":
            return self.bare([choice], {"usage": self._usage})
        end = self._end
        if self._script.usage == "every":
            end = b',"usage":%s}' % orjson.dumps(self._running())
        return Piece(framed(self._begin + orjson.dumps([choice]) + self._padding + end), token)

    def bare(self, choices: list[dict[str, Any]], more: Mapping[str, Any]) -> Piece:
        """A chunk with something beside its choices."""
        return Piece(framed(self._begin + orjson.dumps(choices) + b"," + orjson.dumps(more)[1:]))

    def end(self) -> Iterator[Piece]:
        """What comes between the last choice and the end."""
        if self._script.usage == "empty_choice":
            yield self.bare([{"index": 0, "delta": {}}], {"usage": self._usage})
        elif self._told_at_end or self._script.usage == "every":
            yield self.bare([], {"usage": self._usage})
            if self._script.usage == "null_after":
                yield self.bare([], {"usage": None})

    def _running(self) -> dict[str, Any]:
        sofar = min(self._tokens, self._counted.output)
        return {
            "prompt_tokens": self._counted.input,
            "completion_tokens": sofar,
            "total_tokens": self._counted.input + sofar,
        }
