"""Hostile HTTP, and clients that stop, hang up or never read."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.end_to_end.hostility import GOOD, INFER, Connection, told
from tests.end_to_end.server import Answer, RunningServer


@pytest.fixture
def server(unharmed: RunningServer) -> RunningServer:
    return unharmed


def post(*headers: str) -> str:
    lines = [f"POST {INFER} HTTP/1.1", "Host: a", *headers, "", ""]
    return "\r\n".join(lines)


SMUGGLED = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        pytest.param(
            post("Content-Length: 4", "Transfer-Encoding: chunked"), b"0\r\n\r\n" + SMUGGLED,
            400, id="length-and-chunked",
        ),
        pytest.param(
            post("Transfer-Encoding: chunked", "Content-Length: 4"), b"0\r\n\r\n" + SMUGGLED,
            400, id="chunked-and-length",
        ),
        pytest.param(post("Content-Length: 4", "Content-Length: 5"), b"[1]  ", 400, id="lengths"),
        pytest.param(post("Content-Length: 4, 4"), b"[1] ", 400, id="length-list"),
        pytest.param(post("Content-Length: -1"), b"", 400, id="length-negative"),
        pytest.param(post("Content-Length: +4"), b"[1] ", 400, id="length-signed"),
        pytest.param(post("Content-Length: 0x4"), b"[1] ", 400, id="length-hex"),
        pytest.param(post("Content-Length: 99999999999999999999"), b"", 400, id="length-overflow"),
        pytest.param(post("Content-Length: 9000000000000000"), b"", 413, id="length-absurd"),
        pytest.param(post("Content-Length: 1000001"), b"", 413, id="length-one-too-many"),
        pytest.param(post("Transfer-Encoding: xchunked"), b"0\r\n\r\n", 400, id="coding-unknown"),
        pytest.param(post("Transfer-Encoding : chunked"), b"0\r\n\r\n", 400, id="space-in-name"),
        pytest.param(post("Transfer-Encoding: chunked"), b"zz\r\n", 400, id="chunk-size-no-hex"),
        pytest.param(post("Transfer-Encoding: chunked"), b"f" * 40 + b"\r\n", 400, id="chunk-huge"),
        pytest.param(post("X: a\r\n b"), b"", 400, id="folded-header"),
        pytest.param(post("X: a\x00b"), b"", 400, id="nul-in-header"),
        pytest.param(post(*[f"X-{n}: 1" for n in range(60)]), b"", 431, id="too-many-headers"),
        pytest.param(post("X: " + "a" * 9000), b"", 431, id="headers-too-large"),
        pytest.param(
            f"GET /{'a' * 2000} HTTP/1.1\r\nHost: a\r\n\r\n", b"", 414, id="target-too-long"
        ),
        pytest.param("GET /v2 HTTP/9.9\r\nHost: a\r\n\r\n", b"", 400, id="version"),
        pytest.param("nonsense\r\n\r\n", b"", 400, id="nonsense"),
        pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b"", 400, id="tls"),
    ],
)  # fmt: skip
def test_hostile_http(server, head, body, status):
    with Connection(server) as client:
        answer = client.ask(head, body)
        assert answer.status == status
        assert told(answer)
        # Nothing behind it is ever taken for a request of its own.
        assert client.closed()


def test_a_body_in_tiny_chunks_is_cut_off(server):
    with Connection(server) as client:
        answer = client.ask(post("Transfer-Encoding: chunked"), b"1\r\n \r\n" * 5000)
    assert answer.status == 400
    assert "chunks" in told(answer)


def test_a_chunked_body_past_the_limit_is_cut_off(server):
    with Connection(server) as client:
        piece = b"fffff\r\n" + b" " * 0xFFFFF + b"\r\n"
        answer = client.ask(post("Transfer-Encoding: chunked"), piece)
    assert answer.status == 413
    assert told(answer)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"POST /v2/models/linear/infer HTTP/1.1\r\nHo", id="half-a-head"),
        pytest.param(post("Content-Length: 100").encode() + b"{", id="half-a-body"),
        pytest.param(post("Transfer-Encoding: chunked").encode() + b"5\r\nab", id="half-a-chunk"),
        pytest.param(b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
                     id="half-a-body-elsewhere"),
    ],
)  # fmt: skip
def test_a_client_that_stops_half_way_is_told_so_and_let_go(server, sent):
    with Connection(server) as client:
        client.send(sent)
        answer = client.answer()
        assert answer.status == 408
        assert told(Answer(answer.status, answer.headers, answer.body))
        assert client.closed()


def test_many_silent_connections_leave_room_for_others(server):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(Connection(server))
            client.send(b"POST /v2/mod")
        assert server.request("POST", INFER, GOOD).status == 200


def test_clients_that_hang_up_anywhere(server):
    whole = post(f"Content-Length: {len(GOOD)}").encode() + GOOD
    for cut in range(1, len(whole) + 1, 7):
        with Connection(server) as client:
            client.send(whole[:cut])
            client.reset() if cut % 2 else client.close()


def test_a_client_that_never_reads_its_answer(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024)
        client.settimeout(0.2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                client.sendall(b"GET /v2/models/linear HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
