"""Reads an answer, streamed or whole, to what the gateway keeps of it: the same either way.

Knows streams as a whole; their events and answers are taken apart in `taking`. Knows nothing of who
asked, prices or features.
Whatever an upstream sends, reading does not fail: what cannot be read is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.fields import Values, text, written
from gateway.wire.llm.runs import joined
from gateway.wire.llm.sse import DONE, Frames, event_of, telling
from gateway.wire.llm.taking import ANSWERS, EVENTS, MAX_KEPT_CHARS, Gathered
from gateway.wire.llm.usage import read_usage
from gateway.wire.llm.words import Dialect, Usage

_CUT_OFF: Final = frozenset({"content_filter", "refusal"})
"""Why an answer ended that a provider's content policy has ended."""
_PLAIN_KEYS: Final = frozenset({"content", "role"})


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
        service: the tier that it was answered on, in the provider's word.
        texts: what is shown, one for each choice; a refusal's words included.
        reasoning_chars: of what was thought aloud.
        calls: of tools, in order.
        failure: the code, else the kind, of an error that was told inside the answer.
        unkept_texts, unkept_calls: characters of both that are counted and not kept, since the
            answer has more of them than anybody reads.
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
    unkept_texts: int = 0
    unkept_calls: int = 0
    service: str = ""

    @property
    def complete(self) -> bool:
        """All words and arguments are kept."""
        return not (self.unkept_texts or self.unkept_calls)

    @property
    def kept_chars(self) -> int:
        """Of texts and calls, as far as they are kept."""
        return self.text_chars + self.call_chars - self.unkept_texts - self.unkept_calls

    @property
    def text_chars(self) -> int:
        """Of all choices."""
        return sum(map(len, self.texts)) + self.unkept_texts

    @property
    def call_chars(self) -> int:
        """Of all calls, their names and arguments."""
        kept = sum(len(one.name) + len(one.arguments) for one in self.calls)
        return kept + self.unkept_calls

    @property
    def cut_off(self) -> bool:
        """The provider's content policy has ended it."""
        return self.finish in _CUT_OFF


class StreamReading:
    """Gathers the events of one stream; `reading` may be asked for at any time."""

    def __init__(self, dialect: Dialect) -> None:
        """Begins one stream of `dialect`."""
        # Fixed at start.
        self._dialect = dialect
        self._take = EVENTS[dialect]
        # Grows with the answer.
        self._gathered = Gathered()

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
        if crowd_answered(data):
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
        return _reading_of(self._dialect, self._gathered)


def read_stream(dialect: Dialect, data: bytes) -> tuple[Reading, bool]:
    """Reads all that came of a stream at once: in half the time of event by event.

    Returns:
        What came, and whether the stream said itself that it is over.
    """
    stream = StreamReading(dialect)
    pieces = _data_at_once(data)
    ended = bool(pieces) and pieces[-1] == DONE
    chunks = pieces[: len(pieces) - ended]
    events = _read_at_once(joined(chunks) if dialect is Dialect.CHAT else chunks)
    if events is None:
        frames = Frames(max_frame_bytes=len(data) + 1)
        for frame in telling([*frames.feed(data), frames.rest]):
            stream.read(event_of(frame)[1])
        return stream.reading(), stream.ended
    for values in events:
        stream.take(values)
    return stream.reading(), ended or stream.ended


def _data_at_once(data: bytes) -> list[bytes]:
    """The data of every event of a stream that is written as nearly all are; else nothing."""
    data = b"\n" + data
    lines = data.split(b"\ndata: ")
    if b"\r" in data or data.count(b"\ndata:") != len(lines) - 1:
        return []
    # JSON holds no bare line end: where one stands, the data of an event end.
    return [line.partition(b"\n")[0] for line in lines[1:]]


def _read_at_once(pieces: list[bytes]) -> list[Any] | None:
    if not pieces:
        return None
    try:
        events: list[Any] = orjson.loads(b"[%b]" % b",".join(pieces))
    except orjson.JSONDecodeError:
        return None
    return events if len(events) == len(pieces) else None


def read_answer(dialect: Dialect, answer: Any, usage: Usage | None = None) -> Reading:
    """Reads a whole JSON answer; what it makes of it is what a stream of the same would make.

    Args:
        dialect: that it is written in.
        answer: as JSON has it.
        usage: what it says of its tokens, where somebody has read that already.
    """
    known = type(answer) is dict
    if known and usage is not None and (plain := _plain(answer, usage)) is not None:
        return plain
    gathered = Gathered()
    if known:
        ANSWERS[dialect](gathered, answer)
    return _reading_of(dialect, gathered, usage)


def _plain(answer: Values, usage: Usage) -> Reading | None:
    """Of a chat's answer with one text and no more, as most are: in a third of the time."""
    choices = answer.get("choices")
    if type(choices) is not list or len(choices) != 1 or answer.get("error") or "type" in answer:
        return None
    choice = choices[0]
    message = choice.get("message") if type(choice) is dict else None
    if type(message) is not dict or "text" in choice or choice.get("delta"):
        return None
    for key, value in message.items():
        if value and key not in _PLAIN_KEYS:
            return None
    said, finish = message.get("content"), text(choice, "finish_reason")
    if type(said) is not str or len(said) > MAX_KEPT_CHARS:
        return None
    return Reading(
        usage,
        finish,
        finish in _CUT_OFF,
        text(answer, "id"),
        text(answer, "model"),
        text(answer, "system_fingerprint"),
        (said,) if said else (),
        service=text(answer, "service_tier") if "service_tier" in answer else "",
    )


def _reading_of(dialect: Dialect, gathered: Gathered, usage: Usage | None = None) -> Reading:
    finishes, texts = gathered.finishes, gathered.texts
    finish = finishes[min(finishes)] if finishes else ""
    told = usage or read_usage(dialect, gathered.usage)
    if told is not None and gathered.partial:
        told.partial = True
    return Reading(
        usage=told,
        finish=finish,
        refused=gathered.refused or finish in _CUT_OFF,
        id=gathered.id,
        model=gathered.model,
        fingerprint=gathered.fingerprint,
        texts=tuple(["".join(texts[index]) for index in sorted(texts)]),
        reasoning_chars=gathered.reasoning,
        calls=_called(dialect, gathered) if gathered.calls else (),
        failure=gathered.failure,
        unkept_texts=gathered.unkept_texts,
        unkept_calls=gathered.unkept_calls,
        service=text(gathered.usage, "service_tier"),
    )


def _called(dialect: Dialect, gathered: Gathered) -> tuple[Called, ...]:
    return tuple(
        Called(name, _arguments(dialect, "".join(pieces)))
        for _, (name, *pieces) in sorted(gathered.calls.items())
    )


def _arguments(dialect: Dialect, pieces: str) -> str:
    """Arguments as a text; Anthropic has them as an object in whole answers, as text in streams."""
    if dialect is not Dialect.MESSAGES:
        return pieces
    try:
        return written(orjson.loads(pieces or "{}")) or pieces
    except orjson.JSONDecodeError:
        return pieces
