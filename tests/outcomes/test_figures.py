"""Figures are those of scikit-learn and of their definitions, and None where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.outcomes.calibration import CALIBRATION_BINS
from gateway.outcomes.figures import NAMES, performance
from kernels.performance import BINARY, VALUE, add, no_sums
from loadtest import by_scikit_learn
from tests.outcomes.records import NOON_MS, records

EXACT = 1e-9


def of(scores, outcomes, tops=-1, threshold=0.5, **more):
    sums = no_sums()
    words = records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes, **more)
    add(sums, words, 1, 0, 2 * NOON_MS, threshold=threshold)
    return performance(sums, threshold)


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


def same(found, wanted):
    """Equal to EXACT; what scikit-learn calls 0 for want of anything is None."""
    for name, value in wanted.items():
        assert (found[name] or 0.0) == pytest.approx(value, rel=EXACT, abs=EXACT), name


@pytest.mark.parametrize("threshold", [0.5, 0.1234])
@pytest.mark.parametrize("shape", SHAPES)
def test_binary_figures_are_scikit_learns(shape, threshold):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, outcomes = draws(shape)
    found = of(scores, outcomes, threshold=threshold)
    same(found.figures, by_scikit_learn.binary(scores, outcomes, threshold))
    auc, binned = metrics.roc_auc_score(outcomes, scores), found.figures
    assert abs(binned["roc_auc"] - auc) <= binned["roc_auc_error"] + EXACT
    table = metrics.confusion_matrix(outcomes, scores > threshold).ravel().tolist()
    assert list(found.confusion.values()) == [table[3], table[1], table[0], table[2]]
    assert found.threshold == threshold


ODD = {
    "one-row": ([0.7], [1.0]),
    "all-of-one-class": ([0.2, 0.9, 0.4], [0.0, 0.0, 0.0]),
    "all-of-the-other": ([0.2, 0.9, 0.4], [1.0, 1.0, 1.0]),
    "none-predicted": ([0.1, 0.2, 0.5], [1.0, 0.0, 1.0]),
    "sure-and-right": ([0.0, 1.0, 1.0], [0.0, 1.0, 1.0]),
    "sure-and-wrong": ([0.0, 1.0, 1.0], [1.0, 0.0, 1.0]),
    "right-where-it-says-no": ([0.0] + [1.0] * 6, [0.0, 1.0] + [0.0] * 5),
    "all-tied": ([0.25] * 6, [1.0, 0.0, 0.0, 1.0, 0.0, 0.0]),
    "beside-the-threshold": ([0.5, np.nextafter(0.5, 1.0), float(np.float32(0.5))], [1.0, 1.0, 0]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of what it calls 0
@pytest.mark.parametrize("shape", ODD)
def test_figures_of_odd_rows_are_scikit_learns(shape):
    scores, outcomes = map(np.array, ODD[shape])
    found = of(scores, outcomes).figures
    same(found, by_scikit_learn.binary(scores, outcomes, 0.5))
    if 0.0 < outcomes.mean() < 1.0:
        metrics = pytest.importorskip("sklearn.metrics")
        auc = metrics.roc_auc_score(outcomes, scores)
        assert abs(found["roc_auc"] - auc) <= found["roc_auc_error"] + EXACT


# Log-odds are taken at their means in bins of 1/8.
LINE_ERROR = 1e-3


@pytest.mark.parametrize("shape", ["u-shaped", "float32"])
def test_the_line_through_log_odds_is_that_of_logistic_regression(shape):
    models = pytest.importorskip("sklearn.linear_model")
    scores, outcomes = draws(shape)
    kept = scores.clip(2.0**-52, 1 - 2.0**-52)
    logits = np.log(kept / (1 - kept))
    line = models.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000)
    line.fit(logits[:, None], outcomes)
    found = of(scores, outcomes).figures
    assert found["calibration_slope"] == pytest.approx(line.coef_[0, 0], rel=LINE_ERROR)
    assert found["calibration_intercept"] == pytest.approx(line.intercept_[0], abs=LINE_ERROR)


@pytest.mark.parametrize(
    "shape", ["one-row", "all-of-one-class", "sure-and-right", "all-tied", "right-where-it-says-no"]
)
def test_where_no_line_is_the_best_there_is_none(shape):
    found = of(*ODD[shape]).figures
    assert (found["calibration_slope"], found["calibration_intercept"]) == (None, None)


def test_scores_that_are_all_sure_and_often_wrong_have_their_line():
    scores, outcomes = np.repeat([0.0, 1.0], 40), np.tile([0.0, 0.0, 0.0, 1.0], 20)
    outcomes[40:] = 1.0 - outcomes[40:]
    found = of(scores, outcomes).figures
    apart = np.log((1 - 2.0**-52) / 2.0**-52)
    assert found["calibration_slope"] == pytest.approx(np.log(3.0) / apart, rel=1e-9)
    assert found["calibration_intercept"] == pytest.approx(0.0, abs=1e-9)


def dirichlet(classes, count=5000, seed=4):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.ones(classes), count)
    outcomes = (probabilities.cumsum(axis=1) < rng.random(count)[:, None]).sum(axis=1)
    return probabilities.max(axis=1), outcomes.astype(float), probabilities.argmax(axis=1)


def lopsided():
    """One class never predicted, another never there."""
    rng = np.random.default_rng(5)
    outcomes, tops = rng.choice([0, 1, 4], 500), rng.choice([0, 1, 2], 500)
    return rng.random(500), outcomes.astype(float), tops


@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's, of classes that are not there
@pytest.mark.parametrize("rows", [dirichlet(3), dirichlet(12), lopsided()])
def test_multiclass_figures_are_scikit_learns(rows):
    scores, outcomes, tops = rows
    found = of(scores, outcomes, tops)
    assert found.kind == "multiclass"
    lines = [(one.precision or 0, one.recall or 0, one.f1, one.actual) for one in found.classes]
    assert np.array(lines) == pytest.approx(by_scikit_learn.classes(outcomes, tops), rel=EXACT)
    same(found.figures, by_scikit_learn.multiclass(scores, outcomes, tops))
    for line in found.classes:
        for name, (low, high) in line.intervals.items():
            assert low <= getattr(line, name) <= high


@pytest.mark.parametrize("centre", [0.0, 1e6])
def test_figures_of_values_are_scikit_learns(centre):
    rng = np.random.default_rng(2)
    outcomes = centre + rng.normal(size=5000)
    scores = outcomes + rng.normal(0.2, 0.5, 5000)
    found = of(scores, outcomes, VALUE).figures
    wanted = by_scikit_learn.values(scores, outcomes)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=EXACT)
    wanted = by_scikit_learn.residual_quantiles(scores, outcomes)
    assert {name: found[name] for name in wanted} == pytest.approx(wanted, rel=1 / 64)


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
    assert (nothing.delay_mean_s, nothing.delay_p99_s) == (None, None)
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
    assert found.delay_p50_s == pytest.approx(0.25, abs=0.008)


def test_quantiles_of_delays_are_within_their_error():
    delays = np.random.default_rng(2).lognormal(12.0, 2.0, 3000).astype(np.int64)
    found = of([0.5] * 3000, np.ones(3000), outcome_ms=NOON_MS + delays)
    for share, told in ((0.5, found.delay_p50_s), (0.95, found.delay_p95_s)):
        assert told == pytest.approx(np.quantile(delays, share) / 1000.0, rel=0.02)
    assert found.delay_p50_s < found.delay_p95_s < found.delay_p99_s <= found.delay_max_s


def test_kinds_that_are_mixed_have_no_figures():
    found = of([0.5, 0.5], [1.0, 1.0], tops=[-1, 2])
    assert found.kind == "mixed"
    assert set(found.figures.values()) == {None}


def wide_ends(scores, outcomes, alpha, **more):
    sums = no_sums()
    add(
        sums,
        records(range(len(scores)), scores=scores, outcomes=outcomes, **more),
        1,
        0,
        2 * NOON_MS,
    )
    return performance(sums, alpha=alpha).intervals


@pytest.mark.parametrize("tops", [BINARY, VALUE, 0], ids=["binary", "value", "multiclass"])
def test_every_interval_is_as_sure_as_is_asked_for(tops):
    scores, outcomes = draws("u-shaped", 2000)
    usual, surer = (wide_ends(scores, outcomes, alpha, tops=tops) for alpha in (0.05, 0.001))
    assert usual.keys() == surer.keys()
    same = [name for name in usual if usual[name] == surer[name]]
    for name, (low, high) in surer.items():
        assert low <= usual[name][0] <= usual[name][1] <= high, name
    # But for those that can lie nowhere else.
    assert not {"accuracy", "brier", "ece", "roc_auc", "mae", "rmse", "bias", "f1"} & set(same)
