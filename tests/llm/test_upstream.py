"""Requests to upstreams: what is sent, what is told, and which connection is used."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import Draining, UpstreamFailed, UpstreamsExhausted
from gateway.llm.upstream.request import header_lines, request_head
from gateway.llm.upstream.words import Body, Limits, Origin, Proxy
from tests.llm.scripted import CHUNKED, LAST_CHUNK, chunk, eventually, ok
from tests.llm.upstream_rig import rig

pytestmark = pytest.mark.anyio


async def test_an_answer_is_told_as_head_data_and_end():
    async with rig() as to:
        told, _ = to.send(b'{"model":"m"}')
        peer = await to.server.accept()
        assert await peer.answer(ok(b'{"id":1}', b"X-Request-Id: 7")) == b'{"model":"m"}'
        await told.until("end")
        assert told.calls == ["head", "data", "end"]
        assert (told.status, told.body) == (200, b'{"id":1}')
        assert list(told.headers) == [(b"content-length", b"8"), (b"x-request-id", b"7")]


async def test_a_request_is_sent_with_its_length_and_asks_for_plain_bytes():
    async with rig() as to:
        to.send(b"12345")
        peer = await to.server.accept()
        assert await peer.head() == (
            b"POST /v1/chat/completions HTTP/1.1\r\n"
            b"host: 127.0.0.1:%d\r\naccept-encoding: identity\r\n"
            b"authorization: Bearer x\r\ncontent-length: 5\r\n\r\n" % to.server.port
        )


async def test_a_large_body_arrives_whole():
    body = bytes(range(256)) * 8192
    async with rig() as to:
        told, _ = to.send(body)
        peer = await to.server.accept()
        assert await peer.answer(ok()) == body
        await told.until("end")
        assert told.calls == ["head", "end"]


@pytest.mark.parametrize("size", [1, 1 << 20])
async def test_a_body_in_pieces_arrives_as_one(size):
    pieces: Body = [b"{", memoryview(b"<%b>" % (b"x" * size))[1:-1], b"}"]
    async with rig() as to:
        told, _ = to.send(pieces)
        peer = await to.server.accept()
        assert await peer.answer(ok()) == b"{%b}" % (b"x" * size)
        await told.until("end")


async def test_chunks_are_told_as_they_come():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED)
        await told.until("head")
        for number in range(1, 4):
            peer.send(chunk(b"data: %d\n\n" % number))
            await told.until_body(9 * number)
        peer.send(LAST_CHUNK)
        await told.until("end")
        assert told.body == b"data: 1\n\ndata: 2\n\ndata: 3\n\n"
        assert told.calls == ["head", "data", "data", "data", "end"]


async def test_an_answer_without_a_length_ends_with_its_connection():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await told.until_body(4)
        assert not told.over
        peer.send(b" and half")
        peer.close()
        await told.until("end")
        assert told.body == b"half and half"
        await eventually(lambda: to.upstreams.open == 0)


async def test_an_answer_without_a_length_that_is_reset_failed():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await told.until_body(4)
        peer.reset()
        await told.until("failure")
        assert (told.sent, told.answered) == (True, True)


async def test_provisional_heads_are_passed_over():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        await peer.answer(b"HTTP/1.1 100 Continue\r\n\r\n" + early + ok(b"yes", b"a: b"))
        await told.until("end")
        assert told.calls == ["head", "data", "end"]
        assert list(told.headers) == [(b"content-length", b"3"), (b"a", b"b")]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_that_cannot_have_a_body_ends_with_its_head(status):
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(b"HTTP/1.1 %d X\r\n\r\n" % status)
        await told.until("end")
        assert (told.calls, told.status) == (["head", "end"], status)
        assert to.upstreams.idle == 1


async def test_the_connection_used_last_is_used_next():
    async with rig() as to:
        (first, _), (second, _) = to.send(b"1"), to.send(b"2")
        peers = {await (p := await to.server.accept()).request(): p for _ in range(2)}
        for told, body in ((first, b"1"), (second, b"2")):
            peers[body].send(ok())
            await told.until("end")
        assert to.upstreams.idle == 2
        third, _ = to.send(b"3")
        assert await peers[b"2"].answer(ok(b"third")) == b"3"
        await third.until("end")
        counters = to.upstreams.counters
        assert (counters.opened, counters.reused, to.upstreams.open) == (2, 1, 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ok(b"x", b"connection: close"), id="says-close"),
        pytest.param(b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", id="http-1.0"),
    ],
)
async def test_a_connection_that_does_not_stay_is_not_used_again(answer):
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(answer)
        await told.until("end")
        assert await peer.left() == b""
        assert to.upstreams.idle == 0


async def test_a_connection_whose_request_was_not_read_is_not_used_again():
    async with rig() as to:
        told, _ = to.send(b"x" * 64_000_000)
        peer = await to.server.accept()
        await peer.head()
        peer.stop_reading()
        peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await told.until("end")
        assert told.status == 413
        await eventually(lambda: to.upstreams.open == 0)


async def test_a_refused_connection_fails_unsent():
    async with rig() as to:
        to.origin = Origin("http", "127.0.0.1", 9, allow_private=True)
        told, _ = to.send()
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert (told.sent, told.answered) == (False, False)
        assert str(told.error) == "http://127.0.0.1:9: Connection refused"


async def test_a_close_in_the_middle_fails_and_says_that_bytes_came():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED + chunk(b"data: 1\n\n"))
        await told.until_body(9)
        peer.close()
        await told.until("failure")
        assert (told.sent, told.answered) == (True, True)
        assert "in the middle" in str(told.error)


async def test_a_new_connection_that_dies_before_its_answer_is_not_sent_again():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.request()
        peer.close()
        await told.until("failure")
        assert (told.sent, told.answered) == (True, False)
        assert len(to.server.peers) == 1


async def test_whoever_leaves_is_told_nothing_and_the_upstream_sees_it():
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED + chunk(b"data: 1\n\n"))
        await told.until_body(9)
        sending.cancel()
        sending.cancel()
        assert await peer.left() == b""
        assert told.calls == ["head", "data"]
        await eventually(lambda: to.upstreams.open == 0)
        assert (to.upstreams.counters.cancelled, to.upstreams.counters.failed) == (1, 0)


async def test_whoever_leaves_before_an_answer_closes_the_connection():
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.request()
        sending.cancel()
        assert await peer.left() == b""
        assert told.calls == []


async def test_whoever_leaves_the_line_leaves_the_others_in_order():
    async with rig(max_connections=1) as to:
        first, _ = to.send(b"1")
        peer = await to.server.accept()
        await peer.request()
        gone, sending = to.send(b"2")
        third, _ = to.send(b"3")
        sending.cancel()
        peer.send(ok(b"one"))
        await first.until("end")
        assert await peer.answer(ok(b"three")) == b"3"
        await third.until("end")
        assert (third.body, gone.calls) == (b"three", [])


async def test_a_sink_may_leave_at_every_call():
    async with rig() as to:
        for call in ("on_head", "on_data"):
            told, sending = to.send()
            setattr(told, call, lambda *_, s=sending: s.cancel())
            peer = await to.server.accept()
            await peer.answer(ok(b"body"))
            assert await peer.left() == b""
            assert "end" not in told.calls


async def test_a_sink_may_send_the_next_request_as_the_first_ends():
    async with rig() as to:
        first, _ = to.send(b"1")
        sent = []
        first.on_end = lambda: sent.append(to.send(b"2"))  # type: ignore[method-assign]
        peer = await to.server.accept()
        await peer.answer(ok(b"one"))
        assert await peer.answer(ok(b"two")) == b"2"
        second, _ = sent[0]
        await second.until("end")
        assert (first.body, second.body) == (b"one", b"two")


async def test_no_more_connections_are_made_than_allowed_and_the_line_is_served_in_order():
    async with rig(max_connections=2) as to:
        told = [to.send(b"%d" % number)[0] for number in range(6)]
        peers = [await to.server.accept() for _ in range(2)]
        order = []
        for number in range(6):
            peer = peers[number % 2]
            order.append(await peer.answer(ok(b"done")))
            await eventually(lambda n=number: sum(t.over for t in told) == n + 1)
        assert sorted(order) == [b"%d" % number for number in range(6)]
        assert order[2:] == [b"2", b"3", b"4", b"5"]
        assert len(to.server.peers) == 2


async def test_a_line_that_is_full_refuses_after_send_has_returned():
    async with rig(Limits(max_waiting=1), max_connections=1) as to:
        to.send(b"1")
        peer = await to.server.accept()
        await peer.request()
        to.send(b"2")
        refused, _ = to.send(b"3")
        assert refused.calls == []
        await refused.until("failure")
        assert isinstance(refused.error, UpstreamsExhausted)
        assert (refused.sent, refused.answered) == (False, False)


async def test_a_burst_is_no_line_where_there_may_be_as_many_connections():
    async with rig(Limits(max_waiting=1), max_connections=20) as to:
        told = [to.send(b"%d" % number)[0] for number in range(20)]
        peers = [await to.server.accept() for _ in told]
        for peer in peers:
            await peer.request()
        for peer in peers:
            peer.send(ok())
        for one in told:
            await one.until("end")


async def test_closing_fails_what_is_under_way_and_what_waits():
    async with rig(max_connections=1) as to:
        first, _ = to.send(b"1")
        peer = await to.server.accept()
        await peer.request()
        second, _ = to.send(b"2")
        to.upstreams.close()
        assert [type(told.error) for told in (first, second)] == [Draining, Draining]
        assert (first.sent, second.sent) == (True, False)
        late, _ = to.send(b"3")
        await late.until("failure")
        await eventually(lambda: to.upstreams.open == 0)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("/v1 HTTP/1.1\r\nx: y", [], id="path-with-a-line-end"),
        pytest.param("v1", [], id="path-without-a-slash"),
        pytest.param("/v1", [(b"x", b"y\r\nz: 1")], id="value-with-a-line-end"),
        pytest.param("/v1", [(b"x y", b"z")], id="name-with-a-space"),
        pytest.param("/v1", [(b"x", b"\x00")], id="value-with-a-nul"),
        pytest.param("/v1", [(b"Content-Length", b"3")], id="a-length-of-its-own"),
        pytest.param("/v1", [(b"transfer-encoding", b"chunked")], id="a-framing-of-its-own"),
    ],
)
def test_a_head_that_would_end_early_is_not_made(path, headers):
    origin = Origin("http", "host", 80)
    with pytest.raises(ValueError, match="expected"):
        request_head(origin, path, headers)


def test_heads_name_the_host_as_urls_do():
    def first_lines(origin: Origin) -> list[bytes]:
        return request_head(origin, "/a?b", []).split(b"\r\n")[:3]

    assert first_lines(Origin("https", "api", 443))[:2] == [b"POST /a?b HTTP/1.1", b"host: api"]
    assert first_lines(Origin("https", "::1", 8443))[1] == b"host: [::1]:8443"
    proxied = Origin("http", "api", 8000, proxy=Proxy("p", 3128, "Basic eA=="))
    assert first_lines(proxied)[0] == b"POST http://api:8000/a?b HTTP/1.1"
    assert b"proxy-authorization: Basic eA==" in request_head(proxied, "/", [])
    tunnelled = Origin("https", "api", 443, proxy=Proxy("p", 3128, "Basic eA=="))
    assert first_lines(tunnelled)[0] == b"POST /a?b HTTP/1.1"
    assert b"proxy-authorization" not in request_head(tunnelled, "/", [])
    assert header_lines([(b"traceparent", b"00")]) == b"traceparent: 00\r\n"


async def test_a_request_that_waits_may_be_paused():
    async with rig(max_connections=1) as to:
        first, _ = to.send(b"1")
        peer = await to.server.accept()
        await peer.request()
        second, sending = to.send(b"2")
        sending.pause()
        peer.send(ok(b"one"))
        await first.until("end")
        await peer.answer(ok(b"two"))
        to.pass_time(50)
        assert second.calls == []
        sending.resume()
        await second.until("end")


async def test_a_sink_that_breaks_down_takes_nobody_else_along():
    async with rig(max_connections=1) as to:
        loop = asyncio.get_running_loop()
        broken: list[str] = []
        loop.set_exception_handler(lambda _, context: broken.append(str(context["exception"])))

        def breaks(*_):
            raise RuntimeError("a sink of mine")

        first, _ = to.send(b"1")
        first.on_head = breaks  # type: ignore[method-assign]
        second, _ = to.send(b"2")
        await (await to.server.accept()).answer(ok(b"one"))
        await first.until("failure")
        peer = await to.server.accept()
        assert await peer.answer(ok(b"two")) == b"2"
        await second.until("end")
        assert broken == ["a sink of mine"]


async def test_a_sink_that_breaks_down_over_a_failure_holds_up_nobody_in_line():
    async with rig() as to:
        loop = asyncio.get_running_loop()
        broken: list[str] = []
        loop.set_exception_handler(lambda _, context: broken.append(str(context["exception"])))

        def breaks(*_, **__):
            raise RuntimeError("a sink of mine")

        nobody = Origin("http", "127.0.0.1", 9, allow_private=True, max_connections=1)
        first, _ = to.send(origin=nobody)
        first.on_failure = breaks  # type: ignore[method-assign]
        second, _ = to.send(origin=nobody)
        await second.until("failure")
        assert broken == ["a sink of mine"]
