"""Reading slots and adding readings up."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.columns import count_rows
from kernels.layouts import Numeric, compile_layout
from kernels.readings import merge, read_block

PLANS = [Numeric(np.array([-1.0, 0.0, 1.0]), -2.0, 2.0), Numeric(np.array([]), 0.0, 0.0, 1.0)]
LAYOUT = compile_layout(PLANS, np.float64)
# Integers and halves add up exactly, in any order.
SLOT = st.lists(st.tuples(*[st.integers(-9, 9).map(lambda n: n / 2) | st.just(np.nan)] * 2))


def reading(rows, last_ms=0):
    block = np.zeros(LAYOUT.block_words, np.int64)
    count_rows(np.array(rows, np.float64).reshape(-1, 2), block, LAYOUT.words, 7, last_ms)
    return read_block(block, LAYOUT, 7)


def words(reading):
    moments = reading.moments
    sums = [moments.n, moments.total, moments.squares, moments.least, moments.most]
    head = [reading.rows, reading.batches, reading.last_ms]
    return [head, reading.special.tolist(), reading.bins.tolist(), np.array(sums).tolist()]


@given(st.lists(SLOT, min_size=1, max_size=5), st.randoms())
def test_readings_merge_in_any_order_to_what_one_slot_would_hold(slots, random):
    parts = [reading(rows, at) for at, rows in enumerate(slots)]
    shuffled = random.sample(parts, len(parts))
    whole = reading([row for rows in slots for row in rows])
    assert words(reduce(merge, shuffled)) == words(reduce(merge, parts))
    assert words(reduce(merge, parts))[1:] == words(whole)[1:]
    assert reduce(merge, parts).rows == whole.rows


def test_merging_leaves_both_as_they_are():
    one, other = reading([(1.0, 2.0)]), reading([(np.nan, 5.0)])
    before = words(one), words(other)
    merge(one, other)
    assert (words(one), words(other)) == before


def test_a_reading_is_a_copy():
    block = np.zeros(LAYOUT.block_words, np.int64)
    empty = read_block(block, LAYOUT, 7)
    count_rows(np.zeros((1, 2)), block, LAYOUT.words, 7, 0)
    assert not empty.bins.any()


def test_a_slot_that_nothing_was_counted_in_has_no_least_and_no_most():
    moments = read_block(np.zeros(LAYOUT.block_words, np.int64), LAYOUT, 0).moments
    assert moments.n.tolist() == [0, 0]
    assert moments.least.tolist() == [np.inf] * 2
    assert moments.most.tolist() == [-np.inf] * 2


def test_readings_of_other_layouts_do_not_merge():
    other = compile_layout(PLANS[:1], np.float64)
    block = np.zeros(other.block_words, np.int64)
    with pytest.raises(ValueError, match="expected 2 columns and 5 bins, got 1 and 4"):
        merge(reading([]), read_block(block, other, 0))


def test_a_slot_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=f"expected {LAYOUT.block_words} words, got 8"):
        read_block(np.zeros(8, np.int64), LAYOUT, 0)
