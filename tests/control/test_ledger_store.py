"""What a ledger had to forget leaves its sums behind, once, whoever is killed."""

from __future__ import annotations

import sqlite3
import tracemalloc
from contextlib import closing

import numpy as np
import pytest

from gateway.control.ledger_store import FILE, KEPT_HOURS, LedgerStore
from gateway.errors import StoreFailed
from gateway.outcomes.arrivals import Arrival
from gateway.outcomes.early import Waiting
from gateway.outcomes.hours import Hour, Which
from gateway.outcomes.ledger import Forgotten
from gateway.outcomes.segment import Segment
from kernels import metrics
from kernels.groups import no_cells
from kernels.marks import GROUPINGS, grouped
from kernels.performance import RECORDS, Sums, add, no_sums
from tests.outcomes.records import NOON_MS, STREAM, records

HOUR = 500_000
SCORES = {"kind": "auto", "output": None, "positive": 1}


@pytest.fixture
def store(tmp_path):
    made = LedgerStore(tmp_path)
    yield made
    made.close()


def of(count: int) -> Sums:
    sums = no_sums()
    add(sums, records(range(count), scores=0.0075, outcomes=1.0), 1, 0, 2 * NOON_MS)
    return sums


def total(store, series=1, first_hour=0):
    return sum(one.totals[RECORDS] for one in store.sums(series, first_hour))


def test_a_version_keeps_its_number_and_other_scores_are_another_series(store, tmp_path):
    first = store.number("m", 1, SCORES)
    assert store.number("m", 2, SCORES) != first
    assert store.number("m", 1, SCORES | {"positive": 0}) != first
    again = LedgerStore(tmp_path)
    assert again.number("m", 1, SCORES) == first
    assert [(one.model, one.version) for one in again.series()] == [("m", 1), ("m", 2), ("m", 1)]
    again.close()


def test_sums_of_what_was_forgotten_add_up_by_hour(store, tmp_path):
    first = Hour({Which(1, HOUR): of(3), Which(2, HOUR): of(2)}, {})
    second = [Hour({Which(1, HOUR): of(1)}, {}), Hour({Which(1, HOUR + 1): of(3)}, {})]
    store.forget("s", Forgotten(0, 99), 5, [first], {})
    store.forget("s", Forgotten(1, 150), 4, second, {})
    store.close()
    again = LedgerStore(tmp_path)
    assert (total(again), total(again, first_hour=HOUR + 1), total(again, series=2)) == (7, 3, 2)
    assert again.forgotten() == {"s": Forgotten(1, 150)}
    assert again.records_forgotten() == 9
    (one,) = again.sums(2, 0)
    assert np.flatnonzero(one.bins[:, 0]).tolist() == [7]
    again.close()


def test_what_is_kept_of_groups_adds_up_and_gets_old_like_the_whole(store):
    group = grouped(1, 3)
    last = HOUR + KEPT_HOURS + 9
    for hour in (HOUR, HOUR, HOUR + 1, last):
        cells = no_cells(GROUPINGS)
        cells[1, 2, 3, 31] = np.arange(cells.shape[-1]) + 1.5
        sums = {Which(1, hour): of(5), Which(1, hour, *group): of(2)}
        store.forget("s", Forgotten(hour, hour), 5, [Hour(sums, {(1, hour): cells})], {})
    for first_hour, times in ((0, 4), (1, 1), (last + 1, 0)):
        found = sum(one.totals[RECORDS] for one in store.sums(1, first_hour, *group))
        assert found == 2 * times
        assert total(store, first_hour=first_hour) == 5 * times
        cells = sum(store.cells(1, first_hour), no_cells(GROUPINGS))
        assert cells[1, 2, 3, 31].tolist() == ((np.arange(10) + 1.5) * times).tolist()
        assert np.flatnonzero(cells.any(axis=-1)).size == min(times, 1)
    assert list(store.sums(1, 0, *grouped(1, 4))) == []
    assert list(store.cells(2, 0)) == []


def test_hours_that_no_window_reaches_are_added_up(store):
    for hour in range(HOUR, HOUR + KEPT_HOURS + 10):
        store.forget("s", Forgotten(hour, hour), 1, [Hour({Which(1, hour): of(1)}, {})], {})
    assert total(store) == KEPT_HOURS + 10
    assert total(store, first_hour=1) == KEPT_HOURS + 1


def numbers(*values):
    found = metrics.no_sums()
    for value in values:
        one = metrics.no_sums()
        one[[metrics.N, metrics.SUM, metrics.MEAN, metrics.MIN, metrics.MAX]] = 1, *[value] * 4
        metrics.merge(found, one)
    return found


def test_numbers_of_what_was_forgotten_add_up_by_metric_and_hour(store, tmp_path):
    revenue, clicks = store.number_metric("revenue"), store.number_metric("clicks")
    last = HOUR + KEPT_HOURS + 5
    for hour, values in ((HOUR, (1.0, 2.0)), (HOUR, (4.0,)), (last, (8.0,))):
        its = {
            (revenue, Which(1, hour)): numbers(*values),
            (revenue, Which(1, hour, 31, 2)): numbers(values[0]),
            (clicks, Which(1, hour)): numbers(0.5),
        }
        store.forget("s", Forgotten(hour, hour), 1, [Hour({Which(1, hour): of(1)}, {})], its)
    store.close()
    again = LedgerStore(tmp_path)
    assert again.metrics() == {"revenue": revenue, "clicks": clicks}

    def total(metric, first_hour=0, *group):
        found = metrics.no_sums()
        for one in again.metric_sums(metric, 1, first_hour, *group):
            metrics.merge(found, one)
        return found.tolist()

    assert total(revenue) == pytest.approx(numbers(1.0, 2.0, 4.0, 8.0).tolist())
    assert total(revenue, 1) == numbers(8.0).tolist()
    assert total(revenue, 0, 31, 2) == pytest.approx(numbers(1.0, 4.0, 8.0).tolist())
    assert total(revenue, 0, 31, 1) == numbers().tolist()
    assert total(clicks) == pytest.approx(numbers(0.5, 0.5, 0.5).tolist())
    again.forget_metric("clicks")
    assert again.metrics() == {"revenue": revenue}
    assert (again.number_metric("junk"), total(clicks)) == (clicks, numbers().tolist())
    again.close()


WAITING = [
    Waiting(Arrival("h-1-0-1-5", 3, 1.0, NOON_MS), None, NOON_MS + 5),
    Waiting(Arrival("h-1-0-1-5", 3, "good", NOON_MS), frozenset({"n", "m"}), NOON_MS + 6),
    Waiting(Arrival("h-1-0-1-5", 3, 2.5, NOON_MS, "revenue"), frozenset(), NOON_MS + 7),
    Waiting(Arrival("order-7", 0, 0.0, NOON_MS, None, True), None, NOON_MS + 8),
]


def test_what_waits_is_kept_as_it_came_and_the_later_of_a_row_replaces_the_earlier(store, tmp_path):
    store.keep_waiting(WAITING, [])
    again = LedgerStore(tmp_path)
    assert sorted(again.waiting(), key=lambda one: one.until_ms) == WAITING[1:]
    again.keep_waiting([], [one.key for one in WAITING[2:]])
    assert store.waiting() == WAITING[1:2]
    again.close()


def test_a_damaged_file_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StoreFailed, match=FILE):
        LedgerStore(tmp_path)


def test_a_month_of_cells_is_unpacked_an_hour_at_a_time(store):
    """All of them at once would be 2 GB."""
    cells, hours = no_cells(GROUPINGS), 20
    cells[0, 0, 1, 1] = 1.0
    for hour in range(HOUR, HOUR + hours):
        store.forget("s", Forgotten(hour, hour), 1, [Hour({}, {(1, hour): cells})], {})
    tracemalloc.start()
    found = sum(one[0, 0, 1, 1, 0] for one in store.cells(1, 0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == hours
    assert peak < 4 * cells.nbytes


def test_damaged_sums_are_refused_by_name(store, tmp_path):
    hour = Hour({Which(1, HOUR): of(1)}, {(1, HOUR): no_cells(GROUPINGS)})
    store.forget("s", Forgotten(0, 9), 1, [hour], {})
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        for table in ("hours", "cells"):
            connection.execute(f"UPDATE {table} SET sums = x'00'")
    for found in (store.sums(1, 0), store.cells(1, 0)):
        with pytest.raises(StoreFailed, match=FILE):
            list(found)


def test_records_of_a_database_that_was_lost_are_nobodys(tmp_path):
    Segment.create(tmp_path, STREAM, 0, 16).append(records(range(3), series=[1, 7, 2]))
    LedgerStore(tmp_path).close()
    store = LedgerStore(tmp_path)
    assert [store.number("m", version, {}) for version in (1, 2, 1)] == [8, 9, 8]
    store.close()
    again = LedgerStore(tmp_path)
    assert again.number("m", 3, {}) == 10
    again.close()


def test_a_newer_file_is_refused(tmp_path):
    LedgerStore(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreFailed, match="newer"):
        LedgerStore(tmp_path)
