"""Who is pulled, and at what: counts of all workers, and crashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway import config
from gateway.control.failing import Failing
from gateway.control.splits import Pull, Wanted
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Plan, Route, Shadow, Split, Variant
from tests.plans import held

ROUTE = config.parse(
    "routes:\n"
    "  m:\n"
    "    variants: [{name: stable, version: 1, weight: 9}, {name: canary, version: 2}]\n"
    "    failing: {in_a_row: 4, share: 0.5, of: 10}\n"
).routes["m"]
SPLIT = Split((Variant("stable", 1, 9.0), Variant("canary", 2, 1.0)))


class World:
    """A server with two workers, a divided route `m` and a plain model `n`."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        blocks = {
            (name, version): arena.allocate(layout.MODEL, layout.model_key(name, version))
            for name, version in (("m", 1), ("m", 2), ("n", 1))
        }
        models = [
            replace(held(name, version), block=block) for (name, version), block in blocks.items()
        ]
        ids = {(one.name, one.version): one.id for one in models}
        self.blocks, self.ids = blocks, ids
        routes = (
            Route("m", 1, {1: ids["m", 1], 2: ids["m", 2]}, SPLIT),
            Route("n", 1, {1: ids["n", 1]}),
        )
        self.plan = Plan(1, tuple(models), routes)
        self.wanted = {"m": Wanted(ROUTE)}
        self.pulled: list[tuple] = []
        self.heard: list[tuple] = []
        self.copies = {("m", 2): (0, 0)}
        self.failing = Failing(
            arena,
            lambda: self.plan,
            lambda name: self.wanted.get(name, Wanted()),
            self.pull,
            lambda model, version: self.copies[model, version],
        )
        self.failing.listeners.append(
            lambda model, version, evidence: self.heard.append((model, version, evidence.kind))
        )

    def pull(self, model, version, variant, evidence):
        self.pulled.append((model, version, variant, evidence.kind))
        pull = Pull(version, variant, evidence.says, 1.0, evidence.plain())
        self.wanted[model] = replace(self.wanted[model], pulled={version: pull})

    def counts(self, name: str, version: int, ok: int = 0, failed: int = 0, worker: int = 0):
        slot = self.arena.slot(self.blocks[name, version], worker)
        slot[layout.OK] += ok
        slot[layout.FAILED] += failed

    def fails(self, name: str, version: int, times: int, worker: int = 0):
        """So many failures, each of which rings."""
        for _ in range(times):
            self.counts(name, version, failed=1, worker=worker)
            self.failing.rang([self.blocks[name, version]])


@pytest.fixture
def world():
    arena = Arena.create(2)
    yield World(arena)
    arena.close()


def test_a_variant_is_pulled_at_the_failure_that_is_one_too_many_of_all_workers(world):
    world.counts("m", 2, ok=50)
    world.fails("m", 2, 3, worker=0)
    assert world.pulled == []
    world.fails("m", 2, 1, worker=1)
    assert world.pulled == [("m", 2, "canary", "in_a_row")]


def test_it_is_pulled_once_and_listeners_hear_of_it_for_as_long_as_it_fails(world):
    world.fails("m", 2, 6)
    assert len(world.pulled) == 1
    assert world.heard == [("m", 2, "in_a_row")] * 3


def test_what_stands_for_the_route_is_never_pulled_but_told_of(world):
    world.fails("m", 1, 4)
    assert world.pulled == []
    assert world.heard == [("m", 1, "in_a_row")]


def test_a_model_without_a_route_has_the_defaults_and_nothing_to_be_pulled_from(world):
    world.fails("n", 1, 9)
    assert world.heard == []
    world.fails("n", 1, 1)
    assert (world.heard, world.pulled) == ([("n", 1, "in_a_row")], [])


def test_a_variant_is_left_alone_while_its_fallback_fails_as_badly(world):
    world.fails("m", 2, 1)
    for _ in range(20):
        world.counts("m", 1, failed=1)
        world.fails("m", 2, 1)
    assert world.pulled == []
    world.counts("m", 1, ok=50)
    world.fails("m", 2, 4)  # and now it alone does
    assert world.pulled == [("m", 2, "canary", "in_a_row")]


def test_a_crash_pulls_at_once_and_says_which_worker(world):
    world.failing.crashed({world.ids["m", 1], world.ids["m", 2]}, 1, "killed by SIGSEGV")
    assert world.pulled == [("m", 2, "canary", "crash")]
    assert world.heard == [("m", 1, "crash"), ("m", 2, "crash")]
    pull = world.wanted["m"].pulled[2]
    assert pull.why == "worker 1 crashed natively while it ran it (killed by SIGSEGV)"


def shadowed(world: World, *variants: Variant) -> None:
    """Version 2 of `m` runs copies of what others answer."""
    split = Split(variants or (Variant("stable", 1, 1.0),), shadows=(Shadow(2, 1.0),))
    route = replace(world.plan.routes[0], split=split)
    world.plan = replace(world.plan, routes=(route,))


def copies(world: World, ok: int, failed: int) -> None:
    """What a shadow came to until now, and a look at it."""
    world.copies["m", 2] = ok, failed
    world.failing.look_at_shadows()


def test_a_shadow_is_pulled_if_it_crashes_a_worker_and_not_for_what_its_own_callers_get(world):
    shadowed(world)
    world.fails("m", 2, 9)
    assert world.pulled == []
    world.failing.crashed({world.ids["m", 2]}, 0, "killed by SIGSEGV")
    assert world.pulled == [("m", 2, "a shadow", "crash")]


@pytest.mark.parametrize(
    ("looks", "kind"),
    [
        pytest.param([(5, 3), (5, 6)], "in_a_row", id="in-a-row"),
        pytest.param([(5, 1), (6, 2), (7, 3), (8, 4)], "", id="now-and-then"),
        pytest.param([(1, 2), (2, 4), (3, 6), (4, 8)], "share", id="most-of-the-time"),
    ],
)
def test_a_shadow_that_fails_its_copies_is_pulled_by_the_bounds_of_a_variant(world, looks, kind):
    shadowed(world)
    copies(world, 0, 0)
    for look in looks:
        copies(world, *look)
    assert world.pulled == ([("m", 2, "a shadow", kind)] if kind else [])
    assert [one[2] for one in world.heard] == ([kind] if kind else [])


def test_a_shadow_has_all_its_chances_again_when_it_is_put_back_or_counted_anew(world):
    shadowed(world)
    copies(world, 0, 0)
    copies(world, 0, 4)
    world.wanted["m"] = Wanted(ROUTE)
    world.failing.forget("m", [2])
    copies(world, 0, 7)
    copies(world, 0, 3)  # of the next server's arena
    assert len(world.pulled) == 1
    copies(world, 0, 4)
    assert len(world.pulled) == 2


def test_a_shadow_that_answers_requests_too_is_judged_by_those(world):
    shadowed(world, *SPLIT.variants)
    copies(world, 0, 0)
    copies(world, 0, 50)
    assert world.pulled == []


def test_a_route_may_forbid_it(world):
    off = ROUTE.model_copy(update={"failing": config.Failing(enabled=False)})
    world.wanted["m"] = Wanted(off)
    world.fails("m", 2, 50)
    world.failing.crashed({world.ids["m", 2]}, 1, "killed by SIGSEGV")
    shadowed(world)
    copies(world, 0, 0)
    copies(world, 0, 50)
    assert (world.pulled, world.heard) == ([], [])


def test_what_is_forgotten_has_all_its_chances_again(world):
    world.fails("m", 2, 4)
    world.wanted["m"] = Wanted(ROUTE)
    world.failing.forget("m", [2])
    world.fails("m", 2, 3)
    assert len(world.pulled) == 1
    world.fails("m", 2, 1)
    assert len(world.pulled) == 2


def test_a_version_that_left_meanwhile_concerns_nobody(world):
    block = world.blocks["m", 2]
    world.plan = Plan(2, (), ())
    world.failing.rang([block, 123])
    assert world.heard == []
