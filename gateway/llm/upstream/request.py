"""A request's head: the part that is the same for all requests to one path of one origin.

Knows HTTP's grammar of requests. Knows nothing of connections or of what a body says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.exchange import Header
from gateway.llm.upstream.words import Origin

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"/[\x21-\x7e]*")
# What says how long the body is, or that the connection becomes another thing, is ours to say.
_OURS = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding")
)


def request_head(
    origin: Origin, path: str, headers: Iterable[Header], method: str = "POST"
) -> bytes:
    """Request line and headers, to be followed by more of `header_lines`; `send` ends the head.

    Answers are asked for uncompressed: what is counted and forwarded is read piece by piece.

    Args:
        origin: to whom.
        path: with its query, percent-encoded.
        headers: all but those that speak of the connection or of the body's length.
        method: any but CONNECT and HEAD, whose answers are framed in another way.

    Raises:
        ValueError: something in it is not what HTTP allows there.
    """
    if not _TARGET.fullmatch(path):
        raise ValueError(f"path: expected printable ASCII from a slash on, got {path!r}")
    if not method.isalpha() or method in ("CONNECT", "HEAD"):
        raise ValueError(f"method: expected one whose answer may have a body, got {method!r}")
    through = origin.proxy if origin.scheme == "http" else None
    target = f"{origin}{path}" if through else path
    own = [(b"host", origin.authority.encode("ascii")), (b"accept-encoding", b"identity")]
    if through and through.authorization:
        own.append((b"proxy-authorization", through.authorization.encode()))
    start = f"{method} {target} HTTP/1.1\r\n".encode()
    return start + _lines(own) + header_lines(headers)


def header_lines(headers: Iterable[Header]) -> bytes:
    """Lines of a head.

    Raises:
        ValueError: a name or value holds what would end the line, or HTTP does not allow.
    """
    kept = list(headers)
    for name, value in kept:
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
            raise ValueError(f"header {name!r}: expected a name that is not the connection's")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"header {name!r}: expected a value without control characters")
    return _lines(kept)


def _lines(headers: Iterable[Header]) -> bytes:
    return b"".join(b"%s: %s\r\n" % header for header in headers)
