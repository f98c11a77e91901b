"""Who is asked: orders, ranks, bounds, and what an upstream's past does to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.llm.pools import Outcome, Picked
from gateway.llm.price_map import stated
from tests.llm.pools.rig import end, pool, shares, take

ORDERS = ["weighted", "least_latency", "least_busy", "cheapest", "priority"]


# ---- orders ----


def test_weights_are_shares():
    found = shares(pool({"weight": 6}, {"weight": 3}, {"weight": 1}), 1000)
    assert found == pytest.approx([0.6, 0.3, 0.1], abs=0.005)


@pytest.mark.parametrize("order", ORDERS)
def test_a_lower_priority_number_goes_first_whatever_the_order(order):
    found = pool({"priority": 2}, {"priority": 1, "max_parallel": 1}, order=order)
    assert take(found).index == 1
    assert take(found).index == 0  # the first is full


@pytest.mark.parametrize("order", ORDERS)
def test_a_weight_of_zero_is_asked_only_where_all_else_fails(order):
    found = pool({"weight": 0}, {}, {}, order=order)
    assert 0 not in {end(found, Outcome.OK) for _ in range(50)}
    assert take(found, tried={1, 2}).index == 0


def test_priority_alone_is_the_order_of_the_document():
    found = pool({"weight": 1}, {"weight": 100}, {"weight": 1}, order="priority")
    assert [take(found, tried=set(range(i))).index for i in range(3)] == [0, 1, 2]
    assert shares(found, 10) == [1.0, 0.0, 0.0]


def test_the_cheapest_is_asked_first_and_an_unpriced_one_last():
    def price(read, wrote):
        return stated("x", {"input_cost_per_token": read, "output_cost_per_token": wrote})

    prices = [price(3e-06, 15e-06), None, price(1e-06, 2e-06), price(1e-06, 2e-06)]
    found = pool({}, {}, {}, {}, order="cheapest", prices=prices)
    assert shares(found, 100) == pytest.approx([0, 0, 0.5, 0.5], abs=0.02)
    assert take(found, tried={2, 3}).index == 0
    assert take(found, tried={0, 2, 3}).index == 1


def test_the_least_busy_has_it():
    found = pool({}, {}, {}, order="least_busy")
    first, second, third = take(found), take(found), take(found)
    assert {first.index, second.index, third.index} == {0, 1, 2}
    second.ended(0.0, Outcome.OK)
    assert take(found).index == second.index


def test_idle_ones_take_turns_where_the_least_busy_is_wanted():
    assert shares(pool({}, {}, {}, order="least_busy"), 30) == pytest.approx([1 / 3] * 3)


def test_a_heavier_one_may_be_busier():
    found = pool({"weight": 3}, {"weight": 1}, order="least_busy")
    had = [take(found).index for _ in range(40)]
    assert had.count(0) == 30


def test_the_faster_of_two_has_it():
    found = pool({}, {}, order="least_latency")
    for index, seconds in ((0, 0.9), (1, 0.1)):
        picked = take(found, tried={1 - index})
        picked.answered(seconds)
        picked.ended(seconds, Outcome.OK)
    assert end(found, Outcome.OK, 0.9) == 1


def test_of_three_the_slowest_never_wins_and_the_load_spreads_over_the_others():
    found = pool({}, {}, {}, order="least_latency")
    had = []
    for step in range(600):
        now = step * 0.01
        picked = take(found, now)
        seconds = (0.1, 0.12, 5.0)[picked.index]
        picked.answered(now + seconds)
        picked.ended(now + seconds, Outcome.OK)
        had.append(picked.index)
    assert had.count(2) < 60
    assert min(had.count(0), had.count(1)) > 100


def test_one_that_was_never_asked_is_tried_by_one_request_and_not_by_all():
    found = pool({}, {}, order="least_latency")
    known = take(found, tried={1})
    known.answered(0.2)
    known.ended(0.2, Outcome.OK)
    assert take(found, 0.2).index == 1
    assert [take(found, 0.2).index for _ in range(5)] == [0] * 5


def test_a_stall_counts_at_once_and_is_forgotten_within_a_minute():
    found = pool({}, {}, order="least_latency")
    for index, seconds in ((0, 0.1), (1, 0.2)):
        picked = take(found, tried={1 - index})
        picked.ended(seconds, Outcome.OK)
    stalled = take(found, 1.0)
    assert stalled.index == 0
    stalled.answered(6.0)
    stalled.ended(6.0, Outcome.OK)
    had = []
    for second in range(6, 66):
        picked = take(found, second)
        picked.ended(second + 0.2, Outcome.OK)
        had.append(picked.index)
    assert had[:10] == [1] * 10
    assert 0 in had


# ---- bounds ----


@pytest.mark.parametrize("order", ORDERS)
def test_no_upstream_has_more_at_once_than_it_may(order):
    found = pool({"max_parallel": 2}, {"max_parallel": 1}, order=order)
    held = [take(found) for _ in range(3)]
    assert sorted(one.index for one in held) == [0, 0, 1]
    assert found.choose(0.0) is None
    held[0].ended(0.0, Outcome.LEFT)
    assert take(found).index == held[0].index


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_end_gives_its_place_back_once(outcome):
    found = pool({"max_parallel": 2})
    first, _ = take(found), take(found)
    for _ in range(3):
        first.ended(0.0, outcome, retry_after_s=0.0)
    assert found.members[0].in_flight == 1


def test_one_that_was_chosen_and_never_begun_takes_no_place():
    found = pool({"max_parallel": 1})
    never = found.choose(0.0)
    assert never is not None
    never.ended(0.0, Outcome.FAILED)
    assert take(found).index == 0
    assert found.health(0.0)[0].asked == 1


@given(st.data())
def test_whatever_happens_no_place_is_lost_and_no_bound_passed(data):
    order = data.draw(st.sampled_from(ORDERS))
    found = pool({"max_parallel": 2}, {"max_parallel": 3, "priority": 2}, {}, order=order)
    held: list[Picked] = []
    now = 0.0
    for _ in range(data.draw(st.integers(0, 60))):
        now += data.draw(st.floats(0, 4))
        if held and data.draw(st.booleans()):
            one = held.pop(data.draw(st.integers(0, len(held) - 1)))
            if data.draw(st.booleans()):
                one.answered(now)
            one.ended(now, data.draw(st.sampled_from(list(Outcome))), 1.5)
        elif (picked := found.choose(now)) is not None:
            picked.began(now)
            held.append(picked)
        counts = [one.in_flight for one in found.members]
        assert counts == [sum(h.index == i for h in held) for i in range(3)]
        assert counts[0] <= 2
        assert counts[1] <= 3
    for one in held:
        one.ended(now, Outcome.LEFT)
    assert [one.in_flight for one in found.members] == [0, 0, 0]
    # However long it takes: once everything is over, everybody is asked again.
    assert {take(found, now + 1e5, tried={0, 1, 2} - {i}).index for i in range(3)} == {0, 1, 2}


# ---- what an upstream's past does to it ----


@pytest.mark.parametrize("order", ORDERS)
def test_one_that_fails_is_left_alone_and_the_others_have_its_requests(order):
    found = pool({}, {}, order=order, breaker={"in_a_row": 3})
    for _ in range(3):
        take(found, tried={1}).ended(0.0, Outcome.FAILED)
    assert {end(found, Outcome.OK, 0.1) for _ in range(20)} == {1}


def test_a_lone_upstream_that_fails_is_left_alone_too():
    found = pool({}, breaker={"in_a_row": 2, "open_s": 5})
    for _ in range(2):
        end(found, Outcome.FAILED)
    assert found.choose(1.0) is None
    assert found.ready_in_s(1.0) == pytest.approx(4.0)


def test_one_that_takes_no_more_is_left_for_as_long_as_it_says():
    found = pool({}, {})
    take(found, tried={1}).ended(0.0, Outcome.LIMITED, retry_after_s=30.0)
    assert {end(found, Outcome.OK, 29.9) for _ in range(10)} == {1}
    assert 0 in {end(found, Outcome.OK, 30.0) for _ in range(10)}


def test_a_shorter_pause_does_not_shorten_a_longer_one():
    found = pool({})
    first, second = take(found), take(found)
    first.ended(0.0, Outcome.LIMITED, retry_after_s=30.0)
    second.ended(1.0, Outcome.LIMITED, retry_after_s=2.0)
    assert found.ready_in_s(1.0) == pytest.approx(29.0)


def test_a_pause_has_an_end_whatever_a_header_says():
    found = pool({})
    end(found, Outcome.LIMITED, retry_after_s=1e12)
    assert found.ready_in_s(0.0) == 3600.0


def test_pauses_grow_where_nobody_says_for_how_long_and_an_answer_ends_that():
    found, now, pauses = pool({}), 0.0, []
    for _ in range(8):
        end(found, Outcome.LIMITED, now)
        pauses.append(found.ready_in_s(now))
        now += pauses[-1]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    end(found, Outcome.OK, now)
    end(found, Outcome.LIMITED, now)
    assert found.ready_in_s(now) == pytest.approx(1.0)


def test_a_failure_that_says_when_is_waited_for():
    found = pool({})
    end(found, Outcome.FAILED, retry_after_s=7.0)
    assert found.ready_in_s(0.0) == pytest.approx(7.0)


def test_a_request_that_was_wrong_and_a_client_that_left_are_no_failures():
    found = pool({}, breaker={"in_a_row": 2, "of": 4})
    for outcome in (Outcome.REFUSED, Outcome.LEFT) * 20:
        end(found, outcome)
    assert found.health(0.0)[0].state == "closed"


# ---- health ----


def test_health_tells_what_is_known():
    found = pool({"name": "east"}, {}, breaker={"in_a_row": 1, "open_s": 5})
    picked = take(found, tried={1})
    picked.answered(0.25)
    picked.ended(2.0, Outcome.FAILED, why="503 overloaded")
    take(found, 2.0)
    east, other = found.health(3.0)
    assert (east.called, east.state) == ("east", "open")
    assert east.ready_in_s == pytest.approx(4.0)
    assert (east.first_byte_s, east.asked, east.failed) == (0.25, 1, 1)
    assert east.why == "503 overloaded"
    assert (other.called, other.state, other.in_flight) == ("p/m1", "closed", 1)
    assert other.first_byte_s is None
    assert found.asked == 2
