"""Which counts say that a version must not be asked any more, and which leave that open."""

from __future__ import annotations

import pytest

from gateway.config import Failing
from gateway.rollouts.failing import Tally, Watch, crash

BOUNDS = Failing(in_a_row=4, share=0.5, of=10)
NOBODY = Tally(0, 0)


def looked(steps: str, bounds: Failing = BOUNDS) -> list[int]:
    """After which requests a watch speaks that looks at each failure: `.` went well, `x` failed."""
    watch, ok, failed, spoken = Watch(Tally(7, 3), NOBODY), 7, 3, []
    for place, step in enumerate(steps, 1):
        ok += step == "."
        failed += step == "x"
        if step == "x" and watch.look(Tally(ok, failed), NOBODY, bounds):
            spoken.append(place)
    return spoken


@pytest.mark.parametrize(
    ("steps", "spoken"),
    [
        pytest.param("...xxxx", [7], id="a-row"),
        pytest.param("xxxx", [4], id="from-the-first-request-on"),
        pytest.param("xxx.xxx.", [], id="a-success-ends-a-row"),
        pytest.param("xx.xxxx", [7], id="a-row-begins-with-the-failure-after-a-success"),
        pytest.param("xx.xx.xx.x", [10], id="a-share"),
        pytest.param("..xx..xx..xx..xx", [], id="a-share-that-is-the-bound"),
        pytest.param("......" + "xx.xx.xx.", [], id="of-too-few-of-late"),
        pytest.param("." * 50 + "x" + "xx." * 4, [61], id="the-past-does-not-help"),
    ],
)
def test_failures_in_a_row_and_a_share_of_failures_are_too_much(steps, spoken):
    assert looked(steps) == spoken


def test_with_a_bound_of_one_the_first_failure_is_too_much():
    assert looked("...x", Failing(in_a_row=1)) == [4]


def test_a_look_after_several_failures_sees_them_all():
    watch = Watch(NOBODY, NOBODY)
    evidence = watch.look(Tally(0, 25), NOBODY, BOUNDS)
    assert evidence is not None
    assert (evidence.kind, evidence.failed, evidence.bound) == ("in_a_row", 25, 4)
    assert evidence.says == "25 failures in a row (bound 4)"


def test_successes_of_the_same_look_leave_one_failure_of_a_row():
    watch = Watch(NOBODY, NOBODY)
    assert watch.look(Tally(9, 5), NOBODY, BOUNDS) is None
    assert watch.look(Tally(9, 7), NOBODY, BOUNDS) is None
    assert watch.look(Tally(9, 8), NOBODY, BOUNDS) is not None


def test_a_share_is_told_with_its_bound():
    watch = Watch(NOBODY, NOBODY)
    evidence = watch.look(Tally(4, 6), NOBODY, BOUNDS)
    assert evidence is not None
    assert evidence.says == "6 of 10 requests failed (bound 50 % of at least 10)"
    assert evidence.plain()["kind"] == "share"


def test_a_version_is_left_alone_while_the_other_fails_as_badly_over_the_same_requests():
    watch = Watch(NOBODY, Tally(1000, 0))
    assert watch.look(Tally(0, 4), Tally(1001, 40), BOUNDS) is None
    assert watch.look(Tally(0, 20), Tally(1001, 80), BOUNDS) is None
    # It is well again, and this one is not.
    assert watch.look(Tally(0, 24), Tally(1500, 80), BOUNDS) is not None


def test_what_the_other_failed_before_these_requests_does_not_count():
    watch = Watch(NOBODY, Tally(0, 1000))
    assert watch.look(Tally(0, 4), Tally(50, 1000), BOUNDS) is not None


def test_a_crash_says_which_worker_and_how():
    assert crash(3, "killed by SIGFPE").says == (
        "worker 3 crashed natively while it ran it (killed by SIGFPE)"
    )
