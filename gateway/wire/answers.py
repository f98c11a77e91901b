"""The bytes of answers: status lines, heads, and the one JSON shape of every error.

Knows how an HTTP/1 answer is written. Knows nothing of connections or of requests beyond what is
handed in.
"""

from __future__ import annotations

import http
import re
from collections.abc import Iterable, Sequence
from typing import overload
from urllib.parse import quote

import orjson

from gateway.errors import GatewayError, Retired
from gateway.exchange import JSON_TYPE, Header

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# Both vendors' clients of language models go by it before anything else.
DO_NOT_RETRY: Header = (b"x-should-retry", b"false")
ERROR_CODE = b"penstock-error-code"
VIOLATIONS = b"penstock-contract-violations"
HOLD_OUT = b"penstock-hold-out"
VARIANT = b"penstock-variant"
VERSION = b"penstock-version"
_PLAIN = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class Written(Sequence[Header]):
    """Headers as they stand in the head of an answer; told one by one where anybody asks.

    Attributes:
        lines: of the head.
    """

    __slots__ = ("_headers", "lines")

    def __init__(self, lines: bytes) -> None:
        """Takes legal lines, each with its end. `write` makes them of headers."""
        self.lines = lines
        self._headers: tuple[Header, ...] | None = None

    @classmethod
    def write(cls, headers: Iterable[Header]) -> Written:
        """Headers that many answers have alike, checked and written once.

        Raises:
            ValueError: one of them would break out of its line.
        """
        return cls(b"".join(map(_line, headers)))

    def plus(self, lines: bytes) -> Written:
        """These, and further ones that only one answer has.

        Those must be legal: they are the gateway's own names and numbers, and are not checked.
        """
        return Written(self.lines + lines)

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Header]: ...
    def __getitem__(self, index: int | slice) -> Header | Sequence[Header]:
        return self._read()[index]

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> tuple[Header, ...]:
        if self._headers is None:
            lines = self.lines.split(b"\r\n")[:-1]
            self._headers = tuple((name, value) for name, _, value in map(_parted, lines))
        return self._headers


def written_lines(headers: Iterable[Header]) -> bytes:
    """Legal headers as they stand in a head."""
    return b"".join([b"%b: %b\r\n" % one for one in headers])


def lines_of(headers: Sequence[Header]) -> bytes | None:
    """Headers as they stand in a head, where that is known beforehand."""
    if type(headers) is Written:
        return headers.lines
    return None if headers else b""


def _parted(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b": ")


def _line(header: Header) -> bytes:
    name, value = header
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"header {name!r}: not a legal header")
    return b"%b: %b\r\n" % header


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}
JSON_HEADS = {
    status: line + b"content-type: application/json\r\ncontent-length: "
    for status, line in STATUS_LINES.items()
    if status >= 200 and status not in (204, 304)
}
"""What comes before the length of a JSON body, for the statuses that have a body."""


def head(
    status: int,
    length: int | None,
    request_id: bytes,
    *,
    content_type: bytes | None = JSON_TYPE,
    headers: Sequence[Header] = (),
    echo: bytes | None = None,
    close: bool = False,
    http10: bool = False,
) -> bytes:
    """The head of an answer.

    Args:
        status: 200 to 599.
        length: of the body; None for one of unknown length, which is then sent in chunks, or to
            the end of the connection where the client speaks HTTP/1.0.
        request_id: the gateway's own name for the request.
        content_type: None where `headers` hold it.
        headers: further ones, after these.
        echo: the client's x-request-id.
        close: the connection closes after this answer.
        http10: the client speaks HTTP/1.0.

    Raises:
        ValueError: a header that would break out of its line.
    """
    parts = [STATUS_LINES[status]]
    if content_type is not None:
        parts.append(b"content-type: %b\r\n" % content_type)
    if length is None:
        if not http10:
            parts.append(b"transfer-encoding: chunked\r\n")
    elif status not in (204, 304):
        parts.append(b"content-length: %d\r\n" % length)
    parts += map(_line, headers)
    parts.append(b"penstock-request-id: %b\r\n" % request_id)
    if echo is not None:
        parts.append(b"x-request-id: %b\r\n" % echo)
    if close:
        parts.append(b"connection: close\r\n")
    elif http10:
        parts.append(b"connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def header_text(text: str) -> bytes:
    """A text as a header carries it: what is not printable ASCII, and `%`, percent-encoded."""
    return quote(text.encode("utf-8", "replace"), _PLAIN).encode()


def error_body(message: str) -> bytes:
    """The body of every refusal and failure."""
    # What a client sent may be quoted in a message, lone surrogates included.
    return orjson.dumps({"error": message.encode("utf-8", "replace").decode()})


def refusal(
    error: GatewayError, _path: bytes, _request_id: bytes, _echo: bytes | None
) -> tuple[bytes, Sequence[Header]]:
    """The body that tells of one error, as the Open Inference Protocol has it; no more headers."""
    return error_body(str(error)), ()


def error_headers(error: GatewayError) -> Sequence[Header]:
    """What an error's answer carries besides its body, in which the protocol leaves no room."""
    code = (ERROR_CODE, error.code.encode())
    if error.status in (429, 503):
        later = (code, (b"retry-after", b"%d" % error.retry_after_s))
        # Clients take every 429 for one that passes soon; a budget that is spent does not.
        return later if error.retryable else (*later, DO_NOT_RETRY)
    if error.status == 401:
        return (code, (b"www-authenticate", b'Bearer realm="penstock"'))
    if error.status == 415:
        return (code, (b"accept-encoding", b"gzip, deflate"))
    if isinstance(error, Retired) and error.successor_path:
        return (code, (b"link", b'<%b>; rel="successor-version"' % error.successor_path.encode()))
    return (code,)


def error_code(headers: Iterable[Header]) -> str | None:
    """The code of the error that an answer with these headers tells of."""
    return next((value.decode("latin-1") for name, value in headers if name == ERROR_CODE), None)
