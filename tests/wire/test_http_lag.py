"""A worker that is late stops reading before it drowns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import cast

from gateway.exchange import Exchange
from gateway.wire.http import Lane
from gateway.wire.lag import BUSY_INTERVAL_S, CALM_LOOKS, SPARE_PORTION, LagGuard
from gateway.wire.services import Connection
from tests.wire.http_rig import post, rig


def test_a_late_worker_stops_reading_and_goes_on_when_it_has_caught_up():
    with rig(max_loop_lag_ms=10) as server:
        clients = [server.connect() for _ in range(3)]
        for client in clients:
            client.send(post("/echo", b"x")).answer()
        lanes = server.call(lambda: list(server.services.connections))

        def slow(exchange: Exchange) -> None:
            time.sleep(0.05)
            exchange.reply(200, b"slow")

        server.services.endpoints[b"/slow"] = slow
        assert clients[0].send(post("/slow", b"x")).answer().body == b"slow"
        assert server.reached(lambda: server.counters.numbers["paused"] >= 1)
        for client in clients:
            assert client.send(post("/echo", b"y")).answer().body == b"y"
        assert server.reached(lambda: not server.services.lag.late)
        assert not any(server.call(lambda lane=lane: lane.flow.read_paused) for lane in lanes)


def test_a_worker_in_time_never_stops_reading():
    with rig(max_loop_lag_ms=2000) as server:
        for number in range(200):
            server.connect().send(post("/echo", b"%d" % number)).answer()
        assert server.counters.numbers["paused"] == 0


def test_a_worker_that_is_never_in_time_takes_new_connections():
    with rig(max_loop_lag_ms=1_000_000) as server:  # nobody is released before the test is over
        server.connect().send(post("/held", b"x"))
        held = server.next_held()
        server.call(server.services.lag._hold)
        assert server.services.lag.late
        some = [server.connect().send(post("/echo", b"%d" % number)) for number in range(10)]
        assert [one.answer().body for one in some] == [b"%d" % number for number in range(10)]
        assert server.services.lag.late
        server.call(held.reply, 200, b"y")


def test_idle_connections_are_left_alone():
    with rig(max_loop_lag_ms=10_000, header_timeout_s=0.2) as server:
        busy, idle = server.connect(), server.connect()
        for client in (busy, idle):
            client.send(post("/echo", b"x")).answer()
        quiet = server.services.sweep.round_s * 2
        assert idle.silent(quiet)
        busy.send(post("/held", b"x"))
        held = server.next_held()

        def scenario() -> int:
            server.services.lag._hold()
            lanes = [one for one in server.services.connections if isinstance(one, Lane)]
            return sum(lane.flow.read_paused for lane in lanes)

        assert server.call(scenario) == 1
        server.call(held.reply, 200, b"y")
        assert busy.answer().body == b"y"


def test_a_connection_that_is_held_for_long_is_read_again():
    with rig(max_loop_lag_ms=10_000) as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()

        def scenario() -> bool:
            services = server.services
            services.lag._hold()
            services.now += 60.0  # it cannot have sent anything: it is not read
            services.lag._hold()
            (lane,) = [one for one in services.connections if isinstance(one, Lane)]
            held: bool = lane.flow.read_paused
            services.lag._release(128)
            return held and not lane.flow.read_paused

        assert server.call(scenario)
        assert client.send(post("/echo", b"y")).answer().body == b"y"


def test_all_are_held_at_once_and_released_in_portions():
    with rig(max_loop_lag_ms=10_000) as server:
        lag = server.services.lag
        fakes = [FakeConnection() for _ in range(300)]
        connections: list[Connection] = [*fakes]

        def scenario() -> list[int]:
            server.services.connections.update(connections)
            lag._hold()
            seen = [sum(one.held for one in fakes)]
            while lag.late:
                lag._release(128)
                seen.append(sum(one.held for one in fakes))
            server.services.connections.difference_update(connections)
            return seen

        assert server.call(scenario) == [300, 172, 44, 0]


def test_answers_are_held_too_and_those_that_nobody_waits_for_go_on_last():
    with rig(max_loop_lag_ms=10_000) as server:
        lag = server.services.lag
        clients, awaited, spare = ([FakeConnection() for _ in range(n)] for n in (130, 40, 6))
        connections: list[Connection] = [*clients]

        def held() -> tuple[int, ...]:
            return tuple(sum(one.held for one in kind) for kind in (clients, awaited, spare))

        def scenario() -> list[tuple[int, ...]]:
            lag.watch(lambda: awaited, lambda: spare)
            server.services.connections.update(connections)
            lag._hold()
            seen = [held()]
            while any(seen[-1]):
                lag._release(128)
                seen.append(held())
            server.services.connections.difference_update(connections)
            return seen

        assert server.call(scenario) == [(130, 40, 6), (2, 8, 6), (0, 0, 6), (0, 0, 2), (0, 0, 0)]


def test_a_client_is_answered_while_answers_that_nobody_waits_for_keep_the_worker_busy():
    with rig(max_loop_lag_ms=10) as server:
        client = server.connect()
        client.send(post("/echo", b"x")).answer()
        endless = Endless(server.call(asyncio.get_running_loop))

        def begin() -> None:
            server.services.lag.watch(lambda: (), lambda: [endless])
            endless.resume_reading()

        server.call(begin)
        try:
            for number in range(20):
                body = b"%d" % number
                assert client.send(post("/echo", body)).answer().body == body
            assert server.reached(lambda: endless.holds >= 3)
        finally:
            server.call(endless.end)


class Clock:
    """A loop of which each timer is as late as it is told to be."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def time(self) -> float:
        return self.now

    def call_later(self, pause_s: float, look: Callable[[], None]) -> object:
        self.pauses.append(pause_s)
        self._look = look
        return object()

    def turn(self, late_s: float = 0.0) -> float:
        """The timer fires; gives the seconds to the next."""
        self.now += self.pauses[-1] + late_s
        self._look()
        return self.pauses[-1]


def test_a_worker_that_is_always_in_time_is_looked_at_more_seldom_until_it_is_late():
    with rig(max_loop_lag_ms=20) as server:
        lag, clock = LagGuard(server.services), Clock()
        lag.start(cast(asyncio.AbstractEventLoop, clock))
        assert {clock.turn() for _ in range(CALM_LOOKS - 1)} == {0.01}
        assert [clock.turn(), clock.turn(0.009)] == [0.04, 0.04]
        assert clock.turn(0.011) == 0.01, "a turn as long as a look's interval"
        assert {clock.turn() for _ in range(CALM_LOOKS - 1)} == {0.01}
        assert clock.turn() == 0.04
        server.call(lambda: clock.turn(0.021))
        assert clock.pauses[-1] in (0.01, BUSY_INTERVAL_S)
        assert server.counters.numbers["paused"] == 1


def test_while_anybody_is_held_a_worker_is_not_taken_for_calm():
    with rig(max_loop_lag_ms=20) as server:
        lag, clock = LagGuard(server.services), Clock()
        spare = [FakeConnection() for _ in range(2 * SPARE_PORTION * CALM_LOOKS)]
        lag.watch(lambda: (), lambda: spare)
        lag.start(cast(asyncio.AbstractEventLoop, clock))
        server.call(lambda: clock.turn(0.021))
        while any(one.held for one in spare):
            assert clock.pauses[-1] == BUSY_INTERVAL_S
            clock.turn()
        assert clock.pauses[-1] == 0.01


class Endless:
    """An answer that never ends, and of which each piece takes long."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._read: asyncio.Handle | None = None
        self._ended = False
        self.holds = 0

    def _more(self) -> None:
        time.sleep(0.03)
        self._read = self._loop.call_soon(self._more)

    def hold_reading(self) -> bool:
        if self._read is None:
            return False
        self.holds += 1
        self._stop()
        return True

    def resume_reading(self) -> None:
        if not self._ended:
            self._read = self._loop.call_soon(self._more)

    def end(self) -> None:
        self._ended = True
        self._stop()

    def _stop(self) -> None:
        if self._read is not None:
            self._read.cancel()
            self._read = None


class FakeConnection:
    held = False
    idle = headless = False
    since = 0.0

    def hold_reading(self) -> bool:
        self.held = not self.idle
        return self.held

    def resume_reading(self) -> None:
        self.held = False

    def check(self, now: float) -> None:
        pass

    def close_if_idle(self) -> None:
        pass

    def close_at_once(self) -> None:
        pass
