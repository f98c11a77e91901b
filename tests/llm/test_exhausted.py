"""What is said where no upstream of a model takes a request."""

from __future__ import annotations

import pytest

from gateway.errors import GatewayError
from gateway.llm.faults import exhausted
from gateway.llm.pools import Outcome, Pool
from tests.llm.journey_rig import chat, rig, whole
from tests.llm.pools.rig import end, pool, take

pytestmark = pytest.mark.anyio

OPENS = {"in_a_row": 1, "open_s": 5.0}


def said(asked: Pool, now: float = 1.0, mute: frozenset[int] = frozenset()) -> GatewayError:
    return exhausted("m", asked, now, mute)


def failing(asked: Pool, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        end(asked, Outcome.FAILED, now, why="503 server_error")


def test_each_upstream_is_named_with_its_own_cause():
    asked = pool({}, {"max_parallel": 1}, {}, order="priority", breaker=OPENS)
    asked.leave_out(2, "no key")
    failing(asked, 1)
    take(asked)
    assert str(said(asked)) == (
        "model 'm': no upstream takes requests now: "
        "'p/m0' is left alone for 4 s after 503 server_error; "
        "'p/m1' has the 1 requests that it may have; 'p/m2' is left out: no key"
    )


def test_of_many_upstreams_three_are_named():
    asked = pool(*[{}] * 5, breaker=OPENS)
    failing(asked, 5)
    assert str(said(asked)).count("is left alone") == 3
    assert str(said(asked)).endswith("; and 2 more")


def test_an_upstream_whose_probe_is_under_way_says_so():
    asked = pool({}, breaker=OPENS)
    failing(asked, 1)
    take(asked, 6.0)
    assert "'p/m0' is tried again after 503 server_error" in str(said(asked, 6.0))


def test_a_pause_that_is_all_that_is_in_the_way_is_told_as_a_limit():
    asked = pool({}, {}, {})
    asked.leave_out(2, "no key")
    for _ in range(2):
        end(asked, Outcome.LIMITED, retry_after_s=30.0)
    told = said(asked)
    assert (told.status, told.code) == (429, "upstream_limited")
    assert "wants a pause of 29 s" in str(told)


@pytest.mark.parametrize("other", [Outcome.FAILED, Outcome.LEFT])
def test_a_pause_beside_an_upstream_that_fails_or_is_full_is_no_limit(other):
    asked = pool({"max_parallel": 1}, {"max_parallel": 1}, order="priority", breaker=OPENS)
    end(asked, Outcome.LIMITED, retry_after_s=30.0)
    second = take(asked)
    if other is Outcome.FAILED:
        second.ended(0.0, other)
    assert said(asked).status == 503


def test_an_upstream_that_answered_with_a_pause_and_a_failure_is_no_limit():
    asked = pool({})
    end(asked, Outcome.FAILED, retry_after_s=30.0, why="503")
    assert said(asked).status == 503


LONE = """
llm:
  providers: {p: {base_url: "http://p.example/v1"}}
  models:
    m: {upstreams: [{provider: p, model: m}], breaker: {in_a_row: 2}, retries: {attempts: 0}}
"""


async def test_an_upstream_that_somebody_says_is_well_is_asked_at_once():
    one = rig(LONE)
    for _ in range(2):
        one.ask(chat())
        one.last.answers({"error": {"message": "down"}}, status=503)
    refused = one.ask(chat())
    assert (refused.answers[0][0], len(one.upstreams.sent)) == (503, 2)
    for other in (("n", 1, "p/m"), ("m", 2, "p/m"), ("m", 1, "p/n")):
        one.llm.close_breaker(*other)
    assert one.ask(chat()).answers[0][0] == 503
    one.llm.close_breaker("m", 1, "p/m")
    client = one.ask(chat())
    one.last.answers()
    assert client.answers == [(200, whole())]
