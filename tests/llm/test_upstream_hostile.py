"""Upstreams that break the protocol: nobody hangs, nothing leaks, no answer is another's."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.answer import MAX_INFORMATIONAL
from gateway.llm.upstream.words import Limits
from tests.llm.scripted import CHUNKED, LAST_CHUNK, Peer, chunk, eventually, ok
from tests.llm.upstream_rig import Rig, rig

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BROKEN = {
    "garbage": b"\x00\x01\x02\x03 what?\r\n\r\n",
    "another-protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version-2": b"HTTP/2 200 OK\r\n\r\n",
    "no-version": b"200 OK\r\n\r\n",
    "a-request": b"GET / HTTP/1.1\r\n\r\n",
    "status-of-no-kind": b"HTTP/1.1 999 Hm\r\ncontent-length: 0\r\n\r\n",
    "status-below-100": b"HTTP/1.1 099 Hm\r\ncontent-length: 0\r\n\r\n",
    "another-protocol-from-now-on": b"HTTP/1.1 101 Go\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
    "101-without-a-name": b"HTTP/1.1 101 Go\r\n\r\n",
    "both-lengths": HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both-lengths-reversed": HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n",
    "two-lengths": HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nab",
    "one-length-twice": HEAD + b"content-length: 2\r\ncontent-length: 2\r\n\r\nab",
    "a-list-of-lengths": HEAD + b"content-length: 2, 2\r\n\r\nab",
    "negative-length": HEAD + b"content-length: -1\r\n\r\n",
    "length-in-hexadecimal": HEAD + b"content-length: 0x2\r\n\r\nab",
    "length-beyond-64-bits": HEAD + b"content-length: 99999999999999999999\r\n\r\n",
    "coding-that-is-unknown": HEAD + b"transfer-encoding: gzip\r\n\r\n",
    "coding-beneath-chunked": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n",
    "chunked-twice": HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
    "chunked-misspelt": HEAD + b"transfer-encoding: xchunked\r\n\r\n",
    "compressed": HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nab",
    "line-ends-without-cr": b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "folded-header": HEAD + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n",
    "nul-in-a-header": HEAD + b"x: a\x00b\r\ncontent-length: 0\r\n\r\n",
    "space-before-the-colon": HEAD + b"content-length : 0\r\n\r\n",
    "no-colon": HEAD + b"what is this\r\n\r\n",
    "too-many-provisional-heads": CONTINUE * (MAX_INFORMATIONAL + 1) + ok(),
    "too-many-headers": HEAD + b"".join(b"x-%d: y\r\n" % n for n in range(201)) + b"\r\n",
    "chunk-size-that-is-none": CHUNKED + b"zz\r\nab\r\n",
    "chunk-size-negative": CHUNKED + b"-2\r\nab\r\n",
    "chunk-size-beyond-64-bits": CHUNKED + b"ffffffffffffffffff\r\n",
    "chunk-longer-than-it-says": CHUNKED + b"2\r\nabc\r\n",
    "chunk-without-cr": CHUNKED + b"2\nab\n",
}
CUT_SHORT = {
    "nothing": b"",
    "half-a-status": b"HTTP/1.1 2",
    "half-a-head": HEAD + b"content-le",
    "half-a-body": HEAD + b"content-length: 5\r\n\r\nab",
    "half-a-chunk-size": CHUNKED + b"1",
    "half-a-chunk": CHUNKED + b"5\r\nab",
    "no-last-chunk": CHUNKED + chunk(b"ab"),
    "half-a-last-chunk": CHUNKED + b"0\r\n",
    "half-a-trailer": CHUNKED + b"0\r\nx: y\r\n",
    "provisional-head-alone": CONTINUE,
}


async def works(to: Rig) -> None:
    """Nothing is left of what went before, and the next request is answered."""
    await eventually(lambda: to.upstreams.open == 0)
    await to.kept_alive()
    assert (to.upstreams.open, to.upstreams.idle) == (1, 1)


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_is_not_http_fails_and_its_connection_is_closed(answer):
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(answer)
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert (told.sent, told.answered) == (True, True)
        assert await peer.left() == b""
        assert to.upstreams.counters.unfit == 1
        await works(to)


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("answer", CUT_SHORT.values(), ids=CUT_SHORT.keys())
async def test_an_answer_that_is_cut_short_fails(answer, end):
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.answer(answer)
        if answer:
            await eventually(lambda: sending.answered)
        getattr(peer, end)()
        await told.until("failure")
        assert (told.sent, told.answered) == (True, bool(answer))
        await works(to)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        pytest.param(HEAD, b"x: y\r\n", id="head-of-many-lines"),
        pytest.param(HEAD + b"x: ", b"y" * 100, id="head-of-one-line"),
        pytest.param(b"HTTP/1.1 200 ", b"O" * 100, id="status-line"),
        pytest.param(CHUNKED + b"0\r\nx: ", b"y" * 100, id="trailer"),
        pytest.param(CHUNKED + b"2;x=", b"y" * 100, id="chunk-extension"),
        pytest.param(CHUNKED + chunk(b"a") + b"1;x=", b"y" * 100, id="later-chunk-extension"),
        pytest.param(b"", b"\r\n" * 50, id="empty-lines"),
    ],
)
async def test_what_has_no_end_is_bounded(start, more):
    async with rig(Limits(max_head_bytes=2000, max_headers=100_000)) as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(start)
        for _ in range(2000):
            if told.over:
                break
            peer.send(more)
            await asyncio.sleep(0)
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert await peer.left() == b""
        await works(to)


async def test_a_long_answer_of_many_small_chunks_is_not_taken_for_endless_framing():
    async with rig(Limits(max_head_bytes=2000)) as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED)
        for number in range(1, 1001):
            peer.send(chunk(b"x"))
            if number % 100 == 0:
                await told.until_body(number)
        peer.send(LAST_CHUNK)
        await told.until("end")
        assert told.body == b"x" * 1000


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(ok(b"forged"), id="another-answer"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"HTTP/1.1 200", id="half-a-head"),
        pytest.param(CONTINUE, id="provisional-head"),
    ],
)
@pytest.mark.parametrize("answer", [ok(b"mine"), CHUNKED + chunk(b"mine") + LAST_CHUNK])
async def test_bytes_after_the_end_are_nobodys(answer, extra):
    async with rig(max_connections=1) as to:
        told, _ = to.send(b"1")
        waiting, _ = to.send(b"2")
        peer = await to.server.accept()
        await peer.answer(answer + extra)
        await told.until("end")
        assert told.body == b"mine"
        assert await peer.left() == b""
        fresh = await to.server.accept()
        assert await fresh.answer(ok(b"right")) == b"2"
        await waiting.until("end")
        assert waiting.body == b"right"
        assert to.upstreams.counters.unfit == 1


async def test_a_head_of_1xx_before_each_answer_is_counted_anew():
    async with rig() as to:
        peer = await to.kept_alive()
        for _ in range(3):
            told, _ = to.send()
            await peer.answer(CONTINUE * MAX_INFORMATIONAL + ok(b"yes"))
            await told.until("end")
        assert len(to.server.peers) == 1


async def misbehave(peer: Peer, random: Random, end: asyncio.Event) -> None:
    """Answers each request with its own body, and breaks the protocol now and then."""
    while not end.is_set():
        body = await peer.request()
        whole = ok(body) if random.random() < 0.5 else CHUNKED + chunk(body) + LAST_CHUNK
        kind = random.choice(["well", "well", "cut", "more", "slow", "broken", "silent"])
        if kind == "silent":
            peer.close()
        elif kind == "cut":
            peer.send(whole[: random.randrange(1, len(whole))])
            peer.close()
        elif kind == "more":
            peer.send(whole + ok(b"forged"))
        elif kind == "broken":
            at = random.randrange(len(whole))
            peer.send(whole[:at] + b"\x00" + whole[at:])
        elif kind == "slow":
            for at in range(len(whole)):
                peer.send(whole[at : at + 1])
                await asyncio.sleep(0)
        else:
            peer.send(whole)


async def test_no_bytes_of_one_answer_reach_another_request_and_nothing_leaks():
    random = Random(7)
    end = asyncio.Event()
    async with rig(max_connections=8) as to:
        asked: list[bytes] = []

        async def serve() -> None:
            while True:
                peer = await to.server.accept()
                tasks.append(asyncio.ensure_future(misbehave(peer, random, end)))

        tasks = [asyncio.ensure_future(serve())]
        outcomes = {"end": 0, "failure": 0, "left": 0}
        under_way = []
        for number in range(600):
            body = b"<%d>" % number * random.randrange(1, 20)
            asked.append(body)
            under_way.append((body, *to.send(body)))
            if len(under_way) < 16:
                continue
            for wanted, told, sending in under_way:
                if random.random() < 0.1:
                    sending.cancel()
                    outcomes["left"] += 1
                else:
                    await eventually(lambda told=told: told.over)
                    outcomes[told.calls[-1]] += 1
                assert wanted.startswith(told.body.partition(b"\x00")[0])
                if told.calls[-1:] == ["end"] and b"\x00" not in told.body:
                    assert told.body == wanted
            under_way.clear()
        assert min(outcomes.values()) > 20
        await eventually(lambda: to.upstreams.open == to.upstreams.idle)
        assert to.upstreams.open <= 8
        to.upstreams.drain()
        await eventually(lambda: to.upstreams.open == 0)
        end.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
