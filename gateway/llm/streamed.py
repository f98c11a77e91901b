"""Passes an upstream's answer on event by event, from its first content on.

Knows dialects, translations and the open end of a client's answer. Knows nothing of who is asked,
of limits, or of what an answer costs; what it has read of one is there at the end (`reading`).

Until the first content has gone to the client nothing has: another upstream may still be asked.
From then on bytes that need no change are passed on as they come, and read once, after the end.
An answer that a content policy has cut off before that may be held back, until somebody has said
whether another model is asked in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from gateway.errors import GatewayError, UpstreamFailed
from gateway.exchange import Header, Stream
from gateway.llm.hidden_usage import without_usage
from gateway.llm.relay import AnswerTooLarge, ErrorInside, Spoken
from gateway.llm.unread import MAX_UNREAD_BYTES, Unread
from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.errors import stream_error
from gateway.wire.llm.events import Kind, kind_of
from gateway.wire.llm.reading import Reading, StreamReading
from gateway.wire.llm.sse import DONE, Frames, event_of, frame, telling
from gateway.wire.llm.translate import StreamTranslator
from gateway.wire.llm.words import Dialect, Usage

EVENT_STREAM: Final = b"text/event-stream"
# From when it is read as it comes, so that nobody waits for much of it at once.
PORTION_BYTES: Final = 16 << 10
_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\r")
_SEAM: Final = max(map(len, _ENDS)) - 1
# A provider's head events are few, and its pings short: who sends more than that has begun.
MAX_HELD_BYTES: Final = 256 << 10


class Streamed:
    """An answer that the client gets event by event.

    Attributes:
        came: bytes of it that came so far.
        committed: the client has got some of it.
        filtered: a content policy has cut it off, and the client has nothing of it.
        unread: what came, for whoever passes some of it on in a shorter way.
        looks_at: of which byte on such a way ends, since there is something to look at.
        reading: what is kept of it, once it is over or was stopped; empty until then.
    """

    __slots__ = (
        "_begin",
        "_cutter",
        "_ended",
        "_frames",
        "_held",
        "_held_bytes",
        "_most",
        "_rest",
        "_spoken",
        "_stopped",
        "_stream",
        "_translator",
        "_unread_to",
        "came",
        "committed",
        "filtered",
        "looks_at",
        "reading",
        "unread",
    )

    def __init__(self, spoken: Spoken, begin: Callable[[], Stream], max_bytes: int) -> None:
        """Begins with nothing sent.

        Args:
            spoken: how it comes and goes.
            begin: opens the client's end; called with the first content.
            max_bytes: an answer that has more never ends, as far as anybody can tell.
        """
        self._spoken = spoken
        self._most = max_bytes
        self.came = 0
        self._begin: Callable[[], Stream] | None = begin
        self._stream: Stream | None = None
        self._frames = Frames()
        self.unread = Unread(spoken.upstream)
        self._unread_to = MAX_UNREAD_BYTES  # once so much came, there is no room to keep more
        self.looks_at = min(max_bytes, self._unread_to)
        self._translator: StreamTranslator | None = None
        if spoken.translation is not None and spoken.asked is not None:
            self._translator = spoken.translation.stream(spoken.asked)
        # What hides usage has only whole events to look at.
        self._cutter = Frames(started=True) if spoken.hides_usage else None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._rest = bytearray()
        self._ended = self._stopped = False
        self.committed = self.filtered = False
        self.reading = Reading()

    @property
    def plain_stream(self) -> Stream | None:
        """The client's end, where bytes of a chat go there as they are; None: not, or not yet."""
        as_it_is = self._translator is None and self._spoken.upstream is Dialect.CHAT
        return self._stream if as_it_is else None

    @property
    def hides_usage(self) -> bool:
        """The client did not ask for usage."""
        return self._cutter is not None

    @property
    def between_events(self) -> bool:
        """All that came is whole events."""
        return not (self._rest if self._cutter is None else self._cutter.kept)

    @property
    def usage(self) -> Usage | None:
        """What it says of its tokens."""
        return self.reading.usage

    @property
    def size(self) -> int:
        """Characters of its texts and calls, which `reading` keeps; of reasoning it keeps none."""
        return self.reading.kept_chars

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        came = self.came = self.came + len(data)
        if came > self._most:
            raise AnswerTooLarge(f"answer: expected at most {self._most} bytes, got more")
        self.unread.keep(data)
        if came > self._unread_to:
            self.unread.begin()
            self._unread_to = came + PORTION_BYTES
            self.looks_at = min(self._most, self._unread_to)
        stream = self._stream
        if stream is None:
            return self._before(data)
        if self._translator is not None:
            return self._translated(stream, self._translator, data)
        # As `_on`, a call shorter: this is where nearly all that is streamed goes.
        cutter = self._cutter
        if cutter is not None:
            data = without_usage(cutter, data)
        elif self._rest or not data.endswith(_ENDS):
            data = self._whole_events(data)
        return stream.write(data)

    def end(self) -> None:
        """Reads what came, and finishes the client's answer, unless it is held back."""
        self._end_last_event()
        self.stop()
        reading = self.reading
        if reading.failure and self._stream is None:
            what = f"stream: it begins with an error: {reading.failure}"
            raise ErrorInside(what, _error_of(event_of(self._frames.rest)[1]))
        if reading.failure:
            raise UpstreamFailed(f"stream: it ends with an error: {reading.failure}")
        if not (self._ended or reading.finish):
            raise UpstreamFailed("stream: it ended before it said so")
        if not self.filtered:
            self.pass_on()

    def pass_on(self) -> None:
        """Finishes the client's answer."""
        stream = self._stream or self._commit()
        stream.write(self._last())
        self._stream = None  # it knows its request, which knows this
        stream.end()

    @property
    def held(self) -> bytes:
        """All that the client would get of what is held back, once it is over."""
        return b"".join(self._held) + self._last()

    def stop(self) -> None:
        """Reads what came: there will be no more."""
        if not self._stopped:
            self._stopped = True
            self.reading, self._ended = self.unread.read()

    def fail(self, error: GatewayError) -> None:
        """Tells the client, inside its answer, that there is no more of it."""
        self.stop()
        stream, self._stream = self._stream, None
        if stream is None or stream.gone:
            return
        if self._translator is not None:
            stream.write(self._translator.fail(error))
        elif self._unsent or not self.reading.failure:  # else the upstream has told it itself
            stream.write(stream_error(self._spoken.client, error))
        stream.end()

    def leave(self) -> None:
        """The client is gone; what came is read."""
        self.stop()
        self._stream = None

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Calls back once the client takes more, or is gone."""
        assert self._stream is not None
        self._stream.on_drain(callback)

    def _end_last_event(self) -> None:
        """Adds the blank line that a server may have closed without.

        What is no event is left out at the end: what is written behind it would be a part of it.
        """
        begins = self._stream is None or self._translator is not None
        rest = self._frames.rest if begins else self._unsent
        if rest and _is_event(event_of(rest)[1]):
            self._most += 2  # which are ours
            self.data(b"\n\n")

    def _last(self) -> bytes:
        """What is still to be written of a stream that went well."""
        if self._translator is not None:
            return self._translator.end()
        # Clients wait for the last word of a dialect that has one; not every server says it.
        said = self._ended or self._spoken.client not in (Dialect.CHAT, Dialect.COMPLETIONS)
        return b"" if said else frame(DONE)

    @property
    def _unsent(self) -> bytes:
        """What came of an event whose end did not."""
        return bytes(self._rest) if self._cutter is None else self._cutter.rest

    # ---- before the first content ---------------------------------------------------------------

    def _before(self, data: bytes) -> bool:
        ready = True
        for one in telling(self._frames.feed(data)):
            if self._stream is None:
                self._hold(one)
            elif self._translator is not None:
                ready = self._stream.write(self._translator.feed(*event_of(one)))
            else:
                ready = self._stream.write(self._on(one))
        if self._stream is not None and self._translator is None:
            # From here on bytes are passed on as they come; what the cutter holds is their begin.
            begun, self._frames = self._frames.rest, Frames()
            if begun:
                ready = self._stream.write(self._on(begun))
        return ready

    def _hold(self, one: bytes) -> None:
        """Holds an event back, or finds that content begins with it."""
        event, payload = event_of(one)
        if not payload:  # a comment, by which some providers keep the connection open: for us
            return
        kind = kind_of(self._spoken.upstream, payload)
        if kind is Kind.ERROR:
            self.stop()
            what = self.reading.failure or "no JSON object"
            raise ErrorInside(f"stream: it begins with an error: {what}", _error_of(payload))
        if self._translator is not None:
            self._held.append(self._translator.feed(event, payload))
        else:
            self._held.append(self._on(one))
        self._held_bytes += len(one)
        if kind is not Kind.LIFECYCLE and self._spoken.holds_filtered:
            self.filtered = self.filtered or _is_cut_off(self._spoken.upstream, payload)
        begun = kind is not Kind.LIFECYCLE and not self.filtered
        if begun or self._held_bytes > MAX_HELD_BYTES:
            self.filtered = False
            self._commit()

    def _on(self, data: bytes) -> bytes:
        """What of bytes that need no translation goes to the client."""
        cutter = self._cutter
        return self._whole_events(data) if cutter is None else without_usage(cutter, data)

    def _commit(self) -> Stream:
        assert self._begin is not None, "there is one beginning"
        stream = self._stream = self._begin()
        self.committed = True
        self._begin = None  # it knows whoever knows this
        stream.write(b"".join(self._held))
        self._held.clear()
        return stream

    # ---- from then on ---------------------------------------------------------------------------

    def _translated(self, stream: Stream, translator: StreamTranslator, data: bytes) -> bool:
        told: list[bytes] = []
        try:
            frames = telling(self._frames.feed(data))
            told.extend(translator.feed(*event_of(one)) for one in frames)
        finally:  # an event that is none takes nothing from those that came before it
            ready = stream.write(b"".join(told))
        return ready

    def _whole_events(self, data: bytes) -> bytes:
        """What came up to the end of an event: of half a one no client knows where it ends.

        An error that follows would be a part of it.
        """
        if not self._rest and data.endswith(_ENDS):
            return data
        rest = self._rest
        known = max(0, len(rest) - _SEAM)  # there is no end in what came before that
        rest += data
        ends = [at + len(one) for one in _ENDS if (at := rest.rfind(one, known)) >= 0]
        end = max(ends, default=0)
        if len(rest) - end > MAX_UNREAD_BYTES:  # a picture, say
            end = len(rest)
        whole = bytes(rest[:end])
        del rest[:end]
        return whole


def _is_cut_off(dialect: Dialect, payload: bytes) -> bool:
    """Whether an event says that a content policy has ended the answer."""
    event = StreamReading(dialect)
    event.read(payload)
    return event.reading().cut_off


def _is_event(payload: bytes) -> bool:
    """Whether the data of what may be half an event is all of one's."""
    return payload.startswith(DONE) or type(_error_of(payload)) is dict


def _error_of(payload: bytes) -> Any:
    """What the data of an event says of an error, as if it were a body; None: nobody can tell."""
    if crowd_answered(payload):
        return None
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if type(values) is dict and type(values.get("response")) is dict:  # of a `response.failed`
        return values["response"]
    return values


def is_event_stream(headers: Sequence[Header]) -> bool:
    """Whether an answer comes as events."""
    for name, value in headers:
        if name == b"content-type":
            return value.split(b";", 1)[0].strip().lower() == EVENT_STREAM
    return False
