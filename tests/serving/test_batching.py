"""Who rides with whom, and when a batch goes."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from gateway.errors import BatchTooLarge, GatewayError, InvalidTensor, ModelFailed, QueueFull
from gateway.serving.batcher import Rider
from gateway.tensors import Signature, TensorSpec
from tests.serving.fakes import ANY_LENGTH, ONE_NUMBER, Client, Room

UNBATCHED = Signature(ONE_NUMBER.inputs, ONE_NUMBER.outputs, False)
TWO_OUTPUTS = Signature(
    ONE_NUMBER.inputs,
    (TensorSpec("y", "FP32", (-1, 1)), TensorSpec("z", "FP32", (-1, 1))),
    True,
)
SHORT = {1: 10e-6, 100: 20e-6}
LONG = {1: 1e-3, 100: 2e-3}


def test_everything_of_one_turn_rides_together():
    room = Room()
    clients = [room.submit(n) for n in range(3)]
    room.run_all()
    assert [client.answers for client in clients] == [[[0]], [[10]], [[20]]]
    assert (room.sizes, room.reasons) == ([3], ["idle"])


def test_submitting_never_runs_or_answers_anything_itself():
    room = Room(cost=SHORT, max_batch_size=1)
    client = room.submit(1)
    assert (client.answers, room.runtime.runs) == ([], [])


def test_each_rider_gets_its_own_rows():
    room = Room()
    one, three = room.submit(1), room.submit(2, 3, 4)
    room.run_all()
    assert (one.answers, three.answers) == ([[10]], [[20, 30, 40]])


def test_a_batch_never_has_more_rows_than_it_may():
    room = Room(max_batch_size=4)
    for rows in (3, 2, 2, 1):
        room.submit(*range(rows))
    room.run_all()
    assert (room.sizes, room.reasons) == ([3, 4, 1], ["full", "full", "idle"])


def test_riders_that_wait_and_that_ride_are_counted_apart_from_their_rows():
    room = Room()
    room.submit(1, 2)
    room.loop.settle()
    room.submit(3, 4, 5)
    room.submit(6, priority=1)
    batcher = room.batcher
    assert (batcher.queued_rows, batcher.queued_riders) == (4, 2)
    assert (batcher.in_flight, batcher.riding) == (2, 1)
    room.run_all()
    assert (batcher.queued_riders, batcher.riding) == (0, 0)


def test_riders_that_come_while_all_slots_are_busy_make_the_next_batch():
    room = Room()
    room.submit(1)
    room.loop.settle()
    for n in range(5):
        room.submit(n)
        room.loop.settle()
    assert room.batcher.queued_rows == 5
    room.run_all()
    assert room.sizes == [1, 5]


def test_the_next_run_starts_before_the_finished_one_is_answered():
    room = Room()
    first = room.submit(1)
    room.loop.settle()
    room.submit(2)
    room.executor.run_next()
    seen = []
    room.deliver = lambda batch: seen.append(len(room.executor.waiting))
    room.loop.turn()
    assert (seen, first.answers) == ([1], [])


def test_as_many_batches_run_at_a_time_as_there_are_instances():
    room = Room(instances=2, max_batch_size=1)
    for n in range(5):
        room.submit(n)
    room.loop.settle()
    assert (len(room.executor.waiting), room.batcher.running, room.batcher.in_flight) == (2, 2, 2)
    room.run_all()
    assert (len(room.batches), room.batcher.running, room.batcher.in_flight) == (5, 0, 0)


def test_with_a_delay_the_oldest_rider_waits_for_others():
    room = Room(max_queue_delay_ms=10)
    room.submit(1)
    room.loop.settle()
    room.loop.advance(0.009)
    room.submit(2)
    room.loop.settle()
    assert room.executor.waiting == []
    room.loop.advance(0.001)
    room.run_all()
    assert (room.sizes, room.reasons) == ([2], ["delay"])


def test_a_full_batch_does_not_wait_for_its_delay():
    room = Room(max_queue_delay_ms=10, max_batch_size=2)
    for n in range(3):
        room.submit(n)
    room.run_all()
    assert (room.sizes, room.reasons) == ([2], ["full"])
    room.loop.advance(0.010)
    room.run_all()
    assert room.sizes == [2, 1]


def test_what_was_delayed_long_enough_goes_when_a_slot_comes_free():
    room = Room(max_queue_delay_ms=10)
    room.submit(1)
    room.loop.advance(0.010)
    room.submit(2)
    room.loop.advance(0.020)
    assert len(room.executor.waiting) == 1
    room.run_all()
    assert room.reasons == ["delay", "delay"]


def test_what_still_may_wait_is_not_hurried_by_a_free_slot():
    room = Room(max_queue_delay_ms=10)
    room.submit(1)
    room.loop.settle()
    room.loop.advance(0.010)
    room.submit(2)
    room.run_all()
    assert room.sizes == [1]
    room.loop.advance(0.010)
    room.run_all()
    assert room.sizes == [1, 1]


def test_a_preferred_size_goes_at_once():
    room = Room(max_queue_delay_ms=10, preferred_batch_sizes=[2, 4], max_batch_size=8)
    for n in range(5):
        room.submit(n)
    room.run_all()
    assert (room.sizes, room.reasons) == ([4], ["preferred"])
    assert room.batcher.queued_rows == 1


def test_a_preferred_size_that_riders_step_over_is_not_met():
    room = Room(max_queue_delay_ms=10, preferred_batch_sizes=[2], max_batch_size=8)
    room.submit(1)
    room.submit(2, 3)
    room.run_all()
    assert (room.sizes, room.batcher.queued_rows) == ([], 3)
    room.loop.advance(0.010)
    room.run_all()
    assert room.sizes == [3]


def test_riders_of_different_shapes_never_share_a_run():
    room = Room(ANY_LENGTH)
    for length in (2, 3, 2, 3, 2):
        room.submit(1, length=length)
    room.run_all()
    assert [run[0].shape for run in room.runtime.runs] == [(3, 2), (2, 3)]


def test_groups_of_equal_shape_are_served_in_turns():
    room = Room(ANY_LENGTH, max_batch_size=2)
    for length in (2, 2, 2, 2, 3, 3):
        room.submit(1, length=length)
    room.run_all()
    assert [run[0].shape for run in room.runtime.runs] == [(2, 2), (2, 3), (2, 2)]


@pytest.mark.parametrize(
    ("signature", "most"),
    [
        pytest.param(UNBATCHED, 128, id="unbatched-signature"),
        pytest.param(ONE_NUMBER, 0, id="max-batch-size-0"),
        pytest.param(ONE_NUMBER, 1, id="max-batch-size-1"),
    ],
)
def test_without_batching_every_rider_rides_alone(signature, most):
    room = Room(signature, max_batch_size=most, max_queue_delay_ms=10, preferred_batch_sizes=[2])
    clients = [room.submit(n) for n in range(3)]
    room.run_all()
    assert len(room.runtime.runs) == 3
    assert [client.answers for client in clients] == [[[0]], [[10]], [[20]]]


def test_a_model_that_never_batches_takes_requests_of_any_size():
    room = Room(max_batch_size=0)
    room.submit(*range(300))
    room.run_all()
    assert room.sizes == [300]


def test_a_request_of_more_rows_than_a_batch_is_refused_in_tritons_words():
    room = Room(max_batch_size=2)
    words = r"inference request batch-size must be <= 2 for 'm', got 3"
    with pytest.raises(BatchTooLarge, match=words):
        room.submit(1, 2, 3)


def test_a_request_without_rows_is_refused():
    with pytest.raises(InvalidTensor, match="expected at least one row, got 0"):
        Room().submit()


def test_the_queue_is_bounded_in_rows():
    room = Room(max_queue_rows=4)
    room.submit(1, 2, 3)
    with pytest.raises(QueueFull, match="Exceeds maximum queue size: 3 rows wait, 4 may, 2 came"):
        room.submit(4, 5)
    room.submit(4)
    room.run_all()
    assert (room.sizes, room.batcher.queued_rows) == ([4], 0)


def test_a_higher_priority_rides_first_and_equals_keep_their_order():
    room = Room(max_batch_size=1)
    for value, priority in ((1, 0), (2, 9), (3, 1), (4, 5), (5, 1)):
        room.submit(value, priority=priority)
    room.run_all()
    assert [batch.inputs[0].item() for batch in room.batches] == [3, 5, 1, 4, 2]


def test_priority_counts_between_shapes_too():
    room = Room(ANY_LENGTH, max_batch_size=1)
    for value, length, priority in ((1, 2, 0), (2, 3, 1), (3, 2, 1)):
        room.submit(value, length=length, priority=priority)
    room.run_all()
    assert [batch.inputs[0][0, 0] for batch in room.batches] == [2, 3, 1]


def test_only_outputs_that_somebody_wants_are_computed():
    room = Room(TWO_OUTPUTS)
    room.batcher.submit(Rider(Client(), None, (np.ones((1, 1), np.float32),), 1, (1,)))
    room.run_all()
    room.batcher.submit(Rider(Client(), None, (np.ones((1, 1), np.float32),), 1, (1,)))
    room.submit(1)
    room.run_all()
    assert room.runtime.wanted == [(1,), (0, 1)]
    assert [output is None for output in room.batches[0].outputs] == [True, False]


def test_a_short_run_happens_on_the_loop():
    room = Room(cost=SHORT)
    room.submit(1)
    room.loop.turn()
    assert [batch.on_loop for batch in room.batches] == [True]


@pytest.mark.parametrize(
    ("rows", "on_loop"), [pytest.param(9, True, id="90us"), pytest.param(11, False, id="110us")]
)
def test_whether_a_run_is_short_is_judged_for_this_very_batch(rows, on_loop):
    room = Room(cost={1: 10e-6, 10: 100e-6})
    room.submit(*range(rows))
    room.run_all()
    assert [batch.on_loop for batch in room.batches] == [on_loop]


def test_a_run_of_unknown_cost_goes_to_a_thread():
    room = Room()
    room.submit(1)
    room.run_all()
    assert [batch.on_loop for batch in room.batches] == [False]


def test_runs_on_another_device_always_go_to_a_thread():
    room = Room(cost=SHORT, device="cuda:0")
    room.submit(1)
    room.run_all()
    assert [batch.on_loop for batch in room.batches] == [False]


def test_a_turn_that_has_used_its_time_sends_short_runs_to_a_thread():
    room = Room(cost=SHORT, max_batch_size=1, instances=64)
    room.runtime.seconds = 90e-6
    for n in range(8):
        room.submit(n)
    room.loop.turn()
    assert [batch.on_loop for batch in room.batches] == [True] * 6
    assert len(room.executor.waiting) == 2
    room.loop.turn()
    assert not room.turn.spent


def test_a_model_of_long_runs_that_became_short_comes_back_to_the_loop():
    room = Room(cost=LONG)
    room.runtime.seconds = 10e-6
    for n in range(200):
        room.submit(n)
        room.run_all()
    assert (room.batches[0].on_loop, room.batches[-1].on_loop) == (False, True)


def test_a_caller_that_leaves_does_not_disturb_its_batch():
    room = Room()
    early, gone, late = [room.submit(n) for n in range(3)]
    gone.leave()
    room.run_all()
    assert [early.answers, gone.answers, late.answers] == [[[0]], [], [[20]]]
    assert (room.sizes, room.left, room.batcher.queued_rows) == ([2], 1, 0)


def test_a_batch_whose_callers_all_left_does_not_run():
    room = Room(ANY_LENGTH)
    for length in (1, 2):
        room.submit(1, length=length).leave()
    last = room.submit(1, length=3)
    room.run_all()
    assert (len(room.runtime.runs), last.answers, room.left) == (1, [[10]], 2)


@pytest.mark.parametrize("cost", [pytest.param(SHORT, id="loop"), pytest.param(LONG, id="thread")])
def test_one_riders_bad_values_fail_nobody_else(cost):
    room = Room(cost=cost)
    room.runtime.poison = 3
    clients = [room.submit(n) for n in range(8)]
    room.run_all()
    expected: list[list[object]] = [[[n * 10]] for n in range(8)]
    expected[3] = ["model_failed"]
    assert [client.answers for client in clients] == expected
    assert room.batcher.isolations == 1
    assert all(batch.isolated for batch in room.batches)
    assert sum(room.sizes) == 8


def test_a_model_that_always_fails_answers_everybody_with_the_error():
    room = Room()
    room.runtime.poison = 1
    clients = [room.submit(1) for _ in range(5)]
    room.run_all()
    assert [client.answers for client in clients] == [["model_failed"]] * 5


def test_an_unforeseen_exception_is_an_error_without_its_text(caplog):
    room = Room()
    room.runtime.poison, room.runtime.error = 1, ZeroDivisionError("secret")
    room.submit(1)
    with caplog.at_level(logging.CRITICAL):
        room.run_all()
    assert str(room.batches[0].error) == "model run failed: ZeroDivisionError"


def test_failing_runs_are_logged_in_full_but_not_each(caplog):
    room = Room()
    room.runtime.poison, room.runtime.error = 1, ModelFailed("short")
    room.runtime.error.__cause__ = ValueError("the whole story")
    for _ in range(3):
        room.submit(1)
        room.run_all()
    assert caplog.messages == ["model 'm': short; in full: the whole story"]
    room.loop.advance(10)
    room.submit(1)
    room.run_all()
    assert len(caplog.messages) == 2


def test_an_output_without_one_row_per_row_is_an_error():
    room = Room()
    room.runtime.answer = lambda x: x[:1]
    room.submit(1, 2)
    room.run_all()
    assert str(room.batches[0].error) == "output 'y': expected 2 rows, got shape [1, 1]"


def test_a_failing_answer_does_not_stop_the_next_batch(caplog):
    room = Room()
    delivered = []

    def deliver(batch):
        delivered.append(batch.rows)
        raise KeyError("lost")

    room.deliver = deliver
    with caplog.at_level(logging.CRITICAL):
        for n in range(3):
            room.submit(n)
            room.run_all()
    assert (delivered, room.batcher.running, room.batcher.in_flight) == ([1, 1, 1], 0, 0)


def test_where_no_thread_can_be_started_riders_get_an_error(caplog):
    room = Room()
    room.executor.broken = True
    client = room.submit(1)
    with caplog.at_level(logging.CRITICAL):
        room.run_all()
    assert (client.answers, room.batcher.running) == (["internal"], 0)


def test_requests_submitted_while_a_batch_is_answered_ride_in_the_next_turn():
    room = Room(cost=SHORT)
    again = [room.submit(1)]
    room.deliver = lambda batch: again.append(room.submit(2)) if len(again) < 3 else None
    room.loop.turn()
    assert len(room.runtime.runs) == 1
    room.loop.settle()
    assert len(room.runtime.runs) == 3


def test_every_run_is_marked_before_and_after():
    room = Room(max_batch_size=1)
    room.submit(1)
    room.submit(2)
    room.run_all()
    assert room.marks == [1, -1, 1, -1]


def test_a_batch_knows_its_times():
    room = Room(max_queue_delay_ms=5)
    room.runtime.seconds = 0.002
    room.submit(1)
    room.loop.settle()
    room.loop.advance(0.005)
    room.run_all()
    (batch,) = room.batches
    assert batch.formed - batch.oldest == pytest.approx(0.005)
    assert batch.finished - batch.assembled == pytest.approx(0.002)
    assert batch.cpu_s == pytest.approx(0.002)


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
