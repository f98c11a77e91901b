"""Everything a client can make grow, or make wait, has a bound with a name."""

from __future__ import annotations

import time

import orjson
import pytest

from tests.wire.http_rig import WAIT_S, chunked, post, request, rig

PATHS = pytest.mark.parametrize("path", ["/echo", "/app"])
pytestmark = pytest.mark.quiet  # who is slow is told by fractions of a second
QUICK = 0.2


@PATHS
def test_a_declared_length_past_the_limit_is_refused_before_the_body_is_sent(path):
    with rig(max_body_bytes=1000) as server:
        client = server.connect().send(post(path, b"x" * 1001)[:-1001])
        answer = client.answer()
        assert answer.status == 413
        assert "at most 1000 bytes" in orjson.loads(answer.body)["error"]
        assert server.counters.numbers["body_too_large"] == 1
        assert server.get().status == 200
        assert server.connect().send(post(path, b"x" * 1000)).answer().status == 200


@PATHS
def test_a_client_that_expects_100_continue_learns_that_its_body_is_too_large(path):
    with rig(max_body_bytes=10) as server:
        sent = post(path, b"x" * 11, "Expect: 100-continue")[:-11]
        assert server.connect().send(sent).answer().status == 413


@PATHS
def test_chunks_are_counted_while_they_come(path):
    with rig(max_body_bytes=1000) as server:
        client = server.connect().send(chunked(path, b"x" * 600, b"y" * 600, last=False))
        assert client.answer().status == 413
        assert client.closed()
        assert server.get().status == 200


def test_the_client_reads_the_refusal_although_it_is_still_sending():
    with rig(max_body_bytes=1000) as server:
        client = server.connect().send(post("/echo", b"x" * 300_000))
        assert client.answer().status == 413


@PATHS
def test_more_chunks_than_allowed_are_refused(path):
    with rig(max_body_chunks=5) as server:
        client = server.connect().send(chunked(path, *[b"x"] * 6))
        answer = client.answer()
        assert (answer.status, client.closed()) == (400, True)
        assert b"at most 5 chunks" in answer.body
        assert server.connect().send(chunked(path, *[b"x"] * 4)).answer().status == 200


@PATHS
def test_a_worker_holds_only_so_many_bytes_of_bodies(path):
    half = 600_000
    with rig(max_buffered_bytes=1 << 20) as server:
        one = server.connect().send(post("/held", b"x" * half))
        held = server.next_held()
        answer = server.connect().send(post(path, b"x" * half)).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        in_chunks = chunked("/echo", b"x" * half, last=False)
        assert server.connect().send(in_chunks).answer().status == 503
        server.call(held.reply, 200, b"")
        assert one.answer().status == 200
        assert server.connect().send(post(path, b"x" * half)).answer().status == 200


def test_answers_that_nobody_reads_count_as_bytes_that_a_worker_holds():
    with rig(max_buffered_bytes=24 << 20) as server:
        clients = [server.connect() for _ in range(3)]
        for client in clients[:2]:
            client.send(post("/held", b"x"))
            server.call(server.next_held().reply, 200, b"y" * 20_000_000)
        assert server.reached(lambda: server.services.buffered_bytes > 24 << 20)
        answer = server.connect().send(post("/echo", b"x")).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert server.counters.numbers["overloaded"] == 1
        assert server.get().status == 200, "who asks after the server's health gets an answer"
        assert len(clients[0].answer().body) == 20_000_000
        assert clients[2].send(post("/echo", b"x")).answer().status == 200
        clients[1].reset()
        assert server.reached(lambda: server.services.buffered_bytes == 0)


@pytest.mark.parametrize(
    ("limits", "sent", "status"),
    [
        ({"max_target_bytes": 64}, request("GET", "/" + "a" * 64), 414),
        ({"max_headers": 4}, request("GET", "/", None, *["X: y"] * 4), 431),
        ({"max_header_bytes": 256}, request("GET", "/", None, "X: " + "y" * 256), 431),
    ],
    ids=["target", "count", "size"],
)
def test_heads_are_bounded_by_configuration(limits, sent, status):
    with rig(**limits) as server:
        assert server.connect().send(sent).answer().status == status
        assert server.get().status == 200


def test_a_connection_that_says_nothing_is_closed():
    with rig(header_timeout_s=QUICK) as server:
        assert server.connect().closed()
        assert server.counters.numbers["cut: header_timeout"] == 1


def test_an_idle_connection_that_has_been_used_is_not_counted_as_cut():
    with rig(header_timeout_s=QUICK) as server:
        client = server.connect().send(post("/echo", b"x"))
        client.answer()
        assert server.call(lambda: server.services.connections.copy().pop().close_if_idle()) is None
        assert client.closed()
        assert +server.counters.numbers == {"opened": 1, "closed": 1}


def test_connections_cut_at_the_end_of_a_drain_are_counted():
    with rig() as server:
        clients = [server.connect().send(b"GET / HTTP/1.1\r\n") for _ in range(3)]
        assert server.reached(lambda: len(server.services.connections) == 3)
        server.call(server.services.abort)
        assert all(client.closed() for client in clients)
        assert server.counters.numbers["cut: drain"] == 3


def test_a_head_that_does_not_end_is_refused_however_steadily_it_comes():
    with rig(header_timeout_s=QUICK) as server:
        client = server.connect().send(b"GET / HTTP/1.1\r\n")
        refused = False
        for number in range(500):
            client.send(b"X-%d: y\r\n" % number)
            if not client.silent(0.005):
                refused = True
                break
        assert refused
        assert client.answer().status == 408
        assert server.counters.numbers["request_too_slow"] == 1


def test_a_refusal_carries_the_request_id_that_its_client_gave():
    with rig(max_body_bytes=100) as server:
        head = b"POST /echo HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n"
        answer = server.connect().send(head + b"content-length: 101\r\n\r\n").answer()
        assert (answer.status, answer.headers["x-request-id"]) == (413, "mine")
        chunked = head + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n"
        answer = server.connect().send(chunked).answer()
        assert (answer.status, answer.headers["x-request-id"]) == (400, "mine")
        first = server.connect().send(head + b"content-length: 1\r\n\r\nx")
        assert first.answer().status == 200
        assert "x-request-id" not in first.send(b"\x00garbage\r\n\r\n").answer().headers


def test_an_idle_connection_is_closed_after_its_keep_alive_and_not_before():
    with rig(server={"keep_alive_s": QUICK}) as server:
        client = server.connect()
        begun = time.perf_counter()
        client.send(post("/echo", b"x")).answer()
        assert client.closed()
        # The server reads its clock once a sweep, which a busy machine makes coarse.
        assert time.perf_counter() - begun >= QUICK / 2


def test_a_riding_request_is_not_idle():
    with rig(
        server={"keep_alive_s": QUICK},
        header_timeout_s=QUICK,
        body_timeout_s=QUICK,
        write_timeout_s=QUICK,
    ) as server:
        client = server.connect().send(post("/held", b"x"))
        held = server.next_held()
        app = server.connect().send(post("/app/held", b"x"))
        waiting = server.next_held()
        assert client.silent(QUICK * 3)
        server.call(held.reply, 200, b"late")
        server.call(waiting.go.set)
        assert [client.answer().body, app.answer().body] == [b"late", b"x"]


@PATHS
def test_a_body_that_stops_coming_is_refused(path):
    with rig(body_timeout_s=QUICK) as server:
        client = server.connect().send(post(path, b"12345")[:-2])
        answer = client.answer()
        assert (answer.status, client.closed()) == (408, True)
        assert server.get().status == 200


def test_the_application_learns_that_its_slow_client_was_cut_off():
    with rig(body_timeout_s=QUICK) as server:
        server.connect().send(post("/app", b"12345")[:-2]).answer()
        server.seen.get(timeout=WAIT_S)
        assert server.seen.get(timeout=WAIT_S) == "disconnected"


def test_a_body_that_comes_slowly_but_steadily_is_taken():
    with rig(body_timeout_s=1.0) as server:
        client = server.connect().send(post("/echo", b"12345")[:-5])
        for byte in b"12345":  # longer than one pause may be, all in all
            assert client.silent(0.25)
            client.send(bytes([byte]))
        assert client.answer().body == b"12345"


def test_a_slow_request_behind_a_riding_one_is_refused_in_its_turn():
    with rig(body_timeout_s=QUICK) as server:
        client = server.connect().send(post("/held", b"x"), post("/echo", b"12345")[:-2])
        held = server.next_held()
        assert client.silent(QUICK * 3)
        server.call(held.reply, 200, b"first")
        assert [client.answer().body, client.answer().status] == [b"first", 408]


def test_a_refused_client_that_goes_on_sending_is_let_go_in_the_end():
    with rig(header_timeout_s=QUICK) as server:
        client = server.connect().send(b"NONSENSE\r\n\r\n")
        assert client.answer().status == 400
        (lane,) = server.call(lambda: list(server.services.connections))
        # As if the refusal were long ago; what the client sends meanwhile does not renew it.
        lane.lingering_since -= 10
        client.send(b"more")
        assert server.reached(lambda: not server.services.connections)


@PATHS
def test_a_client_that_does_not_read_its_answer_is_let_go(path):
    with rig(write_timeout_s=QUICK) as server:
        client = server.connect()
        client.send(post(path, b"x" * 20_000_000))
        assert server.reached(lambda: not server.services.connections)
        assert server.counters.numbers["cut: write_timeout"] == 1
        with pytest.raises((EOFError, ConnectionResetError)):
            client.answer()
        assert server.get().status == 200


def test_a_client_that_reads_slowly_but_steadily_is_not():
    with rig(write_timeout_s=0.5) as server:
        client = server.connect().send(post("/echo", b"x" * 20_000_000))
        received = 0
        while received < 20_000_000:
            piece = client.socket.recv(200_000)
            assert piece
            received += len(piece)
            time.sleep(0.01)


def test_requests_of_a_client_that_does_not_read_are_not_read():
    with rig() as server:
        client = server.connect().send(post("/echo", b"x" * 20_000_000))
        (lane,) = server.call(lambda: list(server.services.connections))
        assert server.reached(lambda: lane.flow.write_paused)
        client.send(post("/echo", b"next"))
        assert server.call(lambda: lane.flow.read_paused)
        assert len(client.answer().body) == 20_000_000
        assert client.answer().body == b"next"


def test_idle_connections_need_no_timers_of_their_own():
    with rig() as server:
        for _ in range(50):
            server.connect().send(post("/echo", b"x")).answer()
        lanes = server.call(lambda: list(server.services.connections))
        assert len(lanes) == 50
        assert all(lane.timeout_keep_alive_task is None for lane in lanes)
