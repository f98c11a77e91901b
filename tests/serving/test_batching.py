"""Who rides with whom, and when a batch goes."""

from __future__ import annotations

import pytest

from gateway.errors import BatchTooLarge, InvalidTensor, QueueFull
from gateway.tensors import Signature
from tests.serving.fakes import ANY_LENGTH, ONE_NUMBER, SHORT, Room

UNBATCHED = Signature(ONE_NUMBER.inputs, ONE_NUMBER.outputs, False)


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
