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
from gateway.llm.limits.words import NO_RATES, Rate, Rates, Unpriced
from gateway.llm.pricing import Price, Step
from gateway.llm.pricing import Rates as Prices
from gateway.llm.tariff import FREE, tariff_of
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
        rig.cover([0, 1], worker=1)
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
        limits.cover([0], 1, FREE, 1, 1, None, 1, 1)


def test_nobody_can_say_of_a_row_that_control_has_not_written(rig):
    rig.limit(0)
    for rows in ([0, 1], [1 << 40], [-1]):
        with pytest.raises(LimitsUnavailable):
            rig.reserve(rows, 1, 1)
        with pytest.raises(LimitsUnavailable):
            rig.cover(rows)
    assert rig.workers[0].open == 0


def test_more_rows_than_a_grant_holds_are_refused_by_name(rig):
    for row in range(9):
        rig.limit(row)
    rig.limit(9, rates=(0, None))
    with pytest.raises(RequestTooExpensive):
        rig.cover([9])
    assert rig.workers[0].refused_at != NO_RATES
    with pytest.raises(InvalidParameter, match="at most 8"):
        rig.reserve(range(9))
    assert rig.workers[0].refused_at == NO_RATES, "which are another's"


def test_a_worker_that_ended_gives_back_what_it_held_and_keeps_what_it_settled(rig):
    rig.limit(0, ceilings={DAY: 100}, parallel=2)
    rig.reserve([0], 40, 1, worker=1).settle(30, 7)
    rig.reserve([0], 70, 1, worker=1)
    rig.arena.bury(1, -9)
    assert rig.spent(0) == [30, 7, 1]
    assert rig.held(0) == [0, 0, 0]
    rig.reserve([0], 70, 1, worker=0)


# ---- what a request takes at most ----------------------------------------------------------------


def price(reading, writing, *, fee=0, above=-1, tier=""):
    """Pico-dollars a token, from so many tokens read on; below that, nothing."""
    steps = [Step(-1, Prices(*[0] * 8))] if above >= 0 else []
    prices = Prices(reading, writing, *[0] * 6)
    tiers = {tier: (Step(-1, prices),)} if tier else {}
    return Price("p", {"": (Step(above, prices), *steps), **tiers}, fee)


def test_rates_are_told_of_the_tightest_row_once_the_request_has_taken_of_them(rig):
    rig.limit(0, rates=(10, 6000))
    rig.limit(1, rates=(5, None))
    first = rig.cover([0, 1], read=400, asked=50)
    assert first.rates == Rates(Rate(5, 4, 12_000), Rate(6000, 5850, 1500))
    assert rig.cover([0], asked=0).rates.requests == Rate(10, 8, 12_000)
    rig.limit(2)
    assert rig.cover([2]).rates == NO_RATES


def test_rates_are_told_of_a_refused_request_which_has_taken_nothing(rig):
    rig.limit(0, parallel=1, rates=(10, None))
    grant = rig.cover([0])
    with pytest.raises(TooManyParallel):
        rig.cover([0], worker=1)
    assert rig.workers[1].refused_at == Rates(Rate(10, 9, 6000), None)
    grant.release()
    assert rig.cover([0], worker=1).rates == Rates(Rate(10, 9, 6000), None)
    assert rig.held(0) == [0, 0, 1]
    with pytest.raises(LimitsUnavailable):
        rig.cover([9], worker=1)
    assert rig.workers[1].refused_at == NO_RATES


def test_rates_are_told_of_a_grant_that_was_asked_for_twice(rig):
    rig.limit(0, parallel=1, rates=(10, None))
    theirs = rig.workers[1].reserve([0], 0, 0, rig.now_ns)
    trying = layout.LIMITS_WORDS + budgets.TRYING
    rig.table.slots[trying] += 1  # the other stands in the middle of reserving

    def clock_ns():
        if rig.table.slots[trying] & 1:
            rig.table.slots[trying] += 1
            theirs.release()
        return rig.now_ns

    patient = SharedLimits(rig.arena, 0, clock_ns=clock_ns)
    grant = patient.cover([0], rig.now_ns, FREE, 1, 1, None, 1, 1)
    assert grant.rates == Rates(Rate(10, 9, 6000), None)


def test_where_no_amount_matters_none_is_worked_out(rig):
    rig.limit(0, parallel=3, rates=(10, None))
    grant = rig.cover([0], tariff_of([price(7, 9)]), read=4000, asked=1000)
    assert (rig.held(0), grant.output) == ([0, 0, 1], -1)
    grant.settle(30, 7)
    assert (rig.held(0), rig.spent(0)) == ([0, 0, 0], [30, 7, 1])


def test_a_budget_of_tokens_takes_all_that_may_be_read_and_a_rate_what_is_estimated(rig):
    rig.limit(0, rates=(None, 10_000))
    rig.cover([0], read=400, asked=10, choices=3)
    assert rig.held(0) == [0, 130, 1]
    rig.limit(1, ceilings={TOKENS_DAY: 10_000})
    rig.cover([1], read=400, asked=10, choices=3)
    assert rig.held(1) == [0, 430, 1]


def test_a_rate_takes_a_prompt_for_what_is_estimated_also_beside_a_budget_of_tokens(rig):
    rig.limit(0, ceilings={TOKENS_DAY: 1_000_000}, rates=(None, 2000))
    grant = rig.cover([0], read=4000)  # more than the rate has, of what the budget takes it for
    assert (grant.output, rig.held(0)[1]) == (256, 4256)
    assert grant.rates.tokens.left == 2000 - 1000 - 256
    grant.settle(0, 1100)
    assert rig.cover([0], read=4, asked=1).rates.tokens.left == 2000 - 1100 - 2


def test_what_is_asked_for_costs_what_the_dearest_upstream_takes(rig):
    rig.limit(0, ceilings={DAY: 10**9})
    reads_dear, writes_dear, by_request = price(9, 1), price(1, 9), price(0, 0, fee=500)
    tariff = tariff_of([reads_dear, writes_dear, by_request])
    for read, asked, money in ((100, 10, 910), (10, 100, 910), (10, 10, 500)):
        grant = rig.cover([0], tariff, read=read, asked=asked)
        assert rig.held(0)[0] == money
        grant.release()


def test_a_dear_step_and_a_dear_tier_count_where_they_may_be_charged(rig):
    rig.limit(0, ceilings={DAY: 10**9})
    step = price(5, 7, above=100)
    for read, money in ((100, 0), (101, 505 + 70)):
        grant = rig.cover([0], tariff_of([step]), read=read, asked=10)
        assert rig.held(0)[0] == money
        grant.release()
    for tier, money in (("", 0), ("priority", 5 + 70), ("unheard-of", 0)):
        tariff = tariff_of([price(5, 7, above=100, tier="priority")], tier)
        grant = rig.cover([0], tariff, read=1, asked=10)
        assert rig.held(0)[0] == money
        grant.release()


def test_a_budget_of_money_wants_every_price_and_no_other_limit_does(rig):
    tariff = tariff_of([price(1, 1), None])
    rig.limit(0, ceilings={TOKENS_DAY: 1000}, rates=(10, 1000))
    rig.cover([0], tariff, read=4, asked=1)
    rig.limit(1, ceilings={DAY: PICO})
    with pytest.raises(Unpriced):
        rig.cover([0, 1], tariff, read=4, asked=1)
    assert rig.workers[0].refused_at.requests == Rate(10, 9, 6000)
    assert rig.held(1) == [0, 0, 0]


@pytest.mark.parametrize(
    ("limited", "choices", "expected"),
    [
        pytest.param({}, 1, None, id="no-limit"),
        pytest.param({"ceilings": {TOKENS_DAY: 100_000}}, 1, 4096, id="plenty"),
        pytest.param({"ceilings": {TOKENS_DAY: 4100}}, 1, 1000, id="a-quarter"),
        pytest.param({"ceilings": {TOKENS_DAY: 4100}}, 2, 500, id="a-quarter-for-two"),
        pytest.param({"ceilings": {TOKENS_DAY: 500}}, 1, 256, id="the-least"),
        pytest.param({"ceilings": {TOKENS_DAY: 150}}, 1, 50, id="all-that-is-left"),
        pytest.param({"ceilings": {DAY: 20_000 + 50 + 3}}, 1, 500, id="money"),
        pytest.param({"ceilings": {DAY: 80_000 + 50 + 3}}, 4, 500, id="money-for-four"),
        pytest.param({"rates": (None, 1625)}, 1, 400, id="rate"),
    ],
)
def test_a_request_without_a_maximum_reserves_its_share_of_what_is_left(
    rig, limited, choices, expected
):
    rig.limit(0, **limited)
    # At the other one less could be afforded of reading, and more of writing.
    tariff = tariff_of([price(0, 10, fee=53), price(0, 1)])
    grant = rig.cover([0], tariff, read=100, choices=choices)
    assert grant.output == (expected if limited else -1)
    written = expected or 0
    read = 100 if TOKENS_DAY in limited.get("ceilings", {}) else 25
    assert rig.held(0)[1] == (written * choices + read if limited else 0)


@pytest.mark.parametrize("left", [0, 90, 100])
def test_a_request_that_nothing_is_left_for_is_refused(rig, left):
    rig.limit(0, ceilings={TOKENS_DAY: left})
    with pytest.raises(BudgetExceeded if not left else RequestTooExpensive):
        rig.cover([0], read=100)
    assert rig.held(0) == [0, 0, 0]


@pytest.mark.parametrize(
    "asks",
    [
        pytest.param({"asked": 2**80}, id="asked"),
        pytest.param({"asked": 2**61, "choices": 128}, id="choices"),
        pytest.param({"asked": 1, "read": 2**50}, id="read"),
        pytest.param({"asked": 1, "tariff": tariff_of([price(2**70, 2**70)])}, id="price"),
        pytest.param({"asked": 2**40, "tariff": tariff_of([price(1, 2**40)])}, id="product"),
    ],
)
def test_nothing_that_is_asked_for_is_so_much_that_it_fits_again(rig, asks):
    rig.limit(0, ceilings={TOTAL: 10 * PICO, TOKENS_DAY: 10**9})
    with pytest.raises(RequestTooExpensive):
        rig.cover([0], **{"tariff": tariff_of([price(1, 1)]), "read": 1, **asks})
    assert rig.held(0) == [0, 0, 0]


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
