"""Content codings: what is inflated, what is refused, and when answers are compressed."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from gateway.errors import BodyTooLarge, InvalidRequest, UnsupportedEncoding
from gateway.wire.coding import choose, compress, inflate

TEXT = b'{"inputs":[]}' * 10


def raw(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODED = [
    pytest.param(b"gzip", gzip.compress(TEXT), id="gzip"),
    pytest.param(b"deflate", zlib.compress(TEXT), id="zlib"),
    pytest.param(b"deflate", raw(TEXT), id="raw-deflate"),
]


@pytest.mark.parametrize(("encoding", "body"), CODED)
def test_bodies_are_inflated(encoding, body):
    assert inflate(body, encoding, 1000) == TEXT
    assert inflate(body, b" " + encoding.upper() + b"\t", len(TEXT)) == TEXT


@pytest.mark.parametrize("encoding", [b"", b"identity", b" Identity "])
def test_identity_leaves_the_body_alone(encoding):
    assert inflate(TEXT, encoding, 1) == TEXT


def test_an_empty_body_may_be_coded():
    assert inflate(gzip.compress(b""), b"x-gzip", 10) == b""


@pytest.mark.parametrize(("encoding", "body"), CODED)
def test_a_stream_cut_off_at_any_byte_is_refused(encoding, body):
    for end in range(len(body)):
        with pytest.raises(InvalidRequest) as caught:
            inflate(body[:end], encoding, 1000)
        assert type(caught.value) is InvalidRequest


@pytest.mark.parametrize(("encoding", "body"), CODED)
def test_what_follows_the_stream_is_refused(encoding, body):
    for garbage in (b"x", body):
        with pytest.raises(InvalidRequest, match="expected nothing behind the"):
            inflate(body + garbage, encoding, 1000)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
@pytest.mark.parametrize("body", [TEXT, b"\x1f\x8b\x08\x00", b"\x78\x9cxxxx", b"\xff" * 50])
def test_garbage_is_refused(encoding, body):
    with pytest.raises(InvalidRequest):
        inflate(body, encoding, 1000)


@pytest.mark.parametrize(("encoding", "body"), CODED)
def test_one_byte_over_the_limit_is_too_large(encoding, body):
    with pytest.raises(BodyTooLarge, match=f"at most {len(TEXT) - 1} bytes after inflating"):
        inflate(body, encoding, len(TEXT) - 1)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
def test_a_bomb_is_never_inflated_past_the_limit(encoding):
    zeros = bytes(200 << 20)
    bomb = gzip.compress(zeros, 9) if encoding == b"gzip" else zlib.compress(zeros, 9)
    del zeros
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            inflate(bomb, encoding, 1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "encoding", [b"br", b"gzip, gzip", b"gzip, deflate", b"zstd", b"\xff", b","]
)
def test_other_codings_are_refused(encoding):
    with pytest.raises(UnsupportedEncoding, match="expected one of gzip or deflate"):
        inflate(TEXT, encoding, 1000)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"x-gzip", b"gzip"),
        (b"gzip, deflate, br", b"gzip"),
        (b"deflate, gzip", b"gzip"),
        (b"GZIP;Q=0.5, Deflate;q=0.9", b"deflate"),
        (b"gzip;q=0.5 , deflate ; q=0.4", b"gzip"),
        (b"*", b"gzip"),
        (b"*;q=0.1", b"gzip"),
        (b"gzip;q=0, *", b"deflate"),
        (b"gzip;q=0", None),
        (b"gzip;q=0,deflate;q=0.0", None),
        (b"*;q=0", None),
        (b"identity", None),
        (b"identity, gzip;q=0.5", None),
        (b"identity;q=0.5, gzip", b"gzip"),
        (b"br, zstd", None),
        (b"", None),
        (b",,;", None),
        (b"gzip;q=oops", None),
        (b"gzip;q=nan", None),
        (b"gzip;q=7", None),
        (b"\xff\xfe", None),
    ],
)
def test_weights_decide_the_answers_coding(accept, chosen):
    assert choose(accept) == chosen


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_compressed_answers_inflate_to_themselves(coding):
    assert inflate(compress(TEXT, coding), coding, 1000) == TEXT
    assert compress(TEXT, coding) == compress(TEXT, coding)  # no clock inside
