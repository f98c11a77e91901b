"""Clients that leave, and a server that does."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from gateway.wire.http import Lane
from gateway.wire.services import IDLE_CHECK_S
from gateway.wire.turns import LaneStream
from tests.wire.http_rig import WAIT_S, chunked, post, request, rig


@pytest.mark.parametrize("leave", ["half_close", "close", "reset"])
def test_a_client_that_leaves_is_gone_and_who_waits_for_it_is_told(leave):
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        told, was_told = server.signal()
        server.call(exchange.on_gone, told)
        assert not exchange.gone
        getattr(client, leave)()
        assert was_told()
        assert exchange.gone
        server.call(exchange.reply, 200, b"to nobody")
        assert server.counters.numbers["left"] == 1
        assert server.get().status == 200


def test_a_client_that_has_left_is_sent_nothing():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        told, was_told = server.signal()
        server.call(exchange.on_gone, told)
        client.half_close()
        assert was_told()
        server.call(exchange.reply, 200, b"to nobody")
        assert client.closed()


def test_whoever_asks_after_the_client_left_is_told_at_once():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        client.close()
        assert server.reached(lambda: exchange.gone)
        told = []
        server.call(exchange.on_gone, lambda: told.append(True))
        assert told == [True]


def test_one_who_is_told_and_fails_keeps_the_news_from_nobody():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        told, was_told = server.signal()
        server.call(exchange.on_gone, lambda: 1 / 0)
        server.call(exchange.on_gone, told)
        client.close()
        assert was_told()


def test_with_half_close_a_clients_fin_leaves_its_requests_standing():
    with rig(server={"half_close": True}) as server:
        client = server.connect().send(post("/held", b"1"), post("/echo", b"two"))
        exchange = server.next_held()
        client.half_close()
        (lane,) = server.call(lambda: list(server.services.connections))
        assert server.reached(lambda: lane._eof)
        assert not exchange.gone
        server.call(exchange.reply, 200, b"one")
        assert [client.answer().body, client.answer().body] == [b"one", b"two"]
        assert client.closed()


def test_with_half_close_an_idle_client_that_closes_is_closed():
    with rig(server={"half_close": True}) as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()
        client.half_close()
        assert client.closed()


@pytest.mark.parametrize("leave", ["half_close", "reset"])
def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing_behind(leave):
    with rig() as server:
        for path in ("/echo", "/app"):
            client = server.connect().send(post(path, b"x" * 100_000)[:-5])
            getattr(client, leave)()
        assert server.reached(lambda: not server.services.connections)
        assert server.reached(lambda: server.services.buffered_bytes == 0)


def test_requests_behind_one_whose_client_left_are_never_begun():
    with rig() as server:
        client = server.connect().send(post("/held", b"1"), post("/held", b"2"))
        exchange = server.next_held()
        client.close()
        assert server.reached(lambda: exchange.gone)
        server.call(exchange.reply, 200, b"")
        assert server.held.empty()
        assert server.counters.numbers["left"] == 2


def test_the_application_learns_that_its_client_left():
    with rig() as server:
        client = server.connect().send(post("/app", b"12345")[:-2])
        assert server.seen.get(timeout=WAIT_S)["path"] == "/app"
        client.close()
        assert server.seen.get(timeout=WAIT_S) == "disconnected"


@pytest.mark.parametrize("path", ["/echo", "/app", "/app/stream"])
def test_a_draining_server_answers_and_closes(path):
    with rig() as server:
        client = server.connect()
        assert "connection" not in client.send(post(path, b"x")).answer().headers
        server.call(server.services.begin_draining)
        answer = client.send(post(path, b"y")).answer()
        assert (answer.body, answer.headers["connection"]) == (b"y", "close")
        assert client.closed()


def test_what_was_pipelined_before_the_drain_is_answered():
    with rig() as server:
        client = server.connect().send(
            post("/held", b"1"), post("/app", b"two"), post("/echo", b"three")
        )
        held = server.next_held()
        server.call(server.services.begin_draining)
        server.call(held.reply, 200, b"one")
        answers = [client.answer() for _ in range(3)]
        assert [answer.body for answer in answers] == [b"one", b"two", b"three"]
        assert ["connection" in answer.headers for answer in answers] == [False, False, True]
        assert client.closed()


def test_finishing_closes_idle_connections_and_lets_riders_end():
    with rig() as server:
        idle, fresh = server.connect(), server.connect()
        idle.send(post("/echo", b"x")).answer()
        riding = server.connect().send(post("/held", b"x"))
        half = server.connect().send(post("/echo", b"half")[:-2])
        app = server.connect().send(post("/app/held", b"x"))
        held = [server.next_held(), server.next_held()]
        assert server.reached(lambda: len(server.services.connections) == 5)
        finished = threading.Event()
        server.call(server.services.finish, finished.set)
        assert idle.closed()
        assert fresh.closed()
        assert not finished.is_set()
        half.send(b"lf")
        assert half.answer().body == b"half"
        for one in held:
            server.call(one.go.set if hasattr(one, "go") else lambda one=one: one.reply(200, b"x"))
        for client in (riding, app):
            answer = client.answer()
            assert (answer.body, answer.headers["connection"]) == (b"x", "close")
            assert client.closed()
        assert finished.wait(WAIT_S)


def test_a_client_that_connected_before_the_end_has_time_to_say_what_it_wants():
    with rig() as server:
        client = server.connect()
        assert server.reached(lambda: len(server.services.connections) == 1)
        server.call(server.services.sweep.stop)  # its clock stands still: it has time, however slow
        finished = threading.Event()
        server.call(server.services.finish, finished.set)
        assert client.silent(3 * IDLE_CHECK_S)
        assert client.send(post("/echo", b"late")).answer().body == b"late"
        assert finished.wait(WAIT_S)


def test_what_was_in_the_backlog_when_the_server_drained_is_answered():
    with rig() as server:
        server.call(server.acceptor.stop)
        clients = [server.connect().send(post("/echo", b"%d" % number)) for number in range(5)]
        silent = server.connect()
        finished = threading.Event()

        def drain() -> None:
            server.services.begin_draining()
            server.acceptor.empty_backlog()
            server.services.finish(finished.set)

        server.call(drain)
        assert [client.answer().body for client in clients] == [b"0", b"1", b"2", b"3", b"4"]
        assert silent.closed()
        assert finished.wait(WAIT_S)


def test_an_empty_server_is_finished_at_once():
    with rig() as server:
        finished = threading.Event()
        server.call(server.services.finish, finished.set)
        assert finished.is_set()


def test_uvicorns_own_shutdown_cuts_no_rider_off():
    with rig() as server:
        idle = server.connect()
        idle.send(request("GET", "/")).answer()
        riding = server.connect().send(post("/held", b"x"))
        held = server.next_held()
        for lane in server.call(lambda: list(server.services.connections)):
            server.call(lane.shutdown)
        assert idle.closed()
        server.call(held.reply, 200, b"y")
        assert riding.answer().body == b"y"
        assert riding.closed()


class Memory:
    """What somebody keeps who waits for a client to leave."""

    def __init__(self, exchange):
        self.exchange = exchange

    def left(self):
        raise AssertionError("nobody left")


def test_a_stream_is_let_go_of_with_its_client():
    gc.collect()
    gc.disable()
    try:
        with rig() as server:
            client = server.connect().send(post("/held", b"x"))
            server.call(lambda exchange: exchange.stream(200).write(b"x"), server.next_held())
            client.reset()
            assert server.reached(lambda: server.counters.numbers["left"] == 1)
            assert server.call(_alive, LaneStream) == []
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "leave",
    [
        lambda client: client.close(),
        lambda client: client.send(post("/echo", b"x")).answer() and client.close(),
        lambda client: client.send(request("GET", "/health")).answer() and client.close(),
        lambda client: client.send(chunked("/echo", b"x", b"y")).answer() and client.close(),
        lambda client: client.send(post("/echo", b"half")[:-2]).reset(),
        lambda client: client.send(b"nonsense\r\n\r\n").answer() and client.close(),
        lambda client: client.send(post("/held", b"x")).reset(),
    ],
    ids=["silent", "endpoint", "application", "chunks", "half", "refused", "riding"],
)
def test_a_connection_is_let_go_of_without_a_collector(leave):
    gc.collect()
    gc.disable()
    try:
        with rig() as server:
            leave(server.connect())
            assert server.reached(lambda: server.counters.numbers["closed"] == 1)
            for kept in (server.seen, server.held):  # what the endpoints of these tests keep
                kept.queue.clear()
            services = server.services
            assert server.reached(
                lambda: all(lane.services is not services for lane in _alive(Lane))
            )
    finally:
        gc.enable()


def _alive(kind):
    return [one for one in gc.get_objects() if isinstance(one, kind)]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_what_was_kept_of_a_request_is_let_go_of_with_its_answer(streamed):
    gc.disable()  # which would let go of it, too
    try:
        with rig() as server:
            client = server.connect().send(post("/held", b"x"))
            kept = server.call(wait_and_answer, server.next_held(), streamed)
            client.answer()
            client.send(post("/echo", b"x")).answer()
            assert server.reached(lambda: kept() is None)
    finally:
        gc.enable()


def wait_and_answer(exchange, streamed):
    memory = Memory(exchange)
    exchange.on_gone(memory.left)
    if streamed:
        stream = exchange.stream(200)
        stream.write(b"x")
        stream.end()
    else:
        exchange.reply(200, b"x")
    return weakref.ref(memory)
