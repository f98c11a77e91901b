"""Hostile HTTP on both ports, and clients that stop, hang up or never read."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import psutil
import pytest

from tests.end_to_end.hostility import GOOD, INFER, Connection, told
from tests.end_to_end.server import RunningServer


@pytest.fixture
def server(unharmed: RunningServer) -> RunningServer:
    return unharmed


@dataclass(frozen=True)
class Port:
    """Where to send what, and how errors look there."""

    server: RunningServer
    number: int
    line: str
    fields: set[str]

    def connect(self) -> Connection:
        return Connection(self.server, self.number)

    def fill(self, text: str) -> str:
        """The text with the beginning of a request here that has a body."""
        return text.replace(REQUEST, self.line)


@pytest.fixture(params=["data", "control"])
def port(server: RunningServer, request: pytest.FixtureRequest) -> Port:
    if request.param == "data":
        return Port(server, server.port, f"POST {INFER} HTTP/1.1", {"error"})
    line = "PUT /api/config HTTP/1.1\r\nContent-Type: application/yaml"
    return Port(server, server.admin_port, line, {"error", "code"})


REQUEST = "<a request with a body>"


def post(*headers: str) -> str:
    return "\r\n".join([REQUEST, "Host: localhost", *headers, "", ""])


SMUGGLED = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


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
        pytest.param(post("Host: evil.example"), b"", 400, id="two-hosts"),
        pytest.param("GET /v2 HTTP/1.1\r\n\r\n", b"", 400, id="no-host"),
        pytest.param("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, b"", 400, id="tls"),
    ],
)  # fmt: skip
def test_hostile_http(port, head, body, status):
    with port.connect() as client:
        answer = client.ask(port.fill(head), body)
        assert answer.status == status
        assert told(answer)
        assert set(answer.json()) == port.fields
        # Nothing behind it is ever taken for a request of its own.
        assert client.closed()


def test_a_length_one_too_many_is_refused(port):
    limit = 1_000_000 if port.fields == {"error"} else 4 << 20
    with port.connect() as client:
        answer = client.ask(port.fill(post(f"Content-Length: {limit + 1}")))
        assert (answer.status, client.closed()) == (413, True)
    assert told(answer)


def test_a_body_in_tiny_chunks_is_cut_off(port):
    with port.connect() as client:
        head = port.fill(post("Transfer-Encoding: chunked"))
        answer = client.ask(head, b"1\r\n \r\n" * 5000)
    assert answer.status == 400
    assert "chunks" in told(answer)


def test_a_chunked_body_past_the_limit_is_cut_off(port):
    with port.connect() as client:
        piece = b"fffff\r\n" + b" " * 0xFFFFF + b"\r\n"
        answer = client.ask(port.fill(post("Transfer-Encoding: chunked")), piece * 5)
    assert answer.status == 413
    assert told(answer)


def test_a_head_without_end_takes_no_memory(port):
    processes = [psutil.Process(child.pid) for child in port.server.children()]
    before = [process.memory_info().rss for process in processes]
    with port.connect() as client:
        # It is refused at once, and ignored for a moment before it is cut off.
        with contextlib.suppress(ConnectionError):
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"a" * (64 << 20))
        grown = [p.memory_info().rss - rss for p, rss in zip(processes, before, strict=True)]
    assert max(grown) < 16 << 20


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(f"{REQUEST}\r\nHo", id="half-a-head"),
        pytest.param(post("Content-Length: 100") + "{", id="half-a-body"),
        pytest.param(post("Transfer-Encoding: chunked") + "5\r\nab", id="half-a-chunk"),
    ],
)
def test_a_client_that_stops_half_way_is_told_so_and_let_go(port, sent):
    with port.connect() as client:
        answer = client.ask(port.fill(sent))
        assert answer.status == 408
        assert told(answer)
        assert client.closed()


def test_half_a_body_off_the_lane_is_not_waited_for_either(server):
    with Connection(server) as client:
        head = "POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{"
        assert client.ask(head).status == 408
        assert client.closed()


def test_many_silent_connections_leave_room_for_others(port):
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(port.connect())
            client.send(b"POST /v2/mod")
        assert port.server.request("POST", INFER, GOOD).status == 200
        assert port.server.admin("GET", "/health/live").status == 200
        waiting = stack.enter_context(port.connect())
        assert waiting.send(b"GET / HT").answer().status == 408


def test_clients_that_hang_up_anywhere(port):
    whole = port.fill(post(f"Content-Length: {len(GOOD)}")).encode() + GOOD
    for cut in range(1, len(whole) + 1, 7):
        with port.connect() as client:
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
