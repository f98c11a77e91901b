"""What a request to an endpoint is given, and what its answer says."""

from __future__ import annotations

import time

import pytest

from tests.wire.http_rig import chunked, post, request, rig


@pytest.fixture(scope="module")
def server():
    with rig() as running:
        yield running


def test_an_endpoint_is_given_the_request_as_it_was_sent(server):
    before = time.perf_counter()
    server.connect().send(
        post("/echo?a=1&b=%2f", b"body", "X-One: 1", "x-two: first", "X-Two: second ")
    ).answer()
    exchange = server.seen.get_nowait()
    assert (exchange.method, exchange.path, exchange.query) == (b"POST", b"/echo", b"a=1&b=%2f")
    assert exchange.body == b"body"
    assert (exchange.header(b"x-one"), exchange.header(b"none")) == (b"1", None)
    assert exchange.header(b"x-two") == b"first"
    assert [name for name, _ in exchange.headers[1:4]] == [b"x-one", b"x-two", b"x-two"]
    assert before < exchange.arrived < time.perf_counter()
    assert (exchange.client, exchange.gone) == ("127.0.0.1", False)


def test_an_answer_is_json_with_a_length_and_the_requests_id(server):
    answer = server.connect().send(post("/echo", b"{}")).answer()
    names = [name for name, _ in answer.lines]
    assert names == ["content-type", "content-length", "penstock-request-id"]
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["penstock-request-id"].startswith("host-0-1-")


@pytest.mark.parametrize("path", ["/echo", "/app", "/fails", "/full"])
def test_every_answer_has_an_id_of_its_own(server, path):
    client = server.connect()
    ids = [client.send(post(path, b"x")).answer().headers["penstock-request-id"] for _ in range(3)]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("path", ["/echo", "/app", "/fails", "/full"])
@pytest.mark.parametrize("given", ["abc-123", "a b", "x" * 256])
def test_a_clients_request_id_is_sent_back_as_it_came(server, path, given):
    answer = server.connect().send(post(path, b"x", f"X-Request-ID: {given}")).answer()
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("x" * 257, id="long"),
        pytest.param("a\x80", id="bytes"),
        pytest.param("", id=""),
    ],
)
def test_a_request_id_that_cannot_be_sent_back_is_dropped(server, given):
    answer = server.connect().send(post("/echo", b"x", f"X-Request-ID: {given}")).answer()
    assert "x-request-id" not in answer.headers


def test_headers_and_content_type_of_a_reply_are_written():
    with rig() as server:
        client = server.connect().send(post("/held", b""))
        exchange = server.next_held()
        server.call(
            exchange.reply, 201, b"\0\1", [(b"inference-header-content-length", b"1")], b"a/b"
        )
        answer = client.answer()
        assert (answer.status, answer.body) == (201, b"\0\1")
        assert answer.headers["content-type"] == "a/b"
        assert answer.headers["inference-header-content-length"] == "1"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_have_no_body_has_none(status):
    with rig() as server:
        client = server.connect().send(post("/held", b""))
        server.call(server.next_held().reply, status, b"unwanted")
        answer = client.answer()
        assert (answer.status, "content-length" in answer.headers) == (status, False)
        assert client.send(post("/echo", b"next")).answer().body == b"next"


def test_a_header_that_would_split_the_answer_is_an_internal_error():
    with rig() as server:
        server.services.endpoints[b"/split"] = lambda exchange: exchange.reply(
            200, b"", [(b"x", b"a\r\nset-cookie: b")]
        )
        answer = server.connect().send(post("/split", b"x")).answer()
        assert (answer.status, answer.body) == (500, b'{"error":"internal error"}')


def test_a_reply_larger_than_any_buffer_arrives_whole():
    with rig() as server:
        client = server.connect().send(post("/held", b""))
        body = bytes(range(256)) * 20_000
        server.call(server.next_held().reply, 200, body)
        assert client.answer().body == body
        assert client.send(post("/echo", b"next")).answer().body == b"next"


def test_an_exchange_is_answered_once():
    with rig() as server:
        server.connect().send(post("/held", b""))
        exchange = server.next_held()
        server.call(exchange.reply, 200, b"")
        with pytest.raises(RuntimeError, match="twice"):
            server.call(exchange.reply, 200, b"")
        with pytest.raises(RuntimeError, match="twice"):
            server.call(exchange.stream, 200)


def test_what_an_endpoint_raises_never_leaves_the_server(server, caplog):
    answer = server.connect().send(post("/fails", b"x")).answer()
    assert (answer.status, answer.body) == (500, b'{"error":"internal error"}')
    told = {getattr(record, "request_id", None) for record in caplog.records}
    assert answer.headers["penstock-request-id"] in told
    assert "secret of the endpoint" in caplog.text


def test_what_the_application_raises_never_leaves_the_server(server):
    answer = server.connect().send(request("GET", "/app/fails")).answer()
    assert (answer.status, answer.body) == (500, b'{"error":"internal error"}')
    assert "penstock-request-id" in answer.headers
    assert answer.headers["penstock-error-code"] == "internal"


def test_an_error_of_ours_has_its_status_its_message_and_when_to_try_again(server):
    before = server.counters.numbers["queue_full"]
    answer = server.connect().send(post("/full", b"x")).answer()
    assert answer.status == 503
    assert answer.body == b'{"error":"model \'m\': Exceeds maximum queue size"}'
    assert answer.headers["retry-after"] == "1"
    assert server.counters.numbers["queue_full"] == before + 1


def test_a_connection_serves_many_requests_until_the_client_says_close(server):
    client = server.connect()
    for number in range(3):
        assert client.send(post("/echo", b"%d" % number)).answer().body == b"%d" % number
    answer = client.send(post("/echo", b"last", "Connection: close")).answer()
    assert (answer.body, answer.headers["connection"]) == (b"last", "close")
    assert client.closed()


@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_what_follows_connection_close_is_nobodys(server, path):
    last, more = post(path, b"last", "Connection: close"), post(path, b"more")
    client = server.connect().send(last, more)
    assert client.answer().body == b"last"
    assert client.closed()


def test_http_1_0_closes_unless_it_asks_to_be_kept():
    with rig() as server:
        client = server.connect().send(post("/echo", b"one", version="1.0"))
        assert client.answer().headers["connection"] == "close"
        assert client.closed()
        client = server.connect()
        for body in (b"one", b"two"):
            client.send(post("/echo", body, "Connection: keep-alive", version="1.0"))
            answer = client.answer()
            assert (answer.body, answer.headers["connection"]) == (body, "keep-alive")


def test_http_1_0_is_never_sent_chunks(server):
    answer = server.connect().send(post("/app/stream", b"whole", version="1.0")).answer()
    assert answer.headers["content-length"] == "5"
    assert "transfer-encoding" not in answer.headers
    assert answer.body == b"whole"


@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_a_body_may_come_in_chunks(server, path):
    client = server.connect()
    assert client.send(chunked(path, b"a", b"bc" * 5000, b"d")).answer().body == (
        b"a" + b"bc" * 5000 + b"d"
    )
    assert client.send(post(path, b"next")).answer().body == b"next"


def test_trailers_are_not_taken_for_headers(server):
    client = server.connect().send(
        chunked("/echo", b"a", last=False), b"0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"
    )
    client.answer()
    while not server.seen.empty():
        exchange = server.seen.get()
    assert exchange.header(b"x-forwarded-for") is None


@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_a_request_may_arrive_byte_by_byte(server, path):
    client = server.connect()
    for byte in post(path, b"slow"):
        client.send(bytes([byte]))
    assert client.answer().body == b"slow"


@pytest.mark.parametrize("path", ["/echo", "/app"])
def test_a_client_that_expects_100_continue_is_told_to_go_on(server, path):
    head, body = post(path, b"body", "Expect: 100-continue").split(b"\r\n\r\n")
    client = server.connect().send(head, b"\r\n\r\n")
    assert client.answer().status == 100
    assert client.send(body).answer().body == b"body"


def test_100_continue_waits_for_the_answer_before_it():
    with rig() as server:
        head, body = post("/echo", b"body", "Expect: 100-continue").split(b"\r\n\r\n")
        client = server.connect().send(post("/held", b""), head, b"\r\n\r\n")
        held = server.next_held()
        assert client.silent()
        server.call(held.reply, 200, b"first")
        assert client.answer().body == b"first"
        assert client.answer().status == 100
        assert client.send(body).answer().body == b"body"


def test_a_head_request_is_answered_without_a_body(server):
    client = server.connect().send(request("HEAD", "/health"), request("GET", "/health"))
    answer = client.answer(head_only=True)
    assert (answer.status, answer.headers["content-length"]) == (200, "7")
    assert client.answer().body == b"/health"


def test_other_methods_on_an_endpoints_path_go_to_the_application(server):
    assert server.get("/echo").body == b"/echo"


def test_the_application_finds_the_request_as_uvicorn_gives_it(server):
    while not server.seen.empty():
        server.seen.get()
    server.connect().send(request("GET", "/a%20b/c?d=%20", None, "X-Y: z")).answer()
    scope = server.seen.get_nowait()
    assert (scope["path"], scope["raw_path"]) == ("/a b/c", b"/a%20b/c")
    assert (scope["query_string"], scope["http_version"]) == (b"d=%20", "1.1")
    assert scope["headers"] == [(b"host", b"test"), (b"x-y", b"z")]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["state"]["penstock_notes"].request_id.startswith(b"host-0-1-")


def test_an_offer_to_upgrade_is_passed_over_and_its_body_is_read(server):
    """Java's client offers h2c with its first request; its body must not become a request."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAAA")
    client = server.connect()
    for _ in range(2):
        assert client.send(post("/echo", b"GET / HTTP/1.1\r\n\r\n", *offer)).answer().body == (
            b"GET / HTTP/1.1\r\n\r\n"
        )
    head, body = post("/echo", b"body", *offer).split(b"\r\n\r\n")
    client.send(head, b"\r\n\r\n")
    assert client.silent()
    assert client.send(body).answer().body == b"body"
    assert client.send(chunked("/echo", b"ab", b"cd")).answer().body == b"abcd"


def test_requests_that_differ_only_behind_the_same_head_are_told_apart(server):
    """Heads seen before are not parsed again; everything else about a request is its own."""
    client, other = server.connect(), server.connect()
    for number in range(5):
        for one in (client, other):
            body = b"%04d" % number
            assert one.send(post("/echo", body)).answer().body == body
    assert client.send(post("/echo", b"123")).answer().body == b"123"
    head = post("/echo", b"1234")
    assert client.send(head + head).answer().body == b"1234"
    assert client.answer().body == b"1234"
    assert client.send(head[:-1]).silent()
    assert client.send(b"5").answer().body == b"1235"[:3] + b"5"


def test_bodies_of_any_length_behind_the_same_head_are_told_apart(server):
    client = server.connect()
    for size in (3, 70_000, 5, 300_000, 70_000, 4):
        body = b"%d" % (size % 7) * size
        head = post("/echo", body).removesuffix(body)
        assert client.send(head, body).answer().body == body
        assert client.send(head).silent()
        assert client.send(body).answer().body == body
    # What is kept of them is no head of its own.
    nameless = post("/echo", b"1234").replace(b"Length: 4", b"Length: ")
    assert client.send(nameless).answer().status == 400


def test_a_head_seen_before_is_worth_nothing_once_its_endpoint_is_gone():
    with rig() as server:
        client = server.connect()
        for _ in range(2):
            client.send(post("/echo", b"x")).answer()
        endpoint = server.services.endpoints.pop(b"/echo")
        answer = client.send(post("/echo", b"x")).answer()
        assert answer.headers["content-type"] == "text/plain"
        server.services.endpoints[b"/echo"] = endpoint
        answer = client.send(post("/echo", b"x")).answer()
        assert answer.headers["content-type"] == "application/json"


def test_the_memory_of_heads_is_bounded():
    with rig() as server:
        client = server.connect()
        for number in range(600):
            client.send(post("/echo", b"x", f"x-number: {number}")).answer()
        services = server.services
        for kept in (services.heads, services.alike):
            assert 0 < server.call(lambda kept=kept: len(kept)) <= 512


def test_heads_that_differ_in_their_length_drive_out_no_others():
    with rig() as server:
        client = server.connect()
        client.send(post("/echo", b"x", "x-number: 1")).answer()
        for size in range(1, 600):
            client.send(post("/echo", b"x" * size)).answer()
        assert server.call(lambda: len(server.services.alike)) == 2


@pytest.mark.parametrize(
    ("trusted", "line", "client"),
    [
        pytest.param([], "1.2.3.4", "127.0.0.1", id="nobody-is-trusted"),
        pytest.param(["10.0.0.0/8"], "1.2.3.4", "127.0.0.1", id="another-is-trusted"),
        pytest.param(["127.0.0.1"], "1.2.3.4", "1.2.3.4", id="the-peer-is-trusted"),
        pytest.param(["127.0.0.0/8"], "6.6.6.6, 1.2.3.4", "1.2.3.4", id="what-the-client-made-up"),
        pytest.param(["127.0.0.1", "10.0.0.0/8"], "1.2.3.4, 10.0.0.9", "1.2.3.4", id="a-chain"),
        pytest.param(["127.0.0.1"], "nonsense", "127.0.0.1", id="nonsense"),
        pytest.param(["127.0.0.1"], "[2001:db8::1]:443", "2001:db8::1", id="ipv6-and-port"),
    ],
)
def test_a_forwarded_address_is_believed_from_trusted_peers_only(trusted, line, client):
    with rig(server={"trusted_proxies": trusted}) as server:
        forwarded = f"X-Forwarded-For: {line}"
        server.connect().send(post("/echo", b"x", forwarded)).answer()
        assert server.seen.get_nowait().client == client
        server.connect().send(request("GET", "/app", None, forwarded)).answer()
        assert server.seen.get_nowait()["client"][0] == client


def test_a_reply_may_be_written_later_from_the_loop():
    with rig() as server:
        client = server.connect().send(post("/held", b"x"))
        exchange = server.next_held()
        server.call(server.loop.call_later, 0.001, exchange.reply, 200, b"y")
        assert client.answer().body == b"y"
