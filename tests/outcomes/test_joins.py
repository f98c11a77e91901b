"""Each outcome finds its record, once, and whoever sends one is told what became of it."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.outcomes.arrivals import Arrival
from gateway.outcomes.joins import MAX_AHEAD_MS, MAX_TOLD, About, Joins
from gateway.outcomes.ledger import Ledger
from kernels.ledger import OUTCOME, OUTCOME_MS
from kernels.performance import BINARY, LABELLED, VALUE
from tests.outcomes.records import NOON_MS, STREAM, Memory, records

DEAD = "host-2-0-1"
ABOUT = {1: About("m", {"bad": 0, "good": 1}), 2: About("n", {"a": 0, "b": 1, "c": 2})}
NOW = NOON_MS + 1000


class World:
    def __init__(self, folder):
        self.ledger = Ledger(folder, Memory(), 16)
        self.joins = Joins(
            self.ledger, ABOUT.__getitem__, lambda one: one == STREAM, lambda: 500, max_early=5
        )

    def send(self, *outcomes, models=None, now=NOW):
        """Each outcome: a sequence, what happened, and maybe the row."""
        arrivals = [
            Arrival(f"{STREAM}-{sequence:x}", row[0] if row else 0, outcome, None)
            for sequence, outcome, *row in outcomes
        ]
        return self.told(self.joins.join(arrivals, models, now))

    def told(self, found):
        self.faults = found.faults
        return {name: count for name, count in found.counts.items() if count}

    def outcomes(self):
        (segment,) = self.ledger._streams[STREAM]
        return segment.records().view(np.float64)[:, OUTCOME].tolist()

    def labelled(self, series=1):
        return self.ledger.sums(series, 0, 2 * NOON_MS).totals[LABELLED]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_outcomes_find_their_rows_in_whatever_order_they_come(world):
    world.ledger.append(STREAM, records([1, 2, 2, 3], rows=[0, 0, 1, 0]))
    assert world.send((3, 1.0), (2, 0.0, 1), (1, 1.0), (2, 1.0)) == {"accepted": 4}
    assert world.outcomes() == [1.0, 1.0, 0.0, 1.0]


def test_the_same_again_changes_nothing_and_another_one_replaces_it(world):
    world.ledger.append(STREAM, records([1]))
    assert world.send((1, 1.0), (1, 1.0)) == {"accepted": 1, "duplicate": 1}
    assert world.send((1, 1.0)) == {"duplicate": 1}
    assert world.send((1, 0.0)) == {"corrected": 1}
    assert world.outcomes() == [0.0]
    assert world.labelled() == 1


def test_a_million_for_one_row_are_one_label(world):
    world.ledger.append(STREAM, records([1]))
    flips = [(1, float(number % 2)) for number in range(10_000)]
    for _ in range(3):
        world.send(*flips)
    assert world.labelled() == 1


def test_an_early_outcome_waits_for_its_record(world):
    assert world.send((1, 1.0)) == {"early": 1}
    world.joins.again(NOW + 100)
    assert world.joins.waiting == 1
    world.ledger.append(STREAM, records([1]))
    world.joins.again(NOW + 200)
    assert (world.joins.waiting, world.joins.late["accepted"]) == (0, 1)
    assert world.outcomes() == [1.0]


def test_of_two_early_outcomes_of_a_row_the_later_stands(world):
    assert world.send((1, 1.0), (1, 0.0)) == {"early": 2}
    world.ledger.append(STREAM, records([1]))
    world.joins.again(NOW)
    assert world.outcomes() == [0.0]


def test_who_waits_too_long_is_unknown_and_the_waiting_room_is_bounded(world):
    assert world.send(*[(number, 1.0) for number in range(8)]) == {"early": 5, "unknown": 3}
    world.joins.again(NOW + 500)
    assert (world.joins.waiting, world.joins.late["unknown"]) == (0, 5)


def test_ids_of_nobody_are_unknown(world):
    arrivals = [Arrival(name, 0, 1.0, None) for name in ("1", f"{DEAD}-5", "other-3-0-1-5")]
    assert world.told(world.joins.join(arrivals, None, NOW)) == {"unknown": 3}


def test_what_was_forgotten_is_told_from_what_never_was(world):
    world.ledger.append(DEAD, records([1, 5]))
    world.ledger.tidy(1, 0, [STREAM], NOW)
    arrivals = [Arrival(f"{DEAD}-{sequence}", 0, 1.0, None) for sequence in (1, 5, 6)]
    assert world.told(world.joins.join(arrivals, None, NOW)) == {"expired": 2, "unknown": 1}


@pytest.mark.parametrize(
    ("top", "series", "good", "bad"),
    [
        pytest.param(BINARY, 1, [0.0, 1.0, "good"], [0.5, 2.0, -1.0, "ugly"], id="binary"),
        pytest.param(2, 2, [0.0, 7.0, "c"], [0.5, -1.0, 2.0**40, "d"], id="classes"),
        pytest.param(VALUE, 1, [0.5, -1e9], ["good", "x"], id="value"),
    ],
)
def test_an_outcome_must_be_one_that_the_score_takes(world, top, series, good, bad):
    count = len(good) + len(bad)
    world.ledger.append(STREAM, records(range(count), tops=top, series=series))
    found = world.send(*enumerate([*good, *bad]))
    assert found == {"accepted": len(good), "invalid": len(bad)}
    assert all("outcome: expected" in fault for fault in world.faults)


def test_names_of_classes_mean_their_numbers(world):
    world.ledger.append(STREAM, records([0, 1], tops=[1, 1], series=2))
    world.send((0, "c"), (1, "a"))
    assert world.outcomes() == [2.0, 0.0]


def test_no_outcome_comes_from_the_future_but_for_clocks_that_differ(world):
    world.ledger.append(STREAM, records([1, 2]))
    arrivals = [
        Arrival(f"{STREAM}-1", 0, 1.0, NOW + MAX_AHEAD_MS),
        Arrival(f"{STREAM}-2", 0, 1.0, NOW + MAX_AHEAD_MS + 1),
    ]
    assert world.told(world.joins.join(arrivals, None, NOW)) == {"accepted": 1, "invalid": 1}
    (segment,) = world.ledger._streams[STREAM]
    assert segment.records()[0, OUTCOME_MS] == NOW + MAX_AHEAD_MS


def test_a_caller_for_some_models_labels_no_others(world):
    world.ledger.append(STREAM, records([1, 2], tops=[BINARY, 1], series=[1, 2]))
    assert world.send((1, 1.0), (2, 1.0), models=frozenset({"m"})) == {"accepted": 1, "unknown": 1}
    assert world.send((3, 1.0), models=frozenset({"n"})) == {"early": 1}
    world.ledger.append(STREAM, records([3], series=1))
    world.joins.again(NOW)
    assert world.joins.late["unknown"] == 1


def test_faults_that_are_told_are_bounded(world):
    world.ledger.append(STREAM, records(range(16)))
    world.send(*[(number, 5.0) for number in range(16)])
    assert len(world.faults) == MAX_TOLD


def test_a_record_is_told_once_when_its_first_outcome_is_written(tmp_path):
    world = World(tmp_path)
    told = []
    world.joins = Joins(
        world.ledger,
        ABOUT.__getitem__,
        lambda one: one == STREAM,
        lambda: 500,
        labelled=lambda some: told.append(some[:, [0, OUTCOME]].copy()),
    )
    world.ledger.append(STREAM, records([1, 2, 3, 4]))
    world.send((1, 1.0), (2, 0.0), (2, 1.0), (1, 1.0))
    world.send((1, 1.0), (2, 0.0), (5, 1.0))
    world.send((3, 1.0), (4, 5.0))
    world.ledger.append(STREAM, records([5]))
    world.joins.again(NOW)
    found = [[(int(n), o) for n, o in zip(some[:, 0], some.view(float)[:, 1], strict=True)]
             for some in told]  # fmt: skip
    assert found == [[(1, 1.0), (2, 1.0)], [(3, 1.0)], [(5, 1.0)]]
