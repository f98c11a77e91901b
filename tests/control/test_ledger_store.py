"""What a ledger had to forget leaves its sums behind, once, whoever is killed."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from gateway.control.ledger_store import FILE, KEPT_HOURS, LedgerStore
from gateway.errors import StoreFailed
from gateway.outcomes.ledger import Forgotten
from kernels.performance import RECORDS, Sums, no_sums

HOUR = 500_000
SCORES = {"kind": "auto", "output": None, "positive": 1}


@pytest.fixture
def store(tmp_path):
    made = LedgerStore(tmp_path)
    yield made
    made.close()


def of(records: int) -> Sums:
    sums = no_sums()
    sums.totals[RECORDS] = records
    sums.bins[7] = records
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
    store.forget("s", Forgotten(0, 99), 5, {(1, HOUR): of(3), (2, HOUR): of(2)})
    store.forget("s", Forgotten(1, 150), 4, {(1, HOUR): of(1), (1, HOUR + 1): of(3)})
    store.close()
    again = LedgerStore(tmp_path)
    assert (total(again), total(again, first_hour=HOUR + 1), total(again, series=2)) == (7, 3, 2)
    assert again.forgotten() == {"s": Forgotten(1, 150)}
    assert again.records_forgotten() == 9
    (one,) = again.sums(2, 0)
    assert np.flatnonzero(one.bins[:, 0]).tolist() == [7]
    again.close()


def test_hours_that_no_window_reaches_are_added_up(store):
    for hour in range(HOUR, HOUR + KEPT_HOURS + 10):
        store.forget("s", Forgotten(hour, hour), 1, {(1, hour): of(1)})
    assert total(store) == KEPT_HOURS + 10
    assert total(store, first_hour=1) == KEPT_HOURS + 1


def test_a_damaged_file_is_refused_by_name(tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StoreFailed, match=FILE):
        LedgerStore(tmp_path)


def test_a_newer_file_is_refused(tmp_path):
    LedgerStore(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(StoreFailed, match="newer"):
        LedgerStore(tmp_path)
