"""A rollout goes on, holds or goes back for what is seen of it, whatever its clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Conflict, Forbidden
from gateway.rollouts import machine
from gateway.rollouts.machine import MAX_GAP_S
from gateway.rollouts.stand import (
    TAKEN_BACK,
    Event,
    Seen,
    Stand,
    State,
    read_event,
    read_stand,
)
from tests.rollouts.machinery import FAIL, OPEN, PASS, World, judged, plan_of

CANARY = plan_of({"percent": 10}, {"percent": 100}, watch_s=5)
FINE = judged(errors=PASS)
BAD = judged(errors=FAIL)


def stepping(plan=CANARY) -> World:
    """A rollout in its first step."""
    world = World(plan)
    world.look()
    return world


def promoted() -> World:
    world = stepping()
    world.move(machine.promote(world.plan, world.stand, world.told()))
    return world


def test_a_good_candidate_goes_from_step_to_step_and_is_promoted():
    world = World(plan_of({"shadow_percent": 50}, {"percent": 10}, {"percent": 100}, watch_s=5))
    seen: list[tuple[State, int]] = []
    while not world.stand.ended:
        world.look(judgements=FINE)
        if not seen or seen[-1] != (world.stand.state, world.stand.step):
            seen.append((world.stand.state, world.stand.step))
    assert seen == [
        (State.SHADOWING, 0),
        (State.STEPPING, 1),
        (State.STEPPING, 2),
        (State.PROMOTED, 2),
    ]
    assert world.kinds == ["verdict", "step", "step", "step", "promoted", "watched"]
    assert world.now == 1_000_000.0 + 1 + 3 * 10 + 5
    # Each decision has the figures that it was made on.
    assert all(event.judgements == FINE for event in world.events)


def test_nothing_begins_before_the_candidate_serves():
    world = World(CANARY)
    assert world.looks(20, serves=False).state is State.PENDING
    assert world.look(serves=True).state is State.STEPPING


def test_a_step_lasts_until_it_has_baked_and_the_candidate_had_its_rows():
    world = stepping(plan_of({"percent": 10, "min_rows": 50}, {"percent": 100}))
    assert world.looks(30, rows=1).step == 0
    assert world.looks(19, rows=1).step == 0
    assert world.look(rows=1).step == 1
    quick = stepping(plan_of({"percent": 10, "min_rows": 50}, {"percent": 100}))
    assert quick.look(rows=1000).step == 0
    assert (quick.looks(8).step, quick.look().step) == (0, 1)


def test_a_step_that_requires_it_lasts_until_every_guard_has_passed():
    guards = [{"kind": "errors"}, {"kind": "latency"}]
    plan = plan_of({"percent": 10, "require": "pass"}, {"percent": 100}, guards=guards)
    world = stepping(plan)
    assert world.looks(30).step == 0
    assert world.looks(30, judgements=judged(errors=PASS, latency=OPEN)).step == 0
    assert world.look(judgements=judged(errors=PASS, latency=PASS)).step == 1


def test_what_is_undecided_does_not_hold_a_step_up_unless_it_is_required():
    assert stepping().looks(10, judgements=judged(errors=OPEN)).step == 1


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_guard_that_fails_as_often_in_a_row_as_is_said_takes_the_candidate_back(limit):
    world = stepping(plan_of({"percent": 10, "bake_s": 60}, failure_limit=limit))
    for _ in range(3):  # once less often is not enough
        world.looks(limit - 1, judgements=BAD)
        world.look(judgements=FINE)
    assert world.stand.state is State.STEPPING
    world.looks(limit - 1, judgements=BAD)
    assert world.stand.state is State.STEPPING
    assert world.look(judgements=BAD).state is State.ROLLED_BACK
    assert world.events[-1].says == "rolled back: failed: errors of the candidate"
    assert world.events[-1].judgements == BAD


def test_failures_of_different_guards_are_not_one_row():
    world = stepping(plan_of({"percent": 10, "bake_s": 60}, failure_limit=2))
    for _ in range(10):
        world.look(judgements=judged(errors=FAIL, latency=PASS))
        world.look(judgements=judged(errors=PASS, latency=FAIL))
    assert world.stand.state is State.STEPPING


def test_what_fails_less_often_than_is_too_often_is_not_given_more():
    world = stepping(plan_of({"percent": 10}, {"percent": 100}, failure_limit=1000))
    assert world.looks(30, judgements=BAD).step == 0
    assert world.look(judgements=FINE).step == 1


@pytest.mark.parametrize("doing", ["pending", "stepping", "paused", "promoted"])
def test_a_candidate_that_cannot_serve_is_taken_back_whatever_its_state(doing):
    world = {"pending": lambda: World(CANARY), "promoted": promoted}.get(doing, stepping)()
    if doing == "paused":
        world.move(machine.pause(world.stand, world.told()))
    assert world.stand.state == doing
    assert world.look(refusal="it crashed").state is State.ROLLED_BACK
    assert world.events[-1].says == "rolled back: it cannot serve: it crashed"


@pytest.mark.parametrize("doing", ["paused", "promoted"])
def test_guards_go_on_during_a_pause_and_after_promotion(doing):
    world = promoted() if doing == "promoted" else stepping()
    if doing == "paused":
        world.move(machine.pause(world.stand, world.told()))
    assert world.look(judgements=BAD).state is State.ROLLED_BACK


def test_a_watch_that_is_over_is_over():
    world = promoted()
    assert (world.looks(4).ended, world.look().ended) == (False, True)
    after = world.looks(3, judgements=BAD, refusal="gone")
    assert (after.state, after.ended) == (State.PROMOTED, True)


def test_without_a_watch_the_next_look_ends_it():
    world = stepping(plan_of({"percent": 100}, watch_s=0))
    assert world.looks(10).state is State.PROMOTED
    assert not world.stand.ended
    assert world.look().ended
    assert "watched" not in world.kinds


def test_what_is_not_decided_in_time_is_taken_back_and_says_what_was_lacking():
    world = stepping(plan_of({"percent": 10, "min_rows": 5}, max_duration_s=60))
    assert world.looks(58, judgements=judged(errors=OPEN)).state is State.STEPPING
    assert world.looks(2, judgements=judged(errors=OPEN)).state is State.ROLLED_BACK
    assert world.events[-1].says == (
        "rolled back: not promoted within 60 s: step 1 of 1 stood 60 s and 0 rows;"
        " undecided: errors"
    )


def test_a_candidate_that_never_loads_is_given_up_in_time():
    world = World(plan_of({"percent": 10}, max_duration_s=30))
    assert world.looks(31, serves=False).state is State.ROLLED_BACK
    assert "does not serve yet" in world.events[-1].says


def test_a_step_does_not_bake_before_every_worker_follows():
    world = stepping()
    world.looks(50, followed=False)
    assert (world.stand.step, world.stand.baked_s) == (0, 0)
    assert world.looks(10).step == 1


# ---- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bake_s", [0, 10])
def test_a_step_is_not_over_while_its_candidate_does_not_serve(bake_s):
    world = stepping(plan_of({"percent": 100, "bake_s": bake_s}, watch_s=5, max_duration_s=60))
    assert world.looks(30, serves=False).state is State.STEPPING
    assert world.looks(11).state is State.PROMOTED
    late = stepping(plan_of({"percent": 100, "bake_s": bake_s}, max_duration_s=60))
    assert late.looks(60, serves=False).state is State.ROLLED_BACK


def test_a_pause_stops_time_and_ends_where_it_began():
    world = stepping()
    world.looks(5)
    world.move(machine.pause(world.stand, world.told(why="lunch")))
    assert (world.stand.state, world.events[-1].says) == (State.PAUSED, "paused: lunch")
    world.looks(1000)
    assert (world.stand.state, world.stand.baked_s) == (State.PAUSED, 5)
    world.move(machine.resume(world.stand, world.told()))
    assert (world.stand.state, world.stand.step) == (State.STEPPING, 0)
    assert (world.looks(4).step, world.look().step) == (0, 1)


def test_what_holds_everything_up_pauses_and_has_to_end_before_it_is_resumed():
    world = stepping()
    assert world.look(held_up="the route is stopped by bob").state is State.PAUSED
    with pytest.raises(Conflict, match="stopped by bob"):
        machine.resume(world.stand, world.told(), "the route is stopped by bob")
    assert world.looks(100).state is State.PAUSED  # a person resumes it, too
    assert world.move(machine.resume(world.stand, world.told())).state is State.STEPPING


def test_a_watch_does_not_count_while_something_holds_it_up():
    world = promoted()
    assert not world.looks(100, held_up="the route is stopped").ended
    assert world.stand.state is State.PROMOTED
    assert world.looks(5).ended


def test_a_step_that_asks_for_it_waits_for_somebody_else_than_the_starter():
    world = stepping(plan_of({"percent": 10, "approval": True}, {"percent": 100}))
    with pytest.raises(Conflict, match="nothing to approve"):
        machine.approve(world.plan, world.stand, world.told("bob"), "ann")
    world.looks(10)
    assert world.stand.waits
    spent_s = world.stand.spent_s
    world.looks(100_000)
    assert (world.stand.state, world.stand.spent_s) == (State.STEPPING, spent_s)
    with pytest.raises(Forbidden, match="started by ann"):
        machine.approve(world.plan, world.stand, world.told("ann"), "ann")
    world.move(machine.approve(world.plan, world.stand, world.told("bob", "looks well"), "ann"))
    assert (world.stand.step, world.stand.waits) == (1, False)
    assert [e.who for e in world.events[-2:]] == ["bob", ""]
    assert world.events[-2].says == "step 1 approved: looks well"


def test_approval_of_the_last_step_promotes():
    world = stepping(plan_of({"percent": 100, "approval": True}))
    world.looks(10)
    world.move(machine.approve(world.plan, world.stand, world.told("bob"), "ann"))
    assert world.stand.state is State.PROMOTED


def test_who_promotes_by_hand_skips_no_approval():
    world = stepping(plan_of({"percent": 10}, {"percent": 50, "approval": True}, {"percent": 100}))
    with pytest.raises(Conflict, match="step 2 has to be approved"):
        machine.promote(world.plan, world.stand, world.told())
    world.looks(20)
    world.move(machine.approve(world.plan, world.stand, world.told("bob"), "ann"))
    assert world.move(machine.promote(world.plan, world.stand, world.told())).state == "promoted"


def test_promoting_what_is_watched_ends_the_watch():
    world = promoted()
    assert world.move(machine.promote(world.plan, world.stand, world.told())).ended


def test_who_aborts_takes_the_candidate_back_in_any_state_but_the_last():
    for world in (World(CANARY), stepping(), promoted()):
        after = world.move(machine.abort(world.stand, world.told(why="I saw something")))
        assert (after.state, world.events[-1].who) == (State.ABORTED, "ann")
        with pytest.raises(Conflict, match="over"):
            machine.abort(world.stand, world.told())


def test_a_fault_takes_it_back_at_once_and_nothing_moves_what_is_over():
    world = stepping()
    world.move(machine.fail(world.stand, world.told("", "5 errors in a row")))
    assert (world.stand.state, world.events[-1].says) == (
        State.ROLLED_BACK,
        "rolled back: 5 errors in a row",
    )
    assert machine.fail(world.stand, world.told()).events == ()
    for command in (machine.pause, machine.resume, machine.abort):
        with pytest.raises(Conflict):
            command(world.stand, world.told())
    with pytest.raises(Conflict, match="cannot be promoted: it is rolled_back"):
        machine.promote(world.plan, world.stand, world.told())


@pytest.mark.parametrize("command", ["pause", "resume", "promote"])
def test_what_is_pending_can_be_paused_and_aborted_alone(command):
    stand, told = Stand(), World(CANARY).told()
    if command == "pause":
        assert machine.pause(stand, told).stand.state is State.PAUSED
    elif command == "resume":
        with pytest.raises(Conflict):
            machine.resume(stand, told)
    else:
        with pytest.raises(Conflict):
            machine.promote(CANARY, stand, told)


# ---- clocks -------------------------------------------------------------------------------------


def test_a_clock_that_jumps_ahead_ends_no_step_and_no_rollout():
    world = stepping()
    assert world.look(86_400.0 * 365).step == 0
    assert world.stand.baked_s == MAX_GAP_S


def test_a_clock_that_jumps_back_keeps_no_step_from_ending():
    world = stepping()
    world.looks(5)
    world.look(-86_400.0 * 365)
    assert world.looks(5).step == 1


JUMPS = st.one_of(
    st.just(1.0), st.floats(0, 3), st.floats(-1e9, 1e9, allow_nan=False), st.just(0.0)
)
LOOKS = st.lists(
    st.tuples(
        JUMPS,
        st.booleans(),
        st.sampled_from(["", "", "", "", "no files"]),
        st.sampled_from(["", "", "", "the route is stopped"]),
        st.integers(-5, 50),
        st.lists(st.sampled_from([PASS, OPEN, OPEN, FAIL]), min_size=0, max_size=1),
        st.sampled_from(["", "", "", "pause", "resume", "approve", "promote", "abort", "fail"]),
    ),
    max_size=80,
)
PLAN = plan_of(
    {"shadow_percent": 100, "bake_s": 2},
    {"percent": 10, "bake_s": 3, "min_rows": 20, "approval": True},
    {"percent": 50, "bake_s": 1},
    {"percent": 100, "bake_s": 2, "require": "pass"},
    failure_limit=2,
    max_duration_s=40,
    watch_s=4,
)
NEXT = {
    State.PENDING: {State.SHADOWING, State.PAUSED, *TAKEN_BACK},
    State.SHADOWING: {State.STEPPING, State.PAUSED, State.PROMOTED, *TAKEN_BACK},
    State.STEPPING: {State.PAUSED, State.PROMOTED, *TAKEN_BACK},
    State.PAUSED: {
        State.PENDING,
        State.SHADOWING,
        State.STEPPING,
        State.PROMOTED,
        *TAKEN_BACK,
    },
    State.PROMOTED: TAKEN_BACK,
    State.ROLLED_BACK: set(),
    State.ABORTED: set(),
}


def command(world: World, name: str) -> None:
    stand, told = world.stand, world.told("bob")
    moves = {
        "pause": lambda: machine.pause(stand, told),
        "resume": lambda: machine.resume(stand, told),
        "approve": lambda: machine.approve(PLAN, stand, told, "ann"),
        "promote": lambda: machine.promote(PLAN, stand, told),
        "abort": lambda: machine.abort(stand, told),
        "fail": lambda: machine.fail(stand, told),
    }
    try:
        world.move(moves[name]())
    except Conflict:
        assert world.stand == stand


@given(LOOKS)
def test_whatever_happens_states_follow_as_drawn_and_time_never_runs_back_or_ahead(looks):
    world = World(PLAN)
    for jump, serves, refusal, held_up, rows, verdicts, asked in looks:
        before, told = world.stand, len(world.events)
        world.look(
            jump,
            serves=serves,
            refusal=refusal,
            held_up=held_up,
            rows=rows,
            judgements=judged(errors=verdicts[0]) if verdicts else (),
        )
        check(before, world.stand, world.events[told:])
        if asked:
            between = world.stand
            command(world, asked)
            check(between, world.stand, world.events[told:])


def check(before: Stand, after: Stand, events: list[Event]) -> None:
    moved = before.state is not after.state
    assert not moved or after.state in NEXT[before.state]
    assert not moved or events, "a change of state is always told"
    assert after.step in (before.step, before.step + 1)
    assert before.spent_s <= after.spent_s <= before.spent_s + MAX_GAP_S
    assert before.watched_s <= after.watched_s <= before.watched_s + MAX_GAP_S
    if after.step == before.step and before.doing is not State.PENDING:
        assert before.baked_s <= after.baked_s <= before.baked_s + MAX_GAP_S
        assert before.rows <= after.rows
    if before.ended or before.taken_back:
        assert (after.state, after.step, after.ended) == (before.state, before.step, before.ended)
    if after.state is State.PROMOTED and moved and before.state is not State.PAUSED:
        assert after.promoted
    assert not after.waits or after.doing in (State.SHADOWING, State.STEPPING)


@given(LOOKS)
def test_what_is_kept_is_read_as_it_was(looks):
    world = World(PLAN)
    for jump, serves, refusal, held_up, rows, verdicts, _ in looks:
        world.look(
            jump,
            serves=serves,
            refusal=refusal,
            held_up=held_up,
            rows=rows,
            judgements=judged(errors=verdicts[0]) if verdicts else (),
        )
    assert read_stand(world.stand.as_json()) == world.stand
    assert [read_event(event.as_json()) for event in world.events] == world.events


@given(st.lists(JUMPS, min_size=1, max_size=60))
def test_no_clock_gives_a_candidate_more_than_watched_time_earns(jumps):
    world = stepping(plan_of({"percent": 10, "bake_s": 30}, {"percent": 100}))
    for jump in jumps:
        world.look(jump)
    earned = sum(min(max(jump, 0.0), MAX_GAP_S) for jump in jumps)
    assert (world.stand.step > 0) <= (earned >= 30 - 1e-6)


def test_the_same_arguments_give_the_same_answer():
    stand = stepping().stand
    seen = Seen(judgements=BAD)
    assert machine.look(CANARY, stand, seen, 5.0) == machine.look(CANARY, stand, seen, 5.0)
