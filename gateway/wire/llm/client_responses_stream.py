"""Tells chunks of chat as the events of a stream of OpenAI's responses.

Knows both kinds of streams. Knows nothing of requests or of whole answers beyond their items.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import orjson

from gateway.errors import UpstreamFailed
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.calls import Calls
from gateway.wire.llm.chat import thought_of, words_of
from gateway.wire.llm.client_responses_answers import (
    Item,
    begun,
    call_item,
    message_item,
    part,
    reasoning_item,
    response,
)
from gateway.wire.llm.fields import Values, mapping, mappings, text
from gateway.wire.llm.sse import frame
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

Event = dict[str, Any]

MAX_ITEMS: Final = 10_000
"""Of one answer. All are kept, and told once more at its end."""


class _Open(Protocol):
    """An item of the output that is being told.

    Attributes:
        begun: the item before its first piece.
        place: in the output.
    """

    begun: Item
    place: int

    def begin(self) -> Iterable[Event]:
        """The events before its first piece, but for the one that has the item."""

    def add(self, piece: str) -> Event:
        """The event of one piece."""

    def end(self) -> Iterable[Event]:
        """The events after its last piece, but for the one that has the whole item."""

    def whole(self) -> Item:
        """The item as it is in a whole answer."""


class _Said:
    """Words: what the model says, or why it will not."""

    def __init__(self, asked: Asked, place: int, kind: str) -> None:
        self._asked, self.place, self._kind = asked, place, kind
        self.begun = message_item(asked, place, [], "in_progress")
        self._at = {"item_id": self.begun["id"], "output_index": place, "content_index": 0}
        self._name, self._field = {
            "output_text": ("response.output_text", "text"),
            "refusal": ("response.refusal", "refusal"),
        }[kind]
        # Only a text has them; nobody asked for any.
        self._logprobs: Event = {"logprobs": []} if kind == "output_text" else {}
        self._pieces: list[str] = []

    def begin(self) -> Iterator[Event]:
        yield {"type": "response.content_part.added", **self._at, "part": part(self._kind, "")}

    def add(self, piece: str) -> Event:
        self._pieces.append(piece)
        return {"type": f"{self._name}.delta", **self._at, "delta": piece, **self._logprobs}

    def end(self) -> Iterator[Event]:
        words = "".join(self._pieces)
        yield {"type": f"{self._name}.done", **self._at, self._field: words, **self._logprobs}
        yield {"type": "response.content_part.done", **self._at, "part": part(self._kind, words)}

    def whole(self) -> Item:
        parts = [part(self._kind, "".join(self._pieces))]
        return message_item(self._asked, self.place, parts)


class _Thought:
    """What the model thinks, told as the summary of its reasoning."""

    def __init__(self, asked: Asked, place: int) -> None:
        self._asked, self.place = asked, place
        self.begun = reasoning_item(asked, place, "")
        self._at = {"item_id": self.begun["id"], "output_index": place, "summary_index": 0}
        self._pieces: list[str] = []

    def begin(self) -> Iterator[Event]:
        yield self._part("added", "")

    def add(self, piece: str) -> Event:
        self._pieces.append(piece)
        return {"type": "response.reasoning_summary_text.delta", **self._at, "delta": piece}

    def end(self) -> Iterator[Event]:
        words = "".join(self._pieces)
        yield {"type": "response.reasoning_summary_text.done", **self._at, "text": words}
        yield self._part("done", words)

    def whole(self) -> Item:
        return reasoning_item(self._asked, self.place, "".join(self._pieces))

    def _part(self, what: str, words: str) -> Event:
        summary = {"type": "summary_text", "text": words}
        return {"type": f"response.reasoning_summary_part.{what}", **self._at, "part": summary}


class _Called:
    """A call of a tool."""

    def __init__(self, asked: Asked, place: int, call: str, name: str) -> None:
        self._asked, self.place = asked, place
        self._call, self._name = call, name
        self.begun = call_item(asked, place, call, name, "", "in_progress")
        self._at = {"item_id": self.begun["id"], "output_index": place}
        self._pieces: list[str] = []

    def begin(self) -> Iterable[Event]:
        return ()  # it has no parts

    def add(self, piece: str) -> Event:
        self._pieces.append(piece)
        return {"type": "response.function_call_arguments.delta", **self._at, "delta": piece}

    def end(self) -> Iterator[Event]:
        told = {"name": self._name, "arguments": "".join(self._pieces)}
        yield {"type": "response.function_call_arguments.done", **self._at, **told}

    def whole(self) -> Item:
        arguments = "".join(self._pieces)
        return call_item(self._asked, self.place, self._call, self._name, arguments)


class EventsForResponses:
    """Makes events of responses of the chunks of one stream.

    Every event has its number. Words and thoughts end where something else begins; calls end with
    the answer, since their pieces may come in any order.
    """

    def __init__(self, asked: Asked) -> None:
        """Begins a stream that answers `asked`."""
        # Fixed at start.
        self._asked = asked
        # Of the stream so far.
        self.sequence = 0  # the number of the next event
        self._items: list[_Open] = []
        self._speaking = ""  # what the last item is, while it is open and no call
        self._calls = Calls()
        self._called: dict[int, _Open] = {}
        self._finish = ""
        self._usage: Usage | None = None

    def take(self, chunk: Values) -> bytes:
        """The events that one chunk becomes, as bytes to send on."""
        self._usage = usage_of(Dialect.CHAT, chunk) or self._usage
        events = [] if self.sequence else self._start()
        for choice in mappings(chunk, "choices")[:1]:
            if choice.get("index") in (None, 0):
                events += self._delta(mapping(choice, "delta"))
                self._finish = text(choice, "finish_reason") or self._finish
        return self._written(events)

    def finish(self) -> bytes:
        """The events that end the stream."""
        events = [*self._close()]
        for call in self._called.values():
            events += self._end(call)
        output = [item.whole() for item in self._items]
        whole = response(self._asked, output, self._finish, self._usage)
        events.append({"type": f"response.{whole['status']}", "response": whole})
        return self._written(events)

    def _start(self) -> list[Event]:
        kinds = ("response.created", "response.in_progress")
        return [{"type": kind, "response": begun(self._asked)} for kind in kinds]

    def _delta(self, delta: Values) -> Iterator[Event]:
        yield from self._say("reasoning", thought_of(delta))
        yield from self._say("output_text", words_of(delta))
        yield from self._say("refusal", text(delta, "refusal"))
        for place, fragment in enumerate(mappings(delta, "tool_calls")):
            yield from self._call(self._calls.number(fragment, place), fragment)

    def _say(self, kind: str, words: str) -> Iterator[Event]:
        if not words:
            return
        if self._speaking != kind:
            yield from self._close()
            self._speaking = kind
            place = len(self._items)
            thinks = kind == "reasoning"
            yield from self._begin(
                _Thought(self._asked, place) if thinks else _Said(self._asked, place, kind)
            )
        yield self._items[-1].add(words)

    def _call(self, number: int, fragment: Values) -> Iterator[Event]:
        function = mapping(fragment, "function")
        if number not in self._called:
            yield from self._close()
            name, call = text(function, "name"), text(fragment, "id")
            self._called[number] = _Called(self._asked, len(self._items), call, name)
            yield from self._begin(self._called[number])
        if piece := text(function, "arguments"):
            yield self._called[number].add(piece)

    def _begin(self, item: _Open) -> Iterator[Event]:
        added = {"type": "response.output_item.added", "output_index": len(self._items)}
        yield {**added, "item": item.begun}
        self._items.append(item)
        if len(self._items) > MAX_ITEMS:
            raise UpstreamFailed(f"the upstream's answer has more than {MAX_ITEMS} parts")
        yield from item.begin()

    def _close(self) -> Iterator[Event]:
        if self._speaking:
            self._speaking = ""
            yield from self._end(self._items[-1])

    def _end(self, item: _Open) -> Iterator[Event]:
        yield from item.end()
        done = {"type": "response.output_item.done", "output_index": item.place}
        yield {**done, "item": item.whole()}

    def _written(self, events: list[Event]) -> bytes:
        sent = []
        for event in events:
            numbered = {**event, "sequence_number": self.sequence}
            sent.append(frame(orjson.dumps(numbered), event["type"].encode()))
            self.sequence += 1
        return b"".join(sent)
