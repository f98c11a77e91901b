"""The control port over real sockets: what strangers are refused before any operation sees them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from contextlib import closing, suppress

import pytest
import uvloop

from gateway.config import Config
from gateway.control.port import Counts, Port
from tests.wire.http_rig import WAIT_S, Client

GET = b"GET /thing HTTP/1.1\r\nHost: localhost\r\n\r\n"
MAX_BODY_BYTES = 1000


class Served:
    """A control port in a thread, before an application that tells who asks."""

    def __init__(self, **limits):
        self.held = threading.Event()
        self._config = Config.model_validate(
            {"control": {"max_connections": 3}, "limits": {"header_timeout_s": 0.2, **limits}}
        )
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(WAIT_S)
        return self

    def __exit__(self, *_):
        self.leave()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def leave(self):
        """Asks the port to close, as SIGTERM does; it may have done so before."""
        with suppress(RuntimeError):  # its loop is over
            self._loop.call_soon_threadsafe(self._stop.set)

    def connect(self):
        return closing(Client(self.port))

    def _main(self):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._stop, self.go = asyncio.Event(), asyncio.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            counts = Counts()
            self.refusals = counts.refusals
            ids = b"host-1-control-1-"
            port = Port(self._app, listener, self._config, MAX_BODY_BYTES, ids, counts)
            port.start()
            self._ready.set()
            await self._stop.wait()
            await port.close()

    async def _app(self, scope, receive, send):
        if scope["path"] == "/fails":
            raise RuntimeError("secret of the application")
        if scope["path"] == "/held":
            self.held.set()
            await self.go.wait()
        told = json.dumps({"client": scope["client"][0]}).encode()
        headers = [(b"content-length", b"%d" % len(told))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})

    def let_go(self):
        self._loop.call_soon_threadsafe(self.go.set)


@pytest.fixture
def served():
    with Served() as port:
        yield port


def refused(client):
    answer = client.answer()
    body = json.loads(answer.body)
    assert set(body) == {"error", "code"}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["penstock-request-id"].startswith("host-1-control-1-")
    return answer.status, body["code"]


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, "malformed_http", id="no-http"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
            400, "malformed_http", id="two-hosts",
        ),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_http", id="no-host"),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 80_000, 431, "headers_too_large",
            id="head-too-large-and-not-over",
        ),
        pytest.param(
            b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431,
            "headers_too_large", id="too-many-headers",
        ),
        pytest.param(
            b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large",
            id="body-that-no-operation-takes",
        ),
        pytest.param(b"GET / HT", 408, "request_too_slow", id="half-a-head"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_the_ports_own_words(served, sent, status, code):
    with served.connect() as client:
        client.send(sent)
        assert refused(client) == (status, code)
        assert client.closed()
    assert served.refusals == {code: 1}


def test_a_client_that_says_nothing_is_let_go(served):
    with served.connect() as client:
        assert client.closed()
    assert served.refusals == {"header_timeout": 1}


def test_a_connection_too_many_is_told_so_while_all_others_are_being_answered(served):
    held = GET.replace(b"/thing", b"/held")
    with served.connect() as one, served.connect() as two, served.connect() as three:
        for client in (one, two, three):
            client.send(held)
            assert served.held.wait(WAIT_S)
            served.held.clear()
        with served.connect() as four:
            assert refused(four) == (503, "too_many_connections")
        served.let_go()
        assert [client.answer().status for client in (one, two, three)] == [200] * 3
    assert served.refusals == {"too_many_connections": 1}


def test_strangers_who_stay_after_an_answer_keep_nobody_out(served):
    with served.connect() as one, served.connect() as two, served.connect() as three:
        assert [client.send(GET).answer().status for client in (one, two, three)] == [200] * 3
        with served.connect() as four:
            assert four.send(GET).answer().status == 200
    assert served.refusals == {"displaced": 1}


def test_what_an_application_breaks_on_has_the_same_shape(served):
    with served.connect() as client:
        client.send(GET.replace(b"/thing", b"/fails"))
        assert refused(client) == (500, "internal")


def test_nobody_can_say_to_come_from_elsewhere(served):
    with served.connect() as client:
        client.send(GET[:-2] + b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n")
        assert json.loads(client.answer().body) == {"client": "127.0.0.1"}


def test_closing_waits_for_what_is_being_answered_and_for_nobody_else(served):
    with served.connect() as idle, served.connect() as client:
        assert idle.send(GET).answer().status == 200
        client.send(GET.replace(b"/thing", b"/held"))
        assert served.held.wait(WAIT_S)
        served.leave()
        assert idle.closed()
        served.let_go()
        assert client.answer().headers["connection"] == "close"
        assert client.closed()


def test_closing_cuts_off_what_takes_too_long(served):
    with served.connect() as client:
        client.send(GET.replace(b"/thing", b"/held"))
        assert served.held.wait(WAIT_S)
        served.leave()
        assert client.closed()
    assert served.refusals == {"drain": 1}
