"""Sums of records are those of their definitions, and of parts merge into those of the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import histogram
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
    names = {"log_loss": p.LOG_LOSS, "log_loss_squares": p.LOG_LOSS_SQUARES}
    names |= {"fourth_powers": p.FOURTH_POWERS, "chosen": p.CHOSEN, "chosen_s": p.CHOSEN_S}
    names |= {"chosen_ss": p.CHOSEN_SS, "labelled_chosen_s": p.LABELLED_CHOSEN_S}
    told_sums = {name: found.totals[place] for name, place in names.items()}
    assert told_sums == pytest.approx({name: wanted[name] for name in names}, rel=1e-12)
    told = dict(zip(("tp", "fp", "tn", "fn"), found.totals[[p.TP, p.FP, p.TN, p.FN]], strict=True))
    assert told == {name: wanted[name] for name in told}
    assert found.totals[p.DELAY_MS] == 500 * 250
    assert found.totals[[p.LABELLED, p.BINARIES]].tolist() == [500, 500]
    by_bin = np.zeros((p.BINS, p.BIN_SUMS))
    for row in rows:
        score, outcome = row["score"], row["outcome"]
        one = (1, outcome, score, score * score, score * outcome, 1, score, score * score)
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


def test_scores_without_an_outcome_are_added_up_apart():
    scores, outcomes = [0.2, 0.4, 0.6, 0.9], [np.nan, 0.0, np.nan, 1.0]
    found = sums_of(records(range(4), scores=scores, outcomes=outcomes))
    both = found.bins.sum(axis=0)
    assert both[[p.N, p.ALL_N]].tolist() == [2, 4]
    assert both[[p.S, p.ALL_S]] == pytest.approx([1.3, 2.1])
    chosen = found.totals[[p.CHOSEN, p.CHOSEN_S, p.LABELLED_CHOSEN_S]]
    assert chosen == pytest.approx([2, 1.5, 0.9])


@pytest.mark.parametrize(("threshold", "said"), [(0.0, 3), (0.2, 2), (0.3123, 2), (0.9, 0)])
def test_positive_is_predicted_above_the_threshold(threshold, said):
    found = p.no_sums()
    words = records(range(4), scores=[0.0, 0.2, 0.4, 0.9], outcomes=1.0)
    p.add(found, words, *EVERYTHING, threshold=threshold)
    assert found.totals[[p.TP, p.FN, p.CHOSEN]].tolist() == [said, 4 - said, said]


@pytest.mark.parametrize("score", [0.0, 1e-300, 2**-60, 0.5, 1 - 2**-53, 1.0])
def test_log_odds_of_every_probability_have_a_bin(score):
    found = sums_of(records([0], scores=score, outcomes=1.0)).logits
    ((n, y, x),) = found[found[:, p.L_N] > 0].tolist()
    assert (n, y) == (1, 1)
    assert abs(x) <= 36.05
    step = int(np.flatnonzero(found[:, p.L_N])[0])
    assert step <= (x + p.MAX_LOGIT) * p.LOGIT_STEPS < step + 1


def test_delays_are_counted_by_the_millisecond():
    times = NOON_MS + np.array([0, 20, 999_999, -5])
    found = sums_of(records(range(4), outcomes=1.0, outcome_ms=times)).delays
    places = [histogram.index(ms) for ms in (0, 20, 999_999, 0)]
    assert found.tolist() == np.bincount(places, minlength=len(found)).tolist()


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
    apart = outcomes - outcomes.mean()
    assert found[p.CUBES] == pytest.approx((apart**3).sum(), rel=1e-4)
    assert found[p.FOURTHS] == pytest.approx((apart**4).sum(), rel=1e-5)


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
        np.testing.assert_allclose(some, all_of_it, rtol=1e-9, atol=1e-9)


def test_a_record_that_is_damaged_reaches_no_memory_but_its_own():
    tops = [-3, -(2**31), 2, 2, 2, 2]
    actual = [0.0, 0.0, -1.0, -1e300, 1e300, np.inf]
    found = sums_of(records(range(6), scores=0.8, tops=tops, outcomes=actual))
    assert found.totals[p.OTHER_CLASSES] == 6
    assert not found.classes.any()
