"""Windows of recent outcomes are sums of panes, bounded, and survive a restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.outcomes.recent import PANES, Recent
from kernels.performance import LABELLED, RECORDS, TP
from tests.outcomes.records import NOON_MS, records

HOUR_MS = 3_600_000
PANE_MS = HOUR_MS // PANES


def known(times, series=1):
    times = np.asarray(times)
    return records(
        range(len(times)), scores=0.9, outcomes=1.0, outcome_ms=times, series=series, at_ms=NOON_MS
    )


def recent(now_ms=NOON_MS, windows=(HOUR_MS,), kept=()):
    made = Recent(kept)
    made.keep(windows, now_ms)
    return made


def labelled(made, now_ms, series=1, window_ms=HOUR_MS):
    return made.window(series, window_ms, now_ms)[1].totals[LABELLED]


@given(
    st.lists(st.integers(-2 * HOUR_MS, 5 * 60_000), max_size=30),
    st.integers(0, 2 * HOUR_MS),
)
def test_a_window_holds_what_became_known_in_it_but_for_a_pane(offsets, later_ms):
    made = recent()
    made.labelled(known([NOON_MS + offset for offset in offsets]), NOON_MS)
    now_ms = NOON_MS + later_ms
    ages = [now_ms - NOON_MS - offset for offset in offsets]
    found = labelled(made, now_ms)
    assert sum(age < HOUR_MS - PANE_MS for age in ages) <= found
    assert found <= sum(age < HOUR_MS for age in ages)


def test_outcomes_of_a_clock_that_is_ahead_count_at_once_and_once():
    made = recent(windows=(60_000,))
    made.labelled(known([NOON_MS + 40_000]), NOON_MS)
    found = [labelled(made, NOON_MS + later, window_ms=60_000) for later in (0, 50_000, 120_000)]
    assert found == [1, 1, 0]


def test_answers_count_where_they_were_given_and_outcomes_where_they_became_known():
    made = recent()
    made.answered(records(range(5), at_ms=NOON_MS), NOON_MS)
    made.labelled(known([NOON_MS, NOON_MS + PANE_MS]), NOON_MS + PANE_MS)
    answered, sums = made.window(1, HOUR_MS, NOON_MS + PANE_MS)
    assert (answered, sums.totals[[RECORDS, LABELLED, TP]].tolist()) == (5, [2, 2, 2])


def test_series_and_windows_are_apart():
    made = recent(windows=(60_000, HOUR_MS))
    made.labelled(np.concatenate((known([NOON_MS] * 3), known([NOON_MS], series=2))), NOON_MS)
    later = NOON_MS + 120_000
    assert [labelled(made, NOON_MS, series) for series in (1, 2, 3)] == [3, 1, 0]
    assert (labelled(made, later, window_ms=60_000), labelled(made, later)) == (0, 3)


def test_what_is_over_or_wanted_no_more_is_forgotten():
    made = recent(windows=(60_000, HOUR_MS))
    made.labelled(known([NOON_MS, NOON_MS - 2 * HOUR_MS]), NOON_MS)
    assert len(made.unsaved()) == 2
    made.keep((HOUR_MS,), NOON_MS)
    assert [place.window_ms for place, _ in made.unsaved()] == [HOUR_MS]
    made.keep((HOUR_MS,), NOON_MS + HOUR_MS)
    assert made.unsaved() == []


def test_panes_are_kept_and_taken_up_again():
    made = recent()
    made.answered(records(range(9), at_ms=NOON_MS), NOON_MS)
    made.labelled(known([NOON_MS] * 4), NOON_MS)
    kept = made.unsaved()
    made.saved()
    assert made.unsaved() == []
    again = recent(kept=[*kept, (kept[0][0]._replace(series=2), b"rubbish")])
    again.labelled(known([NOON_MS + 1]), NOON_MS)
    assert labelled(again, NOON_MS) == 5
    assert again.window(1, HOUR_MS, NOON_MS)[0] == 9


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_nothing(count):
    made = recent()
    made.labelled(known([NOON_MS] * count), NOON_MS)
    made.answered(records(range(count)), NOON_MS)
    assert labelled(made, NOON_MS) == count
