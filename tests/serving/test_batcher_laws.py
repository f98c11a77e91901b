"""Laws that hold whatever comes, in whatever order."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from tests.serving.fakes import ANY_LENGTH, Room

INFINITE = float("inf")

SUBMIT = st.tuples(
    st.just("submit"),
    st.integers(1, 5),  # rows
    st.integers(1, 3),  # trailing length
    st.integers(0, 3),  # priority
    st.sampled_from([INFINITE, 0.004, 0.030]),  # time it has
)
STEPS = st.lists(
    st.one_of(
        SUBMIT,
        SUBMIT,
        st.tuples(st.just("turn")),
        st.tuples(st.just("run")),
        st.tuples(st.just("advance"), st.sampled_from([0.001, 0.005, 0.020])),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("poison"), st.booleans()),
    ),
    max_size=60,
)
SETTINGS = st.fixed_dictionaries(
    {
        "max_batch_size": st.sampled_from([0, 1, 4, 8]),
        "max_queue_rows": st.sampled_from([6, 40]),
        "max_queue_delay_ms": st.sampled_from([0.0, 3.0]),
        "preferred_batch_sizes": st.sampled_from([[], [2], [3, 4]]),
        "instances": st.integers(1, 3),
        "timeout_ms": st.sampled_from([None, 10.0]),
    }
)
COST = st.sampled_from([{}, {1: 10e-6, 8: 20e-6}, {1: 2e-3, 8: 3e-3}])


class Story:
    """Plays steps on a room and keeps what happened to each rider."""

    def __init__(self, cost: dict[int, float], values: dict[str, Any]) -> None:
        self.room = Room(ANY_LENGTH, cost, **values)
        self.most = values["max_batch_size"]
        self.limit = values["max_queue_rows"]
        self.clients: list[Any] = []
        self.turned_away = 0

    def play(self, steps: list[tuple[Any, ...]]) -> None:
        for step in steps:
            getattr(self, step[0])(*step[1:])
            assert 0 <= self.room.batcher.queued_rows <= self.limit
        self.room.runtime.poison = None
        done: list[bool] = []
        self.room.batcher.drain(lambda: done.append(True))
        self.room.run_all()
        self.room.loop.advance(1.0)
        self.room.run_all()
        assert done == [True]

    def submit(self, rows: int, length: int, priority: int, timeout: float) -> None:
        number = len(self.clients) + 1
        try:
            client = self.room.submit(
                *[number] * rows, length=length, priority=priority, timeout=timeout
            )
        except GatewayError:
            self.turned_away += 1
        else:
            self.clients.append(client)

    def turn(self) -> None:
        self.room.loop.turn()

    def run(self) -> None:
        if self.room.executor.waiting:
            self.room.executor.run_next()

    def advance(self, seconds: float) -> None:
        self.room.loop.advance(seconds)

    def leave(self, which: int) -> None:
        if which < len(self.clients):
            self.clients[which].leave()

    def poison(self, on: bool) -> None:
        self.room.runtime.poison = 1.0 if on else None


@settings(max_examples=200)
@given(COST, SETTINGS, STEPS)
def test_every_rider_is_answered_or_refused_exactly_once_unless_it_left(cost, values, steps):
    story = Story(cost, values)
    story.play(steps)
    assert [len(c.answers) for c in story.clients if not c.gone] == [
        1 for c in story.clients if not c.gone
    ]
    assert all(len(c.answers) <= 1 for c in story.clients)
    delivered = sum(len(batch.riders) for batch in story.room.batches)
    assert delivered + len(story.room.refused) + story.room.left == len(story.clients)


@settings(max_examples=200)
@given(COST, SETTINGS, STEPS)
def test_no_batch_is_too_large_mixes_shapes_or_answers_with_anothers_rows(cost, values, steps):
    story = Story(cost, values)
    story.play(steps)
    for batch in story.room.batches:
        assert len({rider.inputs[0].shape[1] for rider in batch.riders}) == 1
        assert batch.rows == sum(rider.rows for rider in batch.riders)
        if story.most > 1:
            assert batch.rows <= story.most
        else:
            assert len(batch.riders) == 1
    for number, client in enumerate(story.clients, 1):
        if client.answers and isinstance(client.answers[0], list):
            assert set(client.answers[0]) == {number * 10.0}


@settings(max_examples=200)
@given(COST, SETTINGS, STEPS)
def test_equals_ride_in_the_order_in_which_they_came(cost, values, steps):
    # With one slot, and runs that take time, no two batches are formed at the same moment.
    story = Story(cost, values | {"instances": 1})
    story.room.runtime.seconds = 1e-6
    story.play(steps)
    order: dict[tuple[int, int], list[float]] = defaultdict(list)
    for batch in sorted(story.room.batches, key=lambda batch: batch.formed):
        for rider in batch.riders:
            group = (rider.priority or 5, rider.inputs[0].shape[1])
            order[group].append(float(rider.inputs[0][0, 0]))
    assert all(numbers == sorted(numbers) for numbers in order.values())
