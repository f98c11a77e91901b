"""How connections come in: bounded, handed on, and through a shortage of descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from functools import partial

import orjson

from tests.wire.http_rig import post, request, rig


def test_a_connection_past_the_bound_is_told_so_and_closed():
    with rig(max_connections=2) as server:
        first, second = server.connect(), server.connect()
        for client in (first, second):
            client.send(post("/echo", b"x")).answer()
        third = server.connect()
        answer = third.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert orjson.loads(answer.body) == {"error": "connections: expected at most 2, got more"}
        assert answer.headers["connection"] == "close"
        assert "penstock-request-id" in answer.headers
        assert third.closed()
        assert server.counters.numbers["too_many_connections"] == 1
        first.close()
        assert server.reached(lambda: server.acceptor.connections == 1)
        assert server.get().status == 200


def test_one_who_was_already_sending_reads_the_refusal():
    with rig(max_connections=1) as server:
        server.connect().send(post("/echo", b"x")).answer()
        assert server.connect().send(request("GET", "/")).answer().status == 503


HALF_A_HEAD = b"GET /thing HTTP/1.1\r\nHost: loc"


def test_on_a_full_port_the_oldest_that_sent_no_head_gives_its_place_to_a_new_one():
    with rig(max_connections=3) as server:
        kept = server.connect()
        kept.send(post("/echo", b"x")).answer()
        silent = server.connect()
        assert server.reached(lambda: server.acceptor.connections == 2)
        half = server.connect().send(HALF_A_HEAD)
        assert server.reached(lambda: server.acceptor.connections == 3)
        assert server.get().status == 200
        assert silent.closed()
        assert server.reached(lambda: server.acceptor.connections == 2)
        later = server.connect()
        assert later.silent()
        assert kept.send(post("/echo", b"y")).answer().body == b"y"
        assert half.send(b"alhost\r\n\r\n").answer().status == 200
        assert server.counters.numbers["cut: displaced"] == 1
        assert server.counters.numbers["too_many_connections"] == 0


def has_opened(server, connections):
    return server.counters.numbers["opened"] == connections


def test_who_was_answered_keeps_its_place_against_any_number_of_silent_ones():
    with rig(max_connections=4) as server:
        kept = [server.connect() for _ in range(2)]
        for client in kept:
            client.send(post("/echo", b"x")).answer()
        for connections in range(3, 33):
            server.connect().send(HALF_A_HEAD)
            assert server.reached(partial(has_opened, server, connections))
        assert server.get().status == 200
        assert [client.send(post("/echo", b"y")).answer().body for client in kept] == [b"y"] * 2


def test_a_connection_may_be_handed_to_another_worker():
    taken: list[socket.socket] = []

    def offer(sock: socket.socket) -> bool:
        if taken:
            return False
        taken.append(sock.dup())
        return True

    with rig() as other, rig(offer=offer) as server:
        client = server.connect()
        assert server.reached(lambda: bool(taken))
        other.call(other.acceptor.adopt, taken[0])
        assert client.send(post("/echo", b"x")).answer().body == b"x"
        assert other.seen.qsize() == 1
        assert server.connect().send(post("/echo", b"kept")).answer().body == b"kept"
        assert server.counters.numbers["opened"] == 1


def test_a_stopped_acceptor_accepts_nothing_until_the_backlog_is_emptied():
    with rig() as server:
        server.call(server.acceptor.stop)
        waiting = [server.connect().send(post("/echo", b"%d" % n)) for n in range(3)]
        assert waiting[0].silent()
        server.call(server.acceptor.empty_backlog)
        assert [client.answer().body for client in waiting] == [b"0", b"1", b"2"]
        late = server.connect().send(post("/echo", b"late"))
        assert late.silent()
        server.call(server.acceptor.start)
        assert late.answer().body == b"late"


def test_connections_are_counted():
    with rig() as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()
        client.close()
        assert server.reached(lambda: server.counters.numbers["closed"] == 1)
        assert server.counters.numbers["opened"] == 1


@contextlib.contextmanager
def no_descriptor_left():
    """From here on neither side can open another; three clients' own ends are open already."""
    clients = [socket.socket() for _ in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    fillers: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        for client in clients:
            client.settimeout(5)
        yield clients
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for one in fillers:
            os.close(one)
        for client in clients:
            client.close()


def test_who_waits_in_the_backlog_when_it_is_emptied_without_a_descriptor_is_told_so():
    with rig() as server:

        def drain() -> None:
            server.acceptor.stop()
            for client in clients:
                client.connect(("127.0.0.1", server.port))
            server.acceptor.empty_backlog()

        with no_descriptor_left() as clients:
            server.call(drain)
            answered = [client.recv(4096) for client in clients]
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answered)


def test_without_a_descriptor_left_new_clients_are_told_so_until_there_is_one(caplog):
    with rig() as server:
        answered = []
        with no_descriptor_left() as clients:
            for client in clients:
                client.connect(("127.0.0.1", server.port))
                answered.append(client.recv(4096))
        assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answered)
        assert all(b"this worker has no descriptor left" in answer for answer in answered)
        assert server.counters.numbers["too_many_connections"] == 3
        assert server.connect().send(post("/echo", b"x")).answer().body == b"x"
        assert caplog.text.count("cannot accept") == 1
