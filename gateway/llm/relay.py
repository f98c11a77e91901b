"""Passes an upstream's answer on: whole once it is there, or streamed from its first content on.

Knows dialects, translations and the open end of a client's answer. Knows nothing of who is asked,
of limits, or of what an answer costs; what it has read of one is there at the end (`reading`).

Until the first content has gone to the client nothing has: another upstream may still be asked.
From then on bytes that need no change are passed on as they come, and read once, after the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from gateway.errors import GatewayError, UpstreamFailed
from gateway.exchange import Header, Stream
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.errors import stream_error
from gateway.wire.llm.events import Kind, kind_of
from gateway.wire.llm.reading import Reading, StreamReading, read_answer
from gateway.wire.llm.sse import DONE, Frames, event_of, frame
from gateway.wire.llm.told import told_error
from gateway.wire.llm.translate import StreamTranslator, Translation
from gateway.wire.llm.usage import usage_of
from gateway.wire.llm.words import Dialect, Usage

EVENT_STREAM: Final = b"text/event-stream"
MAX_ERROR_BYTES: Final = 1 << 20
# What is kept of a stream until it is read in one go: reading so much holds the loop for a
# millisecond.
MAX_UNREAD_BYTES: Final = 256 << 10
# A provider's head events are few; who sends more than that before any content has begun.
MAX_HELD_FRAMES: Final = 64


@dataclass(slots=True)  # not frozen: that takes three times as long, for each request
class Spoken:
    """How an answer comes, and how it is to go on.

    Attributes:
        client: the dialect that was asked in.
        upstream: the dialect that it comes in.
        translation: from the one to the other; None: they are the same.
        asked: what of the request a translation needs; None: there is none.
        hides_usage: the client did not ask for the usage that comes at the end of its stream.
    """

    client: Dialect
    upstream: Dialect
    translation: Translation | None
    asked: Asked | None = None
    hides_usage: bool = False


class Relay(Protocol):
    """What takes the body of one answer."""

    @property
    def reading(self) -> Reading:
        """What is kept of the answer, as far as it came."""

    @property
    def usage(self) -> Usage | None:
        """What it says of its tokens, as far as it came; None: nothing."""

    @property
    def committed(self) -> bool:
        """The client has got some of it."""

    def data(self, data: bytes) -> bool:
        """Takes a piece. False: the client reads slowly.

        Raises:
            UpstreamFailed: it is not what it should be.
        """

    def end(self) -> None:
        """It is there.

        Raises:
            UpstreamFailed: it is not whole, or not what it should be.
        """


class Refusal:
    """Gathers the body of an error."""

    __slots__ = ("_pieces", "_size")

    committed = False
    reading = Reading()
    usage: Usage | None = None

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def body(self) -> bytes:
        """What came, as far as it is kept."""
        return b"".join(self._pieces)

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        self._size += len(data)
        if self._size <= MAX_ERROR_BYTES:
            self._pieces.append(data)
        return True

    def end(self) -> None:
        """It is there."""


class Whole:
    """An answer that the client gets once all of it is there.

    Attributes:
        body: what the client gets, once it is there.
        usage: what it says of its tokens.
    """

    __slots__ = ("_most", "_pieces", "_reading", "_size", "_spoken", "_values", "body", "usage")

    committed = False

    def __init__(self, spoken: Spoken, max_bytes: int) -> None:
        """`max_bytes`: of an answer that is held until it is whole."""
        self._spoken = spoken
        self._most = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0
        self._values: Any = None
        self._reading: Reading | None = None
        self.body = b""
        self.usage: Usage | None = None

    @property
    def reading(self) -> Reading:
        """What is kept of it. Read when somebody first asks, and kept in its place."""
        if self._reading is None:
            self._reading = read_answer(self._spoken.upstream, self._values)
            self._values = None
        return self._reading

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        self._size += len(data)
        if self._size > self._most:
            raise UpstreamFailed(f"answer: expected at most {self._most} bytes, got more")
        self._pieces.append(data)
        return True

    def end(self) -> None:
        """Looks whether it is an answer, and translates it where that is needed."""
        pieces, spoken = self._pieces, self._spoken
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            values = self._values = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise UpstreamFailed("answer: expected JSON, got something else") from error
        if type(values) is not dict:
            raise UpstreamFailed("answer: expected a JSON object, got something else")
        if values.get("error") and (told := told_error(values)) is not None:
            raise UpstreamFailed(f"answer: status 200 with an error in it: {told.name}")
        self.usage = usage_of(spoken.upstream, values)
        if spoken.translation is not None and spoken.asked is not None:
            body = orjson.dumps(spoken.translation.answer(values, spoken.asked))
        self.body = body


class Streamed:
    """An answer that the client gets event by event."""

    __slots__ = (
        "_begin",
        "_frames",
        "_held",
        "_held_frames",
        "_hides",
        "_kept",
        "_kept_bytes",
        "_reader",
        "_rest",
        "_spoken",
        "_stream",
        "_translator",
        "chunks",
        "reading",
    )

    def __init__(self, spoken: Spoken, begin: Callable[[], Stream]) -> None:
        """Begins with nothing sent.

        Args:
            spoken: how it comes and goes.
            begin: opens the client's end; called with the first content.
        """
        self._spoken = spoken
        self._begin = begin
        self._stream: Stream | None = None
        self._frames = Frames()
        self._reader = StreamReading(spoken.upstream)
        self._translator: StreamTranslator | None = None
        if spoken.translation is not None and spoken.asked is not None:
            self._translator = spoken.translation.stream(spoken.asked)
        self._hides = spoken.hides_usage
        self._held: list[bytes] = []
        self._held_frames = 0
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._rest = b""
        self.chunks = 0
        """Pieces that have gone on, since the first content."""
        self.reading = Reading()

    @property
    def committed(self) -> bool:
        """The client has got some of it."""
        return self._stream is not None

    @property
    def usage(self) -> Usage | None:
        """What it says of its tokens."""
        return self.reading.usage

    def data(self, data: bytes) -> bool:
        """Takes a piece."""
        stream = self._stream
        if stream is None:
            return self._before(data)
        self.chunks += 1
        if self._translator is not None:
            return self._translated(stream, data)
        self._keep(data)
        if self._hides:
            data = self._without_usage(data)
        return stream.write(data)

    def end(self) -> None:
        """Reads what has not been read, and finishes the client's answer."""
        stream = self._stream
        if self._translator is None:
            self._read_kept()
        self.reading = self._reader.reading()
        if self.reading.failure and stream is None:
            raise UpstreamFailed(f"stream: it begins with an error: {self.reading.failure}")
        if not (self._reader.ended or self.reading.finish):
            raise UpstreamFailed("stream: it ended before it said so")
        if stream is None:
            stream = self._commit()
        stream.write(self._last())
        stream.end()

    def _last(self) -> bytes:
        """What is still to be written of a stream that went well."""
        if self._translator is not None:
            return self._translator.end()
        # Clients wait for the last word of a dialect that has one; not every server says it.
        said = self._reader.ended or self._spoken.client not in (Dialect.CHAT, Dialect.COMPLETIONS)
        return self._rest if said else self._rest + frame(DONE)

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Calls back once the client takes more, or is gone."""
        assert self._stream is not None
        self._stream.on_drain(callback)

    def fail(self, error: GatewayError) -> None:
        """Tells the client, inside its answer, that there is no more of it."""
        stream = self._stream
        if stream is None or stream.gone:
            return
        self.stop()
        if self._translator is not None:
            stream.write(self._translator.fail(error))
        else:
            stream.write(stream_error(self._spoken.client, error))
        stream.end()

    def stop(self) -> None:
        """Reads what has come: there will be no more."""
        if self._translator is None:
            self._read_kept()
        self.reading = self._reader.reading()

    # ---- before the first content ---------------------------------------------------------------

    def _before(self, data: bytes) -> bool:
        reader, ready = self._reader, True
        for one in self._frames.feed(data):
            if self._stream is not None:
                ready = self._pass_on(self._stream, one)
                continue
            event, payload = event_of(one)
            reader.read(payload)
            self._held_frames += 1
            if self._translator is not None:
                self._held.append(self._translator.feed(event, payload))
            elif not (self._hides and _is_usage(payload)):
                self._held.append(_without_nulls(one) if self._hides else one)
            kind = kind_of(self._spoken.upstream, payload)
            if kind is Kind.ERROR:
                failure = reader.reading().failure
                raise UpstreamFailed(f"stream: it begins with an error: {failure}")
            if kind is not Kind.LIFECYCLE or self._held_frames >= MAX_HELD_FRAMES:
                self._commit()
        if self._stream is not None and self._translator is None:
            # From here on bytes are passed on as they come; what the cutter holds is their begin.
            begun, self._frames = self._frames.rest, Frames()
            if begun:
                self._keep(begun)
                ready = self._stream.write(self._without_usage(begun) if self._hides else begun)
        return ready

    def _pass_on(self, stream: Stream, data: bytes) -> bool:
        """An event that came together with the first content."""
        if self._translator is not None:
            event, payload = event_of(data)
            self._reader.read(payload)
            return stream.write(self._translator.feed(event, payload))
        self._keep(data)
        return stream.write(self._without_usage(data) if self._hides else data)

    def _commit(self) -> Stream:
        stream = self._stream = self._begin()
        stream.write(b"".join(self._held))
        self._held.clear()
        return stream

    # ---- from then on ---------------------------------------------------------------------------

    def _translated(self, stream: Stream, data: bytes) -> bool:
        assert self._translator is not None
        told = []
        for one in self._frames.feed(data):
            event, payload = event_of(one)
            self._reader.read(payload)
            told.append(self._translator.feed(event, payload))
        return stream.write(b"".join(told))

    def _keep(self, data: bytes) -> None:
        self._kept.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > MAX_UNREAD_BYTES:
            self._read_kept()

    def _read_kept(self) -> None:
        kept, self._kept = b"".join(self._kept), []
        self._kept_bytes = 0
        reader = self._reader
        for one in self._frames.feed(kept):
            reader.read(event_of(one)[1])

    def _without_usage(self, data: bytes) -> bytes:
        """Whole events of what came, without what was asked for on the gateway's own account."""
        if not self._rest and b'"usage"' not in data and data.endswith(b"\n\n"):
            return data
        data = self._rest + data
        if b"\r" in data:  # every line end means the same
            data = data.replace(b"\r\n", b"\n")
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            end = 0
        data, self._rest = data[:end], data[end:]
        if b'"usage"' not in data:
            return data
        frames = data.split(b"\n\n")
        kept = [one for one in frames if not _is_usage(event_of(one + b"\n\n")[1])]
        return _without_nulls(b"\n\n".join(kept))


def _without_nulls(data: bytes) -> bytes:
    """Inside a JSON string the quotes would have backslashes: this is never somebody's text."""
    if b'"usage":null' in data:
        return data.replace(b',"usage":null', b"")
    return data.replace(b', "usage": null', b"")


def _is_usage(payload: bytes) -> bool:
    """Whether an event tells of usage and of nothing else."""
    if b'"usage"' not in payload or payload == DONE:
        return False
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return isinstance(values, dict) and values.get("choices") == [] and bool(values.get("usage"))


def is_event_stream(headers: Sequence[Header]) -> bool:
    """Whether an answer comes as events."""
    for name, value in headers:
        if name == b"content-type":
            return value.split(b";", 1)[0].strip().lower() == EVENT_STREAM
    return False
