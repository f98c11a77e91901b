"""What is reserved never passes a limit, what fits is never refused, and nothing leaks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kernels import budgets
from tests import reference
from tests.kernels.limited import ROOM, SLOT, WORKERS, Small

SECOND = 10**9
MINUTE = 60 * SECOND

maybe = st.none() | st.integers(0, 40)
limits = st.tuples(
    st.tuples(*[maybe] * 6),
    st.none() | st.integers(0, 3),
    st.tuples(st.none() | st.integers(1, 20), st.none() | st.integers(1, 60)),
)
rows_asked = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)
reservations = st.tuples(
    st.just("reserve"),
    st.integers(0, WORKERS - 1),
    rows_asked,
    st.integers(0, 12),
    st.integers(0, 12),
)
endings = st.tuples(
    st.just("end"),
    st.integers(0, 50),
    st.none() | st.tuples(st.integers(0, 15), st.integers(0, 15)),
)
pauses = st.tuples(st.just("wait"), st.integers(0, 20 * SECOND))


@given(st.lists(limits, min_size=3, max_size=3), st.lists(reservations | endings | pauses))
def test_any_turns_of_reserving_and_settling_go_as_they_do_one_by_one(each, turns):
    small, twins = Small(), [reference.LimitedThing(*one) for one in each]
    for row, one in enumerate(each):
        small.limit(row, *one)
    now, under_way = 5 * MINUTE, []
    for what, *told in turns:
        if what == "wait":
            now += told[0]
        elif what == "reserve":
            worker, rows, money, tokens = told
            refusing = [twins[row].refuses(money, tokens, now) for row in rows]
            # Ceilings and requests under way are looked at of all rows before any rate is.
            first = [one for one in refusing if one is not None and one < budgets.REQUEST_RATE]
            first += [one for one in refusing if one is not None and one >= budgets.REQUEST_RATE]
            at = small.reserve(worker, rows, money, tokens, now)
            if first:
                assert at == -(1 + first[0])
            else:
                assert at >= 0
                after = [twins[row].take(money, tokens, now) for row in rows]
                under_way.append((worker, at, rows, (money, tokens), after))
        elif under_way:
            worker, at, rows, wanted, after = under_way.pop(told[0] % len(under_way))
            small.settle(worker, at, told[1], now)
            for row, dues in zip(rows, after, strict=True):
                twins[row].end(wanted, told[1], dues, now)
        for row, twin in enumerate(twins):
            assert small.held(row) == twin.held
            assert small.spent(row) == twin.spent
            levels = [max(due - now, 0) for due in small.due(row)]
            assert levels == [twin.level(rate, now) for rate in range(2)]


def test_all_rows_are_reserved_or_none():
    small = Small()
    small.limit(0)
    small.limit(1, ceilings=(None, None, 10, None, None, None), rates=(5, None))
    small.limit(2, rates=(1, 100))
    assert small.reserve(0, [0, 1, 2], 5, 5) >= 0
    before = small.slots.copy(), small.rows.copy()
    assert small.reserve(1, [0, 1, 2], 5, 5) == -(1 + budgets.REQUEST_RATE)
    assert small.refusal[:3] == [2, 1, 0]
    assert small.refusal[3] == MINUTE
    assert (small.slots == before[0]).all()
    assert (small.rows == before[1]).all()


def test_a_row_that_nobody_owns_grants_nothing():
    small = Small()
    assert small.reserve(0, [7], 0, 0) == -(1 + budgets.NO_ROW)
    assert small.reserve(0, [ROOM], 0, 0) == -(1 + budgets.NO_ROW)
    assert small.reserve(0, [-1], 0, 0) == -(1 + budgets.NO_ROW)


def test_a_refusal_says_how_long_until_a_rate_covers_it():
    small = Small()
    small.limit(0, rates=(None, 60))
    assert small.reserve(0, [0], 0, 50, now=MINUTE) >= 0
    assert small.reserve(0, [0], 0, 20, now=MINUTE) == -(1 + budgets.TOKEN_RATE)
    wait = small.refusal[3]
    assert small.refusal[1:] == [20, 10, 10 * SECOND]
    assert small.reserve(0, [0], 0, 20, now=MINUTE + wait - 1) < 0
    assert small.reserve(0, [0], 0, 20, now=MINUTE + wait) >= 0


def test_what_no_full_rate_covers_is_told_apart():
    small = Small()
    small.limit(0, rates=(None, 60))
    assert small.reserve(0, [0], 0, 61) == -(1 + budgets.TOKEN_RATE)
    assert small.refusal == [0, 61, 60, -1]


def test_a_rate_gets_nothing_back_that_came_back_by_itself():
    small = Small()
    small.limit(0, rates=(None, 60))
    early = small.reserve(0, [0], 0, 60, now=0)
    late = small.reserve(0, [0], 0, 60, now=2 * MINUTE)
    assert late >= 0
    small.settle(0, early, (0, 0), now=2 * MINUTE)
    assert small.reserve(0, [0], 0, 1, now=2 * MINUTE) < 0


def test_large_limits_and_amounts_do_not_overflow():
    small = Small()
    most = 150_000_000
    small.limit(0, (budgets.UNLIMITED - 1,) + (None,) * 5, rates=(most, most))
    at = small.reserve(0, [0], 1 << 61, most, now=1 << 61)
    assert at >= 0
    small.settle(0, at, (1 << 61, most), now=1 << 61)
    assert small.reserve(0, [0], 1 << 61, 0, now=1 << 61) == -1
    told = small.left([0], 1 << 61)
    assert told[budgets.TOKENS_LEFT - budgets.LEFT_MONEY] == 0


def test_what_a_killed_process_held_is_given_back_by_clearing_its_slot():
    small = Small()
    small.limit(0, (100,) + (None,) * 5, parallel=2)
    assert small.reserve(0, [0], 60, 0) >= 0
    alive = small.reserve(1, [0], 40, 0)
    assert small.reserve(2, [0], 1, 0) == -1
    small.slots[: budgets.held_end(ROOM)] = 0
    assert small.held(0) == [40, 0, 1]
    assert small.reserve(2, [0], 60, 0) >= 0
    small.settle(1, alive, (40, 0))
    assert small.spent(0) == [40, 0, 1]


def test_a_settlement_that_was_cut_short_is_completed_and_only_once():
    whole, cut = Small(), Small()
    for small in (whole, cut):
        for row in range(3):
            small.limit(row)
        small.settle(1, small.reserve(1, [0, 1, 2], 9, 9), (5, 7))
    at = whole.reserve(1, [0, 1, 2], 9, 9)
    cut.slots[:] = whole.slots  # what is held when it is killed
    whole.settle(1, at, (3, 4))
    first, end = SLOT + budgets.held_end(ROOM), SLOT + budgets.spent_first(ROOM)
    cut.slots[first + 1 : end] = whole.slots[first + 1 : end]  # the journal, written
    cut.slots[first] = 3
    # ... of whose rows one was settled.
    cut.slots[end : end + 3] = whole.slots[end : end + 3]
    for expected in (3, 0):
        assert budgets.complete(cut.slots, SLOT, ROOM) == expected
        assert [cut.spent(row) for row in range(3)] == [whole.spent(row) for row in range(3)]


def test_what_is_left_is_of_the_tightest_row():
    small = Small()
    small.limit(0, (None, 50, None, None, 9, None), parallel=4, rates=(10, 600))
    small.limit(1, (None, None, 30, 500, None, None), parallel=9, rates=(100, 60))
    small.reserve(0, [0, 1], 10, 5, now=MINUTE)
    told = small.left([0, 1], MINUTE)
    assert told == [
        *(20, 4),
        *(10, 9, 6 * SECOND),
        *(60, 55, 5 * SECOND),
    ]
