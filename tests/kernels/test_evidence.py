"""E-values: right by their definition, fair when nothing has changed, and e-BH over columns."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.evidence import e_bh, log10_e
from tests import reference
from tests.kernels.columns import PAIR, both, matrix

ONE = np.ones(1)
REFERENCE = st.lists(st.integers(0, 40), min_size=2, max_size=5).filter(any)
E_VALUES = st.lists(st.floats(1e-6, 1e8), min_size=1, max_size=12)


def log10(expected, observed, effect=1.0, reference_effect=1.0, concentration=200.0):
    return log10_e(
        matrix(expected),
        matrix(observed),
        np.array([len(expected)]),
        np.array([reference_effect]),
        np.array([effect]),
        concentration,
    )[0]


@given(REFERENCE, st.data())
def test_it_is_the_ratio_of_two_urns_whatever_the_order_of_rows(counts, data):
    rows = data.draw(st.lists(st.integers(0, len(counts) - 1), max_size=25))
    wanted = reference.e_value(counts, rows, 10)
    observed = [rows.count(group) for group in range(len(counts))]
    assert log10(counts, observed, concentration=10.0) == pytest.approx(
        math.log10(wanted), abs=1e-11
    )


@pytest.mark.parametrize("counts", [[3, 5], [1, 9], [4, 4, 4], [0, 6, 2]])
@pytest.mark.parametrize("rows", [1, 3, 6])
def test_over_all_that_may_come_of_an_unchanged_source_it_is_1_in_the_mean(counts, rows):
    null = [count + Fraction(1, 2) for count in counts]
    mean = sum(
        float(reference.urn(null, drawn))
        * 10 ** log10(counts, [drawn.count(group) for group in range(len(counts))])
        for drawn in itertools.product(range(len(counts)), repeat=rows)
    )
    assert mean == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize(("reference_rows", "rows"), [(10, 10), (40, 10), (10, 40), (60, 60)])
def test_over_all_references_and_windows_of_one_source_it_is_1_at_most(share, reference_rows, rows):
    """For each fixed share, not only on the average over shares that the definition is about."""
    assert mean_of_two_shares(share, reference_rows, rows) <= 1.0 + 1e-9


def test_a_category_that_the_reference_hardly_expects_may_cost_a_fifth():
    assert 1.0 < mean_of_two_shares(0.02, 10, 40) < 1.25


def mean_of_two_shares(share, reference_rows, rows):
    """The e-value's mean over all pairs of samples of two groups."""

    def chance(hits, of):
        return math.comb(of, hits) * share**hits * (1 - share) ** (of - hits)

    return sum(
        chance(one, reference_rows)
        * chance(other, rows)
        * 10 ** log10([one, reference_rows - one], [other, rows - other])
        for one in range(reference_rows + 1)
        for other in range(rows + 1)
    )


def test_for_ordered_values_cut_at_the_references_own_it_is_fair_whatever_the_distribution():
    """All ways in which 12 reference and 4 live values can lie between each other are as likely."""
    total, ways = 0.0, 0
    for places in itertools.combinations(range(16), 4):
        upto = [place - at for at, place in enumerate(places)]  # reference values below each
        groups = Counter(min(below // 4, 2) for below in upto)
        total += 10 ** log10([4, 4, 4], [groups[group] for group in range(3)])
        ways += 1
    assert total / ways == pytest.approx(1.0, abs=0.03)


@given(PAIR, st.floats(1, 50))
def test_fewer_effective_rows_are_the_same_as_fewer_rows(pairs, effect):
    counts = [count for count, _ in pairs]
    whole = [count * 4 for _, count in pairs]
    quarter = [count for _, count in pairs]
    assert log10(counts, whole, effect=4.0) == pytest.approx(log10(counts, quarter), rel=1e-9)


def test_without_rows_there_is_no_evidence_and_without_reference_no_number():
    assert log10([5, 5], [0, 0]) == 0.0
    assert math.isnan(log10([0, 0], [3, 4]))


def test_it_does_not_grow_for_ever_on_what_a_finite_reference_cannot_witness():
    few, many = log10([2500, 2500], [5_080, 4_920]), log10([2500, 2500], [5_080_000, 4_920_000])
    assert few < 0.0
    assert many < 0.5  # 1.6 standard errors of the reference's own share


def test_a_real_change_is_seen():
    assert log10([500] * 10, [160, 130, 110, 100, 100, 100, 90, 80, 70, 60]) > 7


@given(PAIR)
def test_columns_are_judged_alone(pairs):
    expected, observed, bins = both(pairs)
    first, second, third = (np.concatenate([each] * 2) for each in (expected, observed, bins))
    got = log10_e(first, second, third, np.ones(2), np.ones(2))
    assert got[0] == got[1] == log10_e(expected, observed, bins, ONE, ONE)[0]


def test_effects_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="effect"):
        log10_e(matrix([1]), matrix([1]), np.array([1]), ONE, np.ones(2))


# ---------------------------------------------------------------- e-BH


@given(E_VALUES, st.sampled_from([0.01, 0.05, 0.2]))
def test_e_bh_names_the_largest_set_that_its_definition_allows(e_values, alpha):
    found = e_bh(np.log10(e_values), math.log10(alpha))
    rounding = [value * factor for value in e_values for factor in (1 - 1e-9, 1 + 1e-9)]
    low = reference.e_bh(rounding[0::2], alpha)
    high = reference.e_bh(rounding[1::2], alpha)
    assert low <= set(np.flatnonzero(found).tolist()) <= high


@given(E_VALUES, st.randoms(use_true_random=False))
def test_e_bh_does_not_mind_the_order_of_columns(e_values, random):
    values = np.log10(e_values)
    order = list(range(len(values)))
    random.shuffle(order)
    named, shuffled = e_bh(values, -2.0), e_bh(values[order], -2.0)
    assert sorted(values[named]) == sorted(values[order][shuffled])


@given(E_VALUES, st.integers(0, 11))
def test_more_evidence_for_one_column_never_takes_another_out(e_values, at):
    values = np.log10(e_values)
    more = values.copy()
    more[at % len(values)] += 3.0
    assert (e_bh(values, -2.0) <= e_bh(more, -2.0)).all()


def test_a_column_without_evidence_is_not_named_and_counts():
    assert e_bh(np.array([math.nan, 2.5]), -2.0).tolist() == [False, True]
    assert e_bh(np.array([math.nan, 2.2]), -2.0).tolist() == [False, False]
    assert e_bh(np.array([]), -2.0).tolist() == []
