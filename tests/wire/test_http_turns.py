"""Requests on one connection are answered in order, whoever answers them."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from tests.wire.http_rig import chunked, post, rig

LANE = post("/echo", b"lane")
APP = post("/app", b"app")
STREAMED = post("/app/stream", b"streamed")
SOME_MEGABYTES = 20_000_000
"""More than sockets take of an answer that nobody reads."""
BODIES = {LANE: b"lane", APP: b"app", STREAMED: b"streamed"}


@pytest.fixture(scope="module")
def server():
    with rig() as running:
        yield running


def test_of_a_client_that_sends_and_never_reads_no_more_is_kept_than_one_read():
    with rig() as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()
        (lane,) = server.call(lambda: list(server.services.connections))
        client.socket.setblocking(False)
        flood = post("/echo", b"y" * 100) * 500
        peak = 0
        for _ in range(200):
            with contextlib.suppress(BlockingIOError):
                client.socket.send(flood)
            peak = max(peak, server.call(lambda: len(lane._unread)))
        assert peak <= 300_000
        client.reset()


@pytest.mark.parametrize("next_path", ["/held", "/app/held"])
@pytest.mark.parametrize("first", ["/echo", "/app"])
def test_no_request_begins_while_its_client_does_not_read_the_answer_before_it(first, next_path):
    with rig() as server:
        behind = post(next_path, b"next")
        client = server.connect().send(post(first, b"x" * SOME_MEGABYTES), behind, behind)
        (lane,) = server.call(lambda: list(server.services.connections))
        assert server.reached(lambda: lane.flow.write_paused and not lane.intake.begun)
        assert server.held.empty()
        assert len(client.answer().body) == SOME_MEGABYTES
        for _ in range(2):
            held = server.next_held()
            if next_path == "/held":
                server.call(held.reply, 200, b"next")
            else:
                server.call(held.go.set)
            assert client.answer().body == b"next"


def test_what_waits_behind_an_unread_answer_is_answered_before_a_drain_closes():
    with rig() as server:
        client = server.connect().send(post("/echo", b"x" * SOME_MEGABYTES), LANE)
        (lane,) = server.call(lambda: list(server.services.connections))
        assert server.reached(lambda: lane.flow.write_paused)
        done, is_done = server.signal()
        server.call(server.services.finish, done)
        assert len(client.answer().body) == SOME_MEGABYTES
        assert (client.answer().body, client.closed()) == (b"lane", True)
        assert is_done()


def test_one_client_is_never_handed_the_answer_of_another_over_a_shared_connection():
    """A proxy pipelines requests of two users; the first rides long, the second is quick."""
    with rig() as server:
        proxy = server.connect().send(post("/held", b"alice"), post("/echo", b"bob's"))
        first = server.next_held()
        assert proxy.silent()
        server.call(first.reply, 200, b"alice's")
        assert [proxy.answer().body, proxy.answer().body] == [b"alice's", b"bob's"]


ORDERS = [
    pytest.param(order, id="-".join(BODIES[part].decode() for part in order))
    for order in itertools.product([LANE, APP, STREAMED], repeat=3)
]


@pytest.mark.parametrize("order", ORDERS)
def test_lane_and_application_share_one_order(server, order):
    client = server.connect().send(*order)
    assert [client.answer().body for _ in order] == [BODIES[part] for part in order]


@pytest.mark.parametrize("behind", [LANE, APP], ids=["lane", "app"])
@pytest.mark.parametrize("first", ["/held", "/app/held"])
def test_nothing_behind_a_waiting_request_is_answered_before_it(first, behind):
    with rig() as server:
        client = server.connect().send(post(first, b"one"), behind, behind)
        held = server.next_held()
        assert client.silent()
        if first == "/held":
            server.call(held.reply, 200, b"one")
        else:
            server.call(held.go.set)
        assert [client.answer().body for _ in range(3)] == [b"one", *[BODIES[behind]] * 2]


def test_a_request_behind_another_begins_only_when_that_is_answered():
    with rig() as server:
        client = server.connect().send(post("/held", b"1"), post("/held", b"2"))
        first = server.next_held()
        assert server.held.empty()
        server.call(first.reply, 200, b"one")
        assert client.answer().body == b"one"
        server.call(server.next_held().reply, 200, b"two")
        assert client.answer().body == b"two"


def test_answers_written_in_one_turn_of_the_loop_keep_their_order():
    with rig() as server:
        clients = [server.connect().send(post("/held", b"%d" % n), LANE) for n in range(5)]
        held = [server.next_held() for _ in clients]

        def answer_all() -> None:
            for exchange in reversed(held):
                exchange.reply(200, b"<%b>" % exchange.body)

        server.call(answer_all)
        for number, client in enumerate(clients):
            assert client.answer().body == b"<%d>" % number
            assert client.answer().body == b"lane"


def test_a_thousand_pipelined_requests_are_all_answered_in_order():
    with rig() as server:
        bodies = [b"%d" % number for number in range(1000)]
        client = server.connect().send(*[post("/echo", body) for body in bodies])
        assert [client.answer().body for _ in bodies] == bodies


def test_past_its_bound_the_queue_takes_no_more_and_nothing_is_lost():
    with rig(max_pipelined=2) as server:
        bodies = [b"%d" % number for number in range(400)]
        client = server.connect().send(
            post("/held", b""), *[post("/echo", body, "X-Pad: " + "p" * 200) for body in bodies]
        )
        held = server.next_held()
        (lane,) = server.call(lambda: list(server.services.connections))
        assert server.reached(lambda: lane.flow.read_paused)
        # One slice of bytes is parsed at a time: that, and not what was read, bounds the queue.
        assert server.call(lambda: len(lane._queue)) < 40
        server.call(held.reply, 200, b"first")
        assert [client.answer().body for _ in range(401)] == [b"first", *bodies]
        assert server.reached(lambda: not lane.flow.read_paused)


def test_reading_goes_on_while_a_request_rides():
    """A paused transport would see neither FIN nor RST."""
    with rig() as server:
        server.connect().send(post("/held", b""), LANE)
        server.next_held()
        (lane,) = server.call(lambda: list(server.services.connections))
        assert not server.call(lambda: lane.flow.read_paused)


def test_a_malformed_request_is_refused_after_those_before_it_are_answered():
    with rig() as server:
        client = server.connect().send(post("/held", b"good"), b"NONSENSE\r\n\r\n")
        held = server.next_held()
        assert client.silent()
        server.call(held.reply, 200, b"good")
        assert client.answer().body == b"good"
        assert client.answer().status == 400
        assert client.closed()


def test_a_body_in_chunks_keeps_its_place():
    with rig() as server:
        client = server.connect().send(LANE, chunked("/echo", b"ab", b"cd"), APP)
        assert [client.answer().body for _ in range(3)] == [b"lane", b"abcd", b"app"]


def test_the_application_may_answer_before_it_has_the_body():
    with rig() as server:
        for size in (10, 1_000_000):
            client = server.connect().send(post("/app/early", b"x" * size), LANE)
            assert client.answer().body == b"/app/early"
            assert client.answer().body == b"lane"
