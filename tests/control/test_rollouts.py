"""Rollouts are carried out in an order that survives a death at any point."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway import config
from gateway.alerts.shapes import SHAPES
from gateway.config.rollout import RolloutPlan
from gateway.control.audit import Actor, Audit
from gateway.control.rollout_operations import described
from gateway.control.rollout_store import RolloutStore
from gateway.control.splits import Pull
from gateway.errors import (
    Conflict,
    Forbidden,
    ModelNotFound,
    NotFound,
    StoreFailed,
    VersionNotFound,
)
from gateway.plan import UNAVAILABLE, UNLOADED, Absent
from gateway.rollouts.judgements import Verdict
from gateway.rollouts.stand import State
from tests.control.auditing import ANN
from tests.control.rolling import World, all_of
from tests.control.test_releases import NEW, OLD, offer
from tests.rollouts.machinery import plan_of

pytestmark = pytest.mark.anyio
BOB = Actor("bob", "admin", "10.0.0.7")
RETIRED = Absent("m", 2, UNAVAILABLE, "was retired on 2026-11-26", True)
TAKEN_OUT = Absent("m", 2, UNAVAILABLE, UNLOADED)
PINNED = "m: {variants: [{name: stable, version: 1, weight: 4}, {name: other, version: 3}]}"


@pytest.fixture
def world(home) -> Iterator[World]:
    made = World(home)
    yield made
    made.close()


@pytest.fixture
def pinned(home) -> Iterator[World]:
    made = World(home, PINNED)
    yield made
    made.close()


async def test_a_good_candidate_takes_over_and_its_alias_says_so(world):
    number = await world.start()
    assert world.routes.leader("m") == f"rollout {number}"
    await world.looks(1)
    assert world.workers.shares() == {1: 90, 2: 10}
    await world.looks(10)
    assert world.workers.shares() == {2: 100}
    await world.looks(10)
    assert world.stand().state is State.PROMOTED
    assert world.workers.named == {"champion": 2}
    assert world.routes.versions(world.document, "m") == {1, 2}  # it stays warm
    await world.looks(6)
    assert (world.routes.leader("m"), world.workers.shares()) == ("", {2: 100})
    assert world.routes.of("m").route is None
    assert world.kinds() == ["started", "step", "step", "promoted", "watched"]
    assert world.workers.sent == [{1: 100}, {1: 90, 2: 10}, {2: 100}]
    assert world.rollouts.results == {"promoted": 1}


async def test_where_no_alias_names_the_baseline_its_route_is_set(pinned):
    await pinned.start()
    await pinned.looks(1)
    assert pinned.workers.shares() == {1: 72, 2: 8, 3: 20}
    await pinned.looks(30)
    wanted = pinned.routes.of("m")
    assert wanted.given
    assert wanted.route is not None
    assert [(v.name, v.version, v.weight) for v in wanted.route.variants] == [
        ("stable", 2, 4),
        ("other", 3, 1),
    ]
    assert pinned.workers.shares() == {2: 80, 3: 20}


async def test_a_bad_candidate_is_taken_back_and_everything_is_as_it_was(pinned):
    before = pinned.routes.of("m")
    await pinned.start()
    await pinned.looks(3)
    pinned.verdicts.says = {"errors": Verdict.FAIL}
    await pinned.looks(1)
    assert pinned.workers.shares() == {1: 80, 3: 20}
    assert (pinned.routes.of("m"), pinned.stand().state) == (before, State.ROLLED_BACK)
    assert pinned.story()[-1] == "rolled back: failed: errors: seen 3 times"
    assert pinned.rollouts.results == {"rolled_back": 1}


async def test_sinks_are_told_of_what_took_itself_back_and_not_of_what_people_did(world):
    await world.start()
    await world.rollouts.abort(1, BOB, "")
    await world.start()
    await world.looks(3)
    assert world.told == []
    world.verdicts.says = {"errors": Verdict.FAIL}
    await world.looks(3)
    (told,) = world.told
    assert (told["rule"], told["version"]) == ("rollout_rolled_back", 2)
    assert told["summary"].startswith("model 'm' version 2: rollout 2 rolled back: failed: errors")
    for shape in SHAPES.values():
        assert b"rollout_rolled_back" in shape(told).body


async def test_failing_after_promotion_gives_the_alias_back(world):
    await world.start()
    await world.looks(22)
    assert world.workers.named == {"champion": 2}
    world.verdicts.says = {"errors": Verdict.FAIL}
    await world.looks(1)
    assert (world.workers.named, world.workers.shares()) == ({"champion": 1}, {1: 100})
    assert world.workers.sent[-2:] == [{2: 100}, {1: 100}]  # nothing in between


async def test_an_alias_that_somebody_moved_meanwhile_is_left_alone(world):
    await world.start()
    await world.looks(22)
    world.workers.named["champion"] = 3
    await world.workers.look()
    await world.rollouts.abort(1, BOB, "")
    assert world.workers.named == {"champion": 3}


async def test_taking_back_restores_what_the_baseline_was_watched_by(world):
    world.releases.settle("m", 1, offer(OLD))
    await world.start()
    await world.looks(2)
    world.releases.settle("m", 1, offer(NEW))
    await world.rollouts.abort(1, BOB, "no")
    newest = world.releases.newest("m", 1)
    assert newest is not None
    assert (newest.number, newest.profile) == (3, world.releases.get("m", 1, 1).profile)
    assert newest.note == "rollout 1 ended"
    assert world.story()[-1] == "version 1 is watched by its release 1 again"


async def test_a_candidate_that_cannot_be_loaded_never_gets_anything(world):
    world.workers.broken[2] = "it has no such operator"
    await world.start()
    await world.looks(1)
    assert world.stand().state is State.ROLLED_BACK
    assert world.story()[-1] == "rolled back: it cannot serve: it has no such operator"
    assert world.workers.sent == [{1: 100}]


@pytest.mark.parametrize("out", [RETIRED, TAKEN_OUT], ids=["retired", "unloaded"])
async def test_a_candidate_that_was_taken_out_of_service_is_not_waited_for(world, out):
    world.workers.out[2] = out
    await world.workers.look()
    with pytest.raises(Conflict, match=f"'m' version 2 cannot take over: it .*{out.reason}"):
        await world.start()
    assert world.routes.leader("m") == ""
    world.workers.out.clear()
    await world.start()
    await world.looks(3)
    assert world.stand().state is State.STEPPING
    world.workers.out[2] = out  # in the middle of a step, which would have to bake and no more
    await world.workers.look()
    await world.looks(1)
    assert world.stand().state is State.ROLLED_BACK
    assert world.story()[-1] == f"rolled back: it cannot serve: {out.reason}"
    assert world.workers.shares() == {1: 100}


async def test_a_candidate_is_waited_for_while_it_loads(world):
    world.workers.slow.add(2)
    await world.start()
    await world.looks(20)
    assert world.stand().state is State.PENDING
    world.workers.slow.clear()
    await world.workers.look()
    await world.looks(1)
    assert world.stand().state is State.STEPPING


async def test_a_candidate_that_is_loaded_anew_is_not_promoted_before_it_serves(world):
    await world.start()
    await world.looks(1)
    world.workers.slow.add(2)
    world.workers.loaded.discard(2)
    await world.workers.look()
    await world.looks(100)
    assert (world.stand().state, world.stand().step) == (State.STEPPING, 0)
    with pytest.raises(Conflict, match="the candidate, version 2, does not serve"):
        await world.rollouts.promote(1, BOB, "")
    world.workers.slow.clear()
    await world.workers.look()
    await world.looks(25)
    assert world.stand().promoted


async def test_what_workers_say_takes_a_candidate_back_at_once(world):
    await world.start()
    await world.looks(3)
    assert not await world.rollouts.failing("m", 1, "the baseline is none")
    assert await world.rollouts.failing("m", 2, "5 failures in a row")
    assert world.workers.shares() == {1: 100}
    assert world.story()[-1] == "rolled back: 5 failures in a row"
    assert not await world.rollouts.failing("m", 2, "it is over")


async def test_what_was_pulled_while_nobody_told_is_taken_back_and_gets_another_chance(world):
    world.pulled[2] = Pull(2, "candidate", "it crashed long ago", 0.0, {})
    await world.start()
    await world.looks(2)
    assert world.stand().state is State.STEPPING
    world.pulled[2] = Pull(2, "candidate", "10 failures in a row", 0.0, {})
    world.control()
    await world.looks(1)
    assert world.story()[-1] == "rolled back: it cannot serve: 10 failures in a row"


async def test_steps_wait_until_workers_follow(world):
    await world.start()
    world.workers.lagging = True
    await world.looks(50)
    assert world.stand().step == 0
    world.workers.lagging = False
    await world.looks(10)
    assert world.stand().step == 1


async def test_rows_are_counted_since_the_step_began_also_over_a_start_of_the_server(world):
    world.verdicts.counted = 1000
    plan = plan_of({"percent": 10, "min_rows": 100, "bake_s": 0}, {"percent": 100})
    await world.start(plan=plan)
    await world.looks(2)
    world.verdicts.counted = 1060
    await world.looks(1)
    assert world.stand().rows == 60
    world.verdicts.counted = 30  # a new server
    await world.looks(1)
    assert (world.stand().step, world.stand().rows) == (0, 90)
    world.verdicts.counted = 40
    await world.looks(1)
    assert world.stand().step == 1


# ---- people -------------------------------------------------------------------------------------


async def test_a_stop_of_the_route_pauses_it_until_both_are_ended(world):
    await world.start()
    await world.looks(2)
    world.routes.stop(BOB, "m", 1, "stable", "I saw something")
    world.workers.divide_soon()
    await world.looks(1)
    assert world.stand().state is State.PAUSED
    assert world.story()[-1] == "paused: the route is stopped by bob: I saw something"
    with pytest.raises(Conflict, match="stopped by bob"):
        await world.rollouts.resume(1, ANN, "")
    world.routes.resume(BOB, "m")
    world.workers.divide_soon()
    await world.looks(100)
    assert (world.stand().state, world.workers.shares()) == (State.PAUSED, {1: 90, 2: 10})
    await world.rollouts.resume(1, ANN, "")
    await world.looks(9)
    assert world.stand().step == 1


async def test_the_approver_is_not_the_starter_and_both_are_in_the_audit(world):
    plan = plan_of({"percent": 10, "approval": True}, {"percent": 100})
    await world.start(plan=plan)
    await world.looks(12)
    assert world.stand().waits
    with pytest.raises(Forbidden, match="started by ann"):
        await world.rollouts.approve(1, ANN, "")
    await world.rollouts.approve(1, BOB, "looks well")
    assert world.stand().step == 1
    told = [(one.who, one.action) for one in Audit(world.store).last(9)]
    rollout = [(who, action) for who, action in told if action.startswith("rollout")]
    assert rollout == [
        ("ann", "rollout started"),
        ("penstock", "rollout step"),
        ("bob", "rollout approved"),
        ("penstock", "rollout step"),
    ]


async def test_who_promotes_and_who_pauses_is_told(world):
    await world.start()
    await world.looks(2)
    await world.rollouts.pause(1, BOB, "lunch")
    await world.rollouts.resume(1, BOB, "")
    await world.rollouts.promote(1, BOB, "it is urgent")
    events = RolloutStore(world.store).events(1)
    assert [(e.who, e.kind) for e in events[2:]] == [
        ("bob", "paused"),
        ("bob", "resumed"),
        ("bob", "promoted"),
    ]
    assert world.workers.shares() == {2: 100}
    await world.rollouts.promote(1, BOB, "enough")
    assert (world.routes.leader("m"), world.workers.named) == ("", {"champion": 2})


async def test_what_is_over_or_never_was_is_told_apart(world):
    await world.start()
    await world.rollouts.abort(1, BOB, "")
    with pytest.raises(Conflict, match="rollout 1 is over: it was aborted"):
        await world.rollouts.pause(1, BOB, "")
    with pytest.raises(NotFound, match="no rollout 7"):
        await world.rollouts.pause(7, BOB, "")


# ---- what is refused at the start ---------------------------------------------------------------


async def test_what_nobody_has_or_serves_already_is_refused(world):
    with pytest.raises(ModelNotFound, match="no source has a model"):
        await world.start(model="nobody")
    with pytest.raises(VersionNotFound, match="no version 9; it has: 1, 2, 3"):
        await world.start(9)
    with pytest.raises(Conflict, match="version 1 is its baseline already"):
        await world.start(1)


async def test_one_rollout_of_a_route_at_a_time_however_they_are_asked_for(world):
    came = await all_of(world.start(2), world.start(3))
    assert [type(one) for one in came] == [int, Conflict]
    assert "is led by rollout 1" in str(came[1])
    world.routes.let_go(ANN, "m", "rollout 1")
    with pytest.raises(Conflict, match="rollout 1 is under way"):
        await world.start(3)


async def test_a_route_that_another_leads_or_somebody_stopped_is_left_alone(world):
    led = config.Route(variants=[config.Variant(name="a", version=1)])
    world.routes.lead(ANN, "m", "experiment 3", led)
    with pytest.raises(Conflict, match="led by experiment 3"):
        await world.start()
    world.routes.let_go(ANN, "m", "experiment 3")
    world.routes.stop(BOB, "m", 1, "", "")
    with pytest.raises(Conflict, match="stopped by bob"):
        await world.start()


async def test_a_signature_that_differs_and_a_guard_that_never_judges_are_refused(world):
    world.differs = "input 'x' is [-1, 30], and was [-1, 4]"
    with pytest.raises(Conflict, match=r"version 2 cannot take over.*input 'x' is \[-1, 30\]"):
        await world.start()
    world.differs = ""
    world.verdicts.impossible = {"errors": "nothing is counted"}
    with pytest.raises(Conflict, match="never be judged: errors: nothing is counted"):
        await world.start()
    assert (world.routes.leader("m"), RolloutStore(world.store).newest()) == ("", [])


async def test_what_guards_may_lack_is_kept_and_told_and_refuses_nothing(world):
    world.verdicts.doubtful = ["errors: there is no verdict before 10 s"]
    number = await world.start()
    kept = RolloutStore(world.store).get(number)
    assert described(kept, (), ())["warnings"] == world.verdicts.doubtful
    assert kept.stand.state is State.PENDING


async def test_of_the_usual_guards_those_that_can_judge_are_taken(world):
    world.verdicts.impossible = {"prediction_drift": "nothing is watched"}
    await world.start(plan=RolloutPlan())
    plan = RolloutStore(world.store).get(1).given.plan
    assert [guard.called for guard in plan.guards] == ["errors", "non_finite", "latency", "cost"]
    # Nobody is to believe that all of them judge.
    began = RolloutStore(world.store).events(1)[0].says
    assert began.endswith("guards left out: prediction_drift: nothing is watched")


async def test_a_baseline_without_traffic_or_that_does_not_serve_is_refused(home):
    for variants, fault in (
        ("[{name: a, version: 1, weight: 0}, {name: b, version: 3}], fallback: a", "no traffic"),
        ("[{name: a, version: 8}]", "version 8, does not serve"),
        ("[{name: a, alias: gone}]", "alias 'gone', does not serve"),
    ):
        world = World(home, f"m: {{variants: {variants}}}")
        with pytest.raises(Conflict, match=fault):
            await world.start()
        world.close()


async def test_whoever_would_set_its_route_meanwhile_is_told_who_leads_it(world):
    await world.start()
    with pytest.raises(Conflict, match="led by rollout 1"):
        world.routes.set(ANN, "m", config.Route(variants=[config.Variant(name="a", version=1)]))


# ---- deaths and troubles ------------------------------------------------------------------------


async def test_a_control_killed_in_the_middle_of_a_step_goes_on_where_it_was(world):
    await world.start()
    await world.looks(4)
    world.now += 3600
    world.control()
    await world.looks(1)
    # An hour that nobody watched is none.
    assert (world.stand().state, world.stand().step) == (State.STEPPING, 0)
    assert world.stand().baked_s <= 3 + 5
    # The judge goes on from what it remembered, too.
    assert world.verdicts.made[0] is None
    assert world.verdicts.made[1]["looks"] >= 1
    await world.looks(30)
    assert world.kinds() == ["started", "step", "step", "promoted", "watched"]


async def test_whenever_control_dies_a_rollout_comes_to_the_same_end(home):
    for dies_at in range(1, 30):
        home_then = home / str(dies_at)
        home_then.mkdir()
        world = World(home_then)
        await world.start()
        for second in range(40):
            if second == dies_at:
                world.control()
            await world.looks(1)
        assert world.kinds() == ["started", "step", "step", "promoted", "watched"], dies_at
        assert (world.workers.named, world.workers.shares()) == ({"champion": 2}, {2: 100})
        world.close()


@pytest.mark.parametrize("half", ["lead", "point", "let_go"])
async def test_what_was_decided_and_not_done_is_done_by_whoever_comes_next(world, half):
    await world.start()
    await world.looks(22)
    world.verdicts.says = {"errors": Verdict.FAIL}
    broken = {"lead": world.routes, "let_go": world.routes, "point": world}[half]
    whole = getattr(broken, half)
    setattr(broken, half, _fails)
    if half == "point":
        world.control()
    with pytest.raises(StoreFailed):
        await world.looks(1)
    setattr(broken, half, whole)
    world.control()
    world.verdicts.says = {"errors": Verdict.PASS}
    await world.looks(1)
    assert (world.workers.named, world.workers.shares()) == ({"champion": 1}, {1: 100})
    assert (world.routes.leader("m"), world.stand().state) == ("", State.ROLLED_BACK)
    assert world.kinds()[-1] == "rolled_back"


def _fails(*_: object) -> None:
    raise StoreFailed("the disk is full")


async def test_what_cannot_be_written_down_is_not_done(world):
    await world.start()
    await world.looks(10)
    sent = list(world.workers.sent)
    with world.store.write() as db:
        db.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON rollouts BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
    with pytest.raises(Exception, match="full"):
        await world.looks(2)
    assert world.workers.sent == sent
    with world.store.write() as db:
        db.execute("DROP TRIGGER full")
    await world.looks(2)
    assert world.workers.shares() == {2: 100}


@contextlib.contextmanager
def full_disk(world: World, what: str = "UPDATE ON rollouts") -> Iterator[None]:
    """Nothing of the kind can be written within."""
    with world.store.write() as db:
        db.execute(f"CREATE TRIGGER full BEFORE {what} BEGIN SELECT RAISE(ABORT, 'full'); END")
    yield
    with world.store.write() as db:
        db.execute("DROP TRIGGER full")


async def test_a_full_disk_keeps_no_bad_candidate_in_traffic_and_is_told_of_it_later(world):
    await world.start()
    await world.looks(10)
    world.verdicts.says = {"errors": Verdict.FAIL}
    with full_disk(world):
        for _ in range(3):
            with pytest.raises(StoreFailed):
                await world.looks(1)
        assert "failed: errors" in world.pulled[2].why
        assert (world.kinds()[-1], world.told) == ("step", [])
    await world.looks(1)
    assert (world.stand().state, world.kinds()[-1]) == (State.ROLLED_BACK, "rolled_back")
    assert "failed: errors" in world.story()[-1]
    assert len(world.told) == 1


async def test_what_a_full_disk_did_not_take_is_told_of_once_it_does(world):
    await world.start()
    await world.looks(2)
    with full_disk(world):
        for _ in range(20):
            with contextlib.suppress(StoreFailed):
                await world.looks(1)
    await world.looks(40)
    assert world.kinds() == ["started", "step", "step", "promoted", "watched"]


async def test_a_rollback_that_could_not_be_written_down_is_told_when_it_is_done(world):
    await world.start()
    await world.looks(5)
    world.verdicts.says = {"errors": Verdict.FAIL}
    whole, world.kept.save = world.kept.save, _fails
    with pytest.raises(StoreFailed):
        await world.looks(1)
    world.kept.save = whole
    await world.looks(1)
    assert (world.workers.shares(), world.kinds()[-1]) == ({1: 100}, "rolled_back")


async def test_a_command_that_could_not_be_written_down_has_not_happened(world):
    number = await world.start()
    await world.looks(5)
    with full_disk(world):
        for command in (world.rollouts.pause, world.rollouts.promote):
            with pytest.raises(StoreFailed):
                await command(number, BOB, "")
    await world.looks(1)
    assert (world.stand().state, world.kinds()[-1]) == (State.STEPPING, "step")


async def test_an_abort_that_could_not_be_written_down_is_in_force_and_told_once_it_can_be(world):
    number = await world.start()
    await world.looks(5)
    with full_disk(world):
        await world.rollouts.abort(number, BOB, "I saw something")
        assert world.pulled[2].why == "aborted: I saw something"
        untold = world.rollouts.untold(number)
        assert ([one.kind for one in untold.events], untold.actor) == (["aborted"], BOB)
        assert untold.why.endswith("full")
        for command in (world.rollouts.abort, world.rollouts.resume, world.rollouts.promote):
            with pytest.raises(Conflict):
                await command(number, BOB, "")
        for _ in range(3):
            with pytest.raises(StoreFailed):
                await world.looks(1)
        assert (world.stand().state, world.kinds()[-1]) == (State.ABORTED, "step")
    await world.looks(1)
    assert (world.rollouts.untold(number), world.rollouts.live()) == (None, [])
    assert (world.kinds()[-1], world.workers.shares()) == ("aborted", {1: 100})
    entry = Audit(world.store).last(2)[0]
    assert (entry.action, entry.who) == ("rollout aborted", BOB.who)


async def test_an_abort_whose_route_cannot_be_given_back_yet_takes_its_candidate_out_first(world):
    number = await world.start()
    await world.looks(5)
    with full_disk(world, "INSERT ON routes"):
        await world.rollouts.abort(number, BOB, "")
        assert world.pulled[2].why == "aborted: no reason given"
        assert (world.rollouts.untold(number), world.kinds()[-1]) == (None, "aborted")
    await world.looks(1)
    assert (world.rollouts.live(), world.workers.shares()) == ([], {1: 100})


async def test_one_that_is_started_while_they_are_first_read_is_looked_at(world):
    first_waits, read = threading.Event(), world.kept.under_way
    asked = itertools.count()

    def under_way():
        found = read()
        if next(asked) == 0:
            first_waits.wait(10.0)
        return found

    world.kept.under_way = under_way
    looking = asyncio.create_task(world.looks(1))
    await asyncio.sleep(0)
    starting = asyncio.create_task(world.start())
    await asyncio.wait([starting], timeout=0.2)
    first_waits.set()
    number = await starting
    await looking
    assert [one.number for one, _ in world.rollouts.live()] == [number]


async def test_a_clock_that_jumps_neither_ends_nor_holds_a_step(world):
    await world.start()
    await world.looks(4)
    for jump in (86_400.0 * 365, -86_400.0 * 365):
        world.now += jump
        await world.looks(1)
    assert world.stand().step == 0
    await world.looks(10)
    assert world.stand().step == 1


async def test_a_baseline_that_is_gone_holds_everything_up_until_somebody_decides(world):
    await world.start()
    await world.looks(2)
    world.workers.broken[1] = "its files are gone"
    await world.workers.look()
    await world.looks(1)
    assert world.story()[-1] == "paused: the baseline, version 1, does not serve"
    with pytest.raises(Conflict, match="does not serve"):
        await world.rollouts.promote(1, BOB, "")


async def test_what_changes_with_every_look_does_not_crowd_out_what_was_decided(world):
    plan = plan_of({"percent": 10, "bake_s": 10_000}, max_duration_s=20_000)
    await world.start(plan=plan)
    for turn in range(1100):
        world.verdicts.says = {"errors": Verdict.PASS if turn % 2 else Verdict.INCONCLUSIVE}
        await world.looks(1)
    await world.rollouts.abort(1, BOB, "enough")
    assert len(world.kinds()) < 510
    assert world.kinds()[-1] == "aborted"


async def test_of_a_model_a_hundred_are_kept(world):
    store = RolloutStore(world.store)
    await world.start()
    await world.rollouts.abort(1, BOB, "")
    kept, (event, *_) = store.get(1), store.events(1)
    for _ in range(120):
        made = store.start(ANN, kept.given, kept.stand, event)
        store.save(replace(made, over=True), ())
    assert len(store.newest("m", 1000)) == 100
    assert store.events(1) == []
