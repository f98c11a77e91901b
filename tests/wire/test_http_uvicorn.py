"""Without services the class keeps uvicorn's promises, those our server relies on.

uvicorn's own published tests pass on it too: see `tests.conformance`.
"""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.wire.http import Lane
from tests.wire.http_rig import Client, chunked, post, request


async def application(scope, receive, send):
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    if scope["path"] == "/fails":
        raise RuntimeError("secret")
    text = body or scope["path"].encode()
    headers = [] if scope["path"] == "/stream" else [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": False})


@pytest.fixture(params=[Lane, HttpToolsProtocol], ids=["lane", "uvicorn"], scope="module")
def port(request):
    """uvicorn's server with our class, and with its own: the promises are the same."""
    config = uvicorn.Config(
        application,
        http=request.param,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=1,
        interface="asgi3",
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))

    def main() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server._serve([listener]))

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(5)
    assert not thread.is_alive()
    listener.close()


@pytest.fixture
def client(port):
    client = Client(port)
    yield client
    client.close()


def test_requests_on_a_kept_connection(client):
    for path in ("/a", "/b"):
        assert client.send(request("GET", path)).answer().body == path.encode()


def test_bodies_with_a_length_and_in_chunks(client):
    assert client.send(post("/", b"whole")).answer().body == b"whole"
    assert client.send(chunked("/", b"in ", b"chunks")).answer().body == b"in chunks"


def test_answers_without_a_length_come_in_chunks(client):
    answer = client.send(post("/stream", b"x")).answer()
    assert (answer.body, answer.headers["transfer-encoding"]) == (b"x", "chunked")


def test_pipelined_requests_are_answered_in_order(client):
    client.send(*[request("GET", f"/{number}") for number in range(5)])
    assert [client.answer().body for _ in range(5)] == [b"/%d" % n for n in range(5)]


def test_connection_close(client):
    answer = client.send(request("GET", "/", None, "Connection: close")).answer()
    assert answer.headers["connection"] == "close"
    assert client.closed()


def test_http_1_0_closes(client):
    assert client.send(request("GET", "/", version="1.0")).answer().status == 200
    assert client.closed()


def test_head_has_no_body(client):
    answer = client.send(request("HEAD", "/abc")).answer(head_only=True)
    assert answer.headers["content-length"] == "4"
    assert client.send(request("GET", "/next")).answer().body == b"/next"


def test_100_continue(client):
    head, body = post("/", b"body", "Expect: 100-continue").split(b"\r\n\r\n")
    assert client.send(head, b"\r\n\r\n").answer().status == 100
    assert client.send(body).answer().body == b"body"


def test_an_exception_is_a_plain_500(client):
    answer = client.send(request("GET", "/fails")).answer()
    assert (answer.status, answer.body) == (500, b"Internal Server Error")


def test_nonsense_is_a_plain_400(client):
    answer = client.send(b"NONSENSE\r\n\r\n").answer()
    assert (answer.status, answer.body) == (400, b"Invalid HTTP request received.")
    assert client.closed()


def test_date_and_server_are_sent_as_configured(client):
    answer = client.send(request("GET", "/")).answer()
    assert answer.headers["server"] == "uvicorn"
    assert "date" in answer.headers


def test_an_idle_connection_is_closed_after_its_keep_alive(client):
    client.send(request("GET", "/")).answer()
    assert client.closed()
