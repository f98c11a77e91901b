"""What a model is expected to be, from its scores: near the truth as long as these are right."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.outcomes.estimate import UNCHECKED, Calibrator
from gateway.outcomes.figures import performance
from kernels.performance import BINS, VALUE, add, no_sums
from tests import reference
from tests.outcomes.records import NOON_MS, records

FIGURES = ("accuracy", "precision", "recall", "specificity", "f1", "mean_outcome", "roc_auc")


def of(scores, outcomes=np.nan, tops=-1, threshold=0.5, calibrator=UNCHECKED):
    sums = no_sums()
    words = records(range(len(scores)), scores=scores, tops=tops, outcomes=outcomes)
    add(sums, words, 1, 0, 2 * NOON_MS, threshold=threshold)
    return performance(sums, threshold, calibrator)


def middles(places):
    """Scores in the middle of bins, so that no pair of rows is told apart within one."""
    return (np.asarray(places) + 0.5) / BINS


@pytest.mark.parametrize("threshold", [0.5, 0.3333, 0.0, 0.95])
def test_figures_are_those_that_rows_are_expected_to_have(threshold):
    scores = middles(np.random.default_rng(2).integers(0, BINS, 150))
    found = of(scores, threshold=threshold).estimate
    assert found is not None
    wanted = reference.expected_figures(scores.tolist(), scores.tolist(), threshold)
    assert found.figures == pytest.approx(wanted, rel=1e-9)
    assert (found.calibrated, found.rows, found.labelled, found.beside) == (False, 150, 0, {})


def test_a_table_says_what_scores_mean_also_where_the_threshold_parts_a_bin():
    rng = np.random.default_rng(3)
    scores = np.concatenate((middles(rng.integers(0, BINS, 100)), np.full(40, 0.4), [0.4005] * 30))
    table = np.linspace(0.1, 0.7, BINS) ** 2
    found = of(scores, threshold=0.4002, calibrator=Calibrator(True, table)).estimate
    assert found is not None
    chances = [table[reference.bin_of(score, BINS)] for score in scores.tolist()]
    wanted = reference.expected_figures(scores.tolist(), chances, 0.4002)
    told = {name: found.figures[name] for name in wanted if name != "roc_auc"}
    del wanted["roc_auc"]  # of one bin, pairs are tied
    assert told == pytest.approx(wanted, rel=1e-9)
    assert found.calibrated


def test_the_top_class_is_expected_to_be_right_as_often_as_it_says():
    scores = np.random.default_rng(4).random(500)
    found = of(scores, tops=2).estimate
    assert found is not None
    assert found.figures == pytest.approx({"accuracy": scores.mean()})


def test_what_is_no_probability_is_not_estimated():
    assert of([1.0, 2.0], tops=VALUE).estimate is None
    assert of([0.5, 0.5], tops=[-1, 3]).estimate is None
    assert performance(no_sums()).estimate is None
    nothing = of([0.0, 0.0]).estimate
    assert nothing is not None
    assert (nothing.figures["precision"], nothing.figures["roc_auc"]) == (None, None)


@pytest.mark.parametrize("sure", [0.997, 0.9999])
def test_one_surprise_among_few_that_are_sure_is_within_the_band(sure):
    scores = np.repeat([1.0 - sure, sure], 300)
    outcomes = (scores > 0.5).astype(float)
    outcomes[0] = 1.0
    found = of(scores, outcomes).estimate
    assert found is not None
    for line in found.beside.values():
        assert line.low is not None
        assert line.low <= line.realised <= (line.high or 0.0)


RUNS = 60


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_under_another_mix_of_rows_the_truth_lies_within_the_band(threshold):
    """Scores mean what they say; which rows come is another matter than in training."""
    rng = np.random.default_rng(5)
    missed = dict.fromkeys(FIGURES, 0)
    for _ in range(RUNS):
        a, b = rng.uniform(0.3, 3.0, 2)
        scores = rng.beta(a, b, 3000)
        outcomes = (rng.random(3000) < scores).astype(float)
        truth = of(scores, outcomes, threshold=threshold).figures
        found = of(scores, threshold=threshold).estimate
        assert found is not None
        for name in FIGURES:
            ends = found.bands[name]
            if ends is not None and truth[name] is not None:
                missed[name] += not ends[0] <= truth[name] <= ends[1]
    # 3 of 60 would be too many of a band that holds at all times at once.
    assert max(missed.values()) <= 3, missed


def test_bands_are_of_use():
    rng = np.random.default_rng(6)
    found = of(rng.beta(0.5, 0.5, 10_000)).estimate
    assert found is not None
    widths = [high - low for low, high in (ends for ends in found.bands.values() if ends)]
    assert len(widths) == len(FIGURES)
    assert max(widths) < 0.05


def test_beside_the_truth_stands_the_estimate_of_the_same_rows():
    rng = np.random.default_rng(7)
    scores = rng.random(4000)
    outcomes = (rng.random(4000) < scores).astype(float)
    known = scores > 0.6  # labels came of some rows alone
    found = of(scores, np.where(known, outcomes, np.nan)).estimate
    assert found is not None
    alone = of(scores[known]).estimate
    assert alone is not None
    assert (found.rows, found.labelled) == (4000, int(known.sum()))
    for name, line in found.beside.items():
        assert line.estimated == pytest.approx(alone.figures[name])
        assert line.difference == line.realised - line.estimated
        assert line.low is not None
        assert line.low <= line.realised <= (line.high or 0.0)
    assert found.beside["precision"].realised == pytest.approx(outcomes[known].mean())


def test_a_concept_that_drifted_shows_beside_the_truth_alone():
    rng = np.random.default_rng(8)
    scores = rng.random(4000)
    outcomes = (rng.random(4000) < scores * 0.5).astype(float)
    found = of(scores, outcomes).estimate
    assert found is not None
    line = found.beside["precision"]
    assert line.realised < (line.low or 0.0)
    assert found.figures["precision"] == pytest.approx(0.75, abs=0.02)
