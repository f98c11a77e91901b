"""Sums of records are those of their definitions, and of parts merge into those of the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import performance as p
from kernels.ledger import OUTCOME, SCORE
from kernels.marks import grouped
from tests import reference
from tests.outcomes.records import NOON_MS, records

EVERYTHING = (1, 0, 2 * NOON_MS)


def sums_of(words):
    found = p.no_sums()
    p.add(found, words, *EVERYTHING)
    return found


def binary(rng, count):
    scores = rng.beta(0.5, 0.5, count)
    outcomes = (rng.random(count) < scores).astype(float)
    return records(range(count), scores=scores, outcomes=outcomes, outcome_ms=NOON_MS + 250)


def test_binary_sums_are_those_of_their_definitions():
    words = binary(np.random.default_rng(3), 500)
    reals, found = words.view(np.float64), sums_of(words)
    rows = [
        {"score": score, "outcome": outcome}
        for score, outcome in reals[:, [SCORE, OUTCOME]].tolist()
    ]
    wanted = reference.ledger_sums(rows)
    assert found.totals[p.LOG_LOSS] == pytest.approx(wanted["log_loss"], rel=1e-12)
    told = dict(zip(("tp", "fp", "tn", "fn"), found.totals[[p.TP, p.FP, p.TN, p.FN]], strict=True))
    assert told == {name: wanted[name] for name in told}
    assert found.totals[p.DELAY_MS] == 500 * 250
    assert found.totals[[p.LABELLED, p.BINARIES]].tolist() == [500, 500]
    by_bin = np.zeros((p.BINS, p.BIN_SUMS))
    for row in rows:
        score, outcome = row["score"], row["outcome"]
        one = (1, outcome, score, score * score, score * outcome)
        by_bin[reference.bin_of(score, p.BINS)] += one
    assert found.bins == pytest.approx(by_bin, rel=1e-12)


@pytest.mark.parametrize(
    ("score", "place"), [(0.0, 0), (1e-300, 0), (1 / 960, 0), (0.5, 479), (1.0, 959)]
)
def test_a_bin_holds_its_upper_edge(score, place):
    found = sums_of(records([0], scores=score, outcomes=1.0))
    assert np.flatnonzero(found.bins[:, p.N]).tolist() == [place]


@pytest.mark.parametrize("score", [np.nan, -0.1, 1.5, np.inf])
def test_what_is_no_probability_is_counted_and_nothing_else(score):
    found = sums_of(records([0], scores=score, outcomes=1.0))
    assert (found.totals[p.UNSCORED], found.totals[p.LABELLED]) == (1, 0)
    assert not found.bins.any()


def test_a_record_without_an_outcome_is_only_counted():
    found = sums_of(records([0, 1], outcomes=[np.nan, 1.0]))
    assert (found.totals[p.RECORDS], found.totals[p.LABELLED]) == (2, 1)


def test_classes_are_counted_one_by_one_and_those_that_are_too_many_together():
    tops, actual = [0, 2, 2, 300], [0.0, 2.0, 1.0, 300.0]
    found = sums_of(records(range(4), scores=0.8, tops=tops, outcomes=actual))
    assert found.classes[:3].tolist() == [[1, 1, 1], [0, 1, 0], [2, 1, 1]]
    assert (found.totals[p.TP], found.totals[p.FP]) == (3, 1)
    assert found.totals[p.OTHER_CLASSES] == 1


def test_only_rows_of_the_group_that_is_asked_for_count():
    words = records(range(4), outcomes=1.0, marks=[grouped(1, group)[1] for group in (0, 1, 2, 2)])
    for group, count in enumerate((1, 1, 2, 0)):
        found = p.no_sums()
        p.add(found, words, *EVERYTHING, *grouped(1, group))
        assert found.totals[p.LABELLED] == count
    assert sums_of(words).totals[p.LABELLED] == 4


def test_values_far_from_zero_keep_their_spread():
    rng = np.random.default_rng(5)
    outcomes = 1e9 + rng.normal(size=1000)
    scores = outcomes + rng.normal(0.1, 0.2, 1000)
    found = sums_of(records(range(1000), scores=scores, tops=p.VALUE, outcomes=outcomes)).totals
    error = scores - outcomes
    assert found[p.SQ_ERROR] == pytest.approx((error**2).sum(), rel=1e-12)
    assert found[p.ABS_ERROR] == pytest.approx(np.abs(error).sum(), rel=1e-12)
    assert found[p.MEAN] == pytest.approx(outcomes.mean(), rel=1e-12)
    assert found[p.AROUND_MEAN] == pytest.approx(outcomes.var() * 1000, rel=1e-6)


@given(st.lists(st.integers(0, 400), min_size=0, max_size=4), st.sampled_from(["binary", "value"]))
def test_parts_merge_into_the_whole_in_any_order(cuts, kind):
    rng = np.random.default_rng(9)
    words = binary(rng, 400)
    if kind == "value":
        words = records(
            range(400), scores=rng.normal(size=400), tops=p.VALUE, outcomes=rng.normal(size=400)
        )
    whole = sums_of(words)
    edges = [0, *sorted(cuts), 400]
    parts = [sums_of(words[first:end]) for first, end in itertools.pairwise(edges)]
    merged = p.no_sums()
    for part in rng.permutation(len(parts)):
        p.merge(merged, parts[part])
    for some, all_of_it in zip(merged, whole, strict=True):
        assert some == pytest.approx(all_of_it, rel=1e-9, abs=1e-12)
