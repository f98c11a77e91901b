"""The lane over TLS: the same promises, and what a handshake may cost."""

from __future__ import annotations

import random
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.tls import Certificates
from tests.certificates import Authority
from tests.wire.http_rig import WAIT_S, Client, Rig, chunked, post, request, rig

# More than the kernel takes on both sides together.
LARGE = 20_000_000
PIECE = 100_000


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("tls"))
    made.issue()
    return made


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return Certificates(authority.settings(), "server.tls").context


@pytest.fixture
def server(context: ssl.SSLContext) -> Iterator[Rig]:
    with rig(tls=lambda: context, max_connections=4, header_timeout_s=1.0) as running:
        yield running


@pytest.fixture
def trust(authority: Authority) -> ssl.SSLContext:
    return authority.client()


def test_requests_are_answered_in_order(server, trust):
    client = server.connect(trust)
    client.send(*[post("/echo", b"%d" % n) for n in range(5)])
    assert [client.answer().body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


def test_large_bodies_pass_both_ways(server, trust):
    body = bytes(range(256)) * 8192
    client = server.connect(trust)
    assert client.send(post("/echo", body)).answer().body == body
    assert client.send(chunked("/echo", body[:70_000], body[70_000:])).answer().body == body


def test_what_is_no_endpoint_goes_to_the_application_as_https(server, trust):
    assert server.get("/other", trust).body == b"/other"
    assert server.seen.get(timeout=WAIT_S)["scheme"] == "https"


def test_a_refusal_is_read_before_the_connection_ends(server, trust):
    answer = server.connect(trust).send(b"no HTTP at all\r\n\r\n").answer()
    assert answer.status == 400
    assert server.get(tls=trust).status == 200


def test_a_client_that_leaves_is_noticed(server, trust):
    client = server.connect(trust).send(post("/held", b"x"))
    held = server.next_held()
    told, was_told = server.signal()
    server.call(held.on_gone, told)
    client.close()
    assert was_told()
    server.call(held.reply, 200, b"late")


def test_plain_http_is_no_handshake(server, trust):
    client = server.connect().send(request("GET", "/"))
    assert b"HTTP/" not in client.rest()
    assert server.reached(lambda: server.counters.numbers["handshake_failed"] == 1)
    assert server.get(tls=trust).status == 200


def test_who_shakes_hands_too_slowly_is_let_go(server, trust):
    silent = server.connect()
    assert silent.closed()
    assert server.reached(lambda: server.acceptor.connections == 0)
    assert server.counters.numbers["handshake_failed"] == 1
    assert server.get(tls=trust).status == 200


@pytest.mark.quiet
def test_handshakes_under_way_count_as_connections(server, trust):
    first = server.connect(trust)
    assert first.send(request("GET", "/")).answer().status == 200
    waiting = [server.connect() for _ in range(3)]
    # The first is still among those that may not have sent a head: it is looked at when it must be.
    assert server.reached(lambda: len(server.services.newcomers) == 4)
    # The oldest of them gives its place to one that has something to say.
    assert server.get(tls=trust).status == 200
    assert waiting[0].closed()
    assert server.counters.numbers["cut: displaced"] == 1
    assert server.counters.numbers["too_many_connections"] == 0
    assert first.send(request("GET", "/")).answer().status == 200


def test_who_has_shaken_hands_and_says_nothing_gives_its_place_too(server, trust):
    waiting = [server.connect(trust) for _ in range(4)]
    assert server.get(tls=trust).status == 200
    assert waiting[0].closed()


def test_a_handshake_cut_short_disturbs_nobody(server, trust):
    for length in (1, 5, 40):
        client = server.connect()
        client.send((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60))[:length])
        client.reset()
    assert server.reached(lambda: server.acceptor.connections == 0)
    assert server.get(tls=trust).status == 200


def test_a_connection_handed_over_is_encrypted_by_its_taker(context, trust):
    taken: list[socket.socket] = []

    def offer(sock: socket.socket) -> bool:
        taken.append(sock.dup())
        return True

    with rig(tls=lambda: context) as other, rig(offer=offer, tls=lambda: context) as giver:
        raw = socket.create_connection(("127.0.0.1", giver.port), timeout=WAIT_S)
        assert giver.reached(lambda: bool(taken))
        other.call(other.acceptor.adopt, taken[0])
        with trust.wrap_socket(raw, server_hostname="localhost") as client:
            client.sendall(post("/echo", b"x"))
            assert client.recv(4096).endswith(b"\r\n\r\nx")


def test_a_new_context_serves_the_next_connection_and_leaves_the_open_ones(tmp_path: Path):
    authority = Authority(tmp_path)
    authority.issue()
    certificates = Certificates(authority.settings(), "server.tls")
    with rig(tls=lambda: certificates.context) as server:
        before = server.connect(authority.client()).send(post("/echo", b"1"))
        assert before.answer().body == b"1"
        authority.issue()
        assert certificates.refresh()
        after = server.connect(authority.client()).send(post("/echo", b"2"))
        assert after.answer().body == b"2"
        assert after.shown["serialNumber"] != before.shown["serialNumber"]
        assert before.send(post("/echo", b"3")).answer().body == b"3"


# A client that does not read: what the encrypting transport has handed on counts as well.


def read_steadily(client: Client, size: int, for_s: float) -> bytes:
    """An answer of about `size` bytes, to its end, in pieces that take this long all in all."""
    pieces = []
    while piece := client.socket.recv(PIECE):
        pieces.append(piece)
        time.sleep(for_s * len(piece) / size)
    return b"".join(pieces)


def test_answers_that_nobody_reads_count_as_bytes_that_a_worker_holds(context, trust):
    with rig(tls=lambda: context, max_buffered_bytes=24 << 20) as server:
        clients = [server.connect(trust) for _ in range(3)]
        for client in clients[:2]:
            client.send(post("/held", b"x"))
            server.call(server.next_held().reply, 200, b"y" * LARGE)
        assert server.reached(lambda: server.services.buffered_bytes > 24 << 20)
        answer = server.connect(trust).send(post("/echo", b"x")).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert server.counters.numbers["overloaded"] == 1
        assert server.get(tls=trust).status == 200
        assert len(clients[0].answer().body) == LARGE
        assert clients[2].send(post("/echo", b"x")).answer().status == 200
        clients[1].reset()
        assert server.reached(lambda: server.services.buffered_bytes == 0)


@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closing"])
@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_a_client_that_does_not_read_its_answer_is_let_go(context, trust, path, headers):
    with rig(tls=lambda: context, write_timeout_s=0.1) as server:
        client = server.connect(trust).send(post(path, b"x" * LARGE, *headers))
        assert server.reached(lambda: not server.services.connections)
        assert server.counters.numbers["cut: write_timeout"] == 1
        assert server.get(tls=trust).status == 200
        with pytest.raises((EOFError, OSError)):
            client.answer()


@pytest.mark.quiet
@pytest.mark.parametrize("headers", [(), ("Connection: close",)], ids=["kept", "closing"])
def test_a_client_that_reads_slowly_but_steadily_gets_all_of_it(context, trust, headers):
    body = random.Random(1).randbytes(LARGE)
    with rig(tls=lambda: context, write_timeout_s=1.0) as server:
        client = server.connect(trust).send(post("/echo", body, *headers))
        if not headers:
            client.send(post("/echo", b"next", "Connection: close"))
        answer = read_steadily(client, LARGE, for_s=2.5)
        assert answer.split(b"\r\n\r\n", 1)[1][:LARGE] == body
        assert answer.endswith(b"next" if not headers else body[-4:])
        assert server.counters.numbers["cut: write_timeout"] == 0


def test_requests_of_a_client_that_does_not_read_are_not_read(server, trust):
    client = server.connect(trust).send(post("/echo", b"x" * LARGE))
    (lane,) = server.call(lambda: list(server.services.connections))
    assert server.reached(lambda: lane.flow.write_paused)
    client.send(post("/echo", b"next"))
    assert server.call(lambda: (lane.flow.read_paused, server.seen.qsize())) == (True, 1)
    assert len(client.answer().body) == LARGE
    assert client.answer().body == b"next"


def test_a_client_that_never_answers_the_end_does_not_hold_the_server(context, trust):
    with rig(tls=lambda: context, write_timeout_s=WAIT_S * 3) as server:
        client = server.connect(trust).send(post("/echo", b"x", "Connection: close"))
        assert client.answer().body == b"x"
        assert server.reached(lambda: not server.services.connections)
        assert server.counters.numbers["cut: write_timeout"] == 0


def test_what_comes_with_the_end_of_the_handshake_is_taken(server, trust):
    """A client may send its request along; the server may find far more than one read takes."""
    body = random.Random(2).randbytes(2_000_000)
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S)
    theirs, ours = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(theirs, ours, server_hostname="localhost")
    while True:
        try:
            client.do_handshake()
            break
        except ssl.SSLWantReadError:
            raw.sendall(ours.read())
            theirs.write(raw.recv(65_536))
    client.write(post("/echo", body))
    raw.sendall(ours.read())
    answer = b""
    while not answer.endswith(body):
        try:
            answer += client.read(65_536)
        except ssl.SSLWantReadError:
            theirs.write(raw.recv(65_536))
    raw.close()
