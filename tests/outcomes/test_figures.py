"""Figures are those of scikit-learn and of their definitions, and None where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcomes.figures import CALIBRATION_BINS, NAMES, performance
from gateway.outcomes.intervals import rate_interval
from kernels.performance import VALUE, add, no_sums
from tests.outcomes.records import NOON_MS, records

EXACT = 1e-9


def of(scores, outcomes, tops=-1, **more):
    sums = no_sums()
    add(
        sums,
        records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes, **more),
        1,
        0,
        2 * NOON_MS,
    )
    return performance(sums)


def draws(shape, count=20_000, seed=1):
    """Scores of one of several distributions, and outcomes that are not quite as likely."""
    rng = np.random.default_rng(seed)
    scores = {
        "u-shaped": lambda: rng.beta(0.5, 0.5, count),
        "rare": lambda: rng.beta(0.3, 4.0, count),
        "few-values": lambda: rng.integers(0, 9, count) / 8.0,
        "float32": lambda: rng.random(count).astype(np.float32).astype(float),
    }[shape]()
    return scores, (rng.random(count) < scores**1.2).astype(float)


SHAPES = ("u-shaped", "rare", "few-values", "float32")


@pytest.mark.parametrize("shape", SHAPES)
def test_binary_figures_are_scikit_learns(shape):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, outcomes = draws(shape)
    found, said = of(scores, outcomes).figures, scores > 0.5
    wanted = {
        "accuracy": metrics.accuracy_score(outcomes, said),
        "precision": metrics.precision_score(outcomes, said),
        "recall": metrics.recall_score(outcomes, said),
        "f1": metrics.f1_score(outcomes, said),
        "log_loss": metrics.log_loss(outcomes, scores, labels=[0, 1]),
        "brier": metrics.brier_score_loss(outcomes, scores),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=EXACT, abs=EXACT)
    auc = metrics.roc_auc_score(outcomes, scores)
    assert abs(found["roc_auc"] - auc) <= found["roc_auc_error"] + EXACT


@pytest.mark.parametrize("classes", [3, 12])
def test_multiclass_figures_are_scikit_learns(classes):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(4)
    probabilities = rng.dirichlet(np.ones(classes), 5000)
    tops = probabilities.argmax(axis=1)
    outcomes = np.array([rng.choice(classes, p=p) for p in probabilities])
    found = of(probabilities.max(axis=1), outcomes.astype(float), tops)
    assert found.kind == "multiclass"
    assert found.figures["accuracy"] == pytest.approx(metrics.accuracy_score(outcomes, tops))
    each = metrics.precision_recall_fscore_support(outcomes, tops)
    lines = [(one.precision, one.recall, one.f1, one.actual) for one in found.classes]
    assert np.array(lines) == pytest.approx(np.array(each).T, rel=EXACT)
    means = metrics.precision_recall_fscore_support(outcomes, tops, average="macro")[:3]
    told = [found.figures[name] for name in ("precision", "recall", "f1")]
    assert told == pytest.approx(means, rel=EXACT)


@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_figures_of_values_are_scikit_learns(centre):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    outcomes = centre + rng.normal(size=5000)
    scores = outcomes + rng.normal(0.2, 0.5, 5000)
    found = of(scores, outcomes, VALUE).figures
    wanted = {
        "mae": metrics.mean_absolute_error(outcomes, scores),
        "rmse": metrics.root_mean_squared_error(outcomes, scores),
        "r2": metrics.r2_score(outcomes, scores),
        "bias": float((scores - outcomes).mean()),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=EXACT)


def by_hand(scores, outcomes, bins):
    """Calibration error, its largest part and its debiased square, bin by bin."""
    parts, worst, squared, counted = 0.0, 0.0, 0.0, 0
    for number in range(bins):
        inside = (scores > number / bins) & (scores <= (number + 1) / bins)
        inside |= (scores == 0) & (number == 0)
        n = int(inside.sum())
        if n:
            apart = abs(scores[inside].mean() - outcomes[inside].mean())
            parts, worst = parts + n * apart, max(worst, apart)
        if n > 1:
            rate = outcomes[inside].mean()
            squared += n * (apart**2 - rate * (1 - rate) / (n - 1))
            counted += n
    return parts / len(scores), worst, squared / counted


@pytest.mark.parametrize("shape", SHAPES)
def test_calibration_is_that_of_its_definition(shape):
    scores, outcomes = draws(shape)
    found = of(scores, outcomes).figures
    told = [found[name] for name in ("ece", "mce", "calibration_error_debiased")]
    assert told == pytest.approx(by_hand(scores, outcomes, CALIBRATION_BINS), rel=EXACT, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_parts_of_the_brier_score_add_up_to_it(shape):
    found = of(*draws(shape)).figures
    parts = {name: found[f"brier_{name}"] for name in ("reliability", "resolution", "uncertainty")}
    whole = parts["reliability"] - parts["resolution"] + parts["uncertainty"]
    assert whole + found["brier_within_bins"] == pytest.approx(found["brier"], rel=EXACT)


def test_reliability_lines_hold_every_outcome_once():
    scores, outcomes = draws("u-shaped")
    lines = of(scores, outcomes).reliability
    assert sum(line.n for line in lines) == len(scores)
    total = sum(line.n * line.mean_outcome for line in lines)
    assert total == pytest.approx(outcomes.sum())
    assert [line.le for line in lines][-1] == 1.0


def test_bins_of_equal_mass_see_what_wide_ones_hide():
    # Two scores in one wide bin: right on average, and each wrong.
    scores = np.repeat([0.94, 0.99], 500)
    outcomes = np.ones(1000)
    outcomes[965:] = 0.0  # 7 % of the higher ones
    found = of(scores, outcomes).figures
    assert found["ece"] == pytest.approx(abs(scores.mean() - outcomes.mean()))
    assert found["ece_equal_mass"] == pytest.approx((0.06 + 0.99 - 0.93) / 2)


def test_what_is_not_there_is_none():
    nothing = of([0.5], [np.nan])
    assert (nothing.kind, nothing.records, nothing.labelled, nothing.coverage) == (None, 1, 0, 0.0)
    assert nothing.figures == dict.fromkeys(NAMES)
    assert nothing.delay_mean_s is None
    one_class = of([0.2, 0.4], [0.0, 0.0]).figures
    assert (one_class["roc_auc"], one_class["precision"], one_class["recall"]) == (None,) * 3
    assert one_class["accuracy"] == 1.0
    assert of([1.0, 2.0], [3.0, 3.0], VALUE).figures["r2"] is None
    assert performance(no_sums()).coverage is None


def test_delays_and_coverage_are_told():
    times = np.array([250, 750, 0]) + NOON_MS
    found = of([0.5] * 3, [1.0, 0.0, np.nan], outcome_ms=times)
    assert (found.delay_mean_s, found.delay_max_s) == (0.5, 0.75)
    assert found.coverage == pytest.approx(2 / 3)


def test_kinds_that_are_mixed_have_no_figures():
    found = of([0.5, 0.5], [1.0, 1.0], tops=[-1, 2])
    assert found.kind == "mixed"
    assert set(found.figures.values()) == {None}


def interval(hits, trials, **more):
    found = rate_interval(hits, trials, **more)
    assert found is not None
    return found


@given(st.integers(1, 300), st.data())
def test_an_interval_holds_what_was_found_and_says_more_with_more(trials, data):
    hits = data.draw(st.integers(0, trials))
    low, high = interval(hits, trials)
    assert 0.0 <= low <= hits / trials <= high <= 1.0
    wide = interval(hits, trials, alpha=0.001)
    assert wide[0] <= low
    assert high <= wide[1]
    narrow = interval(hits * 100, trials * 100)
    assert narrow[1] - narrow[0] < high - low


def test_the_interval_holds_at_all_times_at_once():
    rng = np.random.default_rng(6)
    looks = np.unique(np.geomspace(10, 5000, 40).astype(int))
    missed = 0
    for _ in range(400):
        hits = (rng.random(5000) < 0.1).cumsum()
        intervals = [interval(float(hits[n - 1]), float(n)) for n in looks]
        missed += any(not low <= 0.1 <= high for low, high in intervals)
    # At most 20 are to be expected; three standard deviations more would be chance.
    assert missed <= 20 + 3 * math.sqrt(19)


def test_without_trials_there_is_no_interval():
    assert rate_interval(0, 0) is None
