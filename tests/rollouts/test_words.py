"""A rollout says what it waits for, whatever it does."""

from __future__ import annotations

from gateway.rollouts import machine
from gateway.rollouts.words import awaits
from tests.rollouts.machinery import FAIL, OPEN, PASS, World, judged, plan_of


def test_whoever_wonders_why_a_step_stands_still_is_told():
    plan = plan_of(
        {"percent": 5, "min_rows": 100, "require": "pass", "approval": True},
        guards=[{"kind": "errors"}, {"kind": "latency"}],
        watch_s=60,
        failure_limit=3,
    )
    world = World(plan)

    def told() -> str:
        return awaits(plan, world.stand)

    assert told() == "the candidate to serve"
    world.look()
    world.look(4, rows=40, judgements=judged(errors=OPEN, latency=PASS))
    assert told() == "6 s more, 60 more rows of the candidate's, errors to pass"
    world.looks(10, rows=40, judgements=judged(errors=OPEN, latency=FAIL)[:1])
    assert told() == "errors, latency to pass"
    world.look(judgements=judged(errors=PASS, latency=FAIL))
    assert told() == "latency to fail no more, latency to pass"
    world.move(machine.pause(world.stand, world.told()))
    assert told() == "somebody who resumes it"
    world.move(machine.resume(world.stand, world.told()))
    world.look(judgements=judged(errors=PASS, latency=PASS))
    assert told() == "approval, by somebody who did not start it"


def test_a_watch_says_how_long_it_lasts_and_what_is_over_waits_for_nothing():
    plan = plan_of({"percent": 100}, watch_s=60)
    world = World(plan)
    world.looks(12)
    assert world.stand.promoted
    world.looks(4)
    assert awaits(plan, world.stand).startswith("the end of the watch in 5")
    world.move(machine.abort(world.stand, world.told()))
    assert awaits(plan, world.stand) == ""
