"""Numbers come back from a database as they went, and nothing else is taken for them."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from gateway.outcomes.concept import Settings, judge
from gateway.outcomes.figures import performance
from gateway.outcomes.packed import SUMS_NUMBERS, check_state, packed, sums_of, unpacked
from kernels import concept as c
from kernels.performance import BINARY, VALUE, add, merge, no_sums
from tests.outcomes.records import NOON_MS, records

ODD = (np.nan, np.inf, -np.inf, -1.0, 0.5, 7.0, 1e9, 2.0**60, 1e300)
SETTINGS = Settings(200, 0.05, 0.05)


def some_records(rng, count, top):
    tops = rng.integers(0, 5, count) if top == "classes" else top
    scores = rng.normal(0.0, 3.0, count) if top == VALUE else rng.random(count)
    outcomes = {BINARY: rng.integers(0, 2, count), VALUE: rng.normal(0.0, 3.0, count)}
    came = outcomes.get(top, rng.integers(0, 7, count)).astype(float)
    came[rng.random(count) < 0.3] = np.nan
    later = NOON_MS + rng.integers(0, 9999, count)
    return records(range(count), scores=scores, tops=tops, outcomes=came, outcome_ms=later)


def sums(rng, top, count=60):
    found = no_sums()
    add(found, some_records(rng, count, top), 1, 0, 2 * NOON_MS)
    return found


@pytest.mark.parametrize("top", [BINARY, VALUE, "classes"])
def test_sums_of_any_records_come_back_as_they_were(top):
    rng = np.random.default_rng(30)
    found = sums(rng, top)
    for other in (top, BINARY, VALUE):
        back = sums_of(unpacked(packed(*found), SUMS_NUMBERS))
        assert all(np.array_equal(one, two) for one, two in zip(back, found, strict=True))
        merge(found, sums(rng, other, 500))


def test_sums_of_values_that_are_too_large_for_them_come_back():
    found = no_sums()
    huge = records(
        range(3), scores=[np.inf, 1e308, -1e308], tops=VALUE, outcomes=[1.0, -1e308, 1.0]
    )
    add(found, huge, 1, 0, 2 * NOON_MS)
    assert sums_of(unpacked(packed(*found), SUMS_NUMBERS)).totals[0] == 3.0


@pytest.mark.parametrize("top", [BINARY, VALUE, "classes"])
def test_of_sums_that_nobody_made_there_are_figures_or_they_are_refused(top):
    rng = np.random.default_rng(31)
    whole = np.concatenate([part.ravel() for part in sums(rng, top)])
    used = np.flatnonzero(whole)
    refused = 0
    for turn in range(300):
        numbers = whole.copy()
        place = rng.choice(used) if turn % 3 else rng.integers(len(numbers))
        numbers[place] = ODD[turn % len(ODD)]
        try:
            found = sums_of(numbers)
        except ValueError:
            refused += 1
            continue
        performance(found)
    assert refused > 200


def test_a_state_of_outcomes_is_one_and_one_that_nobody_made_does_no_harm():
    rng = np.random.default_rng(32)
    refused = 0
    for top in (BINARY, VALUE, "classes"):
        state, told = c.new_state(), np.array([*SETTINGS, 0.5, NOON_MS])
        for _ in range(3):
            words = some_records(rng, 700, top)
            c.feed(words, words.view(np.float64), told, state)
            check_state(state)
        for turn in range(1500):
            odd = state.copy()
            odd[turn % c.WORDS] = ODD[rng.integers(len(ODD))]
            try:
                check_state(odd)
            except ValueError:
                refused += 1
                continue
            words = some_records(rng, 40, top)
            c.feed(words, words.view(np.float64), told, odd)
            judge(odd, SETTINGS)
    assert refused > 2000


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param("text", id="no-bytes"),
        pytest.param(None, id="nothing"),
        pytest.param(b"numbers", id="not-packed"),
        pytest.param(packed(np.zeros(9)), id="too-many"),
        pytest.param(zlib.compress(bytes(1 << 26)), id="megabytes-of-zeros"),
        pytest.param(zlib.compress(b"123"), id="no-whole-number"),
        pytest.param(packed(np.ones(8))[:-1], id="cut-short"),
    ],
)
def test_what_was_never_packed_is_refused(kept):
    with pytest.raises(ValueError, match="numbers"):
        unpacked(kept, 8)
    assert unpacked(packed(np.ones(8)), 8).tolist() == [1.0] * 8
