"""Tells chunks of chat as the events of a stream of Anthropic's messages.

Knows both kinds of streams. Knows nothing of requests or of whole answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.errors import UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import Calls
from gateway.wire.llm.chat import thought_of, words_of
from gateway.wire.llm.client_messages_answers import head, stop_reason, usage_told
from gateway.wire.llm.fields import Values, mapping, mappings, text
from gateway.wire.llm.sse import frame
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

Event = dict[str, Any]


@dataclass(slots=True)
class _Call:
    """A call of a tool whose block is not open, and what came of it until then."""

    id: str
    name: str = ""
    pieces: list[str] = field(default_factory=list)


class EventsForMessages:
    """Makes events of messages of the chunks of one stream.

    Blocks stand one after the other, so that of several calls the first is told as it comes, and
    the others once it is known to be whole: at the end.
    """

    sequence = 0
    """Of the next event; these are not counted."""

    def __init__(self, asked: Asked) -> None:
        """Begins a stream that answers `asked`."""
        # Fixed at start.
        self._asked = asked
        # Of the stream so far.
        self._begun = False
        self._block = -1  # the number of the latest block
        self._open = ""  # the kind of the block that is open
        self._open_call = -1  # the call whose block is open
        self._calls = Calls()
        self._waiting: dict[int, _Call] = {}  # calls whose turn has not come
        self._told: set[int] = set()  # calls whose turn came
        self._refused = False
        self._finish = ""
        self._usage = Usage(0, 0)

    def take(self, chunk: Values) -> bytes:
        """The events that one chunk becomes, as bytes to send on."""
        self._usage = usage_of(Dialect.CHAT, chunk) or self._usage
        events = [] if self._begun else [{"type": "message_start", "message": head(self._asked)}]
        self._begun = True
        for choice in mappings(chunk, "choices")[:1]:
            if choice.get("index") in (None, 0):
                events += self._delta(mapping(choice, "delta"))
                self._finish = text(choice, "finish_reason") or self._finish
        return b"".join(map(_written, events))

    def finish(self) -> bytes:
        """The events that end the stream."""
        events = [*self._close(), *self._late_calls()]
        reason = stop_reason(self._finish, bool(self._told), self._refused)
        changed = {"stop_reason": reason, "stop_sequence": None}
        usage = usage_told(self._usage)
        events.append({"type": "message_delta", "delta": changed, "usage": usage})
        events.append({"type": "message_stop"})
        return b"".join(map(_written, events))

    def _delta(self, delta: Values) -> Iterator[Event]:
        if thought := thought_of(delta):
            yield from self._say("thinking", {"type": "thinking_delta", "thinking": thought})
        refusal = text(delta, "refusal")
        self._refused = self._refused or bool(refusal)
        if words := words_of(delta) + refusal:
            yield from self._say("text", {"type": "text_delta", "text": words})
        for place, fragment in enumerate(mappings(delta, "tool_calls")):
            yield from self._fragment(self._calls.number(fragment, place), fragment)

    def _say(self, kind: str, delta: Event) -> Iterator[Event]:
        if self._open != kind:
            yield from self._close()
            empty = {"thinking": {"thinking": "", "signature": ""}, "text": {"text": ""}}[kind]
            yield self._start(kind, {"type": kind, **empty})
        yield self._piece(delta)

    def _fragment(self, number: int, fragment: Values) -> Iterator[Event]:
        function = mapping(fragment, "function")
        piece = text(function, "arguments")
        if number == self._open_call:
            if piece:
                yield self._piece({"type": "input_json_delta", "partial_json": piece})
            return
        if number in self._told:
            raise UpstreamFailed("the upstream went on with a call of a tool that it had left")
        name = f"toolu_{self._asked.id}_{number}"
        call = self._waiting.setdefault(number, _Call(text(fragment, "id") or name))
        call.name = call.name or text(function, "name")
        if piece:
            call.pieces.append(piece)
        if self._open_call < 0 and call.name:
            yield from self._tell(number)

    def _tell(self, number: int) -> Iterator[Event]:
        call = self._waiting.pop(number)
        self._told.add(number)
        yield from self._close()
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield self._start("tool_use", block)
        self._open_call = number
        if call.pieces:
            pieces = "".join(call.pieces)
            yield self._piece({"type": "input_json_delta", "partial_json": pieces})

    def _late_calls(self) -> Iterator[Event]:
        for number in sorted(self._waiting):
            yield from self._tell(number)
            yield from self._close()

    def _start(self, kind: str, block: Event) -> Event:
        self._block += 1
        self._open = kind
        return {"type": "content_block_start", "index": self._block, "content_block": block}

    def _piece(self, delta: Event) -> Event:
        return {"type": "content_block_delta", "index": self._block, "delta": delta}

    def _close(self) -> Iterator[Event]:
        if self._open:
            self._open, self._open_call = "", -1
            yield {"type": "content_block_stop", "index": self._block}


def _written(event: Event) -> bytes:
    return frame(orjson.dumps(event), event["type"].encode())
