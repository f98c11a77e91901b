"""Reads an answer, streamed or whole, to what the gateway keeps of it: the same either way.

Knows how answers and their events are built. Knows nothing of who asked, prices or features.
Whatever an upstream sends, reading does not fail: what cannot be read is not there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.wire.llm.fields import NOTHING, Values, count, mapping, mappings, text, written
from gateway.wire.llm.sse import DONE, Frames, event_of
from gateway.wire.llm.told import told_error
from gateway.wire.llm.usage import grown, read_usage
from gateway.wire.llm.words import Dialect, Usage


@dataclass(frozen=True, slots=True)
class Called:
    """One call of a tool that an answer asks for; `arguments` is JSON as the model wrote it."""

    name: str
    arguments: str


@dataclass(slots=True)  # not frozen: that takes three times as long, for each answer
class Reading:
    """What is kept of one answer.

    Attributes:
        usage: None: nobody told.
        finish: why it ended, in the provider's word; of several choices the first one's.
        refused: the provider or the model would not answer.
        id: the provider's name for the answer.
        model: the model that says it answered.
        fingerprint: of what ran it (`system_fingerprint`).
        texts: what is shown, one for each choice; a refusal's words included.
        reasoning_chars: of what was thought aloud.
        calls: of tools, in order.
        failure: the code, else the kind, of an error that was told inside the answer.
    """

    usage: Usage | None = None
    finish: str = ""
    refused: bool = False
    id: str = ""
    model: str = ""
    fingerprint: str = ""
    texts: tuple[str, ...] = ()
    reasoning_chars: int = 0
    calls: tuple[Called, ...] = ()
    failure: str = ""

    @property
    def text_chars(self) -> int:
        """Of all choices."""
        return sum(map(len, self.texts))


class StreamReading:
    """Gathers the events of one stream; `reading` may be asked for at any time."""

    def __init__(self, dialect: Dialect) -> None:
        """Begins one stream of `dialect`."""
        # Fixed at start.
        self._dialect = dialect
        self._take = _EVENTS.get(dialect, _take_chat)
        # Grows with the answer.
        self._gathered = _Gathered()

    @property
    def ended(self) -> bool:
        """The stream said itself that it is over; one that was cut did not."""
        return self._gathered.ended

    def read(self, data: bytes) -> None:
        """Takes the data of one event."""
        if not data:
            return
        if data.startswith(DONE):
            self._gathered.ended = True
            return
        try:
            values = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        self.take(values)

    def take(self, values: Any) -> None:
        """Takes the data of one event that somebody read already."""
        if type(values) is dict:
            self._take(self._gathered, values)

    def reading(self) -> Reading:
        """What came so far."""
        return self._gathered.reading(self._dialect)


def read_stream(dialect: Dialect, data: bytes) -> tuple[Reading, bool]:
    """Reads a whole stream at once: sooner than event by event.

    Returns:
        What came, and whether the stream said itself that it is over.
    """
    stream = StreamReading(dialect)
    events = _events_at_once(data)
    if events is not None:
        for values in events:
            stream.take(values)
        if data.endswith(_DONE):
            stream.read(DONE)
        return stream.reading(), stream.ended
    frames = Frames(max_frame_bytes=len(data) + 1)
    for frame in [*frames.feed(data), frames.rest]:
        stream.read(event_of(frame)[1])
    return stream.reading(), stream.ended


_FIRST, _BETWEEN, _LAST, _DONE = b"data: ", b"\n\ndata: ", b"\n\n", b"\n\ndata: [DONE]\n\n"
_EVENT_LINE = re.compile(rb"^event: [^\n]*\n", re.MULTILINE)


def _events_at_once(data: bytes) -> list[Any] | None:
    """The events of a stream that is written as nearly all are; None: of any other."""
    if data.startswith(b"event: "):
        data = _EVENT_LINE.sub(b"", data)
    ending = _DONE if data.endswith(_DONE) else _LAST
    if not data.startswith(_FIRST) or not data.endswith(ending):
        return None
    # JSON holds no bare line end, so that what is replaced stands between two events.
    joined = data[len(_FIRST) : -len(ending)].replace(_BETWEEN, b",")
    try:
        events = orjson.loads(b"[%b]" % joined)
    except orjson.JSONDecodeError:
        return None
    return events if type(events) is list else None


def read_answer(dialect: Dialect, answer: Any) -> Reading:
    """Reads a whole JSON answer; what it makes of it is what a stream of the same would make."""
    gathered = _Gathered()
    if type(answer) is dict:
        _ANSWERS.get(dialect, _take_chat)(gathered, answer)
    return gathered.reading(dialect)


class _Gathered:
    """The parts of an answer, by the index of their choice (or block) and of their call."""

    __slots__ = (
        "calls",
        "ended",
        "failure",
        "fingerprint",
        "finishes",
        "id",
        "model",
        "reasoning",
        "refused",
        "texts",
        "usage",
    )

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.usage: Values = NOTHING
        self.finishes: dict[int, str] = {}
        self.texts: dict[int, list[str]] = {}
        self.calls: dict[tuple[int, int], list[str]] = {}  # the name, then pieces of arguments
        self.reasoning = 0
        self.refused = False
        self.id = self.model = self.fingerprint = self.failure = ""
        self.ended = False

    def add_text(self, index: int, piece: str) -> None:
        if piece:
            self.texts.setdefault(index, []).append(piece)

    def add_call(self, index: int, call: int, name: str, arguments: str) -> None:
        known = self.calls.setdefault((index, call), [""])
        known[0] = known[0] or name
        known.append(arguments)

    def reading(self, dialect: Dialect) -> Reading:
        finishes, texts = self.finishes, self.texts
        finish = finishes[min(finishes)] if finishes else ""
        return Reading(
            usage=read_usage(dialect, self.usage),
            finish=finish,
            refused=self.refused or finish in ("content_filter", "refusal"),
            id=self.id,
            model=self.model,
            fingerprint=self.fingerprint,
            texts=tuple(["".join(texts[index]) for index in sorted(texts)]) if texts else (),
            reasoning_chars=self.reasoning,
            calls=self._called(dialect) if self.calls else (),
            failure=self.failure,
        )

    def _called(self, dialect: Dialect) -> tuple[Called, ...]:
        return tuple(
            Called(name, _arguments(dialect, "".join(pieces)))
            for _, (name, *pieces) in sorted(self.calls.items())
        )


def _arguments(dialect: Dialect, pieces: str) -> str:
    """Arguments as a text; Anthropic has them as an object in whole answers, as text in streams."""
    if dialect is not Dialect.MESSAGES:
        return pieces
    try:
        return written(orjson.loads(pieces or "{}")) or pieces
    except orjson.JSONDecodeError:
        return pieces


def _take_head(gathered: _Gathered, values: Values) -> None:
    gathered.id = text(values, "id") or gathered.id
    gathered.model = text(values, "model") or gathered.model
    if values.get("error") or values.get("type") == "error":
        told = told_error(values)
        gathered.failure = told.name if told else "error"


def _take_chat(gathered: _Gathered, values: Values) -> None:
    """A chunk or a whole answer of chat, completions or embeddings."""
    _take_head(gathered, values)
    gathered.fingerprint = text(values, "system_fingerprint") or gathered.fingerprint
    usage = values.get("usage")
    if type(usage) is dict and usage:
        gathered.usage = usage
    for place, choice in enumerate(mappings(values, "choices")):
        index = choice.get("index")
        index = index if type(index) is int else place
        finish = text(choice, "finish_reason")
        if finish:
            gathered.finishes[index] = finish
        gathered.add_text(index, text(choice, "text"))
        delta = choice.get("delta") or choice.get("message")
        if type(delta) is dict:
            _take_delta(gathered, index, delta)


def _take_delta(gathered: _Gathered, index: int, delta: Values) -> None:
    content = delta.get("content")
    if type(content) is str:
        gathered.add_text(index, content)
    elif type(content) is list:  # as Mistral tells what it thinks beside what it says
        for part in mappings(delta, "content"):
            gathered.add_text(index, text(part, "text"))
    refusal = text(delta, "refusal")
    if refusal:
        gathered.refused = True
        gathered.add_text(index, refusal)
    gathered.reasoning += len(text(delta, "reasoning_content") or text(delta, "reasoning"))
    for place, call in enumerate(mappings(delta, "tool_calls")):
        number = call.get("index")
        function = mapping(call, "function") or mapping(call, "custom")
        gathered.add_call(
            index,
            number if type(number) is int else place,
            text(function, "name"),
            text(function, "arguments") or text(function, "input"),
        )


def _take_message(gathered: _Gathered, values: Values) -> None:
    """A whole answer of Anthropic's messages."""
    _take_head(gathered, values)
    gathered.usage = grown(gathered.usage, mapping(values, "usage"))
    _take_stop(gathered, values)
    for index, block in enumerate(mappings(values, "content")):
        _take_block(gathered, index, block)


def _take_message_event(gathered: _Gathered, values: Values) -> None:
    kind = values.get("type")
    if kind == "content_block_delta":
        _take_block_delta(gathered, count(values, "index"), mapping(values, "delta"))
    elif kind == "content_block_start":
        _take_block(gathered, count(values, "index"), mapping(values, "content_block"))
    elif kind == "message_start":
        _take_message(gathered, mapping(values, "message"))
    elif kind == "message_delta":
        gathered.usage = grown(gathered.usage, mapping(values, "usage"))
        _take_stop(gathered, mapping(values, "delta"))
    elif kind == "message_stop":
        gathered.ended = True
    elif kind == "error":
        _take_head(gathered, values)


def _take_stop(gathered: _Gathered, values: Values) -> None:
    reason = text(values, "stop_reason")
    if reason:
        gathered.finishes[0] = reason


def _take_block(gathered: _Gathered, index: int, block: Values) -> None:
    kind = block.get("type")
    if kind == "text":
        gathered.add_text(0, text(block, "text"))
    elif kind == "thinking":
        gathered.reasoning += len(text(block, "thinking"))
    elif kind == "tool_use":
        given = block.get("input")
        arguments = written(given) if given else ""  # a stream begins with {}
        gathered.add_call(0, index, text(block, "name"), arguments)


def _take_block_delta(gathered: _Gathered, index: int, delta: Values) -> None:
    kind = delta.get("type")
    if kind == "text_delta":
        gathered.add_text(0, text(delta, "text"))
    elif kind == "input_json_delta":
        # Of a server's own tool no call was begun; it is not the caller's to answer.
        if (0, index) in gathered.calls:
            gathered.add_call(0, index, "", text(delta, "partial_json"))
    elif kind == "thinking_delta":
        gathered.reasoning += len(text(delta, "thinking"))


def _take_response(gathered: _Gathered, values: Values) -> None:
    """A whole answer of the responses API."""
    _take_head(gathered, values)
    gathered.usage = mapping(values, "usage")
    status = text(values, "status")
    why = text(mapping(values, "incomplete_details"), "reason")
    if why or status not in ("", "in_progress", "queued"):
        gathered.finishes[0] = why or status
    for place, item in enumerate(mappings(values, "output")):
        _take_item(gathered, place, item)


def _take_item(gathered: _Gathered, place: int, item: Values) -> None:
    kind = item.get("type")
    if kind == "message":
        for part in mappings(item, "content"):
            gathered.add_text(0, text(part, "text"))
            gathered.add_text(0, text(part, "refusal"))
            gathered.refused = gathered.refused or part.get("type") == "refusal"
    elif kind == "function_call":
        gathered.add_call(0, place, text(item, "name"), text(item, "arguments"))
    elif kind == "reasoning":
        for part in [*mappings(item, "summary"), *mappings(item, "content")]:
            gathered.reasoning += len(text(part, "text"))


_RESPONSE_ENDS = ("response.completed", "response.incomplete", "response.failed")


def _take_response_event(gathered: _Gathered, values: Values) -> None:
    kind = text(values, "type")
    place = count(values, "output_index")
    if kind in _RESPONSE_ENDS:
        # The last event has the whole answer again.
        gathered.clear()
        _take_response(gathered, mapping(values, "response"))
        gathered.ended = True
    elif kind in ("response.created", "response.in_progress", "response.queued"):
        _take_head(gathered, mapping(values, "response"))
    elif kind in ("response.output_text.delta", "response.refusal.delta"):
        gathered.refused = gathered.refused or kind == "response.refusal.delta"
        gathered.add_text(0, text(values, "delta"))
    elif kind == "response.output_item.added":
        item = mapping(values, "item")
        if item.get("type") == "function_call":
            gathered.add_call(0, place, text(item, "name"), "")
    elif kind == "response.function_call_arguments.delta":
        gathered.add_call(0, place, "", text(values, "delta"))
    elif kind in ("response.reasoning_summary_text.delta", "response.reasoning_text.delta"):
        gathered.reasoning += len(text(values, "delta"))
    elif kind == "error":
        _take_head(gathered, values)


_Take = Callable[[_Gathered, Values], None]
_ANSWERS: dict[Dialect, _Take] = {
    Dialect.MESSAGES: _take_message,
    Dialect.RESPONSES: _take_response,
}
_EVENTS: dict[Dialect, _Take] = {
    Dialect.MESSAGES: _take_message_event,
    Dialect.RESPONSES: _take_response_event,
}
