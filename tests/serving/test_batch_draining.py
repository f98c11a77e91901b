"""A waiting room that is emptied or given up."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from tests.serving.fakes import Room


def test_draining_answers_who_waits_refuses_who_comes_and_tells_when_done():
    room = Room(max_queue_delay_ms=1000, max_batch_size=2)
    clients = [room.submit(n) for n in range(3)]
    done = []
    room.batcher.drain(lambda: done.append([client.answers for client in clients]))
    with pytest.raises(GatewayError, match="being unloaded"):
        room.submit(4)
    room.loop.settle()
    assert done == []
    room.run_all()
    assert done == [[[[0]], [[10]], [[20]]]]
    assert room.reasons == ["full", "drain"]


def test_draining_an_empty_room_is_done_at_once():
    room = Room()
    done = []
    room.batcher.drain(lambda: done.append(True))
    room.loop.settle()
    assert done == [True]


def test_draining_waits_for_riders_that_are_under_way_and_those_who_leave():
    room = Room()
    room.submit(1)
    room.loop.settle()
    gone = room.submit(2)
    done = []
    room.batcher.drain(lambda: done.append(len(room.batches)))
    room.loop.settle()
    gone.leave()
    assert done == []
    room.run_all()
    assert done == [1]


def test_abandoning_refuses_who_waits_and_lets_finish_what_runs():
    room = Room()
    running = room.submit(1)
    room.loop.settle()
    waiting = room.submit(2)
    done = []
    room.batcher.drain(lambda: done.append(True))
    assert room.batcher.abandon(GatewayError("over")) == 1
    assert (waiting.answers, done) == (["internal"], [])
    room.run_all()
    assert (running.answers, done) == ([[10]], [True])
