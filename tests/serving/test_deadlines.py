"""Riders whose time runs out."""

from __future__ import annotations

import pytest

from gateway.errors import DeadlineUnmeetable
from tests.serving.fakes import ANY_LENGTH, Room

TEN_MS = {1: 0.010, 2: 0.010, 100: 0.010}


def test_a_request_that_cannot_be_answered_in_time_is_refused_on_arrival():
    room = Room(cost=TEN_MS)
    with pytest.raises(DeadlineUnmeetable, match="Request timeout expired: 5 ms left"):
        room.submit(1, timeout=0.005)
    assert room.batcher.queued_rows == 0


def test_a_request_that_can_just_be_answered_in_time_is_taken():
    room = Room(cost=TEN_MS)
    client = room.submit(1, timeout=0.011)
    room.run_all()
    assert client.answers == [[10]]


def test_the_rest_of_the_running_batch_counts_against_a_deadline():
    room = Room(cost=TEN_MS)
    room.submit(1)
    room.loop.settle()
    with pytest.raises(DeadlineUnmeetable):
        room.submit(2, timeout=0.015)
    room.loop.advance(0.006)
    room.submit(3, timeout=0.015)


def test_full_batches_ahead_count_against_a_deadline():
    room = Room(cost=TEN_MS, max_batch_size=2)
    for _ in range(2):
        room.submit(1, 1)
    with pytest.raises(DeadlineUnmeetable):
        room.submit(2, timeout=0.025)
    room.submit(2, timeout=0.035)


def test_several_instances_shorten_the_wait():
    room = Room(cost=TEN_MS, max_batch_size=2, instances=2)
    for _ in range(2):
        room.submit(1, 1)
    room.submit(2, timeout=0.025)


def test_only_rows_that_go_before_count():
    room = Room(cost=TEN_MS, max_batch_size=2)
    for _ in range(2):
        room.submit(1, 1)
    room.submit(2, timeout=0.015, priority=1)
    with pytest.raises(DeadlineUnmeetable):
        room.submit(2, timeout=0.015, priority=9)


def test_a_model_without_history_refuses_nobody_on_arrival():
    room = Room()
    client = room.submit(1, timeout=0.001)
    room.run_all()
    assert client.answers == [[10]]


def slow_at_warm_up(**settings) -> Room:
    """A model of which each run has taken a second so far, and takes a millisecond from now on."""
    room = Room(cost={1: 1.0, 2: 1.0}, **settings)
    room.runtime.seconds = 0.001
    return room


def test_a_model_that_was_slow_and_is_fast_now_is_found_out():
    room = slow_at_warm_up(timeout_ms=100)
    with pytest.raises(DeadlineUnmeetable):
        room.submit(1)
    room.clock.now += 20
    probe = room.submit(1)
    with pytest.raises(DeadlineUnmeetable):
        room.submit(2)
    room.run_all()
    later = room.submit(3, 4)
    room.run_all()
    assert (probe.answers, later.answers) == ([[10]], [[30, 40]])


def test_an_idle_model_that_is_still_too_slow_is_tried_a_tenth_of_the_time_at_most():
    room = Room(cost={1: 1.0, 2: 1.0}, timeout_ms=100)
    room.runtime.seconds = 1.0
    end = room.clock.now + 100
    while room.clock.now < end:
        try:
            room.submit(1)
        except DeadlineUnmeetable:
            room.clock.now += 0.5
        room.run_all()
    assert 5 <= len(room.runtime.runs) <= 10


def test_a_model_that_works_is_not_tried_out():
    room = slow_at_warm_up()
    room.submit(1)
    room.loop.settle()
    for _ in range(3):
        room.clock.now += 20
        with pytest.raises(DeadlineUnmeetable):
            room.submit(2, timeout=0.1)


def test_a_deadline_that_is_over_tries_nothing_out():
    room = slow_at_warm_up()
    for _ in range(3):
        with pytest.raises(DeadlineUnmeetable):
            room.submit(2, timeout=-0.1)
        room.clock.now += 20


def test_a_deadline_that_is_already_over_is_refused_on_arrival():
    with pytest.raises(DeadlineUnmeetable):
        Room().submit(1, timeout=-0.001)


def test_a_delay_is_cut_short_for_a_deadline():
    room = Room(cost=TEN_MS, max_queue_delay_ms=1000)
    patient, hurried = room.submit(1), room.submit(2, timeout=0.050)
    room.loop.advance(0.030)
    assert room.executor.waiting == []
    room.loop.advance(0.009)
    room.run_all()
    assert (patient.answers, hurried.answers) == ([[10]], [[20]])
    assert (room.sizes, room.reasons) == ([2], ["delay"])


def test_an_expired_rider_is_refused_when_it_is_met():
    room = Room()
    room.submit(1)
    room.loop.settle()
    late, patient = room.submit(2, timeout=0.010), room.submit(3)
    room.clock.now += 0.020
    room.run_all()
    assert (late.answers, patient.answers) == (["deadline_expired"], [[30]])
    assert "Request timeout expired" in str(room.refused[0][1])


def test_an_expired_rider_is_refused_in_time_though_no_slot_comes_free():
    room = Room()
    room.submit(1)
    room.loop.settle()
    clients = [room.submit(n, timeout=0.010 * n) for n in (1, 2, 3)]
    room.loop.advance(0.010)
    assert [client.answers for client in clients] == [["deadline_expired"], [], []]
    room.loop.advance(0.010)
    assert [client.answers for client in clients] == [["deadline_expired"]] * 2 + [[]]
    assert room.batcher.queued_rows == 1


def test_deadlines_close_together_are_looked_at_together():
    room = Room()
    room.submit(1)
    room.loop.settle()
    clients = [room.submit(n, timeout=0.010 + n * 1e-4) for n in range(10)]
    room.loop.advance(0.0101)
    assert sum(len(client.answers) for client in clients) == 1
    room.loop.advance(0.005)
    assert [client.answers for client in clients] == [["deadline_expired"]] * 10


def test_the_models_own_timeout_bounds_everybody():
    room = Room(timeout_ms=10)
    room.submit(1)
    room.loop.settle()
    client = room.submit(2)
    room.loop.advance(0.011)
    assert client.answers == ["deadline_expired"]


def test_a_request_may_shorten_the_models_timeout_but_not_lengthen_it():
    room = Room(timeout_ms=10)
    room.submit(1)
    room.loop.settle()
    short, long = room.submit(2, timeout=0.005), room.submit(3, timeout=60)
    room.loop.advance(0.006)
    assert (short.answers, long.answers) == (["deadline_expired"], [])
    room.loop.advance(0.005)
    assert long.answers == ["deadline_expired"]


def test_riders_of_any_shape_are_refused_when_their_time_is_over():
    room = Room(ANY_LENGTH)
    room.submit(1)
    room.loop.settle()
    clients = [room.submit(1, length=length, timeout=0.010) for length in (2, 3, 4)]
    room.loop.advance(0.010)
    assert [client.answers for client in clients] == [["deadline_expired"]] * 3
    assert room.batcher.queued_rows == 0


def test_a_rider_that_left_is_dropped_with_the_expired():
    room = Room()
    room.submit(1)
    room.loop.settle()
    gone = room.submit(2)
    room.submit(3, timeout=0.010)
    gone.leave()
    room.loop.advance(0.010)
    assert (room.left, gone.answers, room.batcher.queued_rows) == (1, [], 0)


def test_a_refusal_that_fails_does_not_keep_the_others_from_theirs(caplog):
    room = Room()
    room.submit(1)
    room.loop.settle()
    for _ in range(2):
        room.submit(2, timeout=0.010)
    refused = []

    def refuse(rider, error):
        refused.append(rider)
        raise KeyError("lost")

    room.refuse = refuse
    room.loop.advance(0.010)
    assert len(refused) == 2
    assert "refusing a request failed" in caplog.text


def test_expired_riders_do_not_keep_a_leaving_deployment():
    room = Room(max_queue_delay_ms=1000)
    room.submit(1, timeout=0.010)
    room.clock.now += 0.020
    done = []
    room.batcher.drain(lambda: done.append(True))
    room.loop.settle()
    assert (done, len(room.refused), room.batches) == ([True], 1, [])
