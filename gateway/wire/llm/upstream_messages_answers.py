"""Tells what an upstream that speaks Anthropic's messages answers, in chat.

Knows both shapes of answers and streams. Knows nothing of requests; see `upstream_messages`.
Blocks of tools that the provider ran itself have no like in chat and are left out; their results
are in the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.errors import UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import MAX_CALLS
from gateway.wire.llm.chat import Chunk, completion, delta_chunk, usage_chunk
from gateway.wire.llm.fields import NOTHING, Values, count, mapping, mappings, text, written
from gateway.wire.llm.usage import grown, read_usage, usage_of
from gateway.wire.llm.words import Dialect

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_THOUGHTS = ("thinking", "redacted_thinking")


def answer(values: Values, asked: Asked) -> dict[str, Any]:
    """A whole answer of messages as one of chat.

    Raises:
        UpstreamFailed: it is no message.
    """
    if values.get("type") != "message":
        raise UpstreamFailed("the upstream's answer is no message")
    blocks = mappings(values, "content")
    if len(blocks) > MAX_CALLS:
        raise UpstreamFailed(f"the upstream's answer has more than {MAX_CALLS} blocks")
    words = [text(block, "text") for block in blocks if block.get("type") == "text"]
    thoughts = [_thought(block) for block in blocks if block.get("type") in _THOUGHTS]
    calls = [_call(block) for block in blocks if block.get("type") == "tool_use"]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(words) if words or not calls else None,
        "refusal": _refusal(values),
    }
    if thoughts:
        message["reasoning_content"] = "".join(text(one, "thinking") for one in thoughts)
        message["thinking_blocks"] = thoughts  # to be sent back: they are signed
    if calls:
        message["tool_calls"] = calls
    return completion(message, finish_of(values), usage_of(Dialect.MESSAGES, values), asked)


def finish_of(values: Values) -> str:
    """Chat's word for why an answer ended."""
    return FINISHES.get(text(values, "stop_reason"), "stop")


def _refusal(values: Values) -> str | None:
    return text(mapping(values, "stop_details"), "explanation") or None


def _call(block: Values) -> dict[str, Any]:
    function = {"name": text(block, "name"), "arguments": written(block.get("input") or {})}
    return {"id": text(block, "id"), "type": "function", "function": function}


def _thought(block: Values) -> dict[str, Any]:
    """What of a block of thinking has to be sent back."""
    names = ("thinking", "signature") if block["type"] == "thinking" else ("data",)
    return {"type": block["type"], **{name: text(block, name) for name in names}}


class _Thought(NamedTuple):
    """A block of thinking, and what it thinks so far."""

    block: dict[str, Any]
    pieces: list[str]

    def whole(self) -> dict[str, Any]:
        if self.block["type"] != "thinking":
            return self.block
        return {**self.block, "thinking": "".join(self.pieces)}


class ChunksOfMessages:
    """Makes chunks of chat of the events of one stream."""

    def __init__(self, asked: Asked) -> None:
        """Begins a stream that answers `asked`."""
        # Fixed at start.
        self._asked = asked
        # Of the stream so far.
        self.finished = False  # it told why it ended
        self.ended = False  # nothing comes after it
        self._usage: Values = NOTHING
        self._calls: dict[int, int] = {}  # the number of the call in each block of a tool
        self._silent: set[int] = set()  # blocks of tools whose arguments did not begin
        self._thoughts: dict[int, _Thought] = {}  # open blocks of thinking
        self._told_thoughts = 0

    def take(self, values: Values) -> Iterator[Chunk]:
        """The chunks that one event becomes."""
        kind, index = values.get("type"), count(values, "index")
        if kind == "content_block_delta":
            yield from self._delta(index, mapping(values, "delta"))
        elif kind == "content_block_start":
            yield from self._start(index, mapping(values, "content_block"))
        elif kind == "content_block_stop":
            yield from self._stop(index)
        elif kind == "message_start":
            self._usage = grown(self._usage, mapping(mapping(values, "message"), "usage"))
            yield self._chunk(role="assistant", content="", refusal=None)
        elif kind == "message_delta":
            self._usage = grown(self._usage, mapping(values, "usage"))
            yield from self._finish(mapping(values, "delta"))
        elif kind == "message_stop":
            self.ended = True
            usage = read_usage(Dialect.MESSAGES, self._usage)
            if usage is not None:
                yield usage_chunk(self._asked, usage)

    def _chunk(self, **delta: Any) -> Chunk:
        return delta_chunk(self._asked, delta)

    def _start(self, index: int, block: Values) -> Iterator[Chunk]:
        kind = block.get("type")
        if kind == "tool_use":
            number = self._calls.setdefault(index, len(self._calls))
            given = block.get("input")
            call = {**_call(block), "index": number}
            call["function"] = {
                "name": text(block, "name"),
                "arguments": written(given) if given else "",
            }
            if not given:
                self._silent.add(index)
            yield self._chunk(tool_calls=[call])
        elif kind == "text" and text(block, "text"):
            yield self._chunk(content=text(block, "text"))
        elif kind in _THOUGHTS:
            self._thoughts[index] = _Thought(_thought(block), [text(block, "thinking")])

    def _delta(self, index: int, delta: Values) -> Iterator[Chunk]:
        kind = delta.get("type")
        if kind == "text_delta":
            yield self._chunk(content=text(delta, "text"))
        elif kind == "input_json_delta" and index in self._calls:
            piece = text(delta, "partial_json")
            if piece:
                self._silent.discard(index)
                yield self._arguments(index, piece)
        elif kind == "thinking_delta" and index in self._thoughts:
            piece = text(delta, "thinking")
            self._thoughts[index].pieces.append(piece)
            yield self._chunk(reasoning_content=piece)
        elif kind == "signature_delta" and index in self._thoughts:
            self._thoughts[index].block["signature"] = text(delta, "signature")

    def _stop(self, index: int) -> Iterator[Chunk]:
        if index in self._silent:  # of no arguments, an empty text would be no JSON
            self._silent.discard(index)
            yield self._arguments(index, "{}")
        thought = self._thoughts.pop(index, None)
        if thought is not None:
            # Clients put lists in deltas together by the index of their items.
            yield self._chunk(thinking_blocks=[{"index": self._told_thoughts, **thought.whole()}])
            self._told_thoughts += 1

    def _arguments(self, index: int, piece: str) -> Chunk:
        function = {"arguments": piece}
        return self._chunk(tool_calls=[{"index": self._calls[index], "function": function}])

    def _finish(self, delta: Values) -> Iterator[Chunk]:
        if not text(delta, "stop_reason") or self.finished:
            return
        self.finished = True
        refusal = _refusal(delta)
        if refusal:
            yield self._chunk(refusal=refusal)
        yield delta_chunk(self._asked, {}, finish_of(delta))
