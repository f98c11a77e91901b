"""A ledger finds every record that it did not have to forget, and knows what it forgot."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gateway.outcomes.hours import HOUR_MS, by_hour
from gateway.outcomes.ledger import SEAL_AFTER_MS, Ledger
from gateway.outcomes.segment import RECORD_BYTES, Segment
from kernels.groups import BINARIES, HITS, SELECTED
from kernels.ledger import FILE, NOT_THERE, PLACE, RECORD_WORDS, SEQUENCE, wanted
from kernels.marks import BY_CHANCE, chosen, grouped
from kernels.performance import FN, RECORDS, TP
from tests.outcomes.records import NOON_MS, STREAM, Memory, records

ROOM = 8
OTHER = "host-3-1-1"
EVERYTHING = 1 << 40


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def ledger(tmp_path, memory):
    return Ledger(tmp_path / "ledger", memory, ROOM)


def there(ledger, stream, sequences):
    files: list[Segment] = []
    found = wanted(np.array(sequences), np.zeros(len(sequences), np.int64))
    ledger.find(stream, np.argsort(found[:, SEQUENCE]), found, files)
    for one in found[found[:, FILE] != NOT_THERE]:
        record = files[one[FILE]].records()[one[PLACE]]
        assert record.tolist() == one[:RECORD_WORDS].tolist()
    return (found[:, FILE] != NOT_THERE).tolist()


def total(ledger, first_ms=0, end_ms=NOON_MS * 2, series=1):
    return ledger.sums(series, first_ms, end_ms).totals[RECORDS]


def test_records_of_every_stream_are_found_over_all_its_files(ledger):
    ledger.append(STREAM, records(range(0, 40, 2)))
    ledger.append(OTHER, records([1, 3]))
    assert there(ledger, STREAM, [0, 38, 16, 1, 40]) == [True, True, True, False, False]
    assert there(ledger, OTHER, [1, 2, 3]) == [True, False, True]
    assert there(ledger, "host-9-9-9", [1]) == [False]
    assert ledger.facts().records == 22


def test_what_comes_again_is_taken_once(ledger):
    ledger.append(STREAM, records(range(12)))
    ledger.append(STREAM, records(range(5, 20)), anew=True)
    assert ledger.facts().records == 20
    assert all(there(ledger, STREAM, range(20)))


def test_another_process_finds_what_one_left(ledger, memory, tmp_path):
    ledger.append(STREAM, records(range(20)))
    again = Ledger(tmp_path / "ledger", memory, ROOM)
    again.append(STREAM, records([20]))
    assert all(there(again, STREAM, range(21)))


def test_the_oldest_files_are_forgotten_first_and_counted(ledger, memory):
    ledger.append(STREAM, records(range(24), at_ms=NOON_MS + np.arange(24)))
    ledger.append(OTHER, records(range(8), at_ms=NOON_MS - 50))
    room = 3 * (ROOM + 1) * RECORD_BYTES
    ledger.tidy(room, 0, [], NOON_MS)
    assert there(ledger, OTHER, [0]) == [False]
    assert there(ledger, STREAM, [0, 7, 8, 23]) == [True, True, True, True]
    ledger.tidy(room // 3, 0, [], NOON_MS)
    assert there(ledger, STREAM, [7, 15, 16]) == [False, False, True]
    assert ledger.facts().nbytes <= room // 3
    assert memory.records == 24
    assert ledger.forgot(STREAM, 15)
    assert not ledger.forgot(STREAM, 16)


def test_forgetting_changes_no_total_and_no_window_of_whole_hours(ledger):
    ledger.append(STREAM, records(range(24), at_ms=NOON_MS + np.arange(24) * HOUR_MS // 3))
    windows = [(0, NOON_MS * 2), (NOON_MS + 2 * HOUR_MS, NOON_MS * 2)]
    before = [total(ledger, *window) for window in windows]
    ledger.tidy(1, 0, [], NOON_MS)
    assert ledger.facts().records == 0
    assert [total(ledger, *window) for window in windows] == before == [24, 18]


def test_a_day_of_thin_traffic_of_many_models_is_added_up_hour_by_hour():
    series, hours = np.divmod(np.arange(400), 20)
    marks = 1 + np.arange(400) % 3
    words = records(range(400), series=series, at_ms=NOON_MS + hours * HOUR_MS, marks=marks)
    tracemalloc.start()
    try:
        parts = [list(one.sums) for one in by_hour(words, lambda series: 0.5, lambda _: 1)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(parts) == 400
    assert {one.series for part in parts for one in part} == set(range(20))
    assert peak < 40e6  # all at once are 1.3 GB


def test_what_is_forgotten_stays_as_it_was_predicted(tmp_path, memory):
    """All together, and by group."""
    in_force, marks = [0.7], grouped(0, 3)[1]
    ledger = Ledger(tmp_path / "ledger", memory, ROOM, lambda series: in_force[0])
    ledger.append(STREAM, records(range(16), scores=0.6, outcomes=1.0, marks=marks))
    ledger.tidy(ROOM * RECORD_BYTES * 2, 0, {STREAM}, NOON_MS)
    assert memory.records == ROOM
    for threshold, above in ((0.7, 0), (0.5, ROOM), (0.55, ROOM), (0.65, 0)):
        in_force[0] = threshold
        for group in ((0, 0), grouped(0, 3)):
            totals = ledger.sums(1, 0, NOON_MS * 2, *group).totals
            assert totals[[TP, FN]].tolist() == [above, 2 * ROOM - above]
        cell = ledger.cells(1, 1, 0, NOON_MS * 2)[0, 0, 3, 3]
        assert cell[[BINARIES, SELECTED, HITS]].tolist() == [2 * ROOM, above, above]


def test_what_is_too_old_goes_and_what_is_written_to_stays(ledger):
    ledger.append(STREAM, records(range(3)))
    ledger.tidy(EVERYTHING, NOON_MS + 1, [STREAM], NOON_MS + 1)
    assert there(ledger, STREAM, [0]) == [True]
    ledger.tidy(EVERYTHING, NOON_MS + 1, [], NOON_MS + 1)
    assert there(ledger, STREAM, [0]) == [False]


def test_a_file_that_somebody_else_removed_takes_no_more_records(ledger, tmp_path, caplog):
    ledger.append(STREAM, records(range(ROOM + 3)))
    for path in (tmp_path / "ledger").glob(f"{STREAM}.*.open"):
        path.unlink()
    ledger.tidy(EVERYTHING, 0, [STREAM], NOON_MS)
    assert "removed, and 3 records with it" in caplog.text
    ledger.append(STREAM, records([20]))
    again = Ledger(tmp_path / "ledger", Memory(), ROOM)
    assert there(again, STREAM, [0, ROOM, 20]) == [True, False, True]


def test_thin_traffic_is_forgotten_in_time_too(ledger):
    ledger.append(STREAM, records([0]))
    later = NOON_MS + SEAL_AFTER_MS + 1
    ledger.tidy(EVERYTHING, NOON_MS, [STREAM], later)
    ledger.append(STREAM, records([1], at_ms=later))
    ledger.tidy(EVERYTHING, NOON_MS + 1, [STREAM], later)
    assert there(ledger, STREAM, [0, 1]) == [False, True]


def test_who_is_killed_while_forgetting_neither_counts_twice_nor_loses(ledger, memory, tmp_path):
    ledger.append(STREAM, records(range(8)))
    ledger.tidy(EVERYTHING, 0, [], NOON_MS)
    (path,) = (tmp_path / "ledger").iterdir()
    content = path.read_bytes()
    ledger.tidy(1, 0, [], NOON_MS)
    path.write_bytes(content)  # it was killed before the file was gone
    again = Ledger(tmp_path / "ledger", memory, ROOM)
    assert total(again) == 8
    again.append(STREAM, records([9]))
    assert total(Ledger(tmp_path / "ledger", memory, ROOM)) == 9


def test_records_of_other_series_and_times_do_not_count(ledger):
    ledger.append(STREAM, records(range(3), series=[1, 2, 1], at_ms=[NOON_MS, NOON_MS, 5]))
    assert total(ledger) == 2
    assert total(ledger, NOON_MS, NOON_MS + 1) == 1


def test_what_was_forgotten_of_a_group_still_counts(ledger, memory, tmp_path):
    """A whole ledger and one that forgot most of it say the same, of groups and pairs of them."""
    rng = np.random.default_rng(7)
    marks = rng.integers(0, 3, 60) * grouped(0, 1)[1] | rng.integers(0, 4, 60) * grouped(2, 1)[1]
    marks[:ROOM] = 0  # a file whose rows are all in no group
    marks |= np.where(rng.random(60) < 0.5, chosen(0.5, held_out=True), chosen(0.5, held_out=False))
    held = BY_CHANCE, chosen(0.5, held_out=True)
    some = records(
        range(60),
        scores=rng.random(60),
        outcomes=rng.choice([0.0, 1.0, np.nan], 60),
        marks=marks,
        at_ms=NOON_MS + np.arange(60) * 600_000,
    )
    whole = Ledger(tmp_path / "whole", Memory(), 100)
    whole.append(STREAM, some)
    ledger.append(STREAM, some)
    ledger.tidy(RECORD_BYTES * 2 * ROOM, 0, [STREAM], NOON_MS)
    assert memory.records > 30
    between = (0, NOON_MS * 2)
    assert ledger.cells(1, 3, *between) == pytest.approx(whole.cells(1, 3, *between))
    groups = [grouped(0, 2), grouped(0, 0), grouped(1, 0), grouped(2, 3), grouped(2, 0)]
    for group in (*groups, held, *((held[0] | one[0], held[1] | one[1]) for one in groups)):
        found, wanted = ledger.sums(1, *between, *group), whole.sums(1, *between, *group)
        assert found.totals == pytest.approx(wanted.totals)
        assert found.bins == pytest.approx(wanted.bins)
        assert 0 < found.totals[RECORDS] == (marks & group[0] == group[1]).sum()
