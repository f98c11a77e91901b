"""What is spent is followed to the coin, over restarts, windows and full disks."""

from __future__ import annotations

import calendar

import numpy as np
import pytest

from gateway.access.allowance import PICO, UNLIMITED, Allowance, read_budgets
from gateway.access.principal import NO_ROW
from gateway.control.limit_rows import LimitRows
from gateway.control.spend_report import lines
from gateway.control.spend_store import SpendStore
from gateway.control.spending import Spending
from gateway.control.store import Store
from gateway.errors import BudgetExceeded, LimitsUnavailable, RequestTooExpensive, StoreFailed
from gateway.llm.limits.shared import SharedLimits
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from kernels import budgets

NOON = float(calendar.timegm((2027, 1, 30, 12, 0, 0)))
HOUR, DAY = 3600.0, 86_400.0


def limited(*budgets, **rates):
    return Allowance(read_budgets(budgets, "budgets"), **rates)


class Rig:
    """A home, an arena, a clock, and whatever control process is alive."""

    def __init__(self, home, workers=2):
        self.store = Store.open(home)
        self.now, self.now_ns = NOON, 1
        self.boot(workers)

    def boot(self, workers=2):
        """The server is started anew: nothing is left of its shared memory."""
        self.arena = Arena.create(workers)
        self.workers = [SharedLimits(self.arena, slot) for slot in range(workers)]
        self.succeed()

    def succeed(self):
        """Another control process takes over."""
        self.spending = Spending(
            self.arena, SpendStore(self.store), lambda: self.now, lambda: self.now_ns
        )

    def follow(self, **wanted):
        found = self.spending.follow(
            {name.replace("_", ":"): one for name, one in wanted.items()}, set
        )
        return list(found.values())

    def spend(self, rows, money=0, tokens=0, worker=0):
        self.workers[worker].reserve(rows, money, tokens, 1).settle(money, tokens)

    def spent(self, owner):
        (one,) = self.spending.standings([owner])
        return [one.spent.in_day, one.spent.in_month, one.spent.total]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.store.close()


def test_what_all_workers_settle_is_added_up(rig):
    key, team = rig.follow(key_1=UNLIMITED, team_a=UNLIMITED)
    rig.spend([key, team], 5, 7, worker=0)
    rig.spend([team], 1, 2, worker=1)
    assert rig.spent("key:1") == [(5, 7, 1)] * 3
    assert rig.spent("team:a") == [(6, 9, 2)] * 3


def left(rig, owner):
    (one,) = rig.spending.standings([owner])
    return one.requests_left, one.tokens_left


def test_what_rates_leave_is_told_as_of_now(rig):
    limits = limited(requests_per_minute=60, tokens_per_minute=600)
    key, *_ = rig.follow(key_1=limits, key_2=UNLIMITED, team_a=limited(tokens_per_minute=0))
    assert left(rig, "key:1") == (60, 600)
    rig.spend([key], tokens=100, worker=0)
    rig.spend([key], tokens=50, worker=1)
    assert left(rig, "key:1") == (58, 450)
    rig.now_ns += 1_000_000_000  # one request and ten tokens are back
    assert left(rig, "key:1") == (59, 460)
    assert left(rig, "key:2") == (None, None)
    assert left(rig, "team:a") == (None, 0)


def test_a_request_under_way_is_told_of_a_key_that_limits_them(rig):
    (key,) = rig.follow(key_1=limited(max_parallel=2))
    grant = rig.workers[0].reserve([key], 0, 0, 1)
    (one,) = rig.spending.standings(["key:1"])
    assert (one.under_way, one.allowance.max_parallel) == (1, 2)
    grant.release()


def test_a_budget_is_had_once_a_day(rig):
    (key,) = rig.follow(key_1=limited("1usd/day"))
    for day in range(3):
        rig.now = NOON + day * DAY
        rig.spending.look()
        rig.spend([key], PICO)
        with pytest.raises(BudgetExceeded):
            rig.spend([key], 1)
    rig.spending.look()
    assert rig.spent("key:1") == [(PICO, 0, 1), (PICO, 0, 1), (3 * PICO, 0, 3)]  # it is February


def test_windows_hold_beside_each_other(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day", "15tokens/month", "18tokens/total"))
    rig.spend([key], tokens=10)
    with pytest.raises(BudgetExceeded, match="day"):
        rig.spend([key], tokens=10)
    rig.now += DAY
    rig.spending.look()
    rig.spend([key], tokens=5)
    with pytest.raises(BudgetExceeded, match="month"):
        rig.spend([key], tokens=1)
    rig.now += DAY
    rig.spending.look()
    rig.spend([key], tokens=3)
    with pytest.raises(BudgetExceeded, match="total"):
        rig.spend([key], tokens=1)


def test_a_request_counts_in_the_window_in_which_it_is_settled(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    grant = rig.workers[0].reserve([key], 0, 6, 1)
    rig.now += DAY
    rig.spending.look()
    grant.settle(0, 6)
    assert rig.spent("key:1")[0] == (0, 6, 1)
    rig.spend([key], tokens=4)
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)


def test_spending_survives_control(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.spend([key], tokens=4)
    rig.spending.look()
    rig.spend([key], tokens=3)  # nobody has seen this when control dies
    rig.succeed()
    assert rig.follow(key_1=limited("10tokens/day")) == [key]
    assert rig.spent("key:1") == [(0, 7, 2)] * 3
    rig.spend([key], tokens=3)
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)


def test_spending_that_was_never_written_survives_control(rig):
    (key,) = rig.follow(key_1=UNLIMITED)
    rig.spend([key], 9)
    rig.succeed()
    rig.follow(team_a=UNLIMITED, key_1=UNLIMITED)
    assert rig.spent("key:1")[2] == (9, 0, 1)


def test_spending_survives_the_server(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.spend([key], tokens=8)
    rig.spending.close()
    rig.boot()
    _, key = rig.follow(team_a=UNLIMITED, key_1=limited("10tokens/day"))
    rig.spend([key], tokens=2)
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)
    assert rig.spent("key:1") == [(0, 10, 2)] * 3


def test_a_server_that_was_off_over_midnight_begins_a_new_day(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.spend([key], tokens=8)
    rig.spending.close()
    rig.now += DAY
    rig.boot()
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    assert rig.spent("key:1") == [(0, 0, 0), (0, 8, 1), (0, 8, 1)]


def test_a_clock_that_goes_back_and_forth_over_midnight_gives_no_second_budget(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    midnight = NOON + DAY / 2
    for now in (midnight + 1, midnight - 1, midnight + 2, midnight - HOUR, midnight + 3):
        rig.now = now
        rig.spending.look()
        if now == midnight + 1:
            rig.spend([key], tokens=10)
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)


def test_a_clock_that_was_years_ahead_is_followed_back_with_what_was_spent(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.now = NOON + 1000 * DAY
    rig.spending.look()
    rig.spend([key], tokens=10)
    rig.now = NOON
    rig.spending.look()
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)
    rig.now = NOON + DAY
    rig.spending.look()
    rig.spend([key], tokens=10)


def test_a_budget_that_is_changed_is_in_force_at_once_and_counts_what_was_spent(rig):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.spend([key], tokens=10)
    rig.spending.look()
    assert rig.follow(key_1=limited("12tokens/day")) == [key]
    rig.spend([key], tokens=2)
    rig.follow(key_1=limited("1tokens/day"))
    with pytest.raises(BudgetExceeded):
        rig.spend([key], tokens=1)
    rig.follow(key_1=UNLIMITED)
    rig.spend([key], tokens=1000)


def test_what_a_full_disk_does_not_take_is_written_later(rig, tmp_path):
    (key,) = rig.follow(key_1=limited("10tokens/day"))
    rig.spend([key], tokens=4)
    hidden = tmp_path / "elsewhere"
    database = rig.store.path
    database.rename(hidden)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            rig.spending.look()
        rig.spend([key], tokens=1)
    hidden.rename(database)
    rig.spending.look()
    assert SpendStore(rig.store).all()["key:1"].in_day == (0, 6, 2 + 1)


def test_only_what_has_changed_is_written(rig):
    rows = rig.follow(key_1=UNLIMITED, key_2=UNLIMITED)
    rig.spend(rows, 1, 1)
    rig.spending.look()
    with rig.store.write() as db:
        db.execute("DELETE FROM spend")
    rig.spend(rows[:1], 1, 1)
    rig.spending.look()
    assert list(SpendStore(rig.store).all()) == ["key:1"]


def test_a_worker_killed_in_the_middle_of_settling_is_completed_when_all_have_left(rig):
    (key,) = rig.follow(key_1=UNLIMITED)
    table = LimitRows(rig.arena).table
    journal = layout.LIMITS_WORDS + budgets.held_end(layout.MAX_LIMITED)
    table.slots[journal + 4 : journal + 8] = key, 5, 6, 1
    table.slots[journal] = 1
    rig.spending.close()
    assert SpendStore(rig.store).all()["key:1"].total == (5, 6, 1)


def test_rows_of_owners_that_left_are_given_to_others_when_there_is_need(rig):
    first = rig.follow(**{f"key_{n}": UNLIMITED for n in range(6)})
    rig.spend([first[0]], 7)
    busy = rig.workers[1].reserve([first[1]], 1, 1, 1)
    rows = rig.spending._table()
    rows.used = layout.MAX_LIMITED  # as if all others were somebody's
    wanted = {first[2], first[3]}
    found = rig.spending.follow({"key:100": limited("5tokens/day")}, lambda: wanted)
    row = found["key:100"]
    assert row in {first[0], first[4], first[5]}
    assert SpendStore(rig.store).all()["key:0"].total == (7, 0, 1)
    assert rig.spent("key:100") == [(0, 0, 0)] * 3
    rig.spend([row], tokens=5)
    with pytest.raises(BudgetExceeded):
        rig.spend([row], tokens=1)
    assert not rig.spending.standings(["key:0"])
    busy.settle(1, 1)
    assert rig.spent("key:1")[2] == (1, 1, 1)
    rig.spending.follow({f"key:{n}": UNLIMITED for n in (101, 102)}, lambda: wanted | {row})
    full = rig.spending.follow({"key:9": UNLIMITED}, lambda: {*range(layout.MAX_LIMITED)})
    assert full == {"key:9": NO_ROW}
    with pytest.raises(LimitsUnavailable):
        rig.spend([NO_ROW], 1)


def test_who_was_refused_is_known_though_it_never_spent_anything(rig):
    poor, rich = rig.follow(key_1=limited("1tokens/total"), key_2=UNLIMITED)
    assert rig.spending.refused() == []
    with pytest.raises(RequestTooExpensive):
        rig.spend([rich, poor], tokens=2)
    rig.spend([rich], tokens=2)
    assert rig.spending.refused() == ["key:1"]


def test_who_was_only_refused_stands_among_the_others_page_by_page(rig):
    rows = rig.follow(tag_b=UNLIMITED, tag_d=UNLIMITED, tag_e=UNLIMITED)
    rig.spend(rows, tokens=1)
    rig.spending.look()
    pages, after = [], ""
    others = ["tag:f", "tag:a", "tag:c", "tag:e"]
    while page := lines(rig.store, NOON, after, 2, others):
        pages.append([(one.name, one.total[1]) for one in page])
        after = page[-1].owner
    assert pages == [[("a", 0), ("b", 1)], [("c", 0), ("d", 1)], [("e", 1), ("f", 0)]]


def test_a_row_that_was_anothers_shows_none_of_its_refusals(rig):
    (row,) = rig.follow(key_1=limited("1tokens/day"))
    for _ in range(2):
        with pytest.raises(RequestTooExpensive):
            rig.spend([row], tokens=2)
    (one,) = rig.spending.standings(["key:1"])
    assert (one.refusals, rig.spending.settled()) == (2, {"key:1": (0, 0, 0, 2)})
    rig.spending._table().keep(set())
    assert rig.follow(key_2=limited("1tokens/day")) == [row]
    with pytest.raises(RequestTooExpensive):
        rig.spend([row], tokens=2)
    (two,) = rig.spending.standings(["key:2"])
    assert (two.refusals, rig.spending.settled()) == (1, {"key:2": (0, 0, 0, 1)})


def test_a_row_is_the_same_for_whoever_comes_after(rig):
    rows = rig.follow(**{f"key_{n}": UNLIMITED for n in range(50)})
    rig.succeed()
    again = rig.follow(**{f"key_{n}": UNLIMITED for n in reversed(range(50))})
    assert again == rows[::-1]
    assert np.unique(rows).tolist() == sorted(rows)
