"""The order of a change: tried out, held beside the old, routed once loaded, the old dropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Set
from dataclasses import replace
from pathlib import Path

import pytest

from gateway import config
from gateway.control.desired import Candidate, Desired
from gateway.control.memory import Memory
from gateway.control.planner import Planner
from gateway.control.splits import Pull, Stop, Wanted
from gateway.errors import ArenaFull
from gateway.plan import Absent, Plan, Split, Variant
from gateway.taken import Watched

pytestmark = pytest.mark.anyio
HALVES = config.parse(
    "routes: {m: {variants: [{name: a, version: 1}, {name: b, version: 2}]}}"
).routes["m"]


def candidate(name: str, version: int = 1, digest: str = "d") -> Candidate:
    return Candidate(name, version, Path("/models"), "model.onnx", digest, {}, {}, "test")


class World:
    """What a planner touches: sources, trials, and workers that load or refuse.

    A trial of content in `endless` lasts until `end_trial`; workers load content in `slow` until it
    is taken out and `hear` is called.
    """

    def __init__(self) -> None:
        self.wanted: list[Candidate] = []
        self.champions: dict[str, int] = {}
        self.divided: dict[str, Wanted] = {}
        self.at_hand: dict[str, Wanted] = {}
        self.place: Callable[[Plan], Plan] = lambda plan: plan
        self.published: list[Plan] = []
        self.tried: list[str] = []
        self.bad_trials: dict[str, str] = {}
        self.bad_loads: dict[str, str] = {}
        self.endless: dict[str, asyncio.Future[None]] = {}
        self.slow: set[str] = set()
        self.known: list[Set[tuple[str, int]]] = []
        self.watched: Set[int] = frozenset()
        self.lagging = False
        self.faults: list[Absent] = []
        self.full = False
        self.noted: list[tuple] = []
        self.looked: list[str | None] = []
        self.planner = self.control()

    def control(self, memory: Memory | None = None, deadline_s: float = 60.0) -> Planner:
        return Planner(
            memory or Memory(),
            self,
            self.allocate,
            lambda candidate: (Watched("d", "/profile.json", 8 * candidate.version),),
            self.trial,
            self.gather,
            lambda memory: None,
            self.want,
            deadline_s,
            self.note,
            lambda: self.divided,
            lambda plan: self.place(plan),
            lambda name: self.at_hand.get(name, Wanted()),
        )

    def gather(self, memory: Memory, only: str | None) -> Desired:
        self.looked.append(only)
        good = [c for c in self.wanted if c.name not in memory.unloaded]
        faults = [Absent(n, 0, "UNAVAILABLE", "unloaded") for n in sorted(memory.unloaded)]
        return Desired(good, [*faults, *self.faults], self.champions)

    def allocate(self, name: str, version: int) -> int:
        if self.full and name == "new":
            raise ArenaFull("no room")
        return 4096 * version

    def want(self, known: Set[tuple[str, int]], watched: Set[int]) -> None:
        self.known.append(known)
        self.watched = watched

    async def trial(self, held) -> dict[str, object]:
        self.tried.append(held["name"])
        if held["digest"] in self.endless:
            await self.endless[held["digest"]]
        reason = self.bad_trials.get(held["digest"])
        return {"ok": reason is None, "reason": reason}

    def note(self, action: str, subject: str, before=None, after=None) -> None:
        self.noted.append((action, subject, before, after))

    def never_ends(self, digest: str) -> None:
        self.endless[digest] = asyncio.get_running_loop().create_future()

    def end_trial(self, digest: str) -> None:
        self.endless.pop(digest).set_result(None)

    # ---- the workers ----------------------------------------------------------------------------

    def publish(self, plan: Plan) -> None:
        self.published.append(plan)
        asyncio.get_running_loop().call_soon(self.hear)

    def hear(self) -> None:
        self.planner.step_soon()

    def followed(self, number: int) -> bool:
        return not self.lagging

    def loading(self, held_id: str) -> bool:
        return self.content(held_id) in self.slow

    def refusal(self, held_id: str) -> str | None:
        return self.bad_loads.get(self.content(held_id))

    def content(self, held_id: str) -> str:
        return next((h.digest for h in self.published[-1].held if h.id == held_id), "")

    # ---- what came of it ------------------------------------------------------------------------

    def routes(self) -> dict[str, int]:
        return {route.name: route.version for route in self.published[-1].routes}

    def held(self) -> int:
        return len(self.published[-1].held) if self.published else 0

    def states(self) -> dict[str, str]:
        return {absent.name: absent.state for absent in self.published[-1].absent}

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not done():  # noqa: ASYNC110 - the condition is the caller's
                await asyncio.sleep(0.001)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.planner.close()


async def test_routes_move_only_after_the_new_version_was_held_beside_the_old(world):
    world.wanted = [candidate("m", 1)]
    await world.planner.apply()
    world.published.clear()
    world.wanted = [candidate("m", 2)]
    await world.planner.apply()
    held = [sorted(h.version for h in plan.held) for plan in world.published]
    routed = [[r.version for r in plan.routes] for plan in world.published]
    assert held[-2:] == [[1, 2], [2]]
    assert routed[-2:] == [[1], [2]]


async def test_the_champion_answers_else_the_highest_version(world):
    world.wanted = [candidate("m", 1), candidate("m", 2), candidate("n", 3), candidate("n", 9)]
    world.champions = {"m": 1}
    await world.planner.apply()
    assert world.routes() == {"m": 1, "n": 9}


async def test_a_champion_that_cannot_serve_is_not_replaced_by_a_version_nobody_chose(world):
    world.wanted = [candidate("m", 1, digest="broken"), candidate("m", 2)]
    world.champions = {"m": 1}
    world.bad_trials = {"broken": "not an ONNX model"}
    await world.planner.apply()
    (route,) = world.published[-1].routes
    assert (route.version, list(route.deployments)) == (1, [2])


async def test_a_model_that_fails_its_trial_is_absent_with_the_reason_and_the_rest_serves(world):
    world.wanted = [candidate("good"), candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "killed by SIGSEGV"}
    absent = await world.planner.apply()
    assert absent == (Absent("bad", 1, "UNAVAILABLE", "killed by SIGSEGV"),)
    assert world.routes() == {"good": 1}


async def test_a_model_that_serves_after_all_has_the_last_word_in_the_log(world, caplog):
    world.wanted = [candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "no"}
    await world.planner.apply()
    world.bad_trials = {}
    world.planner.memory.forget_refusals()
    for _ in range(2):
        await world.planner.apply()
    assert [one.getMessage() for one in caplog.records] == [
        "model 'bad' version 1: no",
        "over: model 'bad' version 1 serves",
    ]


async def test_a_refused_model_is_not_tried_again_until_it_is_asked_for(world):
    world.wanted = [candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "no"}
    await world.planner.apply()
    await world.planner.apply()
    assert world.tried == ["bad"]
    world.planner.memory.forget_refusals()
    await world.planner.apply()
    assert world.tried == ["bad", "bad"]


async def test_new_content_that_is_refused_leaves_the_old_content_serving(world):
    world.wanted = [candidate("m", digest="old")]
    await world.planner.apply()
    world.wanted = [candidate("m", digest="new")]
    world.bad_loads = {"new": "out of memory"}
    absent = await world.planner.apply()
    assert [h.digest for h in world.published[-1].held] == ["old"]
    assert world.routes() == {"m": 1}
    assert [a.reason for a in absent] == ["out of memory"]


async def test_two_native_crashes_in_the_same_model_quarantine_it_and_one_does_not(world):
    world.wanted = [candidate("m", 1), candidate("n", 2)]
    await world.planner.apply()
    block = world.published[-1].held[0].block
    world.planner.crashed([block])
    assert world.routes() == {"m": 1, "n": 2}
    world.planner.crashed([block])
    await world.until(lambda: world.routes() == {"n": 2})
    assert "quarantined" in world.published[-1].absent[0].reason


async def test_a_reload_loads_anew_what_has_not_changed(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    before = world.published[-1].held[0].id
    world.planner.memory.reload("m")
    await world.planner.apply()
    assert world.published[-1].held[0].id != before


async def test_a_name_that_no_source_has_is_not_known_and_leaves_nothing_behind(world):
    world.wanted = [candidate("m")]
    world.planner.memory.reload("typo")
    await world.planner.apply("typo")
    assert [world.planner.knows(name) for name in ("m", "typo")] == [True, False]
    assert world.planner.memory.loads == {}


async def test_unloaded_stays_unloaded_until_loaded(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    world.planner.memory.unloaded.add("m")
    await world.planner.apply()
    assert world.routes() == {}
    world.planner.memory.reload("m")
    await world.planner.apply()
    assert world.routes() == {"m": 1}


async def test_changes_at_once_make_one(world):
    world.wanted = [candidate("m")]
    await asyncio.gather(*(world.planner.apply() for _ in range(5)))
    # Being tried out, held, routed: as many plans as one change takes.
    assert [(len(p.held), len(p.routes)) for p in world.published] == [(0, 0), (1, 0), (1, 1)]
    assert world.tried == ["m"]


async def test_a_plan_that_changes_nothing_is_not_published(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    world.published.clear()
    await world.planner.apply()
    assert world.published == []


async def test_a_successor_publishes_what_its_predecessor_left(world):
    world.wanted = [candidate("m")]
    await world.planner.apply()
    left = world.published[-1]
    world.published.clear()
    world.planner = world.control(world.planner.memory)
    world.planner.resume()
    assert world.published == [left]


async def test_a_successor_goes_on_with_a_change_that_its_predecessor_had_begun(world):
    world.wanted = [candidate("m"), candidate("n", digest="big")]
    world.slow = {"big"}
    change = asyncio.ensure_future(world.planner.apply())
    await world.until(lambda: world.held() == 2)
    change.cancel()
    world.tried.clear()
    await world.planner.close()
    world.planner = world.control(world.planner.memory)
    world.planner.resume()
    world.planner.step_soon()  # workers say hello before it has looked
    await world.planner.look()
    assert world.held() == 2
    world.slow.clear()
    await world.planner.apply()
    assert (world.routes(), world.tried) == ({"m": 1, "n": 1}, [])


async def test_a_successor_that_hears_of_a_crash_before_it_has_looked_goes_on_all_the_same(world):
    world.wanted = [candidate("m", 1), candidate("n", 2, digest="big"), candidate("bad", 3)]
    world.slow = {"big"}
    change = asyncio.ensure_future(world.planner.apply())
    await world.until(lambda: world.held() == 3 and world.routes() == {"m": 1, "bad": 3})
    change.cancel()
    await world.planner.close()
    world.planner = world.control(world.planner.memory)
    world.planner.resume()
    for _ in range(2):
        world.planner.crashed([4096 * 3])
    assert (world.held(), world.published[-1].settled) == (3, False)
    await world.planner.look()
    assert (world.held(), world.routes(), world.published[-1].settled) == (2, {"m": 1}, False)
    world.slow.clear()
    await world.planner.apply()
    assert world.routes() == {"m": 1, "n": 2}


async def test_new_files_that_cannot_even_be_read_leave_the_old_content_serving(world):
    world.wanted = [candidate("m", digest="old"), candidate("n")]
    await world.planner.apply()
    world.wanted = [candidate("n")]
    world.faults = [Absent("m", 1, "UNAVAILABLE", "not an ONNX file")]
    await world.planner.apply()
    assert world.routes() == {"m": 1, "n": 1}
    assert world.published[-1].absent == tuple(world.faults)


async def test_a_model_that_is_gone_from_its_source_is_gone(world):
    world.wanted = [candidate("m"), candidate("n")]
    await world.planner.apply()
    world.wanted = [candidate("n")]
    await world.planner.apply()
    assert world.routes() == {"n": 1}


async def test_a_model_that_crashes_workers_while_they_load_it_is_taken_out_at_once(world):
    world.wanted = [candidate("m", 1)]
    await world.planner.apply()
    world.wanted = [candidate("m", 1), candidate("n", 2, digest="deadly")]
    world.slow = {"deadly"}
    change = asyncio.ensure_future(world.planner.apply())
    await world.until(lambda: world.held() == 2)
    world.planner.crashed([8192])
    world.planner.crashed([8192])
    assert [a.name for a in await change] == ["n"]
    assert [held.name for held in world.published[-1].held] == ["m"]
    assert world.routes() == {"m": 1}


async def test_new_content_that_crashes_workers_while_they_load_it_leaves_the_old_serving(world):
    world.wanted = [candidate("m", digest="old")]
    await world.planner.apply()
    world.wanted = [candidate("m", digest="deadly")]
    world.slow = {"deadly"}
    change = asyncio.ensure_future(world.planner.apply())
    await world.until(lambda: world.held() == 2)
    block = world.published[-1].held[0].block  # both count in it: they are one version
    world.planner.crashed([block])
    world.planner.crashed([block])
    (absent,) = await change
    assert "quarantined" in absent.reason
    assert [held.digest for held in world.published[-1].held] == ["old"]
    assert world.routes() == {"m": 1}


async def test_only_who_names_a_quarantined_model_gets_it_back(world):
    world.wanted = [candidate("m", 1), candidate("n", 2)]
    await world.planner.apply()
    for _ in range(2):
        world.planner.crashed([4096])
    world.planner.memory.forget_refusals()
    await world.planner.apply()
    assert world.routes() == {"n": 2}
    world.planner.memory.reload("m")
    await world.planner.apply()
    assert world.routes() == {"m": 1, "n": 2}


async def test_a_model_that_cannot_be_counted_is_absent_and_the_rest_serves(world):
    world.wanted, world.full = [candidate("m"), candidate("new")], True
    absent = await world.planner.apply()
    assert absent == (Absent("new", 1, "UNAVAILABLE", "no room"),)
    assert world.routes() == {"m": 1}


async def test_what_did_not_serve_stays_explained_while_something_else_loads(world):
    world.wanted = [candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "no"}
    await world.planner.apply()
    world.published.clear()
    world.wanted = [candidate("bad", digest="corrupt"), candidate("m")]
    await world.planner.apply()
    reasons = [{a.name: a.reason for a in plan.absent} for plan in world.published]
    assert reasons[0] == {"bad": "no", "m": "loading"}
    assert all(why["bad"] == "no" for why in reasons)


async def test_what_is_known_is_told_once_all_workers_follow(world):
    world.planner = world.control(deadline_s=0.05)
    world.wanted = [candidate("m", 1), candidate("m", 2)]
    world.lagging = True
    await world.planner.apply()
    assert world.known == []
    world.lagging = False
    await world.planner.apply()
    assert world.known == [{("m", 1), ("m", 2)}]


async def test_refusals_of_what_is_no_more_are_forgotten(world):
    for version in range(1, 20):
        world.wanted = [candidate("m", version, digest="corrupt")]
        world.bad_trials = {"corrupt": "no"}
        await world.planner.apply()
    assert len(world.planner.memory.refused) == 1


async def test_it_is_settled_when_all_it_was_started_with_is_and_stays_so(world):
    world.never_ends("endless")
    world.wanted = [candidate("m"), candidate("slow", digest="endless")]
    await world.planner.apply("m")
    assert not world.published[-1].settled
    world.end_trial("endless")
    await world.planner.apply()
    assert world.published[-1].settled
    world.never_ends("endless")
    world.wanted.append(candidate("slow", 2, digest="endless"))
    await world.planner.look()
    assert world.published[-1].settled
    world.end_trial("endless")


# ---- one slow model and the others ------------------------------------------------------------


async def test_a_trial_that_never_ends_holds_up_nobody_else(world):
    world.never_ends("endless")
    world.wanted = [candidate("slow", digest="endless"), candidate("m")]
    everything = asyncio.ensure_future(world.planner.apply())
    await world.until(lambda: world.held() == 1 and world.routes() == {"m": 1})
    assert world.states() == {"slow": "LOADING"}
    # Nor what comes meanwhile: a new model, one that is loaded anew, one that goes.
    world.wanted.append(candidate("n"))
    assert await world.planner.apply("n") == world.published[-1].absent
    world.planner.memory.reload("m")
    await world.planner.apply("m")
    assert world.routes() == {"m": 1, "n": 1}
    world.planner.memory.unloaded.add("n")
    await world.planner.apply("n")
    assert world.routes() == {"m": 1}
    assert not everything.done()
    world.end_trial("endless")
    await everything
    assert world.routes() == {"m": 1, "slow": 1}


async def test_an_alias_moves_while_another_version_is_tried_out(world):
    world.wanted = [candidate("m", 1), candidate("m", 2)]
    world.champions = {"m": 1}
    await world.planner.apply()
    world.never_ends("endless")
    world.wanted.append(candidate("m", 3, digest="endless"))
    world.champions = {"m": 2}
    await world.planner.look()
    assert world.routes() == {"m": 2}
    world.end_trial("endless")


async def test_whoever_answered_goes_on_until_the_new_champion_is_there(world):
    world.wanted, world.champions = [candidate("m", 1)], {"m": 1}
    await world.planner.apply()
    world.never_ends("endless")
    world.wanted, world.champions = [*world.wanted, candidate("m", 2, digest="endless")], {"m": 2}
    await world.planner.look()
    assert world.routes() == {"m": 1}
    world.end_trial("endless")
    await world.planner.apply()
    assert world.routes() == {"m": 2}


async def test_a_route_stays_as_it_was_until_all_its_variants_serve(world):
    world.wanted = [candidate("m", 1)]
    await world.planner.apply()
    world.never_ends("endless")
    world.wanted.append(candidate("m", 2, digest="endless"))
    world.divided = {"m": Wanted(HALVES)}
    await world.planner.look()
    assert world.published[-1].routes[0].split is None
    assert world.routes() == {"m": 1}
    world.end_trial("endless")
    await world.planner.apply()
    split = world.published[-1].routes[0].split
    assert split == Split((Variant("a", 1, 1.0), Variant("b", 2, 1.0)))


async def test_a_route_over_what_is_not_there_is_told_once(world, caplog):
    world.wanted = [candidate("m", 1)]
    world.divided = {"m": Wanted(HALVES), "nobody": Wanted(HALVES)}
    for _ in range(3):
        await world.planner.apply()
    told = sorted(one.getMessage() for one in caplog.records if "route" in one.getMessage())
    assert told[0] == (
        "route 'm' is not as it is wanted: "
        "variants[1] (b): version 2 does not serve: its model has no such version"
    )
    assert len(told) == 2
    assert world.routes() == {"m": 1}


async def test_a_stop_reaches_workers_without_a_look_at_any_source(world):
    world.wanted = [candidate("m", 1), candidate("m", 2), candidate("slow", digest="endless")]
    world.divided = {"m": Wanted(HALVES)}
    world.never_ends("endless")  # a stop waits for nobody
    await world.planner.look()
    await world.planner.apply("m")
    looks, loaded = len(world.looked), world.held()
    world.divided = {"m": Wanted(HALVES, Stop(2, "b", "somebody", "", 1.0))}
    await world.planner.divide()
    (route,) = world.published[-1].routes
    assert (route.version, route.split) == (2, Split((Variant("b", 2, 1.0),)))
    assert (len(world.looked), world.held()) == (looks, loaded)
    world.end_trial("endless")


@pytest.mark.parametrize(
    ("wanted", "version", "variants"),
    [
        pytest.param(Wanted(None, Stop(2, "b", "somebody", "", 1.0)), 2, {"b": 2}, id="stop"),
        pytest.param(Wanted(pulled={2: Pull(2, "b", "", 1.0, {})}), 1, {"a": 1}, id="pull"),
    ],
)
async def test_a_control_process_that_cannot_look_takes_out_what_is_stopped_or_pulled(
    world, wanted, version, variants
):
    world.wanted = [candidate("m", 1), candidate("m", 2), candidate("n", 1)]
    world.divided = {"m": Wanted(HALVES)}
    await world.planner.apply()
    before = world.published[-1]
    world.planner = world.control(Memory(before))
    world.looked.clear()
    world.lagging = True
    dividing = asyncio.create_task(world.planner.divide())
    await asyncio.sleep(0)
    assert world.published[-1] is before  # nothing is taken out where nothing is
    world.at_hand = {"m": wanted}
    world.planner.divide_soon()
    world.lagging = False
    world.hear()
    async with asyncio.timeout(60):
        await dividing
    route, other = world.published[-1].routes
    assert (route.version, {one.name: one.version for one in route.split.variants}) == (
        version,
        variants,
    )
    assert (other, world.published[-1].held) == (before.routes[1], before.held)
    assert world.looked == []


async def test_who_waits_for_a_model_hears_its_own_verdict(world):
    world.never_ends("endless")
    world.wanted = [candidate("slow", digest="endless"), candidate("bad", digest="corrupt")]
    world.bad_trials = {"corrupt": "no"}
    absent = await world.planner.apply("bad")
    assert Absent("bad", 1, "UNAVAILABLE", "no") in absent
    world.end_trial("endless")


async def test_a_model_that_workers_take_long_to_load_holds_up_nobody_else(world):
    world.slow = {"big"}
    world.wanted = [candidate("slow", digest="big"), candidate("m")]
    await world.planner.apply("m")
    assert (world.routes(), world.states()) == ({"m": 1}, {"slow": "LOADING"})
    world.slow.clear()
    world.hear()
    await world.planner.apply()
    assert world.routes() == {"m": 1, "slow": 1}


async def test_what_a_worker_takes_too_long_to_load_is_refused_and_its_old_content_goes_on(world):
    world.planner = world.control(deadline_s=0.1)
    world.wanted = [candidate("m", digest="old")]
    await world.planner.apply()
    world.slow = {"hangs"}
    world.wanted = [candidate("m", digest="hangs")]
    (absent,) = await world.planner.apply()
    assert absent.reason == "a worker has not loaded it within 0.1 s"
    assert [held.digest for held in world.published[-1].held] == ["old"]
    assert world.routes() == {"m": 1}


async def test_a_worker_that_says_nothing_holds_a_change_up_no_longer_than_the_deadline(world):
    world.planner = world.control(deadline_s=0.05)
    world.lagging = True
    world.wanted = [candidate("m")]
    await world.planner.apply()
    assert world.routes() == {"m": 1}


async def test_a_trial_that_fails_of_itself_refuses_the_model(world):
    async def fails(held) -> dict[str, object]:
        raise OSError("no descriptor")

    world.trial = fails
    world.planner = world.control()
    world.wanted = [candidate("m")]
    (absent,) = await world.planner.apply()
    assert absent.reason == "it was not tried out: OSError"


async def test_a_refusal_by_one_worker_of_what_others_serve_takes_nothing_away(world):
    world.wanted = [candidate("m", digest="d")]
    await world.planner.apply()
    world.bad_loads = {"d": "not enough memory"}
    world.hear()
    await world.planner.apply()
    assert (world.routes(), world.published[-1].absent) == ({"m": 1}, ())


# ---- the audit ---------------------------------------------------------------------------------


def noted(world: World) -> list[tuple[str, str]]:
    return [(action, subject) for action, subject, _, _ in world.noted]


async def test_what_serves_is_written_down_where_it_changed_and_only_there(world):
    world.wanted = [candidate("m", 1), candidate("n", 1)]
    await world.planner.apply()
    world.wanted = [candidate("m", 2), candidate("n", 1)]
    await world.planner.apply()
    await world.planner.apply()
    (_, _, _, first), (action, _, before, after) = world.noted
    assert (action, list(first["models"])) == ("serve", ["m", "n"])
    assert (list(before["models"]), list(after["models"])) == (["m"], ["m"])
    assert (before["models"]["m"]["default"], after["models"]["m"]["default"]) == (1, 2)


async def test_a_long_list_of_models_is_counted_and_not_written_down(world):
    world.wanted = [candidate(f"m{number:03}") for number in range(150)]
    await world.planner.apply()
    ((_, _, _, after),) = world.noted
    assert (len(after["models"]), after["not_listed"]) == (100, 50)


async def test_a_refusal_is_written_down_once_with_its_reason(world):
    world.wanted = [candidate("bad", digest="corrupt"), candidate("late", 2, digest="heavy")]
    world.bad_trials, world.bad_loads = {"corrupt": "no"}, {"heavy": "out of memory"}
    await world.planner.apply()
    await world.planner.apply()
    found = {subject.split("/")[0]: after for action, subject, _, after in world.noted}
    assert [action for action, _ in noted(world)] == ["refuse", "refuse"]
    assert found == {
        "bad": {"by": "trial", "reason": "no"},
        "late": {"by": "workers", "reason": "out of memory"},
    }


async def test_blame_and_quarantine_are_written_down(world):
    world.wanted = [candidate("m", 1)]
    await world.planner.apply()
    held = world.published[-1].held[0]
    for _ in range(2):
        world.planner.crashed([held.block])
    await world.planner.apply()
    assert noted(world)[1:] == [
        ("blame crash", held.id),
        ("blame crash", held.id),
        ("quarantine", held.id),
        ("serve", "plan 4"),
    ]
    assert world.noted[-1][3]["models"] == {}


async def test_whoever_speaks_for_one_model_has_its_sources_looked_at_alone(world):
    await world.planner.apply("m", alone=True)  # of nothing that was found before
    await world.planner.apply("m", alone=True)
    await world.planner.apply("m")
    assert world.looked == [None, "m", None]


async def test_what_waits_for_its_trial_keeps_the_blocks_that_its_values_will_go_into(world):
    """They were freed after ten seconds, and named by the plan that came then."""
    world.never_ends("endless")
    world.bad_trials["corrupt"] = "no model"
    world.wanted = [
        candidate("m", 1),
        candidate("slow", 2, digest="endless"),
        candidate("bad", 3, digest="corrupt"),
    ]
    await world.planner.apply("m")
    await world.until(lambda: "bad" in world.states() and world.watched == {8, 16})
    world.end_trial("endless")
    await world.planner.apply()
    await world.until(lambda: world.routes() == {"m": 1, "slow": 2} and world.watched == {8, 16})


async def test_what_is_counted_because_of_how_requests_are_divided_is_found_anew(world):
    more = Watched("other", "/other.json", 512, common=True)

    def place(plan: Plan) -> Plan:
        if len(plan.watched) < 2:
            return plan
        watched = {held_id: (*some, more) for held_id, some in plan.watched.items()}
        return replace(plan, watched=watched)

    world.place = place
    world.wanted = [candidate("m", 1), candidate("m", 2)]
    await world.planner.apply()
    own = {
        one.id: Watched("d", "/profile.json", 8 * one.version) for one in world.published[-1].held
    }
    assert world.published[-1].watched == {name: (one, more) for name, one in own.items()}
    # One leaves, and is counted as before until it has; then nothing more is counted.
    world.wanted = [candidate("m", 2)]
    await world.planner.apply()
    assert all(len(some) <= 2 for plan in world.published for some in plan.watched.values())
    assert list(world.published[-1].watched.values()) == [
        (one,) for name, one in own.items() if "/2/" in name
    ]
