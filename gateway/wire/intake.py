"""Turns the bytes of one connection into requests, and refuses what passes a limit on the way.

Knows the parser, limits and how a message is framed. Knows nothing of answers, turns or transports:
what it finds goes to its `Receiver`.

llhttp refuses most of what RFC 9112 forbids (two lengths, length and chunks, bad sizes, folded
lines, bare line feeds); `read_head` adds the rest. After a refusal nothing more of the connection
is read, so that no byte of a bad message can be taken for the next one.

The rest of a long body whose length is known goes past the parser: there is nothing to find in it,
and the parser would copy it once more.
"""

from __future__ import annotations

import time
from typing import Protocol

import httptools

from gateway.config import Limits
from gateway.errors import (
    BodyTooLarge,
    GatewayError,
    MalformedHttp,
    MethodNotAllowed,
)
from gateway.exchange import Header
from gateway.wire.gathering import Gathering
from gateway.wire.head import (
    Head,
    Known,
    headers_too_large,
    read_head,
    target_too_long,
    without_length,
    without_upgrade,
)
from gateway.wire.services import MAX_HEAD_BYTES, Services

# How much is parsed before looking again whether too many requests wait: the parser cannot be
# stopped inside one piece.
SLICE_BYTES = 4096
CHUNKED_SLICE_BYTES = 16_384
# A chunk's size, line ends and a short extension; what goes beyond is counted as headers are.
CHUNK_OVERHEAD_BYTES = 24
_END_OF_HEAD = b"\r\n\r\n"


class BodySink(Protocol):
    """Takes a body piece by piece as it arrives."""

    def feed(self, piece: bytes) -> None:
        """The next piece."""

    def complete(self) -> None:
        """That was all."""


class Receiver(Protocol):
    """Where requests go."""

    def head_arrived(self, head: Head) -> BodySink | None:
        """A head is there. A sink takes the body as it comes; None: deliver the request whole.

        Raises:
            GatewayError: the body is not to be read.
        """

    def remember(self, known: Known, head: Head) -> None:
        """Keeps a head, so that the next request that begins with the same bytes is not parsed."""

    def recall(self, known: Known) -> Head | None:
        """A head that was kept so, if a request may begin with it now."""

    def request_arrived(self, head: Head, body: bytes, arrived: float) -> None:
        """A whole request is there."""

    @property
    def full(self) -> bool:
        """No more requests for now."""


class Intake:
    """The parser's callbacks and the message that is being read."""

    __slots__ = (
        "_body",
        "_chunks",
        "_completed",
        "_headers",
        "_limits",
        "_overhead",
        "_parser",
        "_receiver",
        "_refusal",
        "_services",
        "_sink",
        "_upgrading",
        "_url",
        "arrived",
        "begun",
        "ended",
        "head",
        "received",
    )

    def __init__(self, services: Services, receiver: Receiver) -> None:
        # for the connection
        self._services = services
        self._limits: Limits = services.limits
        self._receiver = receiver
        self._parser = httptools.HttpRequestParser(self)
        self.ended = False
        """No further request can come: the last said so, or was refused."""
        # for one message
        self.begun = False
        self.head: Head | None = None
        self.arrived = 0.0
        self.received = 0
        self._url = b""
        self._headers: list[Header] = []
        self._body = Gathering(services)
        self._sink: BodySink | None = None
        self._chunks = 0
        self._overhead = 0
        self._upgrading = False
        # for one piece of data
        self._refusal: GatewayError | None = None
        self._completed = 0

    def feed(self, data: bytes) -> bytes:
        """Reads on.

        Returns:
            What was not read because the receiver is full; to be fed again later.

        Raises:
            GatewayError: the request cannot be taken; nothing more can be read.
        """
        if len(data) <= SLICE_BYTES and not self._body.missing:
            self._parse(data)
            return b""
        view = memoryview(data)
        at = 0
        while at < len(view) and not self.ended:
            if self._receiver.full:
                return bytes(view[at:])
            if self._body.missing:
                at += self._pass_by(data, at)
                continue
            head = self.head
            step = SLICE_BYTES
            if head is not None and head.length is not None:
                step += head.length - self.received
            elif head is not None:
                step = CHUNKED_SLICE_BYTES
            self._parse(view[at : at + step])
            at += step
        return b""

    def feed_whole(self, data: bytes) -> bytes:
        """Reads data that begins a message, and remembers its head, or has it remembered."""
        end = data.find(_END_OF_HEAD, 0, MAX_HEAD_BYTES)
        if end < 0:
            return self.feed(data)
        begin = end + len(_END_OF_HEAD)
        head = self._recalled(data[:end])
        if head is not None and len(data) - begin <= (head.length or 0):
            self._go_on(head, data, begin)
            return b""
        completed = self._completed
        rest = self.feed(data)
        head = self.head
        # Whole or not, there is no other message in it, nor anything but this head and its body.
        alone = self._completed + self.begun == completed + 1 and not rest
        alone = alone and len(data) - self.received == begin
        if alone and head is not None and self._memorable(head):
            self._remember(data[:end], head)
        return rest

    def _recalled(self, raw: bytes) -> Head | None:
        """The head that these bytes are known to be, or are but for the length that they name."""
        head = self._receiver.recall(raw)
        if head is None and (cut := without_length(raw)) is not None:
            around, length = cut
            alike = self._receiver.recall(around)
            if alike is not None:
                head = alike.of_length(length)
                self._receiver.remember(raw, head)
        return head

    def _remember(self, raw: bytes, head: Head) -> None:
        self._receiver.remember(raw, head)
        if (cut := without_length(raw)) is not None:
            self._receiver.remember(cut[0], head)

    def _go_on(self, head: Head, data: bytes, at: int) -> None:
        """Begins a message whose head is known; of its body stands what is there from `at` on."""
        self.on_message_begin()
        self.head = head
        self._sink = None
        try:
            self._check_length(head)
        except GatewayError:
            self.ended = True
            raise
        self._body.missing = head.length or 0
        self._pass_by(data, at)

    def release(self) -> None:
        """Gives back what was held of an unfinished body."""
        self._body.release()

    def end(self) -> None:
        """The connection is gone: parser, receiver and this know each other, which is undone here.

        What forms a circle stays until somebody looks for garbage, and many come and go.
        """
        self.ended = True
        self._refusal = self._sink = None
        del self._parser, self._receiver

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        """The first byte of a message."""
        self.begun = True
        self.head = None
        self.arrived = time.perf_counter()
        self._url = b""
        self._headers = []
        self.received = self._overhead = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        if len(self._url) > self._limits.max_target_bytes:
            raise self._refuse(target_too_long(self._limits))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; after the head, one trailer."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        parser = self._parser
        if parser.should_upgrade():
            self._upgrading = True
            return
        try:
            head = read_head(
                parser.get_method(),
                self._url,
                parser.get_http_version(),
                parser.should_keep_alive(),
                self._headers,
                self._limits,
            )
            self.head = head
            self._check_length(head)
            self._headers = []
            self._chunks = 0
            self._sink = self._receiver.head_arrived(head)
        except GatewayError as error:
            raise self._refuse(error) from error

    def on_chunk_header(self) -> None:
        """The size of a chunk was read."""
        self._chunks += 1
        if self._chunks > self._limits.max_body_chunks:
            limit = self._limits.max_body_chunks
            raise self._refuse(MalformedHttp(f"body: expected at most {limit} chunks, got more"))

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self.received += len(piece)
        if self.received > self._limits.max_body_bytes:
            raise self._refuse(self._too_large())
        try:
            if self._sink is None:
                self._body.add(piece)
            else:
                self._sink.feed(piece)
                self._body.check()
        except GatewayError as error:
            raise self._refuse(error) from error

    def on_message_complete(self) -> None:
        """The message is whole."""
        if self._upgrading:
            return
        self.begun = False
        self._completed += 1
        head = self.head
        if head is None:
            return
        if not head.keep_alive:
            self.ended = True
        if self._sink is not None:
            self._sink.complete()
            return
        self._receiver.request_arrived(head, self._body.take(), self.arrived)

    # Helpers.

    def _parse(self, data: bytes | memoryview) -> None:
        begun, completed, received = self.begun, self._completed, self.received
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(bytes(data)[offer.args[0] :])
        except httptools.HttpParserError as error:
            if self.ended:
                return  # what follows a last request is nobody's
            self.ended = True
            # In no variable: its traceback would know this frame, and so know itself.
            raise self._refusal or MalformedHttp(f"HTTP: {_reason(error)}") from error
        head = self.head
        if self.begun and head is not None and head.length and self._sink is None:
            missing = head.length - self.received
            if missing > SLICE_BYTES:
                self._body.missing = missing
                # Who has not seen the end of a body does not know that another message follows.
                self._parser = httptools.HttpRequestParser(self)
        # The piece in which a message begins is not counted: it is bounded, and not all its own.
        if begun and self.begun and completed == self._completed:
            self._check_overhead(len(data) - (self.received - received))

    def _pass_by(self, data: bytes, at: int) -> int:
        """Reads on in a long body, as far as it stands in `data`; how many bytes that is."""
        try:
            size = self._body.add_missing(data, at)
        except GatewayError:
            self.ended = True
            raise
        self.received += size
        if not self._body.missing:
            self.on_message_complete()
        return size

    def _refuse(self, error: GatewayError) -> GatewayError:
        # The parser wraps what its callbacks raise: the error itself waits here for `_parse`.
        self._refusal = error
        return error

    def _check_length(self, head: Head) -> None:
        if not head.length:
            return
        if head.length > self._limits.max_body_bytes:
            raise self._too_large()
        self._body.check(more=head.length)

    def _check_overhead(self, size: int) -> None:
        """Bounds what comes besides the body: an unfinished head, chunk extensions, trailers."""
        limits = self._limits
        head = self.head
        if head is not None and head.length is not None:
            return
        self._overhead += size
        allowed = limits.max_header_bytes
        if head is None:
            allowed += limits.max_target_bytes
        else:
            allowed += CHUNK_OVERHEAD_BYTES * self._chunks
        if self._overhead > allowed or len(self._headers) > limits.max_headers:
            self.ended = True
            raise headers_too_large(limits)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Reads the request as if it had not offered to change protocols.

        The parser stops where it would be followed by another protocol and forgets that there is a
        body: left at that, a body would be taken for the next request.
        """
        parser = self._parser
        method = parser.get_method()
        self._upgrading = False
        if method == b"CONNECT":
            self.ended = True
            raise MethodNotAllowed("method CONNECT: not served here")
        raw = without_upgrade(method, self._url, parser.get_http_version(), self._headers)
        self._parser = httptools.HttpRequestParser(self)
        self._parse(raw + rest)

    def _too_large(self) -> BodyTooLarge:
        limit = self._limits.max_body_bytes
        return BodyTooLarge(f"body: expected at most {limit} bytes, got more")

    def _memorable(self, head: Head) -> bool:
        return (
            bool(head.length)
            and head.method == b"POST"
            and head.keep_alive
            and not head.expects_continue
            and head.echo is None
            and head.trace is None
            and head.path in self._services.endpoints
        )


def _reason(error: httptools.HttpParserError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:] if text else "not understood"
