"""Kept-alive connections that die, or on which somebody speaks who was not asked."""

from __future__ import annotations

import asyncio
import gc
from sys import getrefcount

import pytest

from gateway.errors import UpstreamFailed
from gateway.llm.upstream.names import REMEMBERED_S
from tests.llm.scripted import eventually, ok
from tests.llm.upstream_rig import rig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_request_whose_kept_alive_connection_dies_unanswered_is_sent_again(end):
    async with rig() as to:
        stale = await to.kept_alive()
        told, _ = to.send(b"second")
        assert await stale.request() == b"second"
        getattr(stale, end)()
        fresh = await to.server.accept()
        assert await fresh.answer(ok(b"yes")) == b"second"
        await told.until("end")
        assert (told.body, to.upstreams.counters.resent) == (b"yes", 1)


async def test_it_is_sent_again_once_only():
    async with rig() as to:
        stale = await to.kept_alive()
        told, _ = to.send()
        await stale.request()
        stale.close()
        fresh = await to.server.accept()
        await fresh.request()
        fresh.close()
        await told.until("failure")
        assert isinstance(told.error, UpstreamFailed)
        assert (told.sent, told.answered) == (True, False)
        assert len(to.server.peers) == 2


async def test_it_is_sent_again_on_a_new_connection_not_on_another_kept_one():
    async with rig() as to:
        (first, _), (second, _) = to.send(b"1"), to.send(b"2")
        peers = {await (p := await to.server.accept()).request(): p for _ in range(2)}
        for told, body in ((first, b"1"), (second, b"2")):
            peers[body].send(ok())
            await told.until("end")
        told, _ = to.send(b"3")
        assert await peers[b"2"].request() == b"3"
        peers[b"2"].close()
        fresh = await to.server.accept()
        assert await fresh.answer(ok()) == b"3"
        await told.until("end")
        assert to.upstreams.idle == 2


async def test_it_waits_for_a_new_connection_as_long_as_any_other():
    async with rig() as to:
        stale = await to.kept_alive()
        told, _ = to.send()
        await stale.request()
        to.pass_time(15)  # three times as long as a connection may take
        stale.close()
        await eventually(lambda: to.upstreams.counters.resent == 1)
        to.pass_time(0)
        await (await to.server.accept()).answer(ok())
        await told.until("end")


async def test_it_is_not_sent_again_where_one_byte_came_back():
    async with rig() as to:
        stale = await to.kept_alive()
        told, _ = to.send()
        await stale.request()
        stale.send(b"H")
        stale.close()
        await told.until("failure")
        assert (told.sent, told.answered) == (True, True)
        assert len(to.server.peers) == 1


async def test_it_is_not_sent_again_where_the_caller_has_left():
    async with rig() as to:
        stale = await to.kept_alive()
        told, sending = to.send()
        await stale.request()
        sending.cancel()
        assert await stale.left() == b""
        await to.kept_alive()
        assert told.calls == []
        assert len(to.server.peers) == 2


async def test_a_large_request_is_sent_again_byte_for_byte():
    body = bytes(range(256)) * 20_000
    async with rig() as to:
        stale = await to.kept_alive()
        told, _ = to.send(body)
        await stale.head()
        stale.reset()
        fresh = await to.server.accept()
        assert await fresh.answer(ok()) == body
        await told.until("end")


async def test_one_that_waits_to_be_sent_again_may_leave():
    may = asyncio.Event()

    async def when_it_may(host, port):
        await may.wait()
        return [host]

    async with rig(look_up=when_it_may) as to:
        may.set()
        stale = await to.kept_alive()
        may.clear()
        to.now += REMEMBERED_S
        told, sending = to.send()
        await stale.request()
        stale.close()
        await eventually(lambda: to.upstreams.counters.resent == 1)
        sending.cancel()
        may.set()
        peer = await to.server.accept()  # which was being made, and is kept
        next_one, _ = to.send(b"next")
        assert await peer.answer(ok()) == b"next"
        await next_one.until("end")
        assert told.calls == []


async def test_a_close_that_nobody_has_noticed_yet_is_seen_before_a_request_is_sent():
    async with rig() as to:
        stale = await to.kept_alive()
        stale.at_once()
        told, _ = to.send(b"second")
        fresh = await to.server.accept()
        assert await fresh.answer(ok()) == b"second"
        await told.until("end")
        assert to.upstreams.counters.resent == 0
        assert await stale.left() == b""


async def test_an_answer_that_nobody_asked_for_is_nobodys_answer():
    forged = ok(b"forged")
    async with rig() as to:
        # Before the next request is sent, unread or read; and with the answer before it.
        unread = await to.kept_alive()
        unread.at_once(forged)
        told, _ = to.send(b"second")
        peer = await to.server.accept()
        assert await peer.answer(ok(b"right")) == b"second"
        await told.until("end")
        assert told.body == b"right"

        peer.send(forged)
        assert await peer.left() == b""
        await eventually(lambda: to.upstreams.open == 0)

        told, _ = to.send(b"third")
        third, _ = to.send(b"fourth")
        peers = {await (p := await to.server.accept()).request(): p for _ in range(2)}
        peers[b"third"].send(ok(b"right") + forged)
        await told.until("end")
        assert told.body == b"right"
        assert await peers[b"third"].left() == b""
        peers[b"fourth"].send(ok(b"right too"))
        await third.until("end")
        assert third.body == b"right too"
        assert to.upstreams.counters.unfit == 2


async def test_a_connection_that_is_gone_is_forgotten_without_a_collector():
    async with rig() as to:
        peer = await to.kept_alive()
        (connection,) = next(iter(to.upstreams._pools.values()))._open
        told, _ = to.send()
        await peer.answer(ok(b"second", b"connection: close"))
        await told.until("end")
        gc.disable()
        try:
            held = [connection, connection._answer]
            del connection
            await eventually(lambda: getrefcount(held[0]) == 2)  # the list's, and the argument
            del held[0]
            await eventually(lambda: getrefcount(held[0]) == 2)
        finally:
            gc.enable()
