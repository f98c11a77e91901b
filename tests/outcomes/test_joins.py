"""Each outcome finds its record, once, and whoever sends one is told what became of it."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.digests import digest
from gateway.names import MAX_METRICS
from gateway.outcomes.address import Address
from gateway.outcomes.arrivals import Arrival, of_list
from gateway.outcomes.early import Early
from gateway.outcomes.joins import MAX_AHEAD_MS, Joins
from gateway.outcomes.labels import About
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.results import MAX_TOLD
from kernels.ledger import OUTCOME, OUTCOME_MS
from kernels.marks import grouped
from kernels.metrics import SUM, N
from kernels.performance import BINARY, LABELLED, VALUE
from kernels.shares import chosen, limit
from tests.outcomes.records import NOON_MS, STREAM, Memory, records

DEAD = "host-2-0-1"
ABOUT = {1: About("m", {"bad": 0, "good": 1}), 2: About("n", {"a": 0, "b": 1, "c": 2})}
NOW = NOON_MS + 1000


class World:
    def __init__(self, folder):
        self.memory, self.folder, self.share = Memory(), folder, 1.0
        self.restart()

    def restart(self):
        self.ledger = Ledger(self.folder, self.memory, 16)
        metrics = Metrics(self.ledger.segments, self.memory)
        self.joins = Joins(self.ledger, metrics, Early(self.memory, 5, 2), self)

    # ---- the server, to joins ----

    early_ms, client_ids = 500, True
    reserved_metrics: tuple[str, ...] = ()
    metrics_of_m: frozenset[str] | None = None

    def about(self, series):
        return ABOUT[series]._replace(metrics=self.metrics_of_m if series == 1 else None)

    def series(self, models):
        return np.array([n for n, one in ABOUT.items() if one.model in models] or [-1])

    def live(self):
        return {STREAM}

    # ---- the sender ----

    def send(self, *outcomes, models=None, now=NOW):
        """Each outcome: a sequence, what happened, and maybe the row."""
        arrivals = [
            Arrival(f"{STREAM}-{sequence:x}", row[0] if row else 0, outcome, None)
            for sequence, outcome, *row in outcomes
        ]
        return self.join(arrivals, models, now)

    def join(self, arrivals, models=None, now=NOW):
        found = self.joins.join(of_list(arrivals), models, now)
        self.faults = found.faults
        return {name: count for name, count in found.counts.items() if count}

    def outcomes(self):
        (segment,) = self.ledger._streams[STREAM]
        return segment.records().view(np.float64)[:, OUTCOME].tolist()

    def numbers(self, metric, *group):
        """How many there are of a metric, and what they add up to; of a group alone."""
        metrics = Metrics(self.ledger.segments, self.memory)
        found = metrics.sums(metrics.names[metric], 1, 0, 2 * NOON_MS, *group)
        return found[N], found[SUM]

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


def test_whoever_was_told_that_it_waits_does_so_after_a_kill_too(world):
    world.send((1, 1.0), (2, "good"), models=frozenset({"m"}))
    world.restart()
    world.ledger.append(STREAM, records([1, 2]))
    world.joins.again(NOW)
    assert world.outcomes() == [1.0, 1.0]
    assert world.joins.late["accepted"] == 2
    assert world.memory.early == {}


def test_what_is_newer_replaces_what_waited_in_whatever_order_records_come(world):
    world.send((1, 1.0))
    world.ledger.append(STREAM, records([1]))
    assert world.send((1, 0.0)) == {"corrected": 1}
    world.joins.again(NOW)
    assert world.outcomes() == [0.0]


def test_ids_of_nobody_are_unknown(world):
    arrivals = [Arrival(name, 0, 1.0) for name in (f"{DEAD}-5", "other-3-0-1-5", f"{STREAM}-05")]
    world.client_ids = False
    assert world.join(arrivals) == {"unknown": 3}


def test_a_request_that_was_left_out_is_told_from_one_that_never_was(world):
    world.ledger.append(STREAM, records([2]))
    world.share = 0.25
    kept = [number for number in range(3, 40) if chosen(number, limit(0.25))]
    left = [number for number in range(3, 40) if number not in kept][:3]
    assert world.send((2, 1.0), (kept[0], 1.0), *[(one, 1.0) for one in left]) == {
        "accepted": 1,  # it was written down before the share was set
        "early": 1,
        "unsampled": 3,
    }
    assert world.join([Arrival(f"{DEAD}-{left[0]:x}", 0, 1.0)]) == {"unknown": 1}


def test_what_was_forgotten_is_told_from_what_never_was(world):
    world.ledger.append(DEAD, records([1, 5]))
    world.ledger.tidy(1, 0, [STREAM], NOW)
    arrivals = [Arrival(f"{DEAD}-{sequence}", 0, 1.0, None) for sequence in (1, 5, 6)]
    assert world.join(arrivals) == {"expired": 2, "unknown": 1}


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
    assert world.join(arrivals) == {"accepted": 1, "invalid": 1}
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


def test_an_outcome_of_what_was_erased_is_unknown_and_stays_so(world):
    world.ledger.append(STREAM, records([1, 2]))
    world.send((1, 1.0), (2, 1.0))
    world.ledger.erase(STREAM, np.array([1]))
    world.ledger.append(STREAM, records([1]), anew=True)
    assert world.send((1, 1.0), (2, 1.0)) == {"unknown": 1, "duplicate": 1}
    assert world.labelled() == 1
    assert world.send((3, 1.0), (4, 1.0)) == {"early": 2}
    assert world.joins.forget({Address(STREAM, 3)}, ()) == 1
    assert world.joins.waiting == 1


@pytest.mark.parametrize("sealed", [False, True])
def test_what_lies_beside_an_erased_record_goes_with_it(world, sealed):
    named = np.array(
        [(digest(name), sequence, 1 << 32 | 1) for name, sequence in (("a", 1), ("b", 2))]
    )
    world.ledger.append(STREAM, records([1, 2]), named=named)
    world.join([reward(1, 41.625), reward(2, 2.5)])
    if sealed:
        world.ledger.tidy(1 << 40, 0, [], NOON_MS)
    world.ledger.erase(STREAM, np.array([1]))
    for _ in range(2):
        assert world.numbers("revenue") == (1, 2.5)
        sent = [Arrival("a", 0, 1.0, client=True), Arrival("b", 0, 1.0, client=True)]
        found = world.join(sent)
        assert found.get("accepted", 0) + found.get("duplicate", 0) == 1
        content = b"".join(one.read_bytes() for one in world.folder.iterdir())
        assert digest("a").to_bytes(8, "little", signed=True) not in content
        assert np.float64(41.625).tobytes() not in content
        world.restart()


# ---- numbers of metrics ----


def reward(sequence, value, metric="revenue", stream=STREAM):
    return Arrival(f"{stream}-{sequence:x}", 0, value, None, metric)


def test_numbers_of_metrics_join_as_labels_do_and_beside_them(world):
    world.ledger.append(STREAM, records([1, 2, 3]))
    sent = [reward(1, 2.5), reward(2, 4.0), reward(1, 1.0, "clicks"), Arrival(f"{STREAM}-1", 0, 1)]
    assert world.join(sent) == {"accepted": 4}
    assert world.join([*sent, reward(2, 5.0)]) == {"duplicate": 4, "corrected": 1}
    assert (world.numbers("revenue"), world.numbers("clicks")) == ((2, 7.5), (1, 1.0))
    assert world.labelled() == 1


def test_numbers_stay_with_their_records_through_sealing_restarts_and_forgetting(world):
    world.ledger.append(STREAM, records(range(15, -1, -1), at_ms=NOON_MS))
    world.join([reward(one, float(one)) for one in range(8)])
    world.ledger.append(STREAM, records([99], at_ms=NOON_MS + 1))  # the first file is sealed
    for _ in range(2):
        assert world.join([reward(7, 7.0), reward(99, 5.0)])["duplicate"] >= 1
        assert world.numbers("revenue") == (9, 33.0)
        world.restart()
    world.ledger.tidy(20 * 64, 0, [STREAM], NOON_MS)
    assert world.join([reward(7, 7.0)]) == {"expired": 1}
    assert world.numbers("revenue") == (9, 33.0)
    world.ledger.tidy(1, 0, [], NOON_MS)
    assert world.numbers("revenue") == (9, 33.0)
    assert list(world.folder.iterdir()) == []


def test_numbers_of_a_group_are_its_own_also_where_they_were_forgotten(world):
    first, second = grouped(0, 1), grouped(0, 2)
    marks = [first[1], second[1], second[1], 0]
    world.ledger.append(STREAM, records(range(4), marks=marks))
    world.join([reward(one, 2.0**one) for one in range(4)])
    for _ in range(2):
        assert world.numbers("revenue") == (4, 15.0)
        assert world.numbers("revenue", *first) == (1, 1.0)
        assert world.numbers("revenue", *second) == (2, 6.0)
        assert world.numbers("revenue", *grouped(0, 0)) == (1, 8.0)
        world.ledger.tidy(1, 0, [], NOON_MS)
    assert list(world.folder.iterdir()) == []


def test_numbers_count_against_the_bound_of_the_ledger(world):
    world.ledger.append(STREAM, records([1]))
    before = world.ledger.facts().nbytes
    world.join([reward(1, 2.5)])
    assert world.ledger.facts().nbytes == before + 16 * 8


def test_an_early_number_waits_beside_an_early_label(world):
    assert world.join([reward(1, 2.5), Arrival(f"{STREAM}-1", 0, 1.0)]) == {"early": 2}
    world.ledger.append(STREAM, records([1]))
    world.joins.again(NOW)
    assert (world.numbers("revenue"), world.labelled()) == ((1, 2.5), 1)


def test_strangers_make_no_metrics_and_friends_not_too_many(world):
    world.ledger.append(STREAM, records([1]))
    assert world.join([reward(5, 1.0, "strange", DEAD)]) == {"unknown": 1}
    assert world.memory.names == {}
    sent = [reward(1, 1.0, f"m{number}") for number in range(MAX_METRICS + 2)]
    assert world.join(sent) == {"accepted": MAX_METRICS, "invalid": 2}
    assert f"metric: m{MAX_METRICS}: there is room for {MAX_METRICS}" in world.faults[0]
    assert world.joins.refused_numbers == 2


def test_names_that_are_kept_for_others_are_not_taken_by_whoever_comes_first(world):
    world.reserved_metrics = ("revenue", "clicks")
    world.ledger.append(STREAM, records([1]))
    junk = [reward(1, 1.0, f"junk{number}") for number in range(MAX_METRICS)]
    assert world.join(junk) == {"accepted": MAX_METRICS - 2, "invalid": 2}
    assert world.join([reward(1, 1.0, "revenue"), reward(1, 2.0, "clicks")]) == {"accepted": 2}
    assert world.join([reward(1, 1.0, "more")]) == {"invalid": 1}


def test_a_model_has_no_metrics_but_those_it_is_to_have(world):
    world.metrics_of_m = frozenset({"revenue"})
    world.ledger.append(STREAM, records([1]))
    world.ledger.append(STREAM, records([2], series=2, tops=0))
    assert world.join([reward(1, 1.0), reward(1, 1.0, "junk")]) == {"accepted": 1, "invalid": 1}
    assert "metric: junk: its model has no such" in world.faults[0]
    assert world.join([reward(2, 1.0, "junk"), reward(1, 1.0, "junk")]) == {
        "accepted": 1,
        "invalid": 1,
    }
    assert (world.joins.refused_numbers, world.numbers("junk")) == (2, (0, 0.0))


def test_a_forgotten_metric_makes_room_and_leaves_nothing_to_the_next(world):
    for start in (1, 20):  # the first file is sealed
        world.ledger.append(STREAM, records(range(start, start + 16)))
    world.join([reward(1, 1.0, "junk"), reward(20, 2.0, "junk"), reward(1, 3.0, "kept")])
    metrics = Metrics(world.ledger.segments, world.memory)
    number = metrics.names["junk"]
    assert metrics.forget("junk")
    assert not metrics.forget("junk")
    assert list(world.folder.glob(f"*.m{number}")) == []
    world.restart()
    assert world.join([reward(20, 5.0, "next")]) == {"accepted": 1}
    world.memory.names["again"] = number  # whoever has its number now
    assert [world.numbers(one) for one in ("next", "kept")] == [(1, 5.0), (1, 3.0)]
    assert world.numbers("again") == (0, 0.0)


# ---- clients' ids ----


def entries(*requests, series=1):
    """Each request: what its client calls it, and its sequence."""
    return np.array([(digest(name), sequence, series << 32 | 1) for name, sequence in requests])


def client(name, outcome=1.0, row=0):
    return Arrival(name, row, outcome, client=True)


def test_a_clients_id_finds_its_request_and_no_other(world):
    named = entries(("a", 1), ("b", 2))
    world.ledger.append(STREAM, records([1, 2, 2], rows=[0, 0, 1]), named=named)
    world.ledger.append(DEAD, records([7]), named=entries(("c", 7)))
    for _ in range(2):
        sent = [client("b", 0.0, row=1), client("a"), client("c", "bad")]
        assert sum(world.join(sent).values()) == 3
        assert world.outcomes()[0] == 1.0
        assert world.outcomes()[2] == 0.0
        world.restart()


def test_an_id_that_fits_several_requests_is_joined_to_none(world):
    named = entries(("1", 1), ("1", 2), ("one", 3))
    world.ledger.append(STREAM, records([1, 2, 3]), named=named)
    assert world.join([client("1"), client("one")]) == {"ambiguous": 1, "accepted": 1}
    assert world.faults == ["1: several requests have this id"]
    assert np.isnan(world.outcomes()).tolist() == [True, True, False]


def test_the_same_id_at_two_workers_or_in_two_files_is_ambiguous_too(world):
    world.ledger.append(STREAM, records(range(17)), named=entries(("x", 2), ("x", 16), ("y", 3)))
    world.ledger.append(DEAD, records([1]), named=entries(("y", 1)))
    assert world.join([client("x"), client("y")]) == {"ambiguous": 2}


def test_requests_of_models_that_a_caller_may_not_use_do_not_count(world):
    world.ledger.append(STREAM, records([1]), named=entries(("x", 1)))
    others = records([2], series=2, tops=1)
    world.ledger.append(STREAM, others, named=entries(("x", 2), series=2))
    assert world.join([client("x")], models=frozenset({"m"})) == {"accepted": 1}
    assert world.join([client("x")], models=frozenset({"neither"})) == {"early": 1}


def test_a_clients_id_waits_for_its_request_where_ids_are_written_down(world):
    assert world.join([client("a")]) == {"early": 1}
    world.ledger.append(STREAM, records([1]), named=entries(("a", 1)))
    world.joins.again(NOW)
    assert (world.joins.late["accepted"], world.joins.waiting) == (1, 0)
    world.client_ids = False
    assert world.join([client("b")]) == {"unknown": 1}


def test_of_those_that_wait_few_may_name_a_client_s_id(world):
    assert world.join([client(name) for name in "abab"]) == {"early": 4}
    assert world.join([client("c")]) == {"unknown": 1}
    assert world.send((1, 1.0)) == {"early": 1}
    world.restart()
    assert world.join([client("c")]) == {"unknown": 1}
    world.joins.again(NOW + 500)
    assert world.join([client("c")]) == {"early": 1}


def test_clients_ids_are_kept_once_and_go_with_their_records(world):
    named = entries(("a", 1))
    for _ in range(3):  # a control process was killed, or a disk was full
        world.ledger.append(STREAM, records([1]), anew=True, named=named)
    assert world.ledger.facts().nbytes == 17 * 64 + 24
    world.ledger.tidy(1, 0, [], NOON_MS)
    assert list(world.folder.iterdir()) == []
    assert world.join([client("a")]) == {"early": 1}


def test_a_record_is_told_once_when_its_first_outcome_is_written(tmp_path):
    world = World(tmp_path)
    told = []
    metrics = Metrics(world.ledger.segments, world.memory)
    hear = lambda some: told.append(some[:, [0, OUTCOME]].copy())  # noqa: E731
    world.joins = Joins(world.ledger, metrics, Early(world.memory), world, hear)
    world.ledger.append(STREAM, records([1, 2, 3, 4]))
    world.send((1, 1.0), (2, 0.0), (2, 1.0), (1, 1.0))
    world.send((1, 1.0), (2, 0.0), (5, 1.0))
    world.send((3, 1.0), (4, 5.0))
    world.ledger.append(STREAM, records([5]))
    world.joins.again(NOW)
    found = [[(int(n), o) for n, o in zip(some[:, 0], some.view(float)[:, 1], strict=True)]
             for some in told]  # fmt: skip
    assert found == [[(1, 1.0), (2, 1.0)], [(3, 1.0)], [(5, 1.0)]]
