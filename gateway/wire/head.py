"""What the head of a request says: target, framing, and what every answer to it must carry.

Knows RFC 9112's rules for a request's head beyond those that the parser keeps. Knows nothing of
sockets, of connections, or of who answers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httptools

from gateway.config import Limits
from gateway.errors import HeadersTooLarge, MalformedHttp, Unsupported, UriTooLong
from gateway.exchange import Header
from gateway.wire.trace import TRACEPARENT, Trace, read_traceparent

if TYPE_CHECKING:
    from gateway.access.certificates import Shown
    from gateway.wire.guard import Passage

MAX_ECHOED_BYTES = 256
Known = bytes | tuple[bytes, bytes]
"""What a head is remembered under: its bytes, or those around the length that they name."""
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_VISIBLE = re.compile(rb"[\x20-\x7e]+")
TIMING = b"penstock-timing"
"""With the value 1, a request asks for Server-Timing in its answer."""
_MATTERS = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"x-request-id",
        TRACEPARENT,
        TIMING,
    )
)
# As nearly all clients write it. Of what is written otherwise the parser judges.
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ([1-9][0-9]{0,11})(?=\r\n|\Z)")
_UPGRADE_HEADERS = frozenset((b"upgrade", b"http2-settings"))


@dataclass(slots=True, eq=False)
class Head:
    """One request's head, read once. Requests with byte for byte the same head may share it.

    Not across connections where a client has shown a certificate, though.

    Attributes:
        version: `"1.1"` or `"1.0"`.
        keep_alive: the client lets the connection stay open after the answer.
        length: the declared Content-Length, 0 without one, None where the body comes in chunks.
        expects_continue: the body is sent once `100 Continue` was.
        echo: the client's x-request-id where it may be sent back.
        trace: the trace that the request is part of, where it names one. Differs for each request,
            so such heads are not shared.
        timed: the answer tells how long its phases took.
        plain: nothing here asks for more than the shortest answer head.
        shown: the certificate of the connection that it came on, where anybody asks.
        passage: what was found out about who sends it, where anybody asks.
        arm: the route that it asks for, and the variant of that which it chooses, where it does.
    """

    method: bytes
    path: bytes
    query: bytes
    headers: Sequence[Header]
    version: str = "1.1"
    keep_alive: bool = True
    length: int | None = 0
    expects_continue: bool = False
    echo: bytes | None = None
    trace: Trace | None = None
    timed: bool = False
    plain: bool = True
    shown: Shown | None = None
    passage: Passage | None = None
    arm: tuple[object, Any] | None = None
    _fields: dict[bytes, bytes] | None = field(default=None, repr=False)

    def first(self, name: bytes) -> bytes | None:
        """The first value of a header; `name` in lower case."""
        fields = self._fields
        if fields is None:
            # From the back, so that the first of several is the one that stays.
            fields = self._fields = dict(reversed(self.headers))
        return fields.get(name)

    def of_length(self, length: int) -> Head:
        """The same head, but that the body has another length."""
        value = b"%d" % length
        headers = [(n, value if n == b"content-length" else v) for n, v in self.headers]
        return replace(self, headers=headers, length=length, _fields=None)


def without_length(raw: bytes) -> tuple[tuple[bytes, bytes], int] | None:
    """What stands in a head before and after the length that it names, and that length.

    Two pieces, since joined they would be a head whose length is empty, which somebody may send.
    None: it names none, or in a way that the parser may see otherwise.
    """
    found = _LENGTH.search(raw)
    if found is None:
        return None
    start, end = found.span(1)
    return (raw[:start], raw[end:]), int(raw[start:end])


def read_head(
    method: bytes,
    target: bytes,
    version: str,
    keep_alive: bool,
    headers: Sequence[Header],
    limits: Limits,
) -> Head:
    """Makes a `Head` of what the parser found.

    Args:
        method: upper case.
        target: the request target as sent.
        version: as sent, `"1.1"`.
        keep_alive: what the parser makes of version and Connection header.
        headers: names in lower case.
        limits: the bounds that a head must keep.

    Raises:
        UriTooLong: the target passes its limit.
        HeadersTooLarge: count or size of the headers passes its limit.
        MalformedHttp: version, Host or Transfer-Encoding break RFC 9112.
        Unsupported: a transfer coding other than chunked.
    """
    if len(target) > limits.max_target_bytes:
        raise target_too_long(limits)
    if len(headers) > limits.max_headers:
        raise HeadersTooLarge(f"headers: expected at most {limits.max_headers}, got more")
    if version not in ("1.1", "1.0"):
        raise MalformedHttp(f"HTTP version: expected 1.1 or 1.0, got {version}")
    path, query = _split(target, method)
    head = Head(method, path, query, headers, version, keep_alive)
    size = hosts = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name not in _MATTERS:
            continue
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value.strip()):
                raise MalformedHttp("header 'host': not a host and port")
        elif name == b"content-length":
            head.length = int(value)
        elif name == b"transfer-encoding":
            _check_coding(value, version)
            head.length = None
        elif name == b"expect":
            head.expects_continue = version == "1.1" and value.strip().lower() == b"100-continue"
        elif name == b"x-request-id" and head.echo is None:
            head.echo = read_echo(value)
        elif name == TRACEPARENT:
            # Of two, none can be believed.
            head.trace = read_traceparent(value if head.trace is None else b"")
        elif name == TIMING:
            head.timed = value.strip() == b"1"
    if size > limits.max_header_bytes:
        raise headers_too_large(limits)
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedHttp(f"header 'host': expected once, got {hosts}")
    special = head.echo is not None or head.trace is not None or head.timed
    head.plain = keep_alive and version == "1.1" and not special
    return head


def target_too_long(limits: Limits) -> UriTooLong:
    """The refusal of a target past its limit."""
    return UriTooLong(f"request target: expected at most {limits.max_target_bytes} bytes, got more")


def headers_too_large(limits: Limits) -> HeadersTooLarge:
    """The refusal of headers past their size."""
    return HeadersTooLarge(f"headers: expected at most {limits.max_header_bytes} bytes, got more")


def without_upgrade(method: bytes, target: bytes, version: str, headers: Sequence[Header]) -> bytes:
    """The bytes of the same head with its offer to change protocols taken out.

    A server may ignore an offer to upgrade; it must still read the request that carries it.
    """
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode())]
    for name, value in headers:
        if name in _UPGRADE_HEADERS:
            continue
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            value = b", ".join(token for token in tokens if token.lower() not in _UPGRADE_HEADERS)
            if not value:
                continue
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join([*lines, b"\r\n"])


def _split(target: bytes, method: bytes) -> tuple[bytes, bytes]:
    if target[:1] == b"/":
        path, _, query = target.partition(b"#")[0].partition(b"?")
        return path, query
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError:
        url = None
    if url is None or url.schema is None:
        raise MalformedHttp("request target: neither a path nor a URL")
    return url.path or b"/", url.query or b""


def _check_coding(value: bytes, version: str) -> None:
    if version == "1.0":
        raise MalformedHttp("header 'transfer-encoding': HTTP/1.0 has none")
    codings = [coding.strip().lower() for coding in value.split(b",")]
    if codings[-1] != b"chunked":
        raise MalformedHttp("header 'transfer-encoding': expected chunked as the last coding")
    if len(codings) > 1:
        raise Unsupported("header 'transfer-encoding': only chunked is served")


def read_echo(value: bytes) -> bytes | None:
    """A client's x-request-id as it may be sent back, or None: too long, or not plain text."""
    value = value.strip()
    if len(value) <= MAX_ECHOED_BYTES and _VISIBLE.fullmatch(value):
        return value
    return None
