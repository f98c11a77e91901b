"""Days and months begin once, whatever the clock does."""

from __future__ import annotations

import calendar

from hypothesis import given
from hypothesis import strategies as st

from gateway.llm.limits.refusals import window_ends_in
from gateway.llm.limits.windows import DAY_S, Windows


def at(*moment):
    return float(calendar.timegm((*moment, 0)))


def test_a_month_that_ends_is_a_day_that_ends():
    known = Windows.at(at(2027, 1, 31, 23, 59))
    assert known == Windows("2027-01-31", "2027-01")
    assert known.later(at(2027, 2, 1, 0, 0)) == (Windows("2027-02-01", "2027-02"), True, True)
    assert known.later(at(2027, 1, 31, 23, 59)) == (known, False, False)


def test_a_clock_that_is_set_back_a_little_begins_nothing_again():
    known = Windows.at(at(2027, 2, 1, 0, 0))
    assert known.later(at(2027, 1, 31, 0, 0)) == (known, False, False)


def test_a_clock_that_was_wrong_is_followed_back_without_beginning_anew():
    known = Windows.at(at(2031, 5, 5, 0, 0))
    back = Windows("2027-01-31", "2027-01")
    assert known.later(at(2027, 1, 31, 12, 0)) == (back, False, False)
    assert back.later(at(2027, 2, 1, 12, 0))[1:] == (True, True)


@given(st.lists(st.floats(-DAY_S / 2, DAY_S / 2), max_size=30))
def test_a_clock_that_wavers_for_less_than_a_day_begins_each_day_once(steps):
    now = at(2027, 1, 31, 12, 0)
    known, days = Windows.at(now), {Windows.at(now).day}
    latest = now
    for step in steps:
        now = max(now + step, latest - DAY_S + 1)
        latest = max(now, latest)
        known, new_day, _ = known.later(now)
        assert not (new_day and known.day in days)
        days.add(known.day)


def test_who_is_refused_is_told_when_a_window_ends():
    now = at(2028, 2, 28, 23, 59) + 30.5
    assert window_ends_in("day", now) == 30
    assert window_ends_in("month", now) == DAY_S + 30
    assert window_ends_in("month", at(2027, 12, 1, 0, 0)) == 31 * DAY_S
