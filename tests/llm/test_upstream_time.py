"""What requests to upstreams wait for, and for how long: by a clock that the tests set."""

from __future__ import annotations

import asyncio

import pytest
import uvloop

from gateway.errors import UpstreamTimedOut
from gateway.llm.upstream.connection import EVENTS_BYTES
from gateway.llm.upstream.words import Limits
from tests.llm.scripted import CHUNKED, LAST_CHUNK, PATIENCE_S, Told, chunk, eventually, ok
from tests.llm.upstream_rig import rig

pytestmark = pytest.mark.anyio


async def test_a_name_that_is_looked_up_for_long_times_out_unsent():
    answered = asyncio.Event()

    async def slowly(host, port):
        await answered.wait()
        return [host]

    async with rig(look_up=slowly) as to:
        told, _ = to.send()
        to.pass_time(4.9)
        assert not told.over
        to.pass_time(0.1)
        await told.until("failure")
        assert isinstance(told.error, UpstreamTimedOut)
        assert (told.sent, told.answered) == (False, False)
        answered.set()
        again, _ = to.send()
        await (await to.server.accept()).answer(ok())
        await again.until("end")


async def test_a_wait_in_line_times_out_and_the_others_stay_in_it():
    async with rig(max_connections=1) as to:
        first, _ = to.send(b"1")
        peer = await to.server.accept()
        await peer.request()
        second, _ = to.send(b"2")
        to.pass_time(3)
        third, _ = to.send(b"3")
        to.pass_time(2)
        await second.until("failure")
        assert isinstance(second.error, UpstreamTimedOut)
        assert "for a connection" in str(second.error)
        peer.send(ok())
        await first.until("end")
        assert await peer.answer(ok()) == b"3"
        await third.until("end")


async def test_a_head_that_does_not_come_times_out_though_some_of_it_drips():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(b"HTTP/1.1 200 OK\r\n")
        await eventually(lambda: to.upstreams.counters.opened == 1)
        to.pass_time(19.9)
        assert not told.over
        to.pass_time(20.1)
        assert isinstance(told.error, UpstreamTimedOut)
        assert "to begin" in str(told.error)
        assert await peer.left() == b""


async def test_a_head_that_drips_without_end_times_out():
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.answer(b"HTTP/1.1 200 OK\r\n")
        for number in range(30):
            if told.over:
                break
            sending.answered = False  # set again by the next byte
            peer.send(b"x-%d: y\r\n" % number)
            await eventually(lambda: sending.answered)
            to.pass_time(1)
        assert isinstance(told.error, UpstreamTimedOut)
        assert to.now == 1020


async def test_an_answer_that_stalls_times_out_and_one_that_goes_on_does_not():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED)
        for number in range(1, 4):
            peer.send(chunk(b"data"))
            await told.until_body(4 * number)
            to.pass_time(9)
        assert not told.over
        to.pass_time(1)
        assert isinstance(told.error, UpstreamTimedOut)
        assert "10 s for the next piece" in str(told.error)
        assert (told.sent, told.answered) == (True, True)
        assert await peer.left() == b""


async def test_while_an_answer_is_paused_its_upstream_is_not_late():
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED)
        await told.until("head")
        sending.pause()
        to.pass_time(30)
        assert not told.over
        sending.resume()
        to.pass_time(9.9)
        assert not told.over
        to.pass_time(10)
        assert isinstance(told.error, UpstreamTimedOut)


async def test_an_answer_that_drips_without_end_times_out():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED)
        for number in range(1, 12):
            if told.over:
                break
            peer.send(chunk(b"data"))
            await told.until_body(4 * number)
            to.pass_time(6)
        assert isinstance(told.error, UpstreamTimedOut)
        assert "60 s for its whole answer" in str(told.error)
        assert to.now == 1060


async def test_an_upstream_that_does_not_read_the_request_times_out():
    async with rig() as to:
        told, _ = to.send(b"x" * 64_000_000)
        peer = await to.server.accept()
        await peer.head()
        peer.stop_reading()
        async with asyncio.timeout(PATIENCE_S):
            while not told.over:  # until what there are buffers for has left, time brings nothing
                await asyncio.sleep(0)
                to.now -= 10
                to.pass_time(10)
        assert "10 s for taking the request" in str(told.error)


async def test_a_request_that_is_read_slowly_is_not_late():
    async with rig() as to:
        told, _ = to.send(b"x" * 64_000_000)
        peer = await to.server.accept()
        await peer.head()
        for _ in range(4):
            to.pass_time(9)
            async with asyncio.timeout(PATIENCE_S):
                await peer._reader.readexactly(12_000_000)
        assert not told.over


async def test_connections_that_nobody_uses_are_closed_after_a_while():
    async with rig(Limits(keep_alive_s=30)) as to:
        peer = await to.kept_alive()
        to.pass_time(29.9)
        assert to.upstreams.idle == 1
        to.pass_time(0.1)
        assert await peer.left() == b""
        await eventually(lambda: to.upstreams.open == 0)
        assert to.upstreams.idle == 0


async def test_the_sweep_goes_round_by_itself_and_stops_when_there_is_nothing():
    async with rig(Limits(keep_alive_s=30)) as to:
        peer = await to.kept_alive()
        to.now += 31
        assert await peer.left() == b""
        await eventually(lambda: to.upstreams._timer is None)
        await to.kept_alive()
        assert to.upstreams._timer is not None


async def test_a_paused_answer_is_not_read_and_goes_on_where_it_stopped():
    body = bytes(range(256)) * 100_000
    async with rig() as to:
        told, sending = to.send()
        told.on_head = lambda *_: sending.pause()  # type: ignore[method-assign]
        peer = await to.server.accept()
        await peer.answer(ok(body))
        other = await to.kept_alive()  # whatever was on its way has been read by now
        held = len(told.body)
        again, _ = to.send()
        await other.answer(ok())
        await again.until("end")
        assert len(told.body) == held < len(body)
        assert peer.writer.transport.get_write_buffer_size() > 0
        sending.resume()
        await told.until("end")
        assert told.body == body


async def test_a_late_worker_holds_answers_apart_by_whether_somebody_waits_for_them():
    async with rig() as to:
        told, sending = to.send()
        peer = await to.server.accept()
        await peer.request()
        (held,) = to.upstreams.answering(awaited=True)
        assert to.upstreams.answering(awaited=False) == []
        sending.awaited = False
        assert to.upstreams.answering(awaited=False) == [held]
        assert held.hold_reading()
        assert not held.hold_reading()
        peer.send(ok(b"one"))
        other = await to.kept_alive()  # whatever was on its way would have been read by now
        to.pass_time(50)
        assert told.calls == []
        sending.pause()
        held.resume_reading()
        again, _ = to.send()
        await other.answer(ok())
        await again.until("end")
        assert told.calls == []  # its caller holds it still
        sending.resume()
        await told.until("end")
        assert to.upstreams.answering(awaited=True) == []
        assert not held.hold_reading()


class Turns:
    """How much of an answer is told within one turn of the loop, from now until it is over."""

    def __init__(self, told: Told) -> None:
        self.most = self._before = 0
        self._told = told
        self._turn()

    def _turn(self) -> None:
        length = self._told.length
        self.most, self._before = max(self.most, length - self._before), length
        if not self._told.over:
            asyncio.get_running_loop().call_soon(self._turn)


def test_an_answer_has_one_read_of_a_turn_of_the_loop_however_much_of_it_is_there():
    async def most_of_a_turn() -> int:
        async with rig() as to:
            told, _ = to.send()
            turns = Turns(told)
            peer = await to.server.accept()
            await peer.answer(ok(bytes(20_000_000)))
            await told.until("end")
            assert told.length == 20_000_000
            return turns.most

    assert 0 < uvloop.run(most_of_a_turn()) <= 256_000


def test_of_a_stream_of_tiny_events_little_is_told_in_one_turn_and_all_in_the_end():
    body = b": x\n\n" * 100_000

    async def most_of_a_turn() -> int:
        async with rig() as to:
            told, _ = to.send()
            turns = Turns(told)
            peer = await to.server.accept()
            await peer.answer(CHUNKED + chunk(body) + LAST_CHUNK)
            await told.until("end")
            assert told.body == body
            again, _ = to.send(b"2")  # the connection is good for the next
            assert await peer.answer(ok(b"two")) == b"2"
            await again.until("end")
            return turns.most

    assert 0 < uvloop.run(most_of_a_turn()) <= EVENTS_BYTES


async def test_of_a_stream_that_is_paused_no_more_is_told_until_it_goes_on():
    async with rig() as to:
        told, sending = to.send()
        pieces = []

        def pause(data):
            pieces.append(data)
            sending.pause()

        told.on_data = pause  # type: ignore[method-assign]
        peer = await to.server.accept()
        body = bytes(range(256)) * 128
        await peer.answer(CHUNKED + chunk(body) + LAST_CHUNK)
        for number in range(1, len(body) // EVENTS_BYTES + 1):
            await eventually(lambda number=number: len(pieces) == number)
            for _ in range(5):
                await asyncio.sleep(0)
            assert len(pieces) == number
            sending.resume()
        await told.until("end")
        assert b"".join(pieces) == body


async def test_a_stream_that_is_cancelled_with_more_to_be_told_is_told_no_more():
    async with rig() as to:
        told, sending = to.send()
        pieces = []

        def cancel(data):
            pieces.append(data)
            sending.cancel()

        told.on_data = cancel  # type: ignore[method-assign]
        peer = await to.server.accept()
        await peer.answer(CHUNKED + chunk(bytes(30_000)))
        assert await peer.left() == b""
        assert [len(data) for data in pieces] == [EVENTS_BYTES]
        assert not told.over


async def test_what_follows_the_end_of_a_stream_is_nobodys_answer():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.answer(CHUNKED + chunk(bytes(30_000)) + LAST_CHUNK + ok(b"stray"))
        await told.until("end")
        assert told.length == 30_000
        second, _ = to.send(b"2")
        await (await to.server.accept()).answer(ok(b"two"))
        await second.until("end")
        assert second.body == b"two"


async def test_a_connection_whose_answer_was_paused_last_is_read_again():
    async with rig() as to:
        told, sending = to.send()
        told.on_data = lambda data: sending.pause()  # type: ignore[method-assign]
        peer = await to.server.accept()
        await peer.answer(ok(b"one"))
        await told.until("end")
        second, _ = to.send(b"2")
        assert await peer.answer(ok(b"two")) == b"2"
        await second.until("end")


async def test_after_draining_begins_answers_end_and_connections_do_not_stay():
    async with rig() as to:
        idle = await to.kept_alive()
        (told, _), (other, _) = to.send(b"1"), to.send(b"2")
        await idle.request()
        busy = await to.server.accept()
        await busy.request()
        to.upstreams.drain()
        assert not told.over
        idle.send(ok(b"one"))
        await told.until("end")
        assert await idle.left() == b""
        busy.send(ok(b"two"))
        await other.until("end")
        retried, _ = to.send(b"3")
        await (await to.server.accept()).answer(ok(b"three"))
        await retried.until("end")
        await eventually(lambda: to.upstreams.open == 0)


async def test_an_origin_that_is_not_followed_finishes_what_is_under_way():
    async with rig() as to:
        idle = await to.kept_alive()
        told, _ = to.send(b"1")
        other, _ = to.send(b"2")
        peer = await to.server.accept()
        await idle.request()
        await peer.request()
        idle.send(ok(b"one"))
        await told.until("end")
        to.upstreams.follow([])
        assert await idle.left() == b""
        peer.send(CHUNKED + chunk(b"two"))
        await other.until_body(3)
        to.pass_time(9)
        assert not other.over
        peer.send(LAST_CHUNK)
        await other.until("end")
        await eventually(lambda: to.upstreams.open == 0)


async def test_an_origin_that_is_not_followed_still_times_out():
    async with rig() as to:
        told, _ = to.send()
        peer = await to.server.accept()
        await peer.request()
        to.upstreams.follow([])
        to.pass_time(20)
        assert isinstance(told.error, UpstreamTimedOut)
        assert await peer.left() == b""
