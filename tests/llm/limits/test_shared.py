"""A worker reserves for a request, is told why it may not, and leaves nothing behind."""

from __future__ import annotations

import pytest

from gateway.access.allowance import PICO, dollars
from gateway.errors import (
    BudgetExceeded,
    InvalidParameter,
    LimitsUnavailable,
    RateLimited,
    RequestTooExpensive,
    TooManyParallel,
)
from gateway.llm.limits.shared import FIRST_GRANTS, PATIENCE_NS, SharedLimits
from gateway.llm.limits.words import Left, Rate
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from kernels import budgets
from tests.llm.limits.rig import Rig

DAY, MONTH, TOTAL, TOKENS_DAY = 0, 1, 2, 3


@pytest.fixture
def rig():
    return Rig()


def test_workers_of_one_host_share_a_budget(rig):
    rig.limit(0, ceilings={DAY: 10 * PICO})
    first = rig.reserve([0], 6 * PICO, worker=0)
    with pytest.raises(RequestTooExpensive):
        rig.reserve([0], 6 * PICO, worker=1)
    first.settle(2 * PICO, 100)
    rig.reserve([0], 6 * PICO, worker=1).settle(6 * PICO, 1)
    assert rig.spent(0) == [8 * PICO, 101, 2]
    assert rig.held(0) == [0, 0, 0]


def test_a_grant_ends_once(rig):
    rig.limit(0)
    grant = rig.reserve([0], 5, 5)
    grant.settle(3, 4)
    grant.settle(3, 4)
    grant.release()
    assert rig.spent(0) == [3, 4, 1]
    assert rig.workers[0].open == 0


def test_a_request_that_never_was_counts_nowhere(rig):
    rig.limit(0, rates=(1, 10), ceilings={DAY: 10}, parallel=1)
    for _ in range(3):
        rig.reserve([0], 10, 10).release()
    assert rig.spent(0) == [0, 0, 0]


def test_a_refused_request_takes_nothing_of_any_rate(rig):
    rig.limit(0, rates=(2, 100))
    rig.limit(1, parallel=0)
    for _ in range(5):
        with pytest.raises(TooManyParallel):
            rig.reserve([0, 1], 1, 50)
    rig.reserve([0], 1, 50)
    rig.reserve([0], 1, 50)


def test_a_refusal_counts_once_for_the_row_that_refuses(rig):
    rig.limit(0)
    rig.limit(1, parallel=0)
    with pytest.raises(TooManyParallel):
        rig.reserve([0, 1])
    with pytest.raises(TooManyParallel):
        rig.workers[1].begin([0, 1], rig.now_ns)
    assert [rig.refusals(0), rig.refusals(1)] == [0, 2]


@pytest.mark.parametrize("gives_way", [True, False])
def test_asking_again_while_others_are_in_the_way_counts_no_further_refusal(rig, gives_way):
    rig.limit(0, parallel=1)
    theirs = rig.workers[1].reserve([0], 0, 0, rig.now_ns)
    trying = layout.LIMITS_WORDS + budgets.TRYING
    rig.table.slots[trying] += 1  # the other stands in the middle of reserving
    looks = 0

    def clock_ns():
        nonlocal looks
        looks += 1
        if gives_way and looks == 4:
            rig.table.slots[trying] += 1
            theirs.release()
        return rig.now_ns + looks * PATIENCE_NS // 8

    impatient = SharedLimits(rig.arena, 0, clock_ns=clock_ns)
    if gives_way:
        impatient.reserve([0], 0, 0, rig.now_ns)
    else:
        with pytest.raises(TooManyParallel):
            impatient.reserve([0], 0, 0, rig.now_ns)
    assert rig.refusals(0) == (0 if gives_way else 1)


def test_a_spent_budget_says_whose_it_is_and_when_it_begins_anew(rig):
    rig.wall = 86_400.0 * 20_000 + 86_400 - 90
    rig.limit(0, kind=2, ceilings={DAY: PICO, TOTAL: 10 * PICO})
    rig.reserve([0], PICO).settle(PICO, 1)
    with pytest.raises(
        BudgetExceeded,
        match=r"this team \(day\): wanted 0.25 USD, left 0 until 2024-10-05 00:00 UTC$",
    ) as told:
        rig.reserve([0], PICO // 4)
    assert told.value.retry_after_s == 90


def test_a_refusal_names_the_key_team_or_tag_and_its_number(rig):
    rig.names = {0: "search", 1: "web"}
    rig.limit(0, parallel=2)
    rig.limit(1, kind=2, rates=(None, 60), ceilings={TOTAL: PICO})
    grants = [rig.reserve([0], 1) for _ in range(2)]
    said = "limits: requests at once of key 'search': 2 are under way, as many as may be"
    with pytest.raises(TooManyParallel, match=f"^{said}$"):
        rig.reserve([0], 1)
    for grant in grants:
        grant.release()
    with pytest.raises(RequestTooExpensive, match="tokens per minute of team 'web': wanted 61"):
        rig.reserve([0, 1], 0, 61)
    with pytest.raises(RequestTooExpensive, match=r"budget of team 'web' \(total\): .* left 1$"):
        rig.reserve([0, 1], 2 * PICO)


def test_what_others_reserve_is_soon_there_again(rig):
    rig.limit(0, ceilings={TOKENS_DAY: 100})
    rig.reserve([0], 0, 100, worker=1)
    with pytest.raises(BudgetExceeded, match="reserved by requests under way") as told:
        rig.reserve([0], 0, 50)
    assert told.value.retry_after_s == 1


def test_a_rate_says_when_it_covers_the_request(rig):
    rig.limit(0, rates=(None, 60))
    rig.reserve([0], 0, 60)
    with pytest.raises(
        RateLimited, match="tokens per minute of this key: wanted 7, left 0"
    ) as told:
        rig.reserve([0], 0, 7)
    assert told.value.retry_after_s == 7
    rig.now_ns += 7 * 10**9
    rig.reserve([0], 0, 7)


def test_a_request_that_no_minute_covers_is_not_told_to_wait(rig):
    rig.limit(0, rates=(None, 60))
    with pytest.raises(RequestTooExpensive, match="may never be more than 60"):
        rig.reserve([0], 0, 61)


def test_more_requests_than_there_was_room_for_are_under_way(rig):
    rig.limit(0)
    grants = [rig.reserve([0], 1, 2) for _ in range(3 * FIRST_GRANTS)]
    assert rig.held(0) == [3 * FIRST_GRANTS, 6 * FIRST_GRANTS, 3 * FIRST_GRANTS]
    for grant in grants:
        grant.settle(1, 1)
    assert rig.held(0) == [0, 0, 0]
    assert rig.workers[0].open == 0


def test_nobody_can_say_before_control_has_made_the_table():
    limits = SharedLimits(Arena.create(1), 0)
    with pytest.raises(LimitsUnavailable):
        limits.reserve([0], 1, 1, 1)
    with pytest.raises(LimitsUnavailable):
        limits.begin([0], 1)


def test_nobody_can_say_of_a_row_that_control_has_not_written(rig):
    rig.limit(0)
    for rows in ([0, 1], [1 << 40], [-1]):
        with pytest.raises(LimitsUnavailable):
            rig.reserve(rows, 1, 1)
        with pytest.raises(LimitsUnavailable):
            rig.workers[0].begin(rows, rig.now_ns)
    assert rig.workers[0].open == 0


def test_more_rows_than_a_grant_holds_are_refused_by_name(rig):
    for row in range(9):
        rig.limit(row)
    with pytest.raises(InvalidParameter, match="at most 8"):
        rig.reserve(range(9))


def test_a_worker_that_ended_gives_back_what_it_held_and_keeps_what_it_settled(rig):
    rig.limit(0, ceilings={DAY: 100}, parallel=2)
    rig.reserve([0], 40, 1, worker=1).settle(30, 7)
    rig.reserve([0], 70, 1, worker=1)
    rig.arena.bury(1, -9)
    assert rig.spent(0) == [30, 7, 1]
    assert rig.held(0) == [0, 0, 0]
    rig.reserve([0], 70, 1, worker=0)


def test_what_is_left_is_told_of_the_tightest(rig):
    rig.limit(0, ceilings={DAY: 10}, rates=(10, None))
    rig.limit(1, ceilings={MONTH: 7, TOKENS_DAY: 50}, parallel=5)
    rig.reserve([0, 1], 2, 10)
    left, grant = rig.workers[1].begin([0, 1], rig.now_ns)
    assert left == Left(5, 40, 4, Rate(10, 9, 6.0), None)
    assert grant is None, "amounts matter"
    assert rig.held(0) == [2, 10, 1]


def test_where_no_amount_matters_a_request_is_reserved_at_once(rig):
    rig.limit(0)
    left, grant = rig.workers[0].begin([0], rig.now_ns)
    assert left == Left(None, None, None, None, None)
    assert rig.held(0) == [0, 0, 1]
    grant.settle(30, 7)
    assert (rig.held(0), rig.spent(0)) == ([0, 0, 0], [30, 7, 1])
    rig.limit(1, parallel=1, rates=(10, None))
    left, grant = rig.workers[0].begin([0, 1], rig.now_ns)
    assert left == Left(None, None, 1, Rate(10, 10, 0.0), None), "as it was before"
    with pytest.raises(TooManyParallel):
        rig.workers[1].begin([0, 1], rig.now_ns)
    grant.release()
    left, grant = rig.workers[1].begin([0, 1], rig.now_ns)
    assert (left.requests, rig.held(1)) == (Rate(10, 10, 0.0), [0, 0, 1])


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        pytest.param(Left(None, None, None, None, None), 4096, id="no-limit"),
        pytest.param(Left(None, 100_000, None, None, None), 4096, id="plenty"),
        pytest.param(Left(None, 4100, None, None, None), 1000, id="a-quarter"),
        pytest.param(Left(None, 500, None, None, None), 256, id="the-least"),
        pytest.param(Left(None, 150, None, None, None), 50, id="all-that-is-left"),
        pytest.param(Left(None, 90, None, None, None), 1, id="nothing"),
        pytest.param(Left(20_000 + 50, None, None, None, None), 500, id="money"),
        pytest.param(Left(None, None, None, None, Rate(9, 1700, 1.0)), 400, id="rate"),
    ],
)
def test_a_request_without_a_maximum_reserves_its_share_of_what_is_left(left, expected):
    most, input_tokens, input_money, price = 4096, 100, 50, 10
    assert left.output_tokens(most, input_tokens, input_money, price) == expected


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (1, "0.000000000001"), (PICO, "1"), (10 * PICO, "10"), (-PICO // 4, "-0.25")],
)
def test_money_is_written_exactly(pico, text):
    assert dollars(pico) == text


@pytest.mark.parametrize("most", [2**63 - 1, 2**63, 2**80])
def test_no_amount_is_so_large_that_it_fits_again(rig, most):
    rig.limit(0, ceilings={TOTAL: 10 * PICO})
    rig.limit(1, ceilings={TOKENS_DAY: 1000})
    rig.reserve([0, 1], PICO, 10).settle(PICO, 10)
    with pytest.raises(RequestTooExpensive):
        rig.reserve([0], most, 1)
    with pytest.raises(RequestTooExpensive):
        rig.reserve([1], 1, most)
    assert rig.held(0) == rig.held(1) == [0, 0, 0]


def test_what_is_told_beyond_all_bounds_is_settled_as_more_than_any_budget(rig):
    rig.limit(0, ceilings={TOTAL: 1_000_000 * PICO})
    rig.reserve([0], PICO, 10).settle(2**90, 2**90)
    with pytest.raises(BudgetExceeded):
        rig.reserve([0], 1)
    assert rig.workers[0].open == 0
