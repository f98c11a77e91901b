"""Who may be retired: what nothing names and nobody calls; and what becomes of the rest."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.control.memory import Memory
from gateway.control.retirement_documents import RetirementWanted
from gateway.control.retirement_operations import operations
from gateway.control.retirements import Retirements
from gateway.control.store import Store
from gateway.control.version_use import VersionUse
from gateway.errors import Conflict, NotFound, VersionNotFound
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.plan import Absent
from tests.control.auditing import ANN
from tests.plans import held, plan

pytestmark = pytest.mark.anyio


class World:
    """Versions 1 to 4 of `m`: 3 answers for all, `next` is 4, and the route names 2."""

    def __init__(self, store: Store, arena: Arena) -> None:
        self.retirements = Retirements(store)
        self.arena = arena
        serving = [held("m", version) for version in (1, 2, 3)]
        self.memory = Memory(plan(1, *serving))
        self.absent: tuple[Absent, ...] = ()
        self.applied: list[str | None] = []
        self.now = 1_000_000_000.0
        use = VersionUse(arena, store, None, lambda: self.now)
        table = operations(self.retirements, use, self, self.routed, lambda m, v: {"kept": v})
        self.handlers = {row.handle.__name__: row.handle for row in table}

    async def apply(self, name: str | None = None, alone: bool = False) -> tuple[Absent, ...]:
        self.applied.append(name)
        return self.absent

    async def divide(self) -> None:
        raise AssertionError("nothing is divided anew")

    def signatures(self, name: str) -> dict[int, Any]:
        return {}

    def knows(self, name: str) -> bool:
        return name == "m"

    def versions(self, name: str) -> set[int]:
        return {1, 2, 3, 4}

    def aliases(self, name: str) -> dict[str, int]:
        return {"next": 4}

    async def routed(self, name: str) -> frozenset[int]:
        return frozenset({2})

    def called(self, version: int, requests: int) -> None:
        block = self.arena.allocate(layout.MODEL, layout.model_key("m", version))
        self.arena.slot(block, 0)[layout.NAMED] += requests

    def routed_to(self, version: int, requests: int) -> None:
        block = self.arena.allocate(layout.MODEL, layout.model_key("m", version))
        self.arena.slot(block, 0)[layout.OK] += requests

    async def ask(self, name: str, version: int, days: int = 7, **body: Any) -> Any:
        path = SimpleNamespace(model="m", version=version)
        asked: Any = SimpleNamespace(
            path=path,
            query=SimpleNamespace(days=days),
            body=RetirementWanted(days=days, **body),
            actor=ANN,
        )
        return await self.handlers[name](asked)


@pytest.fixture
def world(tmp_path):
    arena = Arena.create(1)
    with Store.open(tmp_path / "home") as store:
        yield World(store, arena)
    arena.close()


async def test_what_nothing_names_and_nobody_calls_leaves_for_what_answers_now(world):
    told = await world.ask("retire_version", 1, why="old")
    assert (told["version"], told["successor"], told["why"]) == (1, 3, "old")
    assert told["record"] == {"kept": 1, "callers": [], "forced": False}
    assert world.applied == ["m"]


@pytest.mark.parametrize(
    ("version", "why"),
    [
        pytest.param(4, "alias 'next' names it", id="alias"),
        pytest.param(2, "its model's route names it", id="route"),
        pytest.param(3, "it answers requests that name no version", id="default"),
    ],
)
async def test_what_clients_are_led_to_cannot_be_retired_not_even_by_force(world, version, why):
    with pytest.raises(Conflict, match=why):
        await world.ask("retire_version", version, force=True)
    assert world.retirements.all() == ()


async def test_the_only_version_may_leave(world):
    world.memory = Memory(plan(1, held("m", 1)))
    assert (await world.ask("retire_version", 1))["successor"] is None


async def test_who_is_still_called_stays_unless_it_is_forced(world):
    world.called(1, 5)
    with pytest.raises(Conflict, match=r"called within 7 days by clients .*: 5 requests"):
        await world.ask("retire_version", 1)
    assert [one["requests"] for one in (await world.ask("version_callers", 1))["callers"]] == [5]
    told = await world.ask("retire_version", 1, force=True)
    assert told["record"]["forced"] is True
    assert told["record"]["callers"][0]["requests"] == 5


async def test_who_named_the_model_alone_is_nobody_who_would_miss_a_version(world):
    world.routed_to(1, 5)
    assert (await world.ask("version_callers", 1))["callers"] == []
    assert (await world.ask("retire_version", 1))["record"]["forced"] is False


async def test_only_calls_of_as_many_days_as_are_asked_for_keep_it(world):
    world.called(1, 5)
    assert (await world.ask("version_callers", 1))["callers"]
    world.now += 9 * 86_400.0
    with pytest.raises(Conflict, match="called within 30 days"):
        await world.ask("retire_version", 1, days=30)
    assert (await world.ask("retire_version", 1, days=7))["record"]["forced"] is False


async def test_a_successor_has_to_be_another_version_that_there_is(world):
    with pytest.raises(VersionNotFound, match="it has: 1, 2, 3, 4"):
        await world.ask("retire_version", 1, successor=9)
    with pytest.raises(Conflict, match="its own successor"):
        await world.ask("retire_version", 1, successor=1)
    with pytest.raises(VersionNotFound):
        await world.ask("retire_version", 9)


async def test_who_is_brought_back_is_told_what_became_of_it(world):
    with pytest.raises(NotFound):
        await world.ask("unretire_version", 1)
    await world.ask("retire_version", 1)
    world.absent = (Absent("m", 1, "UNAVAILABLE", "registered"),)
    told = await world.ask("unretire_version", 1)
    assert (told["state"], told["reason"]) == ("UNAVAILABLE", "registered")
    assert world.retirements.all() == ()
