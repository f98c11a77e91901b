"""Where a batch runs, what is computed, and what its riders never notice of one another."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from gateway.errors import ModelFailed
from gateway.serving.riders import Rider
from gateway.tensors import Signature, TensorSpec
from tests.serving.fakes import ANY_LENGTH, LONG, ONE_NUMBER, SHORT, Client, Room

TWO_OUTPUTS = Signature(
    ONE_NUMBER.inputs,
    (TensorSpec("y", "FP32", (-1, 1)), TensorSpec("z", "FP32", (-1, 1))),
    True,
)


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


def test_who_waits_for_a_run_to_end_backs_up_and_who_waits_for_company_does_not():
    room = Room(cost=LONG, max_batch_size=1)
    room.submit(0)
    room.loop.settle()
    assert not room.batcher.backed_up
    room.submit(1)
    room.loop.settle()
    assert (room.batcher.queued_rows, room.batcher.backed_up) == (1, True)
    room.run_all()
    assert not room.batcher.backed_up
    patient = Room(max_queue_delay_ms=50)
    patient.submit(0)
    patient.loop.settle()
    assert (patient.batcher.queued_rows, patient.batcher.backed_up) == (1, False)


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
