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
        headers: of it; names in lower case. Trailers are left out.
        pieces: of its body, read and not taken yet.
        barren: bytes since the last one of a body; whoever feeds adds to it.
        headed: its head is there.
        complete: it is.
        keeps: another answer may follow on the connection.
        until_close: it ends where the connection does.
    """

    __slots__ = (
        "_framing",
        "_max_headers",
        "_parser",
        "barren",
        "complete",
        "headed",
        "headers",
        "informational",
        "keeps",
        "parse",
        "pieces",
        "status",
        "trailers",
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
        self.status = self.barren = self.informational = self.trailers = 0
        self.headed = self.complete = self.keeps = self.until_close = False

    def on_message_begin(self) -> None:
        """A head begins: this answer's, a provisional one, or one that nobody has asked for."""
        if self.complete:
            self.keeps = False
            raise Unfit("bytes after its end")
        self.headers: list[Header] = []
        self._framing: dict[bytes, bytes] = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of the head, or of a trailer."""
        if self.headed:
            self.trailers += 1
            if self.trailers > self._max_headers:
                raise Unfit(f"more than {self._max_headers} trailers")
            return
        name = name.lower()
        self.headers.append((name, value))
        if name in _FRAMING:
            if name in self._framing:
                raise Unfit(f"{name.decode()} twice")
            self._framing[name] = value
        if len(self.headers) > self._max_headers:
            raise Unfit(f"more than {self._max_headers} headers")

    def on_headers_complete(self) -> None:
        """A head ends; one of 1xx is passed over."""
        status = self._parser.get_status_code()
        if not 102 <= status < 200 and status != 100:
            self._take_head(status)
            return
        self.informational += 1
        if self.informational > MAX_INFORMATIONAL:
            raise Unfit(f"more than {MAX_INFORMATIONAL} provisional heads")

    def _take_head(self, status: int) -> None:
        if not 200 <= status < 600:
            raise Unfit(f"status {status}")
        framing = self._framing
        coding = framing.get(b"transfer-encoding", b"chunked").lower()
        if coding != b"chunked":
            raise Unfit(f"transfer-encoding {coding!r}")
        content = framing.get(b"content-encoding", b"identity").lower()
        if content not in (b"identity", b""):
            raise Unfit(f"content-encoding {content!r}, which was not asked for")
        framed = b"transfer-encoding" in framing or b"content-length" in framing
        self.until_close = not framed and status not in _BODILESS
        self.status, self.headed = status, True

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """A message ends, which may have been a provisional head."""
        if self.headed:
            self.complete = True
            self.keeps = self._parser.should_keep_alive()
