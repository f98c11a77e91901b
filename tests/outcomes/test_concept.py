"""Outcomes are fed once, in the order in which they became known, and what they say is kept."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.outcomes.concept import RECENT, Settings, Streams
from kernels import concept as c
from kernels.performance import VALUE
from tests.outcomes.records import NOON_MS, records

SETTINGS = Settings(200, 0.05, 0.05)


def streams(kept=None):
    return Streams((kept or {}).get)


def errors(rng, count, rate, first=0, **more):
    """Records of a model that is sure, and wrong at a rate."""
    wrong = rng.random(count) < rate
    more = {"scores": 0.9, "outcome_ms": NOON_MS, **more}
    return records(range(first, first + count), outcomes=1.0 - wrong, **more)


def fed(*some):
    made = streams()
    for one in some:
        made.feed(one, SETTINGS, NOON_MS + 5000)
    return made


def test_of_outcomes_that_come_together_the_first_known_goes_first():
    late = records(range(200), scores=0.9, outcomes=0.0, outcome_ms=NOON_MS + 2)
    soon = records(range(200, 400), scores=0.9, outcomes=1.0, outcome_ms=NOON_MS + 1)
    found = fed(np.concatenate((late, soon))).judged(1, SETTINGS)
    assert (found.baseline_outcomes, found.baseline_error_rate) == (200, 0.0)


def test_series_do_not_mix():
    rng = np.random.default_rng(1)
    one, other = errors(rng, 300, 0.0), errors(rng, 300, 1.0, series=2)
    found = fed(np.concatenate((one, other)))
    rates = [found.judged(series, SETTINGS).baseline_error_rate for series in (1, 2)]
    assert rates == [0.0, 1.0]
    assert found.judged(3, SETTINGS).outcomes == 0


def test_until_the_baseline_is_whole_nothing_is_said():
    found = fed(errors(np.random.default_rng(2), 199, 0.1)).judged(1, SETTINGS)
    assert (found.verdict, found.error_rate.verdict) == ("too_few_rows", "too_few_rows")
    assert found.error_rate.limit is None
    assert found.calibration is not None
    assert found.calibration.value is None


def test_a_risen_error_rate_is_told_with_what_raised_it():
    rng = np.random.default_rng(3)
    found = fed(errors(rng, 800, 0.05), errors(rng, 400, 0.5)).judged(1, SETTINGS)
    rate = found.error_rate
    assert (found.verdict, rate.verdict, rate.alarms) == ("drift", "drift", 1)
    assert rate.raised is not None
    assert rate.raised.at == (NOON_MS + 5000) / 1000
    assert 800 < rate.raised.outcome <= 1000
    assert rate.limit == rate.raised.limit < rate.raised.low < rate.raised.value
    assert rate.value == pytest.approx(0.5, abs=0.1)
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < 0.5 < rate.high


def test_a_test_that_found_a_rise_says_so_for_a_while():
    rng = np.random.default_rng(4)
    made = fed(errors(rng, 800, 0.02), errors(rng, 200, 0.5))
    soon = made.judged(1, SETTINGS).tests
    assert {name for name, one in soon.items() if one.verdict == "drift"} == soon.keys()
    ends = soon["adwin_error"].before, soon["adwin_error"].after
    assert ends == (pytest.approx(0.02, abs=0.03), pytest.approx(0.5, abs=0.15))
    made.feed(errors(rng, 2 * RECENT, 0.5), SETTINGS, NOON_MS)
    later = made.judged(1, SETTINGS).tests
    assert {one.verdict for one in later.values()} == {"ok"}
    assert later["page_hinkley_error"].rises == 1


def test_values_have_no_calibration_and_count_from_their_first_outcome():
    rng = np.random.default_rng(5)
    spread = np.concatenate((rng.normal(0, 1, 1000), rng.normal(0, 5, 300)))
    told = records(range(1300), scores=spread, outcomes=0.0, tops=VALUE, outcome_ms=NOON_MS)
    found = fed(told).judged(1, SETTINGS)
    assert (found.calibration, found.verdict) == (None, "drift")
    assert found.usual_error == pytest.approx(np.abs(spread[:200]).mean())
    last = found.tests["adwin_error"].outcome
    assert last is not None
    assert 1000 < last <= 1300


def test_what_was_said_is_kept_and_taken_up_again():
    rng = np.random.default_rng(6)
    first, second = errors(rng, 500, 0.1), errors(rng, 500, 0.3)
    made = fed(first)
    kept = made.unsaved()
    made.saved()
    assert made.unsaved() == {}
    again = streams(kept)
    again.feed(second, SETTINGS, NOON_MS + 5000)
    assert again.judged(1, SETTINGS) == fed(first, second).judged(1, SETTINGS)


@pytest.mark.parametrize("kept", [b"", b"rubbish", b"x\x9cc`\x00\x00\x00\x01\x00\x01"])
def test_what_cannot_be_read_begins_anew(kept):
    assert streams({1: kept}).judged(1, SETTINGS).outcomes == 0


def test_a_state_is_small():
    rng = np.random.default_rng(7)
    (kept,) = fed(errors(rng, 100_000, 0.1, scores=rng.random(100_000))).unsaved().values()
    assert len(kept) < c.WORDS * 8 < 10_000
