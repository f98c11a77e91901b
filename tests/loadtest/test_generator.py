"""The load generator keeps to its schedule, measures from it, and counts every ending."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.bodies import write_pool
from loadtest.flow import Stream
from loadtest.generator import Load, Spec, generate
from loadtest.tally import failed
from tests.loadtest.server import BUSY, LAST, OK, SmallServer

BODIES = [b"body %d" % number for number in range(1000)]


@pytest.fixture
def pool(tmp_path) -> str:
    return str(write_pool(tmp_path / "bodies.pool", BODIES, {}).path)


def load(server: SmallServer, pool: str, seconds: float = 30.0, **options: Any) -> dict[str, Any]:
    stream = Stream("s", server.port, "/infer", pool, **options)
    done: dict[str, Any] = generate(Spec([stream], seconds, spin=False))["streams"]["s"]
    return done


def test_an_open_loop_offers_its_rate_whatever_the_server_does(pool):
    with SmallServer() as server:
        done = load(server, pool, 0.4, mode="open", rate=500.0, arrivals="uniform", connections=8)
    assert done["sent"] == 200
    assert done["ok"] == 200


def test_a_stall_shows_in_every_arrival_that_was_due_while_it_lasted(pool):
    def stalls_once(number: int) -> bytes:
        if number == 100:
            time.sleep(0.1)
        return OK % number

    with SmallServer(stalls_once) as server:
        done = load(server, pool, 0.4, mode="open", rate=500.0, arrivals="uniform", connections=2)
    # 50 of 200 arrivals were due in the stall and waited 50 ms on average; both connections were
    # taken, so a clock started at the moment of sending would have seen two slow answers.
    assert done["ok"] == 200
    assert done["latency_ms"]["p90"] > 40
    assert done["latency_ms"]["p99"] > 80


def test_a_closed_loop_keeps_one_request_out_on_each_connection(pool):
    with SmallServer() as server:
        done = load(server, pool, connections=3, max_requests=500)
        assert server.connections == 3
    assert done["ok"] == done["sent"] == len(server.bodies) == 500


def test_bodies_are_sent_in_turn(pool):
    with SmallServer() as server:
        load(server, pool, connections=1, max_requests=300)
    assert server.bodies == BODIES[:300]


def test_refusals_are_counted_apart_and_do_not_flatter_latency(pool):
    with SmallServer(lambda n: BUSY if n % 2 else OK % n) as server:
        done = load(server, pool, connections=1, max_requests=100)
    assert done["statuses"] == {"200": 50, "503": 50}
    assert done["refused_ms"]["max"] > 0
    assert failed(done) == 50


def test_a_lost_connection_counts_its_request_and_is_replaced(pool):
    with SmallServer(lambda n: None if n == 10 else OK % n) as server:
        done = load(server, pool, connections=1, max_requests=50, identify=True)
    assert (done["cut"], done["ok"]) == (1, 49)
    assert done["cut_at"] == {"host-0-1": 1}
    assert done["seen"]["host-0-1"][2] == 49
    assert server.connections == 2


def test_a_server_that_says_close_loses_no_request(pool):
    with SmallServer(lambda n: LAST if n % 10 == 9 else OK % n) as server:
        done = load(server, pool, connections=2, max_requests=100)
    assert (done["ok"], failed(done)) == (100, 0)


def test_silence_is_a_timeout_and_enters_the_percentiles(pool):
    with SmallServer(lambda n: b"" if n == 0 else OK % n) as server:
        done = load(server, pool, connections=1, max_requests=2, timeout_s=0.5)
    assert (done["timeouts"], done["ok"]) == (1, 1)
    assert done["latency_ms"]["max"] > 490


def test_clients_that_hang_up_are_counted_and_not_as_failures(pool):
    with SmallServer() as server:
        done = load(server, pool, connections=4, max_requests=400, hang_up=0.25)
    assert 50 < done["hang_ups"] < 150
    assert done["ok"] + done["hang_ups"] == done["sent"] == 400
    assert failed(done) == 0


def test_an_answer_that_is_not_http_is_counted(pool):
    with SmallServer(lambda n: b"nonsense\r\n\r\n" if n == 3 else OK % n) as server:
        done = load(server, pool, connections=1, max_requests=10)
    assert (done["bad_answers"], done["ok"]) == (1, 9)


def test_idle_connections_are_answered_once_and_then_keep_silent(pool):
    with SmallServer() as server:
        idle = Stream("idle", server.port, "/", pool, mode="idle", connections=100)
        busy = Stream("busy", server.port, "/", pool, connections=2, max_requests=50)
        done = generate(Spec([idle, busy], 1.0, spin=False))["streams"]
        assert server.connections == 102
    assert len(server.bodies) == 150
    assert done["idle"]["open"] == 100


def test_the_start_is_told_on_this_machines_clock(pool):
    with SmallServer() as server:
        running = Load(Spec([Stream("s", server.port, "/", pool, connections=1)], 0.1, spin=False))
        try:
            asked = time.perf_counter()
            assert asked <= running.started() <= time.perf_counter()
        finally:
            running.stop()


def test_a_pool_that_was_cut_short_is_refused(tmp_path: Path):
    from loadtest.bodies import read_pool

    path = tmp_path / "pool"
    path.write_bytes(b"5\nhello9\nshort")
    with pytest.raises(ValueError, match="the body at byte 9 is cut short"):
        read_pool(path)
