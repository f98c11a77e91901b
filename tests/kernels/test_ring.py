"""A ring loses nothing that is drained in time, tells what it lost, and gives no half record."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import ring

ROOM = 8
NO_MARKS = np.empty(0, np.int64)


def new_slot():
    return np.zeros(ring.words_for(ROOM), np.int64)


def append(slot, sequences, rows, scores=None, epoch=1, marks=NO_MARKS, lots=None):
    total = sum(rows)
    scores = np.arange(total, dtype=np.float64) if scores is None else np.asarray(scores)
    requests = np.array([*sequences, *rows, *(lots or [0] * len(rows))], np.int64)
    ring.append(slot, requests, len(rows), scores.reshape(-1, 1), 0, -1, marks, 7, epoch, 1_000)


def addresses(drained):
    rows = ring.lower(drained.records[:, ring.SERIES_AND_ROW])
    return list(zip(drained.records[:, ring.SEQUENCE].tolist(), rows.tolist(), strict=True))


def test_a_record_says_all_it_was_given():
    slot = new_slot()
    append(slot, [5], [2], [0.25, -3.0], epoch=9)
    records = ring.read(slot).records
    assert addresses(ring.read(slot)) == [(5, 0), (5, 1)]
    assert records[:, ring.SCORE].copy().view(np.float64).tolist() == [0.25, -3.0]
    assert ring.upper(records[:, ring.SERIES_AND_ROW]).tolist() == [7, 7]
    assert ring.upper(records[:, ring.TOP_AND_EPOCH]).tolist() == [-1, -1]
    assert ring.lower(records[:, ring.TOP_AND_EPOCH]).tolist() == [9, 9]
    assert records[:, ring.TIME_MS].tolist() == [1_000, 1_000]


def test_rows_of_requests_that_nobody_was_told_of_are_passed_over():
    slot = new_slot()
    append(slot, [1, ring.NOBODY, 3], [1, 2, 1], [0.0, 1.0, 2.0, 3.0])
    found = ring.read(slot)
    assert addresses(found) == [(1, 0), (3, 0)]
    assert found.records[:, ring.SCORE].copy().view(np.float64).tolist() == [0.0, 3.0]


def test_each_row_has_its_own_marks():
    slot = new_slot()
    append(slot, [1, ring.NOBODY, 3], [1, 2, 1], marks=np.array([5, 6, 7, 8]))
    assert ring.read(slot).records[:, ring.MARKS].tolist() == [5, 8]
    append(slot, [4], [1])
    assert ring.read(slot).records[-1, ring.MARKS] == 0


def test_all_rows_of_a_request_say_how_it_got_its_variant():
    slot = new_slot()
    append(slot, [1, ring.NOBODY, 3], [2, 1, 1], lots=[11, 12, 13])
    assert ring.read(slot).records[:, ring.LOT].tolist() == [11, 11, 13]


def test_marks_of_other_rows_are_not_written_down():
    slot, requests = new_slot(), np.array([1, 2, 0])
    assert not ring.append(slot, requests, 1, np.zeros((2, 1)), 0, 0, np.array([1]), 1, 1, 0)
    assert addresses(ring.read(slot)) == []


def test_what_was_read_comes_again_until_it_is_kept():
    slot = new_slot()
    append(slot, [1], [1])
    first = ring.read(slot)
    assert addresses(ring.read(slot)) == addresses(first)
    ring.done(slot, first)
    assert addresses(ring.read(slot)) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_everything_is_read_once_in_order_or_counted_as_lost(steps):
    slot = new_slot()
    written, found = 0, []
    for sequence, (rows, drains) in enumerate(steps):
        append(slot, [sequence], [rows])
        written += rows
        if drains:
            drained = ring.read(slot)
            found += addresses(drained)
            ring.done(slot, drained)
    drained = ring.read(slot)
    found += addresses(drained)
    ring.done(slot, drained)
    assert found == sorted(set(found))
    assert len(found) + slot[ring.LOST] == written


def test_what_a_writer_is_in_the_middle_of_is_not_read():
    slot = new_slot()
    append(slot, range(ROOM), [1] * ROOM)
    slot[ring.RESERVED] += 3  # it has begun with three more, over the oldest three
    found = ring.read(slot)
    assert addresses(found) == [(n, 0) for n in range(3, ROOM)]
    assert found.lost == 3


@pytest.mark.parametrize("rows", [ROOM + 1, 3 * ROOM])
def test_a_batch_larger_than_the_ring_leaves_its_last_rows(rows):
    slot = new_slot()
    append(slot, [0], [rows])
    found = ring.read(slot)
    assert addresses(found) == [(0, n) for n in range(rows - ROOM, rows)]
    assert found.lost == rows - ROOM


@pytest.mark.parametrize(("shape", "column"), [((2, 1), 0), ((4, 1), 0), ((3, 1), 1), ((3, 0), -1)])
def test_outputs_of_another_shape_leave_nothing(shape, column):
    slot = new_slot()
    requests = np.array([9, 3, 0], np.int64)
    assert not ring.append(slot, requests, 1, np.zeros(shape), column, 0, NO_MARKS, 1, 1, 0)
    assert slot.tolist() == new_slot().tolist()


def test_of_several_columns_the_first_largest_is_the_top():
    slot = new_slot()
    outputs = np.array([[0.1, 0.6, 0.3], [0.4, 0.2, 0.4], [0.0, 0.0, 1.0]], np.float32)
    requests = np.array([9, 3, 0], np.int64)
    ring.append(slot, requests, 1, outputs, ring.BEST, 0, NO_MARKS, 1, 1, 0)
    records = ring.read(slot).records
    assert ring.upper(records[:, ring.TOP_AND_EPOCH]).tolist() == [1, 0, 2]
    told = records[:, ring.SCORE].copy().view(np.float64)
    assert told.astype(np.float32).tolist() == outputs.max(axis=1).tolist()
