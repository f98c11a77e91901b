"""What is asked of routes through the control port, while something else is asked of them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.config import Config
from gateway.control.memory import Memory
from gateway.control.pulls import Pulls
from gateway.control.route_documents import RouteWanted, StopWanted
from gateway.control.route_operations import operations
from gateway.control.routes import Routes
from gateway.control.store import Store
from tests.control.auditing import ANN
from tests.plans import held, plan

pytestmark = pytest.mark.anyio

ROUTE = RouteWanted.model_validate({"variants": [{"name": "a", "version": 1}]})


class World:
    """Versions 1 and 2 of `m` and `n`; what is wanted of them is loaded once `loaded` is set."""

    def __init__(self, store: Store) -> None:
        self.memory = Memory(plan(1, *(held(m, version) for m in "mn" for version in (1, 2))))
        self.loading, self.loaded = asyncio.Event(), asyncio.Event()
        self.divided = 0
        unwritten = self.memory.unwritten
        self.routes = Routes(store, Config, unwritten=unwritten)
        table = operations(
            self.routes,
            Pulls(store, unwritten=unwritten),
            self,
            lambda *_: "",
            lambda model, versions: None,
        )
        self.handlers = {row.handle.__name__: row.handle for row in table}

    async def apply(self, name: str | None = None, alone: bool = False) -> tuple[()]:
        self.loading.set()
        await self.loaded.wait()
        return ()

    async def divide(self) -> None:
        self.divided += 1

    def signatures(self, name: str) -> dict[int, Any]:
        return {}

    def knows(self, name: str) -> bool:
        return True

    def versions(self, name: str) -> set[int]:
        return {1, 2}

    def aliases(self, name: str) -> dict[str, int]:
        return {}

    async def ask(self, name: str, model: str, body: Any) -> Any:
        asked: Any = SimpleNamespace(path=SimpleNamespace(model=model), body=body, actor=ANN)
        return await self.handlers[name](asked)


@pytest.mark.parametrize("model", ["m", "n"])
async def test_a_stop_waits_for_nothing_that_is_being_loaded(tmp_path, model):
    with Store.open(tmp_path / "home") as store:
        world = World(store)
        setting = asyncio.create_task(world.ask("set_route", "n", ROUTE))
        await world.loading.wait()
        async with asyncio.timeout(60):
            told = await world.ask("stop_route", model, StopWanted(why="now"))
        assert (told["stopped"]["why"], world.divided, setting.done()) == ("now", 1, False)
        world.loaded.set()
        await setting
        assert world.routes.of(model).stop is not None


async def test_a_route_can_be_set_anew_while_what_it_named_first_hangs(tmp_path):
    with Store.open(tmp_path / "home") as store:
        world = World(store)
        first = asyncio.create_task(world.ask("set_route", "m", ROUTE))
        await world.loading.wait()
        later = RouteWanted.model_validate({"variants": [{"name": "b", "version": 2}]})
        world.loading.clear()
        second = asyncio.create_task(world.ask("set_route", "m", later))
        async with asyncio.timeout(60):
            await world.loading.wait()
        wanted = world.routes.of("m").route
        assert wanted is not None
        assert (wanted.variants, first.done()) == (later.variants, False)
        world.loaded.set()
        await asyncio.gather(first, second)


async def test_a_stop_that_no_disk_takes_is_in_force_and_its_answer_says_what_it_lacks(tmp_path):
    with Store.open(tmp_path / "home") as store:
        world = World(store)
    told = await world.ask("stop_route", "m", StopWanted(why="now"))
    assert (told["stopped"]["why"], world.divided) == ("now", 1)
    assert "it has been closed" in told["unwritten"]
