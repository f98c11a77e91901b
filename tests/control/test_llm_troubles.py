"""Upstreams that are left alone, or refuse the gateway, are told of: once, and once it is over."""

from __future__ import annotations

import pytest

from gateway.control.llm_troubles import ALARM_S, LlmTroubles
from gateway.monitor.upstreams import Called, Health, UpstreamCounts


class World:
    """Two workers that ask one upstream, and a clock that is set."""

    def __init__(self, caplog):
        self.now = 0.0
        self.troubles = LlmTroubles(lambda: self.now, lambda: self.now)
        self.caplog = caplog

    def look(self, *breakers, trouble="503 server_error", failed=0, after_s=1.0):
        self.now += after_s
        workers = {
            number: Health(one, 0.0, 0, None, 0, 0, trouble) for number, one in enumerate(breakers)
        }
        one = UpstreamCounts(Called("m", 1, "u"), failed, failed, 0, workers, ())
        return self.troubles.look([one])

    @property
    def lines(self):
        return [one.getMessage() for one in self.caplog.records]


@pytest.fixture
def world(caplog):
    return World(caplog)


ALONE = "model 'm' version 1: upstream 'u' is left alone: 503 server_error, by 1 of 2 workers"
WELL = "over: model 'm' version 1: upstream 'u' takes requests"


def test_an_upstream_that_is_left_alone_is_told_once_with_its_cause_and_its_end(world):
    for breaker in ("closed", "open", "open", "half_open", "closed", "closed"):
        world.look(breaker, "closed")
    assert world.lines == [ALONE, WELL]


def test_one_that_comes_and_goes_is_told_once_a_minute_and_rightly_in_the_end(world):
    for _ in range(20):
        world.look("open", "closed")
        world.look("closed", "closed")
    assert world.lines == [ALONE, WELL]
    world.look("open", "closed")
    world.look("open", "closed", after_s=60.0)
    assert world.lines == [ALONE, WELL, ALONE]


def test_an_upstream_that_lacks_its_key_is_told_with_what_it_lacks(world):
    world.look("left_out", "left_out", trouble="no key")
    assert world.lines == ["model 'm' version 1: upstream 'u' is left alone: no key"]


@pytest.mark.parametrize("why", ["credentials: 401 invalid_api_key", "quota: 429"])
def test_a_refusal_of_the_gateway_itself_is_told_at_the_first_and_once_a_minute(world, why):
    for failed in range(5):
        world.look("closed", "closed", trouble=why, failed=failed)
    assert world.lines == [f"model 'm' version 1: upstream 'u' refuses us: {why}"]
    world.look("closed", "closed", trouble=why, failed=5, after_s=60.0)
    world.look("closed", "closed", trouble=why, failed=5, after_s=60.0)
    assert len(world.lines) == 2


def test_alert_sinks_hear_of_one_that_was_left_alone_for_a_minute_and_of_the_end(world):
    assert world.look("open", "closed") == []
    [firing] = world.look("open", "closed", after_s=ALARM_S)
    assert world.look("open", "closed") == []
    [over] = world.look("closed", "closed")
    assert (firing["rule"], firing["status"], over["status"]) == (
        *("upstream_left_alone", "firing", "resolved"),
    )
    assert (over["id"], over["event"] != firing["event"]) == (firing["id"], True)
    assert "'u' (503 server_error, by 1 of 2 workers)" in firing["summary"]
