"""A stream of outcomes: its baseline, its windows, and the alarms that are raised and that end."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcomes.intervals import rate_interval
from kernels import adwin, page_hinkley
from kernels import concept as c
from kernels.performance import BINARY, EPSILON, VALUE
from tests.outcomes.records import NOON_MS, records

BASE = 1000


def fed(words, state=None, base=BASE, threshold=0.5):
    state = c.new_state() if state is None else state
    settings = np.array([base, 0.05, 0.05, threshold, NOON_MS], np.float64)
    c.feed(words, words.view(np.float64), settings, state)
    return state


def rows(scores, outcomes, tops=BINARY):
    return records(range(len(scores)), scores=scores, outcomes=outcomes, tops=tops)


def wrong(rng, *parts):
    """Records of a calibrated model that says 0.5 or a little more: how many, and their errors."""
    errors = np.concatenate([rng.random(n) < rate for n, rate in parts])
    return rows(np.full(len(errors), 0.9), 1.0 - errors)


def calibrated(rng, count):
    scores = rng.beta(0.5, 0.5, count)
    return rows(scores, (rng.random(count) < scores).astype(float))


def error_alarm(state):
    return state[c.ERROR_ALARM : c.GAP_ALARM]


def gap_alarm(state):
    return state[c.GAP_ALARM : c.LOSS_PH]


def part(state, first):
    return state[first : first + c.PART_WORDS]


# ---- what is counted -----------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 1500), max_size=4))
def test_it_does_not_matter_how_many_come_at_a_time(seed, cuts):
    words = calibrated(np.random.default_rng(seed), 1500)
    state = c.new_state()
    for some in np.split(words, sorted(cuts)):  # any sizes, none included
        fed(np.ascontiguousarray(some), state, base=200)
    assert state.tolist() == fed(words, base=200).tolist()


def test_the_baseline_is_of_the_first_outcomes_and_windows_of_those_after_it():
    words = calibrated(np.random.default_rng(1), BASE + 700)
    scores, outcomes = words.view(np.float64)[:, [3, 5]].T
    state = fed(words)
    spans = (
        (c.BASE, slice(0, BASE)),
        (c.WINDOWS, slice(BASE + 500, None)),
        (c.WINDOWS + c.PART_WORDS, slice(BASE, None)),
    )
    for first, span in spans:
        said, came = scores[span], outcomes[span]
        found = part(state, first)
        assert found[[c.N, c.ERRORS]].tolist() == [len(said), ((said > 0.5) != came).sum()]
        bins = Counter(min(int(score * c.BINS), c.BINS - 1) for score in said.tolist())
        sums = found[c.PART_BINS :].reshape(c.BINS, 3)
        assert sums[:, c.BIN_N].tolist() == [bins[place] for place in range(c.BINS)]
        assert sums[:, c.HITS].sum() == came.sum()
        assert sums[:, c.SCORES].sum() == pytest.approx(said.sum())


def test_losses_and_errors_are_those_of_their_definitions():
    rng = np.random.default_rng(2)
    words = calibrated(rng, 300)
    scores, outcomes = words.view(np.float64)[:, [3, 5]].T
    chance = np.maximum(np.where(outcomes == 1.0, scores, 1.0 - scores), EPSILON)
    losses = np.minimum(-np.log(chance) / c.MAX_NATS, 1.0)
    state = fed(words)
    assert state[c.LOSS_PH + page_hinkley.MEAN] == pytest.approx(losses.mean())
    assert state[c.LOSS_ADWIN + adwin.TOTAL] == pytest.approx(losses.sum())
    assert state[c.ERROR_ADWIN + adwin.TOTAL] == ((scores > 0.5) != outcomes).sum()


def test_positive_is_predicted_above_the_threshold():
    found = part(fed(rows([0.3, 0.3, 0.2], [1.0, 0.0, 0.0]), threshold=0.25), c.BASE)
    assert (found[c.N], found[c.ERRORS]) == (3.0, 1.0)


def test_of_more_classes_the_top_one_is_right_or_wrong():
    state = fed(rows([0.6, 0.6, 0.6], [2.0, 1.0, 2.0], tops=[2, 2, 1]))
    found = part(state, c.BASE)
    assert (found[c.N], found[c.ERRORS]) == (3.0, 2.0)
    assert found[c.PART_BINS :].reshape(c.BINS, 3)[6].tolist() == [3.0, 1.0, pytest.approx(1.8)]


def test_the_error_of_values_is_told_in_parts_of_what_it_was_first():
    rng = np.random.default_rng(3)
    errors = rng.normal(0.0, 10.0, 3000)
    state = fed(rows(errors, np.zeros(3000), tops=VALUE))
    usual = np.abs(errors[:BASE]).mean()
    later = np.abs(errors[BASE:])
    assert state[c.SCALE] == pytest.approx(usual)
    losses = np.minimum(later / (c.MAX_ERRORS * usual), 1.0)
    assert state[c.LOSS_ADWIN + adwin.TOTAL] == pytest.approx(losses.sum())
    assert part(state, c.BASE)[c.ERRORS] == (later[:BASE] > c.FAR_ERRORS * usual).sum()


def test_what_is_no_score_or_has_no_outcome_does_not_count():
    words = rows([0.5, math.nan, 1.5, -0.1], [math.nan, 1.0, 1.0, 0.0])
    assert fed(words)[c.SEEN] == 0.0


# ---- the error rate ------------------------------------------------------------------------------


def test_a_risen_error_rate_raises_the_alarm_and_says_what_was_found():
    for seed in range(20):
        state = fed(wrong(np.random.default_rng(seed), (BASE + 3000, 0.05), (1500, 0.3)))
        found = error_alarm(state)
        assert (found[c.TIMES], found[c.ON], found[c.AT_MS]) == (1.0, 1.0, NOON_MS)
        assert BASE + 3000 < found[c.AT] <= BASE + 3500
        assert found[c.LIMIT] < found[c.LOW] < found[c.FOUND]


def test_the_limit_is_what_the_baseline_leaves_possible_or_what_it_found_and_the_floor():
    errors = np.zeros(BASE)
    errors[:50] = 1.0
    state = fed(rows(np.full(BASE, 0.9), 1.0 - errors))
    _, high = rate_interval(50, BASE, c.ALPHA) or (0.0, 1.0)
    assert state[c.RATE_HIGH] == pytest.approx(high)
    assert c.rate_limit(state, 0.0) == pytest.approx(high)
    assert c.rate_limit(state, 0.25) == pytest.approx(0.3)


def test_the_alarm_is_over_once_a_whole_window_is_below_the_limit():
    rng = np.random.default_rng(4)
    state = fed(wrong(rng, (BASE + 500, 0.05), (2000, 0.4)))
    assert error_alarm(state)[c.ON] == 1.0
    fed(wrong(rng, (1000, 0.05)), state)
    assert error_alarm(state)[[c.TIMES, c.ON]].tolist() == [1.0, 0.0]


def test_without_a_change_hardly_any_of_many_streams_raises_an_alarm():
    """Each as long as the longest window, looked at every 32 outcomes; 2 % are allowed of each."""
    rng, streams = np.random.default_rng(5), 150
    alarms = np.zeros(2)
    for _ in range(streams):
        state = fed(calibrated(rng, BASE + c.LENGTHS[-1]))
        alarms += error_alarm(state)[c.TIMES] > 0, gap_alarm(state)[c.TIMES] > 0
    assert alarms.max() <= 2 * c.ALPHA * streams


def test_a_model_that_was_never_wrong_alarms_once_it_often_is():
    state = fed(wrong(np.random.default_rng(6), (BASE + 5000, 0.0)))
    assert error_alarm(state)[c.TIMES] == 0.0
    fed(wrong(np.random.default_rng(6), (500, 0.3)), state)
    assert error_alarm(state)[c.ON] == 1.0


def test_values_that_are_suddenly_far_off_raise_the_alarm():
    rng = np.random.default_rng(7)
    errors = np.concatenate([rng.normal(0, 1, 2 * BASE + 1000), rng.normal(0, 3, 500)])
    state = fed(rows(errors, np.zeros(len(errors)), tops=VALUE))
    assert error_alarm(state)[[c.TIMES, c.ON]].tolist() == [1.0, 1.0]
    assert gap_alarm(state)[c.TIMES] == 0.0


def test_values_that_were_exact_and_are_so_no_more_raise_the_alarm():
    exact = np.zeros(2 * BASE + 500)
    state = fed(rows(exact, exact, tops=VALUE))
    assert error_alarm(state)[c.TIMES] == 0.0
    fed(rows(np.ones(300), np.zeros(300), tops=VALUE), state)
    assert error_alarm(state)[c.ON] == 1.0


# ---- calibration ---------------------------------------------------------------------------------


def overconfident(rng, count):
    """Right as often as before, by the same side of a half, but scores say more than that."""
    scores = rng.uniform(0.5, 1.0, count)
    return rows(scores, (rng.random(count) < 0.5 + (scores - 0.5) / 2).astype(float))


def test_changed_calibration_raises_an_alarm_of_its_own():
    rng = np.random.default_rng(8)
    before = rng.uniform(0.5, 1.0, BASE + 2000)
    outcomes = (rng.random(len(before)) < before).astype(float)
    state = fed(rows(before, outcomes))
    assert gap_alarm(state)[c.TIMES] == 0.0
    fed(overconfident(rng, 2500), state)
    found = gap_alarm(state)
    assert (found[c.TIMES], found[c.ON], found[c.LIMIT]) == (1.0, 1.0, 0.05)
    assert 0.0 < found[c.LOW] <= found[c.FOUND]
    assert found[c.AT] - BASE - 2000 < 2500
    assert found[c.FOUND] == pytest.approx(1 / math.sqrt(48), abs=0.06)  # (score - 0.5) / 2


def test_a_model_that_was_never_calibrated_has_not_changed():
    rng = np.random.default_rng(9)
    state = fed(overconfident(rng, BASE + 32_000))
    assert gap_alarm(state)[c.TIMES] == 0.0


def test_the_alarm_of_calibration_is_over_once_a_window_is_as_it_was():
    rng = np.random.default_rng(10)
    state = fed(overconfident(rng, BASE + 500))
    scores = rng.uniform(0.5, 1.0, 2500)
    fed(rows(scores, np.ones(2500)), state)
    assert gap_alarm(state)[c.ON] == 1.0
    fed(overconfident(rng, 1000), state)
    assert gap_alarm(state)[[c.TIMES, c.ON]].tolist() == [1.0, 0.0]


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_one_class_alone_raises_nothing(outcome):
    state = fed(rows(np.full(40_000, 0.2), np.full(40_000, outcome)))
    assert (error_alarm(state)[c.TIMES], gap_alarm(state)[c.TIMES]) == (0.0, 0.0)
    assert state[c.LOSS_PH + page_hinkley.RISES] == state[c.LOSS_ADWIN + adwin.RISES] == 0.0
