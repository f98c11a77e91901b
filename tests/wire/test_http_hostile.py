"""Requests that are not HTTP, or are two things at once: all are refused, the server is well."""

from __future__ import annotations

import orjson
import pytest

from tests.wire.http_rig import chunked, post, request, rig

CHUNKED = b"POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"


def head(*lines: str, path: str = "/echo", host: str = "Host: test") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", *([host] if host else []), *lines, "", ""]).encode(
        "latin-1"
    )


HOSTILE = {
    "two-equal-lengths": (400, head("Content-Length: 3", "Content-Length: 3") + b"abc"),
    "two-lengths": (400, head("Content-Length: 3", "Content-Length: 42") + b"abc"),
    "a-list-of-lengths": (400, head("Content-Length: 3, 3") + b"abc"),
    "a-signed-length": (400, head("Content-Length: +3") + b"abc"),
    "a-negative-length": (400, head("Content-Length: -1")),
    "a-hexadecimal-length": (400, head("Content-Length: 0x3") + b"abc"),
    "an-empty-length": (400, head("Content-Length: ") + b"abc"),
    "a-length-with-a-hole": (400, head("Content-Length: 3 3") + b"abc"),
    "a-length-that-overflows": (400, head("Content-Length: 99999999999999999999999")),
    "length-then-chunks": (400, head("Content-Length: 3", "Transfer-Encoding: chunked") + b"0"),
    "chunks-then-length": (400, head("Transfer-Encoding: chunked", "Content-Length: 3") + b"0"),
    "length-in-a-trailer": (400, CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n"),
    "an-unknown-coding": (400, head("Transfer-Encoding: identity") + b"abc"),
    "almost-chunked": (400, head("Transfer-Encoding: xchunked") + b"0\r\n\r\n"),
    "chunked-not-last": (400, head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n"),
    "chunked-twice": (400, head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n"),
    "chunked-in-two-lines": (400, head(*["Transfer-Encoding: chunked"] * 2) + b"0\r\n\r\n"),
    "another-coding-first": (501, head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n"),
    "a-space-before-the-colon": (400, head("Transfer-Encoding : chunked") + b"0\r\n\r\n"),
    "chunks-in-http-1-0": (400, CHUNKED.replace(b"/1.1", b"/1.0") + b"0\r\n\r\n"),
    "a-bad-chunk-size": (400, CHUNKED + b"xyz\r\n"),
    "a-prefixed-chunk-size": (400, CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n"),
    "a-negative-chunk-size": (400, CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n"),
    "a-chunk-size-that-overflows": (400, CHUNKED + b"fffffffffffffffff\r\n"),
    "a-space-after-a-chunk-size": (400, CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n"),
    "a-bare-lf-after-a-chunk-size": (400, CHUNKED + b"3\nabc\n0\n\n"),
    "a-bare-lf-in-an-extension": (400, CHUNKED + b"3;a\nabc\r\n0\r\n\r\n"),
    "a-chunk-longer-than-its-size": (400, CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n"),
    "a-folded-line": (400, head("X: a\r\n b")),
    "a-folded-coding": (400, head("Transfer-Encoding:\r\n\tchunked") + b"0\r\n\r\n"),
    "a-space-before-the-first-header": (400, b"POST /echo HTTP/1.1\r\n Host: test\r\n\r\n"),
    "no-host": (400, head(host="")),
    "two-hosts": (400, head("Host: other")),
    "a-host-with-a-path": (400, head(host="Host: a/b")),
    "a-host-with-a-space": (400, head(host="Host: a b")),
    "bare-line-feeds": (400, b"POST /echo HTTP/1.1\nHost: test\n\n"),
    "a-bare-return": (400, b"POST /echo HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
    "nul-in-a-value": (400, head("X: a\0b")),
    "nul-in-a-name": (400, head("X\0: ab")),
    "no-colon": (400, head("no colon")),
    "an-empty-name": (400, head(": a")),
    "nul-in-the-target": (400, b"POST /echo\0 HTTP/1.1\r\nHost: test\r\n\r\n"),
    "bytes-in-the-target": (400, b"POST /\xff HTTP/1.1\r\nHost: test\r\n\r\n"),
    "no-target": (400, b"POST HTTP/1.1\r\nHost: test\r\n\r\n"),
    "a-relative-target": (400, b"POST echo HTTP/1.1\r\nHost: test\r\n\r\n"),
    "the-star-of-another-method": (400, b"POST * HTTP/1.1\r\nHost: test\r\n\r\n"),
    "http-0-9": (400, b"GET / HTTP/0.9\r\nHost: test\r\n\r\n"),
    "http-2": (400, b"POST /echo HTTP/2.0\r\nHost: test\r\n\r\n"),
    "http-3": (400, b"POST /echo HTTP/3.0\r\nHost: test\r\n\r\n"),
    "the-preface-of-http-2": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "a-method-in-lower-case": (400, b"post /echo HTTP/1.1\r\nHost: test\r\n\r\n"),
    "tls": (400, bytes.fromhex("16030102000100") + b"\0" * 64),
    "connect": (405, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    "bytes": (400, bytes(range(256))),
    "a-long-target": (414, request("GET", "/" + "a" * 9000)),
    "a-long-target-to-an-endpoint": (414, post("/echo?" + "a" * 9000, b"x")),
    "many-headers": (431, request("GET", "/", None, *["X: y"] * 200)),
    "large-headers": (431, request("GET", "/", None, "X: " + "y" * 70_000)),
    "an-endless-target": (414, b"GET /" + b"a" * 200_000),
    "an-endless-header": (431, b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 600_000),
    "endless-headers": (431, b"GET / HTTP/1.1\r\nHost: test\r\n" + b"X: abcdefg\r\n" * 60_000),
    "an-endless-extension": (431, CHUNKED + b"3;" + b"a" * 600_000),
    "endless-trailers": (431, CHUNKED + b"0\r\n" + b"X: abcdefg\r\n" * 60_000),
    "many-trailers": (431, CHUNKED + b"0\r\n" + b"X:a\r\n" * 6_000),
}


@pytest.fixture(scope="module")
def server():
    with rig() as running:
        yield running


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused_and_what_follows_it_is_never_served(server, name):
    status, sent = HOSTILE[name]
    client = server.connect()
    # A server that refuses may close before all of an endless request is sent.
    try:
        client.send(sent, SMUGGLED)
    except OSError:
        assert len(sent) > 100_000
    answer = client.answer()
    assert answer.status == status
    assert list(orjson.loads(answer.body)) == ["error"]
    assert answer.headers["connection"] == "close"
    assert answer.headers["penstock-request-id"].startswith("host-0-1-")
    assert client.closed()
    assert server.get().status == 200
    paths = []
    while not server.seen.empty():
        seen = server.seen.get()
        paths.append(seen["path"] if isinstance(seen, dict) else "")
    assert "/smuggled" not in paths


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_cut_anywhere_leaves_the_server_well(server, name):
    _, sent = HOSTILE[name]
    for cut in {1, len(sent) // 3, len(sent) // 2, max(1, len(sent) - 1)}:
        client = server.connect()
        try:
            client.send(sent[:cut])
            client.half_close()
        except OSError:
            assert cut > 60_000
        client.rest()
    assert server.get().status == 200


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\r\n\r\n" + post("/echo", b"x"), id="empty-lines-before-a-request"),
        pytest.param(post("/echo", b"x", "X: \xff\xfe"), id="bytes-in-a-value"),
        pytest.param(post("/echo", b"x", "X:"), id="an-empty-value"),
        pytest.param(post("http://test/echo", b"x"), id="an-absolute-target"),
        pytest.param(post("/echo#fragment", b"x"), id="a-fragment"),
        pytest.param(head("Transfer-Encoding: Chunked") + b"1\r\nx\r\n0\r\n\r\n", id="any-case"),
        pytest.param(CHUNKED + b"1;a=b\r\nx\r\n0\r\n\r\n", id="a-short-extension"),
        pytest.param(chunked("/echo", *[b"x"] * 5000)[:-5] + b"0\r\n\r\n", id="tiny-chunks"),
    ],
)
def test_what_is_only_unusual_is_served(server, sent):
    assert server.connect().send(sent).answer().status == 200
