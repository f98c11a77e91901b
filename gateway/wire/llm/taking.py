"""Takes answers and events of streams apart, into what is gathered of one answer.

Knows how each dialect builds both. Knows nothing of what becomes of the parts, and never fails:
what cannot be read is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.wire.llm.chat import thought_of, words_of
from gateway.wire.llm.fields import NOTHING, Values, count, mapping, mappings, text, written
from gateway.wire.llm.runs import plain_piece
from gateway.wire.llm.told import told_error
from gateway.wire.llm.usage import grown, told_usage
from gateway.wire.llm.words import Dialect

# Of texts and calls of one answer. A model says a hundredth of it; what has no end says more.
MAX_KEPT_CHARS: Final = 4 << 20
# Choices of one answer, and calls: each costs far more memory than what may say it.
MAX_KEPT_PARTS: Final = 10_000


class Gathered:
    """The parts of an answer, by the index of their choice (or block) and of their call.

    Of words and arguments the first are kept, as far as there is `room`; the others are counted,
    and so are those of choices and calls beyond the first `MAX_KEPT_PARTS`.
    """

    __slots__ = (
        "calls",
        "ended",
        "failure",
        "fingerprint",
        "finishes",
        "id",
        "model",
        "partial",
        "reasoning",
        "refused",
        "room",
        "texts",
        "unkept_calls",
        "unkept_texts",
        "usage",
    )

    def __init__(self) -> None:
        """Nothing yet."""
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self.usage: Values = NOTHING
        self.partial = False  # the usage was told before the answer was written
        self.finishes: dict[int, str] = {}
        self.texts: dict[int, list[str]] = {}
        self.calls: dict[tuple[int, int], list[str]] = {}  # the name, then pieces of arguments
        self.room = MAX_KEPT_CHARS
        self.unkept_texts = self.unkept_calls = 0  # characters
        self.reasoning = 0
        self.refused = False
        self.id = self.model = self.fingerprint = self.failure = ""
        self.ended = False

    def add_text(self, index: int, piece: str) -> None:
        """Words that are shown, of the choice at `index`."""
        if piece:
            if index not in self.texts and len(self.texts) >= MAX_KEPT_PARTS:
                self.unkept_texts += len(piece)
                return
            self.room -= len(piece)
            if self.room < 0:
                self.unkept_texts -= self.room
                piece = self._fitting(piece)
                if not piece:
                    return
            self.texts.setdefault(index, []).append(piece)

    def add_call(self, index: int, call: int, name: str, arguments: str) -> None:
        """A call, or a piece of its arguments."""
        if (index, call) not in self.calls and len(self.calls) >= MAX_KEPT_PARTS:
            self.unkept_calls += max(1, len(name) + len(arguments))
            return
        known = self.calls.setdefault((index, call), [""])
        if not known[0]:
            known[0] = self._of_call(name)
        if arguments := self._of_call(arguments):
            known.append(arguments)

    def add_finish(self, index: int, reason: str) -> None:
        """Why the choice at `index` ended, if it says so."""
        if reason and (index in self.finishes or len(self.finishes) < MAX_KEPT_PARTS):
            self.finishes[index] = reason

    def _of_call(self, piece: str) -> str:
        self.room -= len(piece)
        if self.room < 0:
            self.unkept_calls -= self.room
            piece = self._fitting(piece)
        return piece

    def _fitting(self, piece: str) -> str:
        """What of a piece there was room for, of which there is now none."""
        end, self.room = len(piece) + self.room, 0
        return piece[:end]


def _take_head(gathered: Gathered, values: Values) -> None:
    gathered.id = text(values, "id") or gathered.id
    gathered.model = text(values, "model") or gathered.model
    if values.get("error") or values.get("type") == "error":
        told = told_error(values)
        gathered.failure = told.name if told else "error"


def _take_chat(gathered: Gathered, values: Values) -> None:
    """A chunk or a whole answer of chat, completions or embeddings."""
    piece = plain_piece(values) if gathered.model else None
    if piece is not None:
        gathered.add_text(0, piece)
        return
    _take_head(gathered, values)
    gathered.fingerprint = text(values, "system_fingerprint") or gathered.fingerprint
    if usage := told_usage(values):
        gathered.usage = usage
    for place, choice in enumerate(mappings(values, "choices")):
        index = choice.get("index")
        index = index if type(index) is int else place
        gathered.add_finish(index, text(choice, "finish_reason"))
        gathered.add_text(index, text(choice, "text"))
        delta = choice.get("delta") or choice.get("message")
        if type(delta) is dict:
            _take_delta(gathered, index, delta)


def _take_delta(gathered: Gathered, index: int, delta: Values) -> None:
    gathered.add_text(index, words_of(delta))
    refusal = text(delta, "refusal")
    if refusal:
        gathered.refused = True
        gathered.add_text(index, refusal)
    gathered.reasoning += len(thought_of(delta))
    for place, call in enumerate(mappings(delta, "tool_calls")):
        number = call.get("index")
        function = mapping(call, "function") or mapping(call, "custom")
        gathered.add_call(
            index,
            number if type(number) is int else place,
            text(function, "name"),
            text(function, "arguments") or text(function, "input"),
        )


def _take_message(gathered: Gathered, values: Values) -> None:
    """A whole answer of Anthropic's messages."""
    _take_head(gathered, values)
    gathered.usage = grown(gathered.usage, mapping(values, "usage"))
    _take_stop(gathered, values)
    for index, block in enumerate(mappings(values, "content")):
        _take_block(gathered, index, block)


def _take_message_event(gathered: Gathered, values: Values) -> None:
    kind = values.get("type")
    if kind == "content_block_delta":
        _take_block_delta(gathered, count(values, "index"), mapping(values, "delta"))
    elif kind == "content_block_start":
        _take_block(gathered, count(values, "index"), mapping(values, "content_block"))
    elif kind == "message_start":
        _take_message(gathered, mapping(values, "message"))
        gathered.partial = True
    elif kind == "message_delta":
        gathered.usage = grown(gathered.usage, mapping(values, "usage"))
        gathered.partial = False
        _take_stop(gathered, mapping(values, "delta"))
    elif kind == "message_stop":
        gathered.ended = True
    elif kind == "error":
        _take_head(gathered, values)


def _take_stop(gathered: Gathered, values: Values) -> None:
    reason = text(values, "stop_reason")
    if reason:
        gathered.finishes[0] = reason


def _take_block(gathered: Gathered, index: int, block: Values) -> None:
    kind = block.get("type")
    if kind == "text":
        gathered.add_text(0, text(block, "text"))
    elif kind == "thinking":
        gathered.reasoning += len(text(block, "thinking"))
    elif kind == "tool_use":
        given = block.get("input")
        arguments = written(given) if given else ""  # a stream begins with {}
        gathered.add_call(0, index, text(block, "name"), arguments)


def _take_block_delta(gathered: Gathered, index: int, delta: Values) -> None:
    kind = delta.get("type")
    if kind == "text_delta":
        gathered.add_text(0, text(delta, "text"))
    elif kind == "input_json_delta":
        # Of a server's own tool no call was begun; it is not the caller's to answer.
        if (0, index) in gathered.calls:
            gathered.add_call(0, index, "", text(delta, "partial_json"))
    elif kind == "thinking_delta":
        gathered.reasoning += len(text(delta, "thinking"))


def _take_response(gathered: Gathered, values: Values) -> None:
    """A whole answer of the responses API."""
    _take_head(gathered, values)
    gathered.usage = told_usage(values)
    status = text(values, "status")
    why = text(mapping(values, "incomplete_details"), "reason")
    if why or status not in ("", "in_progress", "queued"):
        gathered.finishes[0] = why or status
    for place, item in enumerate(mappings(values, "output")):
        _take_item(gathered, place, item)


def _take_item(gathered: Gathered, place: int, item: Values) -> None:
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


def _take_response_event(gathered: Gathered, values: Values) -> None:
    kind = text(values, "type")
    place = count(values, "output_index")
    if kind in _RESPONSE_ENDS:
        response = mapping(values, "response")
        if mappings(response, "output"):  # the whole answer again; of a failed one often nothing
            gathered.clear()
        _take_response(gathered, response)
        if kind == "response.failed":
            gathered.failure = gathered.failure or "failed"
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


Take = Callable[[Gathered, Values], None]
ANSWERS: dict[Dialect, Take] = {
    Dialect.CHAT: _take_chat,
    Dialect.COMPLETIONS: _take_chat,
    Dialect.EMBEDDINGS: _take_chat,
    Dialect.RESPONSES: _take_response,
    Dialect.MESSAGES: _take_message,
    Dialect.COUNT: _take_head,  # it is a number
}
"""Takes a whole answer apart."""
EVENTS: dict[Dialect, Take] = {
    Dialect.CHAT: _take_chat,
    Dialect.COMPLETIONS: _take_chat,
    Dialect.EMBEDDINGS: _take_chat,
    Dialect.RESPONSES: _take_response_event,
    Dialect.MESSAGES: _take_message_event,
    Dialect.COUNT: _take_head,  # nobody streams it
}
"""Takes the data of one event apart."""
