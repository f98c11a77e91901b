"""A file of the ledger holds what it was given, by address, and survives whoever writes it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import StoreFailed
from gateway.outcomes.segment import RECORD_BYTES, Segment, clear_up, segments_in
from kernels.ledger import FILE, NOT_THERE, OUTCOME, PLACE, SCORE, SEQUENCE, wanted
from tests.outcomes.records import NOON_MS, STREAM, records


@pytest.fixture
def segment(tmp_path):
    return Segment.create(tmp_path, STREAM, 0, capacity=64)


def find(segment, *addresses):
    found = wanted(*(np.array(some) for some in zip(*addresses, strict=True)))
    segment.gather(np.arange(len(found)), found, 0)
    return np.where(found[:, FILE] == NOT_THERE, -1, found[:, PLACE]).tolist()


def test_records_are_found_by_address_in_whatever_order_they_came(segment):
    segment.append(records([7, 3, 5, 5], rows=[0, 0, 1, 0]))
    segment.append(records([4]))
    assert find(segment, (5, 0), (3, 0), (4, 0), (5, 1)) == [3, 1, 4, 2]
    assert find(segment, (6, 0), (5, 2), (8, 0), (0, 0)) == [-1, -1, -1, -1]


def test_a_sealed_file_has_each_record_once_in_order(segment, tmp_path):
    segment.append(records([7, 3, 5, 3], scores=[0.7, 0.3, 0.5, 0.9]))
    sealed = segment.seal()
    assert sealed.records()[:, SEQUENCE].tolist() == [3, 5, 7]
    assert sealed.records().view(np.float64)[:, SCORE].tolist() == [0.3, 0.5, 0.7]
    assert find(sealed, (5, 0), (4, 0)) == [1, -1]
    assert (sealed.room, sealed.path.stat().st_size) == (0, 4 * RECORD_BYTES)
    assert [path.name for path in tmp_path.iterdir()] == [sealed.path.name]


def test_outcomes_stay_with_their_records_when_a_file_is_sealed(segment):
    segment.append(records([9, 2]))
    changed = segment.records()[:1].copy()
    changed.view(np.float64)[0, OUTCOME] = 1.0
    segment.put(np.array([0]), changed)
    sealed = segment.seal()
    outcomes = sealed.records().view(np.float64)[:, OUTCOME]
    assert np.isnan(outcomes[0])
    assert outcomes[1] == 1.0


def test_another_process_goes_on_where_one_was_killed(segment, tmp_path):
    segment.append(records([1, 2], at_ms=[NOON_MS, NOON_MS + 5]))
    ((again,), faults) = segments_in(tmp_path)
    assert not faults
    assert (again.stream, again.number, again.count) == (STREAM, 0, 2)
    again.append(records([3], at_ms=NOON_MS - 5))
    assert find(again, (2, 0), (3, 0)) == [1, 2]
    assert (again.first_ms, again.last_ms, again.high) == (NOON_MS - 5, NOON_MS + 5, 3)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_sealing_changes_no_answer(tmp_path_factory, sequences):
    segment = Segment.create(tmp_path_factory.mktemp("ledger"), STREAM, 0, capacity=64)
    segment.append(records(sequences))
    everything = [(number, 0) for number in range(42)]
    before = [place >= 0 for place in find(segment, *everything)]
    sealed = segment.seal()
    assert [place >= 0 for place in find(sealed, *everything)] == before
    assert sealed.count == len(set(sequences))


def test_a_file_that_was_cut_short_holds_what_it_still_holds(segment):
    segment.append(records(range(10)))
    sealed = segment.seal()
    os.truncate(sealed.path, 6 * RECORD_BYTES + 13)
    again = Segment(sealed.path)
    assert again.count == 5
    assert find(again, (4, 0), (5, 0)) == [4, -1]


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 4 * RECORD_BYTES])
def test_a_file_that_is_none_is_told_of_and_left_alone(tmp_path, content):
    (tmp_path / f"{STREAM}.000001.sealed").write_bytes(content)
    (tmp_path / "notes.sealed").write_bytes(content)
    found, faults = segments_in(tmp_path)
    assert (found, len(faults)) == ([], 2)


def test_who_is_killed_while_a_file_is_sealed_loses_nothing(segment, tmp_path):
    segment.append(records([2, 1]))
    (tmp_path / f"{STREAM}.000000.half").write_bytes(b"begun")
    clear_up(tmp_path)
    ((again,), _) = segments_in(tmp_path)
    assert again.count == 2
    original = segment.path.read_bytes()
    sealed = segment.seal()
    segment.path.write_bytes(original)  # killed before it was removed
    clear_up(tmp_path)
    ((again,), _) = segments_in(tmp_path)
    assert (again.path, again.count) == (sealed.path, 2)


def test_a_disk_without_room_is_met_before_anything_is_written(tmp_path):
    with pytest.raises(StoreFailed):
        Segment.create(tmp_path, STREAM, 0, capacity=1 << 50)
    assert list(tmp_path.iterdir()) == []
