"""Lets a client of one dialect ask an upstream of another.

Knows which pairs there are and how their halves fit together: all meet in chat. Knows nothing of
connections, retries or money.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from gateway.errors import GatewayError, UpstreamFailed
from gateway.wire.llm import (
    client_messages,
    client_messages_answers,
    client_responses,
    client_responses_answers,
    upstream_messages,
    upstream_messages_answers,
)
from gateway.wire.llm.asked import Asked
from gateway.wire.llm.chat import Chunk
from gateway.wire.llm.client_chat import EventsForChat
from gateway.wire.llm.client_messages_stream import EventsForMessages
from gateway.wire.llm.client_responses_stream import EventsForResponses
from gateway.wire.llm.crowds import crowd_answered
from gateway.wire.llm.errors import stream_error, told_body, told_event
from gateway.wire.llm.fields import Values, mappings
from gateway.wire.llm.sse import DONE
from gateway.wire.llm.told import Told, told_error
from gateway.wire.llm.words import Dialect

Translate = Callable[[Values, Asked], dict[str, Any]]


class Source(Protocol):
    """Makes chunks of chat of an upstream's events."""

    finished: bool  # it told why the answer ended
    ended: bool  # nothing comes after it

    def take(self, values: Values) -> Iterable[Chunk]:
        """The chunks that one event becomes."""


class Sink(Protocol):
    """Makes a client's events of chunks of chat."""

    sequence: int  # the number of the next event, in a dialect that counts them

    def take(self, chunk: Values) -> bytes:
        """The events that one chunk becomes."""

    def finish(self) -> bytes:
        """The events that end the stream."""


@dataclass(frozen=True, slots=True)
class Translation:
    """Between a client's dialect and an upstream's; see `translation`."""

    client: Dialect
    upstream: Dialect

    def request(self, values: Values, asked: Asked) -> dict[str, Any]:
        """The client's request as the upstream's.

        Raises:
            InvalidParameter: it says what cannot be said there, and must not be left out.
        """
        for step in (_REQUEST_TO_CHAT.get(self.client), _REQUEST_OF_CHAT.get(self.upstream)):
            values = values if step is None else step(values, asked)
        return dict(values)

    def answer(self, values: Values, asked: Asked) -> dict[str, Any]:
        """The upstream's whole answer as the client's.

        Raises:
            UpstreamFailed: it is not what such an upstream answers.
        """
        for step in (_ANSWER_TO_CHAT.get(self.upstream), _ANSWER_OF_CHAT.get(self.client)):
            values = values if step is None else step(values, asked)
        return dict(values)

    def error(self, status: int, values: Any) -> tuple[int, dict[str, Any]]:
        """The upstream's error answer as the client's, with its status."""
        told = told_error(values) or Told(message="the upstream refused the request")
        return told_body(self.client, status, told)

    def stream(self, asked: Asked) -> StreamTranslator:
        """What translates one stream that answers `asked`."""
        source = _SOURCES[self.upstream](asked)
        return StreamTranslator(self.client, source, _SINKS[self.client](asked))


def translation(client: Dialect, upstream: Dialect) -> Translation | None:
    """What translates between two dialects; None: they are the same, all is sent on as it is.

    Raises:
        KeyError: there is no way between the two; see `PAIRS`.
    """
    if client is upstream:
        return None
    return PAIRS[client, upstream]


class StreamTranslator:
    """Turns the events of an upstream's stream into those of a client's, as they come.

    Whatever happens, what the client gets is well-formed, and says at its end whether it is whole.
    """

    def __init__(self, client: Dialect, source: Source, sink: Sink) -> None:
        """Begins a stream.

        Args:
            client: whose dialect errors are told in.
            source: reads the upstream's events.
            sink: writes the client's.
        """
        # Fixed at start.
        self._client = client
        self._source = source
        self._sink = sink
        # Of the stream so far.
        self._over = False

    def feed(self, event: bytes, data: bytes) -> bytes:
        """Takes one event of the upstream.

        Args:
            event: its name; the data say it again.
            data: of it; empty: a comment.

        Returns:
            What the client gets for it, maybe nothing.

        Raises:
            UpstreamFailed: the event is not of its dialect; `fail` is to tell the client.
        """
        if self._over or not data:
            return b""
        if data.startswith(DONE):
            return self.end()
        values = _read(data)
        if values.get("error") or values.get("type") == "error":
            self._over = True
            return told_event(self._client, told_error(values) or Told(), self._sink.sequence)
        sent = b"".join(map(self._sink.take, self._source.take(values)))
        return sent + self.end() if self._source.ended else sent

    def end(self) -> bytes:
        """The upstream's stream is over; one that was cut is told as an error."""
        if self._over:
            return b""
        if not self._source.finished:
            return self.fail(UpstreamFailed("the upstream's answer ended before it was whole"))
        self._over = True
        return self._sink.finish()

    def fail(self, error: GatewayError) -> bytes:
        """Ends the stream with an error of ours."""
        if self._over:
            return b""
        self._over = True
        return stream_error(self._client, error, self._sink.sequence)


def _read(data: bytes) -> dict[str, Any]:
    if crowd := crowd_answered(data):
        raise UpstreamFailed(f"an event of the upstream's stream: {crowd}")
    try:
        values = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UpstreamFailed("an event of the upstream's stream is not JSON") from error
    if type(values) is not dict:
        raise UpstreamFailed("an event of the upstream's stream is no JSON object")
    return values


class _ChunksOfChat:
    """The stream of an upstream that speaks chat, as it is."""

    def __init__(self, _: Asked) -> None:
        self.finished = self.ended = False

    def take(self, values: Values) -> Iterator[Chunk]:
        if any(choice.get("finish_reason") for choice in mappings(values, "choices")):
            self.finished = True  # the usage may come yet
        yield dict(values)


_REQUEST_TO_CHAT: dict[Dialect, Translate] = {
    Dialect.MESSAGES: client_messages.request,
    Dialect.RESPONSES: client_responses.request,
}
_REQUEST_OF_CHAT: dict[Dialect, Translate] = {Dialect.MESSAGES: upstream_messages.request}
_ANSWER_TO_CHAT: dict[Dialect, Translate] = {Dialect.MESSAGES: upstream_messages_answers.answer}
_ANSWER_OF_CHAT: dict[Dialect, Translate] = {
    Dialect.MESSAGES: client_messages_answers.answer,
    Dialect.RESPONSES: client_responses_answers.answer,
}
_SOURCES: dict[Dialect, Callable[[Asked], Source]] = {
    Dialect.CHAT: _ChunksOfChat,
    Dialect.MESSAGES: upstream_messages_answers.ChunksOfMessages,
}
_SINKS: dict[Dialect, Callable[[Asked], Sink]] = {
    Dialect.CHAT: EventsForChat,
    Dialect.MESSAGES: EventsForMessages,
    Dialect.RESPONSES: EventsForResponses,
}
PAIRS: dict[tuple[Dialect, Dialect], Translation] = {
    (client, upstream): Translation(client, upstream)
    for client in _SINKS
    for upstream in _SOURCES
    if client is not upstream
}
"""What translates between a client's dialect and an upstream's, for all that can be."""
