"""A waiting room that is emptied or given up."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.serving.riders import Batch
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


def room_that_answers_later() -> tuple[Room, list[Batch]]:
    """Its answers are written when a test calls `batcher.answered`."""
    room = Room(max_batch_size=1)
    unwritten: list[Batch] = []

    def deliver(batch: Batch) -> None:
        room.batcher.answers_later(batch)
        unwritten.append(batch)

    room.deliver = deliver
    return room, unwritten


def test_draining_waits_for_answers_that_are_written_elsewhere():
    room, unwritten = room_that_answers_later()
    room.submit(1)
    done: list[bool] = []
    room.batcher.drain(lambda: done.append(True))
    room.run_all()
    assert (room.batcher.running, room.batcher.riding, done) == (0, 1, [])
    room.batcher.answered(unwritten.pop())
    room.loop.settle()
    assert (room.batcher.riding, done) == (0, [True])


def test_outputs_that_wait_to_be_written_do_not_pile_up():
    room, unwritten = room_that_answers_later()
    for n in range(10):
        room.submit(n)
    room.run_all()
    room.loop.advance(0.1)
    # The second run had begun before the first one's answer was known to be large.
    assert (len(unwritten), room.batcher.queued_rows) == (2, 8)
    written = 0
    while unwritten:
        room.batcher.answered(unwritten.pop())
        written += 1
        room.run_all()
        assert len(unwritten) <= 2
    assert (written, room.batcher.queued_rows) == (10, 0)


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
