"""Reads an answer off a connection's bytes.

Knows httptools and what of HTTP's framing is refused beyond what that refuses. Knows nothing of
sockets, requests or time: the same bytes, split anyhow, give the same answer.
"""

from __future__ import annotations

import httptools

from gateway.exchange import Header

MAX_INFORMATIONAL = 16
"""Heads of 1xx before the one that counts."""

_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"content-encoding"))
_BODILESS = frozenset((204, 304))


class Unfit(Exception):
    """An answer that is not read on; the message says what is wrong with it."""


class Answer:
    """What of an answer has been read. One serves all answers of a connection, one by one.

    The parser's callbacks only note what there is; whoever feeds it tells the caller afterwards, so
    that nothing a caller does happens inside of the parser.

    Attributes:
        status: of the answer, once it is `headed`.
        headers: of it, then; names in lower case, without trailers.
        pieces: of its body, read and not taken yet.
        headed: its head is there.
        complete: it is.
        keeps: another answer may follow on the connection.
        until_close: it ends where the connection does.
        events: it is a stream of events, says its head.
        between: what was read last is the end of a chunk, or a size line that is not whole.
    """

    __slots__ = (
        "_framed",
        "_informational",
        "_lines",
        "_max_headers",
        "_parser",
        "between",
        "complete",
        "events",
        "headed",
        "headers",
        "keeps",
        "parse",
        "pieces",
        "status",
        "until_close",
    )

    def __init__(self, max_headers: int) -> None:
        self._max_headers = max_headers
        self._parser = httptools.HttpResponseParser(self)
        self.parse = self._parser.feed_data
        """Takes bytes; raises HttpParserError of what is not HTTP or not to be read on."""
        self.pieces: list[bytes] = []
        self.begin()

    def begin(self) -> None:
        """The next answer is another one."""
        self.status = self._informational = 0
        self.headed = self.complete = self.keeps = self.until_close = False
        self.events = self.between = False

    def end(self) -> None:
        """There will be no more: it and its parser know each other, and nobody waits for that."""
        del self._parser, self.parse

    def on_message_begin(self) -> None:
        """A head begins: this answer's, a provisional one, or one that nobody has asked for."""
        if self.complete:
            raise Unfit("bytes after its end")
        self._lines: list[Header] = []
        self._framed = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of a head or, once there is one, of a trailer."""
        name = name.lower()
        self._lines.append((name, value))
        if name in _FRAMING:
            self._take_framing(name, value)
        elif name == b"content-type":
            self.events = value.lstrip().lower().startswith(b"text/event-stream")

    def _take_framing(self, name: bytes, value: bytes) -> None:
        """What the parser refuses by itself is left to it: two lengths, or both kinds of them."""
        if name == b"content-encoding":
            if value.lower() not in (b"identity", b""):
                raise Unfit(f"content-encoding {value!r}, which was not asked for")
            return
        self._framed += 1
        if name == b"transfer-encoding" and (value.lower() != b"chunked" or self._framed > 1):
            raise Unfit(f"transfer-encoding {value!r}")

    def on_headers_complete(self) -> None:
        """A head ends; one of 1xx is passed over."""
        if len(self._lines) > self._max_headers:
            raise Unfit(f"more than {self._max_headers} headers")
        status: int = self._parser.get_status_code()
        if not 200 <= status < 600:
            self._pass_over(status)
            return
        self.until_close = not self._framed and status not in _BODILESS
        self.status, self.headed = status, True
        self.headers, self._lines = self._lines, []

    def _pass_over(self, status: int) -> None:
        self._informational += 1
        if self._informational > MAX_INFORMATIONAL:
            raise Unfit(f"more than {MAX_INFORMATIONAL} provisional heads")
        if not 100 <= status < 200 or status == 101:
            raise Unfit(f"status {status}")

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.pieces.append(data)

    def on_chunk_header(self) -> None:
        """The size of a chunk was read."""
        self.between = False

    def on_chunk_complete(self) -> None:
        """All of a chunk was."""
        self.between = True

    def on_message_complete(self) -> None:
        """A message ends, which may have been a provisional head."""
        if self.headed:
            self.complete = True
            self.keeps = self._parser.should_keep_alive()
