"""Answers whose length is not known when they begin, over both carriers."""

from __future__ import annotations

import threading

import pytest

from gateway.errors import QueueFull
from gateway.wire import answers
from gateway.wire.asgi import EndpointApp
from tests.wire.http_rig import post, request, rig

EVENTS = [(b"content-type", b"text/event-stream")]


@pytest.fixture(params=["lane", "asgi"])
def server(request):
    with rig(request.param) as running:
        yield running


def test_pieces_arrive_as_they_are_written(server):
    client = server.connect().send(post("/held", b"x", "X-Request-Id: mine"))
    stream = server.call(server.next_held().stream, 200, EVENTS)
    head = client._until(b"\r\n\r\n")
    assert b"text/event-stream" in head
    assert b"transfer-encoding: chunked" in head
    assert b"penstock-request-id: host-0-1-" in head
    assert b"x-request-id: mine" in head
    for piece in (b"data: 1\n\n", b"data: 2\n\n"):
        assert server.call(stream.write, piece)
        assert client._until(b"\r\n") == b"%x" % len(piece)
        assert client._exactly(len(piece) + 2) == piece + b"\r\n"
    server.call(stream.write, b"")
    server.call(stream.end)
    assert client._until(b"\r\n\r\n") == b"0"


@pytest.mark.parametrize("size", [65_535, 65_536, 3_000_000])
def test_large_pieces_arrive_whole_between_small_ones(server, size):
    client = server.connect().send(post("/held", b"x"))
    stream = server.call(server.next_held().stream, 200)
    pieces = [b"before", bytes(range(256)) * (size // 256) + b"y" * (size % 256), b"behind"]
    for piece in pieces:
        server.call(stream.write, piece)
    server.call(stream.end)
    assert client.answer().body == b"".join(pieces)


SIZES = (1, 1, 2000, 2000, 2000, 4095, 4096, 10, 70_000, 10, 3000)


@pytest.mark.parametrize("at_once", [True, False], ids=["with-the-end", "end-later"])
def test_pieces_of_one_turn_arrive_in_their_order(server, at_once):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.next_held()
    pieces = [bytes([number]) * size for number, size in enumerate(SIZES)]

    def write():
        stream = exchange.stream(200)
        for piece in pieces:
            stream.write(piece)
        if at_once:
            stream.end()
        return stream

    stream = server.call(write)
    if not at_once:
        server.call(stream.end)
    assert client.answer().body == b"".join(pieces)


def test_streams_of_one_turn_are_each_told_their_own():
    with rig() as server:
        clients = [server.connect().send(post("/held", b"x")) for _ in range(3)]
        exchanges = [server.next_held() for _ in clients]

        def write():
            streams = [exchange.stream(200) for exchange in exchanges]
            for stream in streams:
                stream.write(b"first, ")
            streams[1].end()
            for stream in (streams[2], streams[0]):
                stream.write(b"second")
                stream.end()

        server.call(write)
        bodies = sorted(client.answer().body for client in clients)
        assert bodies == [b"first, ", b"first, second", b"first, second"]


def test_what_is_held_of_a_stream_that_is_cut_off_goes_nowhere_and_stops_no_other(caplog):
    with rig() as server:
        cut_client = server.connect().send(post("/held", b"x"))
        cut = server.next_held()
        client = server.connect().send(post("/held", b"x"))
        other = server.next_held()

        def write():
            streams = [exchange.stream(200) for exchange in (cut, other)]
            cut.break_off()
            for stream in streams:
                stream.write(b"piece")
            return streams[1]

        server.call(server.call(write).end)
        assert client.answer().body == b"piece"
        assert cut_client.rest() == b""
        assert caplog.records == []


def test_a_piece_that_is_held_when_its_connection_ends_is_written_nowhere(caplog):
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        stream = server.call(exchange.stream, 200)
        client._until(b"\r\n\r\n")

        def write():
            exchange.break_off()  # by the end of the turn, its transport takes nothing any more
            stream.write(b"piece")

        server.call(write)
        assert client.closed()
        assert server.reached(lambda: not server.services.unwritten)
        assert caplog.records == []


def test_a_stream_holds_its_place_in_the_order():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"), post("/echo", b"next"))
        stream = server.call(server.next_held().stream, 200)
        server.call(stream.write, b"a")
        server.call(stream.write, b"b")
        server.call(stream.end)
        assert [client.answer().body, client.answer().body] == [b"ab", b"next"]


def test_http_1_0_is_sent_the_pieces_bare_and_then_the_end():
    with rig() as server:
        client = server.connect().send(post("/held", b"x", version="1.0"))
        stream = server.call(server.next_held().stream, 200)
        server.call(stream.write, b"a")
        server.call(stream.write, b"b")
        server.call(stream.end)
        answer = client.answer()
        assert (answer.body, "transfer-encoding" in answer.headers) == (b"ab", False)


def test_a_slow_reader_holds_the_writer_and_nothing_is_lost(server):
    client = server.connect().send(post("/held", b"x"))
    stream = server.call(server.next_held().stream, 200)
    piece = b"x" * 50_000
    written = 0

    def write_until_full() -> int:
        count = 1
        while stream.write(piece):
            count += 1
        return count

    drained = threading.Event()
    while True:
        written += server.call(write_until_full)
        server.call(stream.on_drain, drained.set)
        if not drained.wait(0.05):
            break
        drained.clear()
    received = threading.Thread(target=lambda: setattr(client, "got", client.answer()))
    received.start()
    assert drained.wait(5)
    server.call(stream.end)
    received.join(5)
    assert client.got.body == piece * written


def test_on_drain_calls_at_once_where_writing_may_go_on(server):
    server.connect().send(post("/held", b"x"))
    stream = server.call(server.next_held().stream, 200)
    called = []
    server.call(stream.on_drain, lambda: called.append(True))
    assert called == [True]
    server.call(stream.end)


def test_a_client_that_leaves_a_stream_is_gone_and_the_writer_released(server):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.next_held()
    stream = server.call(exchange.stream, 200)
    client.close()
    assert server.reached(lambda: exchange.gone)
    assert stream.gone
    assert server.call(stream.write, b"to nobody") is False
    called = []
    server.call(stream.on_drain, lambda: called.append(True))
    assert called == [True]
    server.call(stream.end)


def test_who_waits_for_a_drain_is_told_when_the_client_leaves(server):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.next_held()
    stream = server.call(exchange.stream, 200)
    drained = threading.Event()
    drained.set()
    while drained.wait(0.05):
        drained.clear()
        server.call(stream.write, b"x" * 5_000_000)
        server.call(stream.on_drain, drained.set)
    client.reset()
    assert drained.wait(5)
    assert exchange.gone


def test_a_stream_ends_once(server):
    server.connect().send(post("/held", b"x"))
    stream = server.call(server.next_held().stream, 200)
    server.call(stream.end)
    with pytest.raises(RuntimeError, match="twice"):
        server.call(stream.end)
    with pytest.raises(RuntimeError, match="after its end"):
        server.call(stream.write, b"x")


@pytest.mark.parametrize(
    "error", [QueueFull("too late"), ValueError("internal")], ids=["our", "any"]
)
def test_an_endpoint_that_fails_in_a_stream_breaks_the_answer_off(server, error):
    def begins_and_fails(exchange):
        exchange.stream(200).write(b"half of it")
        raise error

    server.services.endpoints[b"/breaks"] = begins_and_fails
    client = server.connect().send(post("/breaks", b"x"))
    assert not client.rest().endswith(b"0\r\n\r\n")
    assert server.connect().send(post("/echo", b"well")).answer().body == b"well"


@pytest.mark.parametrize("whole", ["reply", "stream"])
def test_an_endpoint_that_fails_behind_a_whole_answer_leaves_it_whole(server, whole):
    def answers_and_fails(exchange):
        if whole == "reply":
            exchange.reply(200, b"all of it")
        else:
            stream = exchange.stream(200)
            stream.write(b"all of it")
            stream.end()
        raise ValueError("too late to matter")

    server.services.endpoints[b"/fails-late"] = answers_and_fails
    answer = server.connect().send(post("/fails-late", b"x")).answer()
    assert (answer.status, answer.body) == (200, b"all of it")


def test_a_writer_that_fails_when_it_may_go_on_breaks_the_answer_off_and_is_told(server):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.next_held()
    stream = server.call(exchange.stream, 200)
    told, was_told = server.signal()
    server.call(exchange.on_gone, told)

    def fail():
        raise ValueError("cannot go on")

    def write_until_full():
        while stream.write(b"x" * 50_000):
            pass
        stream.on_drain(fail)

    server.call(write_until_full)
    assert not client.rest().endswith(b"0\r\n\r\n")
    assert was_told()
    assert server.connect().send(post("/echo", b"well")).answer().body == b"well"


def test_to_http_1_0_an_adapter_behind_the_lane_shows_that_a_stream_failed():
    """HTTP/1.0 is sent answers of the application whole: nothing of this one has left yet."""
    inner: dict[str, EndpointApp] = {}

    async def app(scope, receive, send):
        await inner["app"]({**scope, "raw_path": b"/breaks", "method": "POST"}, receive, send)

    def begins_and_fails(exchange):
        exchange.stream(200).write(b"half of it")
        raise ValueError("internal")

    with rig(app=app) as server:
        inner["app"] = EndpointApp(server.services)
        server.services.endpoints[b"/breaks"] = begins_and_fails
        client = server.connect().send(request("PUT", "/other", b"body", version="1.0"))
        answer = client.answer()
        assert (answer.status, answer.body) == (500, answers.error_body("internal error"))
        assert client.closed()


def test_to_http_1_0_an_application_that_fails_half_way_answers_with_its_failure_alone():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half of it", "more_body": True})
        raise RuntimeError("secret of the application")

    with rig(app=app) as server:
        answer = server.connect().send(request("GET", "/other", version="1.0")).answer()
        assert (answer.status, answer.body) == (500, answers.error_body("internal error"))


def test_a_draining_server_says_so_in_a_stream():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        server.call(server.services.begin_draining)
        stream = server.call(exchange.stream, 200)
        server.call(stream.end)
        assert client.answer().headers["connection"] == "close"
        assert client.closed()
