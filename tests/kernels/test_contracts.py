"""Rows are held against contracts as by hand, in every type, one by one and together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contracts.values import RULES
from kernels import contracts, terms
from kernels.columns import NULL_ID, UNSEEN_ID
from tests.reference import broken_rule

TYPES = ("float32", "float64", "int64")
WHOLE = st.integers(-3, 3)
NUMBER = st.one_of(
    WHOLE.map(float), st.sampled_from([0.5, -0.5, np.nan, np.inf, -np.inf, 1e30, -1e30])
)


@st.composite
def bounded(draw):
    """A column's terms as the kernels take them, and as the twin does."""
    ends = sorted(draw(st.lists(WHOLE, min_size=2, max_size=2)))
    least, most = (end if draw(st.booleans()) else None for end in ends)
    whole, missing, infinite = (draw(st.booleans()) for _ in range(3))
    flags = contracts.WHOLE * whole + contracts.MAY_BE_MISSING * missing
    flags += contracts.MAY_BE_INFINITE * infinite
    twin = {"least": least, "most": most}
    twin |= {"whole": whole, "missing": missing, "infinite": infinite}
    return terms.Bounded(least, most, flags), twin


@st.composite
def listed(draw):
    values = sorted(draw(st.sets(WHOLE)))
    others, missing = draw(st.booleans()), draw(st.booleans())
    flags = contracts.OTHERS * others + contracts.MAY_BE_MISSING * missing
    twin = {"categories": values, "others": others, "missing": missing}
    return terms.Listed(np.array(values, np.int64), flags), twin


@st.composite
def cases(draw):
    dtype = draw(st.sampled_from(TYPES))
    columns = draw(st.lists(st.one_of(bounded(), listed()), min_size=1, max_size=4))
    value = WHOLE if dtype == "int64" else NUMBER
    row = st.lists(value, min_size=len(columns), max_size=len(columns))
    rows = np.array(draw(st.lists(row, max_size=5)), dtype).reshape(-1, len(columns))
    return rows, columns


@given(cases())
def test_every_value_breaks_the_rule_that_it_breaks_by_hand(case):
    rows, columns = case
    words = terms.compile_contract([one for one, _ in columns], rows.dtype)
    counts = np.zeros(len(columns) * contracts.RULES, np.int64)
    given_rows, given_words = rows.copy(), words.copy()
    contracts.count_breaches(rows, words, counts)
    by_hand = [
        [broken_rule(value.item(), **twin) for value, (_, twin) in zip(row, columns, strict=True)]
        for row in rows
    ]
    for column in range(len(columns)):
        broken = [row[column] for row in by_hand]
        found = counts[column * contracts.RULES :][: contracts.RULES].tolist()
        assert found == [broken.count(rule) for rule in RULES]
    flat = [rule for row in by_hand for rule in row]
    first = next(
        (at * contracts.RULES + RULES.index(rule) for at, rule in enumerate(flat) if rule),
        contracts.KEPT,
    )
    assert contracts.first_breach(rows, words) == first
    np.testing.assert_array_equal(rows, given_rows)
    np.testing.assert_array_equal(words, given_words)


@given(cases(), st.integers(0, 5))
def test_counts_of_parts_add_up_to_those_of_the_whole(case, cut):
    rows, columns = case
    words = terms.compile_contract([one for one, _ in columns], rows.dtype)
    whole, parts = (np.zeros(len(columns) * contracts.RULES, np.int64) for _ in range(2))
    contracts.count_breaches(rows, words, whole)
    for part in (rows[:cut], rows[cut:]):
        contracts.count_breaches(np.ascontiguousarray(part), words, parts)
    assert parts.tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("flags", "broken"),
    [
        pytest.param(0, {"missing": 1, "unseen": 2}, id="nothing-else"),
        pytest.param(contracts.OTHERS, {"missing": 1}, id="others"),
        pytest.param(contracts.MAY_BE_MISSING, {"unseen": 2}, id="missing"),
    ],
)
def test_ids_of_no_category_are_unseen_and_nulls_missing(flags, broken):
    rows = np.array([[0], [7], [UNSEEN_ID], [NULL_ID], [UNSEEN_ID]], np.int32)
    words = terms.compile_contract([terms.Listed(flags=flags)], np.int32)
    counts = np.zeros(contracts.RULES, np.int64)
    contracts.count_breaches(rows, words, counts)
    assert {rule: n for rule, n in zip(RULES, counts.tolist(), strict=True) if n} == broken


def test_the_largest_numbers_of_a_type_are_in_an_open_range():
    for dtype in ("float32", "float64"):
        most = np.finfo(dtype).max
        words = terms.compile_contract([terms.Bounded(None, None)], dtype)
        assert contracts.first_breach(np.array([[most], [-most]], dtype), words) == contracts.KEPT
    words = terms.compile_contract([terms.Bounded(None, None)], np.int64)
    rows = np.array([[2**63 - 1], [-(2**63)]], np.int64)
    assert contracts.first_breach(rows, words) == contracts.KEPT


@pytest.mark.parametrize(
    ("one", "dtype", "message"),
    [
        pytest.param(terms.Bounded(0.1, 1), np.float32, "exact in float32", id="not-exact"),
        pytest.param(terms.Bounded(2, 1), np.float64, "not above", id="wrong-way-round"),
        pytest.param(terms.Bounded(0.5, 1), np.int64, "exact in int64", id="fraction"),
        pytest.param(terms.Bounded(0, 2**63), np.int64, "column 0", id="too-large"),
        pytest.param(terms.Listed(np.array([2, 1])), np.int64, "rise", id="order"),
        pytest.param(terms.Bounded(0, 1), np.int16, "got int16", id="type"),
    ],
)
def test_terms_that_cannot_be_compared_with_are_refused(one, dtype, message):
    with pytest.raises(ValueError, match=message):
        terms.compile_contract([one], dtype)


def test_a_contract_for_other_rows_is_refused():
    words = terms.compile_contract([terms.Bounded(0, 1)], np.float32)
    for rows in (np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float64)):
        with pytest.raises(ValueError, match="other columns"):
            contracts.first_breach(rows, words)
        with pytest.raises(ValueError, match="other columns"):
            contracts.count_breaches(rows, words, np.zeros(contracts.RULES, np.int64))
