"""Windows over panes: nothing counted is lost or counted twice, whatever the window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.history import MAX_WINDOW_S, MIN_WINDOW_S, TIERS, History
from gateway.drift.panes import MAX, MIN, SUM, N, Pane, add_moments, merged, no_moments, packed

WORDS, COLUMNS = 5, 2
NOON = 1_800_000_000 // 86400 * 86400 + 43200


def history(now: float = NOON) -> History:
    made = History(WORDS, COLUMNS)
    made.roll(now)
    return made


def counts(rows: int, *others: int) -> np.ndarray:
    return np.array([rows, *others, *[0] * (WORDS - 1 - len(others))], np.int64)


def moments(*values: float) -> np.ndarray:
    """Of a first column of these values; the second column has none."""
    made = no_moments(COLUMNS)
    if values:
        made[0] = [len(values), sum(values), sum(v * v for v in values), min(values), max(values)]
    return made


def feed(made: History, start: float, seconds: int, every: int = 1) -> None:
    """One row a call."""
    for second in range(0, seconds, every):
        made.add(start + second, counts(1), moments())


def test_a_window_holds_what_was_counted_in_it() -> None:
    made = history()
    made.add(NOON + 1, counts(3, 1, 2), moments(1.0, 2.0, 6.0))
    made.add(NOON + 2, counts(1, 1), moments(-4.0))
    window = made.window(60)
    assert window.counts.tolist() == [4, 2, 2, 0, 0]
    assert window.moments[0].tolist() == [4, 5.0, 57.0, -4.0, 6.0]
    assert window.moments[1].tolist() == [0, 0, 0, np.inf, -np.inf]


@pytest.mark.parametrize("length", [60, 90, 180, 600, 1000, 3600, 7200, 6 * 3600, 86400])
def test_a_window_covers_at_least_what_was_asked_for_and_at_most_a_third_more(length: int) -> None:
    made = history()
    seconds = max(2 * length, 7200)
    step = max(length // 600, 1)
    feed(made, NOON, seconds, step)
    now = NOON + (seconds - 1) // step * step
    window = made.window(length)
    assert (
        length <= window.end_s - window.start_s <= max(4 / 3 * length, length + TIERS[0].length_s)
    )
    # Every row since its start, no other one.
    assert window.counts[0] == (now - window.start_s) // step + 1


@pytest.mark.slow
def test_a_month_of_windows_is_a_sum_of_few_panes() -> None:
    made = history()
    feed(made, NOON, 40 * 86400, every=97)
    for length in (MIN_WINDOW_S, 600, 3600, 86400, 7 * 86400, MAX_WINDOW_S):
        window = made.window(length)
        assert window.panes < 80
        assert window.counts[0] == pytest.approx((window.end_s - window.start_s) / 97, abs=2)


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.integers(0, 4000), min_size=1, max_size=120),
    length=st.sampled_from([60, 120, 600, 3600, 10_000, 86400, 3 * 86400]),
    origin=st.integers(0, 86400),
)
def test_whatever_the_pauses_a_window_counts_each_row_since_its_start_once(
    gaps: list[int], length: int, origin: int
) -> None:
    made = history(NOON + origin)
    now, times = NOON + origin, []
    for gap in gaps:
        now += gap
        times.append(now)
        made.add(now, counts(1), moments())
    window = made.window(length)
    assert window.counts[0] == sum(time >= window.start_s for time in times)


def test_the_order_of_panes_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    panes = [
        Pane(k * 10, 10, packed(rng.integers(0, 1 << 20, WORDS)), moments(*rng.normal(size=3)))
        for k in range(9)
    ]
    forward, backward = merged(panes, WORDS, 2), merged(reversed(panes), WORDS, 2)
    assert (forward[0] == backward[0]).all()
    assert np.allclose(forward[1][0], backward[1][0])


def test_counts_are_packed_narrowly_and_never_cut() -> None:
    for most in (0, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**40):
        vector = np.array([0, most], np.int64)
        assert packed(vector).tolist() == [0, most]
    assert packed(np.array([0, 255])).itemsize == 1
    assert packed(np.array([0, 256])).itemsize == 2


def test_counts_that_need_all_eight_bytes_are_put_together_as_others_are() -> None:
    made = history()
    for second in range(0, 120, 5):
        made.add(NOON + second, counts(1 << 33, (1 << 53) + 1), moments())
    window = made.window(120)
    assert window.counts[:2].tolist() == [24 << 33, 24 * ((1 << 53) + 1)]


def test_the_newest_rows_are_found_whenever_they_came() -> None:
    made = history()
    for hour in range(10):
        made.add(NOON + hour * 3600, counts(100), moments())
    assert made.last_rows(100).counts[0] == 100
    assert made.last_rows(250).counts[0] == 300
    assert made.last_rows(5000).counts[0] == 1000


@pytest.mark.parametrize("seconds", [130, 715, 1195, 4 * 3600 - 5, 100_000])
def test_the_newest_rows_are_no_more_than_a_pane_that_is_still_kept_short(seconds: int) -> None:
    made = history()
    feed(made, NOON, seconds)
    for rows, pane_s in ((100, 10), (1000, 60), (8000, 600), (80_000, 3600)):
        wanted = min(rows, seconds)
        assert wanted <= made.last_rows(rows).counts[0] < wanted + pane_s
    assert made.last_rows(10**9).counts[0] == seconds


@given(st.lists(st.integers(0, 9000), max_size=60))
def test_whatever_the_pauses_the_newest_rows_are_each_counted_once(pauses: list[int]) -> None:
    made = history()
    now = NOON
    for pause in pauses:
        now += pause
        made.add(now, counts(1), moments())
        assert made.last_rows(10**9).counts[0] == made.window(MAX_WINDOW_S).counts[0]


def test_time_that_goes_back_is_refused() -> None:
    made = history()
    with pytest.raises(ValueError, match="expected a time of at least"):
        made.roll(NOON - 1)


@pytest.mark.parametrize("length", [0, 59, MAX_WINDOW_S + 1])
def test_a_window_that_is_not_kept_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="expected 60 to 2592000 seconds"):
        history().window(length)


def test_a_history_goes_on_after_a_restart() -> None:
    before = history()
    kept = []
    for second in range(0, 5000, 3):
        before.add(NOON + second, counts(1), moments(float(second)))
        kept += before.closed
        before.closed.clear()
    last = before.open_pane()
    assert last is not None
    after = History(WORDS, COLUMNS)
    after.restore([*kept, last], NOON + 4999)
    after.add(NOON + 5012, counts(1), moments(-1.0))
    before.add(NOON + 5012, counts(1), moments(-1.0))
    for length in (60, 600, 3600):
        assert after.window(length).counts.tolist() == before.window(length).counts.tolist()
        assert after.window(length).moments[0].tolist() == before.window(length).moments[0].tolist()


def test_what_a_killed_process_did_not_combine_is_combined_after_the_restart() -> None:
    before = history()
    feed(before, NOON, 65)
    panes = [pane for pane in before.closed if pane.length_s == 10]
    after = History(WORDS, COLUMNS)
    after.restore(panes[:6], NOON + 700)
    assert [pane.start_s for pane in after.recent(60)] == [NOON]
    assert after.window(7200).counts[0] == 60


def test_panes_of_another_layout_or_of_the_future_are_left_out() -> None:
    made = History(WORDS, COLUMNS)
    short = Pane(NOON, 10, packed(np.ones(WORDS - 1, np.int64)), moments())
    early = Pane(NOON + 600, 10, packed(np.ones(WORDS, np.int64)), moments())
    made.restore([short, early], NOON + 60)
    assert made.window(60).counts.sum() == 0


def test_moments_of_nothing_change_nothing() -> None:
    mine = moments(1.0, -2.0)
    before = mine.copy()
    add_moments(mine, no_moments(COLUMNS))
    assert mine.tolist() == before.tolist()
    assert mine[0, [N, SUM, MIN, MAX]].tolist() == [2, -1.0, -2.0, 1.0]
