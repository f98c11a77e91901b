"""The same endpoints behind somebody else's ASGI server: they cannot tell the difference."""

from __future__ import annotations

import time

import orjson
import pytest

from gateway.wire.asgi import EndpointApp
from tests.wire.http_rig import chunked, post, request, rig


@pytest.fixture(scope="module", params=["lane", "asgi"])
def server(request):
    with rig(request.param, max_body_bytes=100_000) as running:
        yield running


def test_an_endpoint_is_given_the_same_request(server):
    before = time.perf_counter()
    server.connect().send(post("/echo?a=1&b=%2f", b"body", "X-One: 1", "X-One: 2")).answer()
    exchange = server.seen.get_nowait()
    assert (exchange.method, exchange.path, exchange.query) == (b"POST", b"/echo", b"a=1&b=%2f")
    assert (exchange.body, exchange.header(b"x-one"), exchange.header(b"x")) == (
        b"body",
        b"1",
        None,
    )
    assert before < exchange.arrived < time.perf_counter()
    assert (exchange.client, exchange.gone) == ("127.0.0.1", False)


def test_its_answer_says_the_same(server):
    answer = server.connect().send(post("/echo", b"{}", "X-Request-Id: mine")).answer()
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["penstock-request-id"].startswith("host-0-1-")


@pytest.mark.parametrize(
    ("path", "status", "code", "body"),
    [
        ("/fails", 500, "internal", b'{"error":"internal error"}'),
        ("/full", 503, "queue_full", b'{"error":"model \'m\': Exceeds maximum queue size"}'),
    ],
)
def test_its_failures_are_the_same(server, path, status, code, body):
    answer = server.connect().send(post(path, b"x")).answer()
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["penstock-error-code"] == code
    assert ("retry-after" in answer.headers) is (status == 503)


def test_bodies_in_chunks_and_bodies_too_large(server):
    client = server.connect()
    assert client.send(chunked("/echo", b"ab", b"cd")).answer().body == b"abcd"
    answer = server.connect().send(post("/echo", b"x" * 100_001)[:-100_001]).answer()
    assert answer.status == 413
    in_chunks = chunked("/echo", b"x" * 60_000, b"x" * 60_000, last=False)
    assert server.connect().send(in_chunks).answer().status == 413


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_is_gone(server, leave):
    client = server.connect().send(post("/held", b"x"))
    exchange = server.next_held()
    told, was_told = server.signal()
    server.call(exchange.on_gone, told)
    getattr(client, leave)()
    assert was_told()
    assert exchange.gone
    server.call(exchange.reply, 200, b"to nobody")


def test_a_late_reply_arrives(server):
    client = server.connect().send(post("/held", b"x"))
    server.call(server.next_held().reply, 201, b"late", [(b"x-more", b"1")], b"text/plain")
    answer = client.answer()
    assert (answer.status, answer.body, answer.headers["x-more"]) == (201, b"late", "1")
    assert answer.headers["content-type"] == "text/plain"


def test_behind_asgi_what_is_no_endpoint_is_an_error_of_ours():
    with rig("asgi") as server:
        client = server.connect()
        answer = client.send(request("GET", "/nowhere")).answer()
        told = {"error": "/nowhere: nothing is served here"}
        assert (answer.status, orjson.loads(answer.body)) == (404, told)
        assert client.send(request("GET", "/echo")).answer().status == 405


def test_behind_asgi_a_body_that_stops_coming_is_refused():
    with rig("asgi", body_timeout_s=0.05) as server:
        assert server.connect().send(post("/echo", b"12345")[:-2]).answer().status == 408


def test_behind_asgi_bodies_held_are_bounded():
    with rig("asgi", max_buffered_bytes=1 << 20) as server:
        server.connect().send(post("/held", b"x" * 600_000))
        held = server.next_held()
        answer = server.connect().send(post("/echo", b"x" * 600_000)).answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        server.call(held.reply, 200, b"")


def test_behind_asgi_bodies_that_still_arrive_are_counted():
    with rig("asgi", max_buffered_bytes=1 << 20) as server:
        slow = server.connect().send(post("/echo", b"x" * 600_000)[:-1])
        assert server.reached(lambda: server.services.buffered_bytes == 599_999)
        assert server.connect().send(post("/echo", b"x" * 600_000)).answer().status == 503
        slow.close()
        assert server.reached(lambda: server.services.buffered_bytes == 0)


def test_behind_the_lane_the_adapter_keeps_the_lanes_request_id():
    """As one route of the application that the lane passes other requests to."""
    inner: dict[str, EndpointApp] = {}

    async def app(scope, receive, send):
        await inner["app"]({**scope, "raw_path": b"/echo", "method": "POST"}, receive, send)

    with rig(app=app) as server:
        inner["app"] = EndpointApp(server.services)
        request_id = "X-Request-Id: mine"
        answer = server.connect().send(request("PUT", "/other", b"body", request_id)).answer()
        names = [name for name, _ in answer.lines]
        assert answer.body == b"body"
        assert (names.count("penstock-request-id"), names.count("x-request-id")) == (1, 1)
        seen = server.seen.get_nowait()
        assert answer.headers["penstock-request-id"].encode() == seen.request_id
