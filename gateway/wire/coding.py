"""Content codings: gzip and deflate bodies in, compressed answers out.

Knows the two codings and how `Accept-Encoding` weighs them. Knows nothing of what a body holds, or
of which answers are worth compressing.
"""

from __future__ import annotations

import zlib

from gateway.errors import BodyTooLarge, InvalidRequest, UnsupportedEncoding

_GZIP = 16 + zlib.MAX_WBITS
_ZLIB = zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS
# Answers are numbers as text: higher levels take several times as long and gain a few percent.
_LEVEL = 1


def inflate(body: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Undoes a request's content coding.

    Args:
        body: as sent.
        encoding: the value of `Content-Encoding`.
        max_bytes: most that may come out; nothing beyond it is ever inflated.

    Raises:
        UnsupportedEncoding: neither gzip, deflate nor identity, or several at once.
        BodyTooLarge: more than `max_bytes` would come out.
        InvalidRequest: not in this coding, cut short, or followed by something else.
    """
    coding = encoding.strip(b" \t").lower()
    if coding in (b"", b"identity"):
        return body
    if coding in (b"gzip", b"x-gzip"):
        return _inflate(body, "gzip", _GZIP, max_bytes)
    if coding == b"deflate":
        return _inflate_deflate(body, max_bytes)
    given = encoding.decode("latin-1")[:80]
    raise UnsupportedEncoding(f"Content-Encoding: expected one of gzip or deflate, got '{given}'")


def choose(accept: bytes) -> bytes | None:
    """The coding for an answer by the value of `Accept-Encoding`, or None for none.

    The highest weight wins, and gzip wins over deflate at the same weight. A client that explicitly
    weighs identity higher gets identity.
    """
    weights = dict(_weighed(item) for item in accept.lower().split(b","))
    gzip = weights.get(b"gzip", weights.get(b"x-gzip", weights.get(b"*", 0.0)))
    deflate = weights.get(b"deflate", weights.get(b"*", 0.0))
    best = max(gzip, deflate)
    if best <= 0 or best < weights.get(b"identity", 0.0):
        return None
    return b"gzip" if gzip == best else b"deflate"


def compress(body: bytes, coding: bytes) -> bytes:
    """`body` in one of the codings that `choose` gives."""
    window = _GZIP if coding == b"gzip" else _ZLIB
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, window)
    return packer.compress(body) + packer.flush()


def _inflate(body: bytes, coding: str, window: int, max_bytes: int) -> bytes:
    unpacker = zlib.decompressobj(window)
    try:
        # One byte more than allowed tells a full body from one that is too large.
        inflated = unpacker.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequest(
            f"body: expected {coding} as Content-Encoding says, got other or damaged data"
        ) from error
    if len(inflated) > max_bytes:
        raise BodyTooLarge(
            f"body: expected at most {max_bytes} bytes after inflating (limits.max_body_bytes), "
            "got more"
        )
    if not unpacker.eof:
        raise InvalidRequest(f"body: expected a whole {coding} stream, got one that is cut short")
    if unpacker.unused_data:
        raise InvalidRequest(
            f"body: expected nothing behind the {coding} stream, "
            f"got {len(unpacker.unused_data)} more bytes"
        )
    return inflated


def _inflate_deflate(body: bytes, max_bytes: int) -> bytes:
    # The standard means zlib's wrapping; some clients send the bare stream, which a zlib header's
    # checksum tells apart in all but a few cases, and those fail as zlib and pass as bare.
    if len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0:
        try:
            return _inflate(body, "deflate", _ZLIB, max_bytes)
        except BodyTooLarge:
            raise
        except InvalidRequest as error:
            try:
                return _inflate(body, "deflate", _RAW, max_bytes)
            except InvalidRequest:
                raise error from None
    return _inflate(body, "deflate", _RAW, max_bytes)


def _weighed(item: bytes) -> tuple[bytes, float]:
    name, _, parameters = item.partition(b";")
    weight = 1.0
    for parameter in parameters.split(b";"):
        key, _, value = parameter.partition(b"=")
        if key.strip() == b"q":
            weight = _weight(value.strip())
    return name.strip(), weight


def _weight(text: bytes) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
