"""A breaker opens, lets one request find out, and closes again."""

from __future__ import annotations

import pytest

from gateway.config.llm import LlmBreaker
from gateway.llm.pools import Outcome
from gateway.llm.pools.breaker import Breaker
from tests.llm.pools.rig import end, pool, take


def breaker(**fields) -> Breaker:
    return Breaker(LlmBreaker(**fields))


def fail(one: Breaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        one.bad(now, probe=one.begin())


def test_it_opens_at_so_many_in_a_row():
    one = breaker(in_a_row=3, of=100, share=1.0, open_s=5)
    fail(one, 2)
    assert one.ready_at == 0.0
    fail(one, 1)
    assert (one.state(0.0), one.ready_at) == ("open", 5.0)


def test_a_success_in_between_begins_the_row_anew():
    one = breaker(in_a_row=3, of=100, share=1.0)
    for _ in range(10):
        fail(one, 2)
        one.good(probe=False)
    assert one.state(0.0) == "closed"


def test_it_opens_at_a_share_of_the_last_requests():
    one = breaker(in_a_row=1000, of=10, share=0.5)
    for turn in range(9):
        (one.good if turn % 2 else lambda probe: one.bad(0.0, probe))(False)
        assert one.state(0.0) == ("open" if turn == 8 else "closed")


def test_failures_long_ago_do_not_count():
    one = breaker(in_a_row=1000, of=10, share=0.5)
    for _ in range(5):
        fail(one, 4)
        for _ in range(10):
            one.good(probe=False)
    assert one.state(0.0) == "closed"


def test_of_many_that_come_once_its_time_is_over_one_passes():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    end(found, Outcome.FAILED)
    assert found.choose(4.9) is None
    probe = take(found, 5.0)
    assert [found.choose(now) for now in (5.0, 6.0, 1000.0)] == [None, None, None]
    assert found.health(6.0)[0].state == "half_open"
    probe.ended(1000.0, Outcome.OK)
    assert [take(found, 1000.0).index for _ in range(5)] == [0] * 5


def test_a_streamed_probe_closes_it_with_its_first_content():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    end(found, Outcome.FAILED)
    probe = take(found, 5.0)
    probe.answered(5.2)
    assert found.health(5.2)[0].state == "closed"
    assert found.choose(5.2) is not None
    probe.ended(60.0, Outcome.OK)


def test_a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_bound():
    found, now, times = pool({}, breaker={"in_a_row": 1, "open_s": 5, "max_open_s": 30}), 0.0, []
    for _ in range(5):
        end(found, Outcome.FAILED, now)
        times.append(found.ready_in_s(now))
        now += times[-1]
    assert times == pytest.approx([5, 10, 20, 30, 30])
    end(found, Outcome.OK, now)
    end(found, Outcome.FAILED, now)
    assert found.ready_in_s(now) == pytest.approx(5.0)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.LIMITED])
def test_a_probe_that_is_answered_at_all_closes_it(outcome):
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    end(found, Outcome.FAILED)
    end(found, outcome, 5.0, retry_after_s=3.0)
    assert found.health(5.0)[0].state == "closed"
    assert found.choose(8.0) is not None


def test_a_probe_whose_client_left_leaves_the_next_to_try():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    end(found, Outcome.FAILED)
    end(found, Outcome.LEFT, 5.0)
    assert found.health(5.0)[0].state == "half_open"
    assert take(found, 5.0).index == 0
    assert found.choose(5.0) is None


def test_what_was_under_way_when_it_opened_changes_nothing():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    old, late, failing = take(found), take(found), take(found)
    failing.ended(0.0, Outcome.FAILED)
    old.ended(1.0, Outcome.OK)
    assert found.ready_in_s(1.0) == pytest.approx(4.0)
    late.ended(2.0, Outcome.FAILED)
    assert found.ready_in_s(2.0) == pytest.approx(3.0)


def test_a_probe_waits_for_a_pause_that_is_longer():
    found = pool({}, breaker={"in_a_row": 1, "open_s": 5})
    limited, failing = take(found), take(found)
    limited.ended(0.0, Outcome.LIMITED, retry_after_s=20.0)
    failing.ended(0.0, Outcome.FAILED)
    assert found.ready_in_s(0.0) == pytest.approx(20.0)


def test_one_that_is_disabled_never_opens():
    one = breaker(enabled=False, in_a_row=1, of=2, share=0.5)
    fail(one, 1000)
    assert (one.state(0.0), one.ready_at) == ("closed", 0.0)


def test_one_that_is_closed_by_hand_takes_requests_at_once_and_begins_anew():
    one = breaker(in_a_row=3, open_s=5)
    fail(one, 3)
    one.pause(0.0, 600.0)
    one.close()
    assert (one.state(0.0), one.ready_at) == ("closed", 0.0)
    fail(one, 2)
    assert one.state(0.0) == "closed"
    fail(one, 1)
    assert (one.state(0.0), one.ready_at) == ("open", 5.0)  # no longer than the first time


def test_a_probe_that_is_under_way_when_it_is_closed_by_hand_counts_as_any_request():
    one = breaker(in_a_row=3, open_s=5)
    fail(one, 3)
    probe = one.begin()
    one.close()
    assert (probe, one.begin()) == (True, False)  # others pass beside it
    one.bad(6.0, probe)
    assert one.state(6.0) == "closed"
