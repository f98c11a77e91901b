"""A worker follows the newest plan: loads aside, moves its routes in one step, then lets go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.catalogue import AnyServed, Catalogue
from gateway.channel import pair
from gateway.errors import ModelRefused
from gateway.follower import PARALLEL, Follower
from gateway.plan import Held, Outbox, Plan
from gateway.tables import TableInbox, change, whole
from tests.plans import held, plan, served

pytestmark = pytest.mark.anyio


class Desk:
    """Control's end of the link, and a worker whose loading the test controls."""

    def __init__(self, tables: Sequence[TableInbox] = ()) -> None:
        self.control, self.worker = pair()
        self.outbox = Outbox()
        self.catalogue = Catalogue()
        self.events: list[str] = []
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.control.fileno(), self.listen)
        self.refuse: dict[str, str] = {}
        self.go: dict[str, threading.Event] = {}
        self.pool = ThreadPoolExecutor(4)
        self.follower = Follower(
            self.worker,
            self.catalogue,
            self.load,
            lambda model, loaded: served(model),
            lambda loaded: self.events.append("discard"),
            self.release,
            self.routed,
            self.heard.put_nowait,
            self.pool,
            tables=tables,
            retry_s=0.01,
            patience_s=0.2,
        )

    def listen(self) -> None:
        while (message := self.control.receive()) is not None:
            self.said.put_nowait(message)

    def load(self, model: Held) -> None:
        self.loop.call_soon_threadsafe(self.begun.put_nowait, model.name)
        if model.name in self.go:
            assert self.go[model.name].wait(10)
        self.events.append(f"load {model.name}")
        if model.name in self.refuse:
            raise ModelRefused(self.refuse[model.name])

    def release(self, gone: AnyServed) -> None:
        self.events.append(f"release {gone.held.name}")

    def routed(self, newest: Plan) -> None:
        self.events.append(f"route {newest.number}")

    def hold_up(self, *names: str) -> None:
        """Loading these takes until their event is set."""
        self.go |= {name: threading.Event() for name in names}

    def send(self, newest: Plan) -> None:
        assert self.control.send(self.outbox.message(newest))

    def send_table(self, rows: dict[str, Any]) -> None:
        for message in whole("keys", 1, rows):
            assert self.control.send(message)

    async def begins(self) -> str:
        """The next model that a thread begins to load."""
        return await asyncio.wait_for(self.begun.get(), 5)

    async def acked(self, number: int) -> dict[str, Any]:
        """The first word that this plan is followed and nothing is being loaded."""
        while True:
            told = await self.next("ack")
            if told["number"] == number and not told["loading"]:
                return told

    def close(self) -> None:
        for going in self.go.values():
            going.set()
        self.follower.stop()
        self.pool.shutdown()
        asyncio.get_running_loop().remove_reader(self.control.fileno())
        self.control.close()
        self.worker.close()

    async def next(self, kind: str) -> dict[str, Any]:
        """The next message of the worker, which must be of this kind."""
        message = await asyncio.wait_for(self.said.get(), 5)
        assert message["type"] == kind, message
        return message


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    yield made
    made.close()


async def test_new_models_are_loaded_beside_the_old_and_old_ones_go_once_routes_have_moved(desk):
    desk.follower.start(1)
    assert (await desk.next("hello"))["epoch"] == 1
    desk.send(plan(1, held("a")))
    await desk.acked(1)
    both = plan(2, held("a"), held("b"))
    desk.send(Plan(2, both.held, plan(1, held("a")).routes))
    await desk.acked(2)
    assert [name for name, _, _ in desk.catalogue.served()] == ["a"]
    desk.events.clear()
    desk.send(plan(3, held("b")))
    assert await desk.acked(3) == {"type": "ack", "number": 3, "loading": [], "refused": {}}
    assert desk.events == ["route 3", "release a"]


async def test_what_waited_for_a_predecessor_is_dropped(desk):
    desk.send(plan(1, held("a")))
    desk.control.send({"type": "verdict", "ticket": 1})
    desk.follower.start(2)
    await desk.next("hello")
    await asyncio.sleep(0)
    assert (desk.heard.qsize(), desk.events) == (0, [])


async def test_a_plan_is_followed_at_once_and_says_what_is_still_being_loaded(desk):
    desk.hold_up("slow")
    desk.follower.start(1)
    await desk.next("hello")
    slow, quick = held("slow"), held("quick")
    desk.send(plan(1, slow, quick))
    assert set((await desk.next("ack"))["loading"]) == {slow.id, quick.id}
    assert (await desk.next("ack"))["loading"] == [slow.id]
    desk.send(Plan(2, (slow,)))
    told = await desk.next("ack")
    assert (told["number"], told["loading"]) == (2, [slow.id])
    assert desk.events[-2:] == ["route 2", "release quick"]
    desk.go["slow"].set()
    assert await desk.acked(2)


async def test_what_is_no_longer_wanted_when_it_is_loaded_is_let_go(desk):
    desk.hold_up("a")
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(plan(1, held("a")))
    await desk.next("ack")
    desk.send(plan(2))
    await desk.acked(2)
    desk.go["a"].set()
    await desk.acked(2)
    assert desk.events[-2:] == ["load a", "discard"]
    assert desk.catalogue.by_id == {}


async def test_only_so_many_are_loaded_at_once_and_what_is_routed_goes_first(desk):
    names = [f"m{n}" for n in range(PARALLEL + 2)]
    desk.hold_up(*names)
    models = [held(name) for name in names]
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(Plan(1, tuple(models), plan(0, models[-1]).routes))
    assert len((await desk.next("ack"))["loading"]) == len(names)
    assert {await desk.begins() for _ in range(PARALLEL)} == {names[-1], names[0]}
    for done, next_one in (names[-1], names[1]), (names[0], names[2]):
        assert desk.begun.empty()
        desk.go[done].set()
        assert held(done).id not in (await desk.next("ack"))["loading"]
        assert await desk.begins() == next_one
    await asyncio.wait_for(desk.follower.complete(60), 5)
    for going in desk.go.values():
        going.set()
    await desk.acked(1)


async def test_a_model_that_cannot_be_loaded_is_refused_with_the_reason_and_the_rest_is_held(desk):
    desk.refuse = {"bad": "corrupt"}
    desk.follower.start(1)
    await desk.next("hello")
    bad, good = held("bad"), held("good")
    desk.send(plan(1, bad, good))
    assert (await desk.acked(1))["refused"][bad.id][0] == "corrupt"
    assert list(desk.catalogue.by_id) == [good.id]


async def test_what_was_refused_is_tried_again_until_it_loads(desk):
    desk.refuse = {"m": "not enough memory"}
    desk.follower.start(1)
    await desk.next("hello")
    model = held("m")
    desk.send(plan(1, model))
    tries = 0
    while tries < 3:
        refused = (await desk.next("ack"))["refused"]
        tries = refused[model.id][1] if refused else 0
    assert list(desk.catalogue.by_id) == []
    desk.refuse = {}
    while (await desk.acked(1))["refused"]:
        pass
    assert list(desk.catalogue.by_id) == [model.id]


async def test_what_was_refused_is_not_tried_again_once_it_is_no_longer_wanted(desk):
    desk.refuse = {"m": "corrupt"}
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(plan(1, held("m")))
    await desk.acked(1)
    desk.send(plan(2))
    assert (await desk.acked(2))["refused"] == {}
    desk.events.clear()
    await asyncio.sleep(0.1)
    assert desk.events == []


async def test_a_follower_that_lacks_a_part_asks_for_all(desk):
    desk.follower.start(1)
    await desk.next("hello")
    desk.outbox.message(plan(1, held("a")))  # lost on the way
    desk.send(plan(2, held("a"), held("b")))
    await desk.next("hello")
    desk.outbox.forget()
    desk.send(plan(2, held("a"), held("b")))
    await desk.acked(2)


async def test_the_first_plan_is_waited_for(desk):
    desk.follower.start(1)
    first = asyncio.ensure_future(desk.follower.complete(5))
    await asyncio.sleep(0.01)
    assert not first.done()
    desk.send(plan(1, held("a")))
    await asyncio.wait_for(first, 5)
    assert "load a" in desk.events


async def test_a_model_that_hangs_while_it_is_loaded_is_not_waited_for_for_ever(desk):
    desk.hold_up("slow")
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(plan(1, held("slow"), held("quick")))
    await desk.follower.complete(0.05)
    assert [name for name, _, _ in desk.catalogue.served()] == ["quick"]
    desk.go["slow"].set()
    await desk.acked(1)
    assert [name for name, _, _ in desk.catalogue.served()] == ["quick", "slow"]


async def test_who_cannot_load_what_it_should_serve_waits_a_while_for_other_content(desk):
    desk.refuse = {"m": "overwritten"}
    desk.follower.start(1)
    await desk.next("hello")
    old, new = held("m"), held("n")
    desk.send(plan(1, old))
    first = asyncio.ensure_future(desk.follower.complete(5))
    assert old.id in (await desk.acked(1))["refused"]
    assert not first.done()
    desk.send(plan(2, new))
    await first
    assert [name for name, _, _ in desk.catalogue.served()] == ["n"]


async def test_patience_with_an_older_plan_opens_nobody_while_a_newer_one_still_loads(desk):
    desk.refuse = {"m": "overwritten"}
    desk.hold_up("n")
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(plan(1, held("m")))
    await desk.acked(1)
    desk.send(plan(2, held("n")))
    first = asyncio.ensure_future(desk.follower.complete(5))
    await asyncio.sleep(0.4)  # twice the patience
    assert not first.done()
    desk.go["n"].set()
    await asyncio.wait_for(first, 5)
    assert [name for name, _, _ in desk.catalogue.served()] == ["n"]


async def test_who_gets_no_other_content_opens_without(desk):
    desk.refuse = {"m": "overwritten"}
    desk.follower.start(1)
    await desk.next("hello")
    desk.send(plan(1, held("m")))
    await asyncio.wait_for(desk.follower.complete(60), 5)
    assert [entry.reason for entry in desk.catalogue.index()] == ["overwritten"]


@pytest.mark.parametrize("table_first", [True, False])
async def test_every_table_is_waited_for_whichever_comes_first(table_first):
    rows: dict[str, int] = {}
    desk = Desk([TableInbox("keys", rows.update, lambda changed, _: rows.update(changed))])
    desk.follower.start(1)
    await desk.next("hello")
    complete = asyncio.ensure_future(desk.follower.complete(5))
    steps = [lambda: desk.send(plan(1, held("a"))), lambda: desk.send_table({"k": 1})]
    for step in reversed(steps) if table_first else steps:
        await asyncio.sleep(0.01)
        assert not complete.done()
        step()
    await asyncio.wait_for(complete, 5)
    assert rows == {"k": 1}
    desk.close()


async def test_who_lacks_a_table_asks_for_it():
    desk = Desk([TableInbox("keys", lambda rows: None, lambda rows, dropped: None)])
    desk.follower.start(1)
    await desk.next("hello")
    desk.control.send(change("others", 4, 4, {}, []))
    desk.control.send(change("keys", 4, 4, {}, []))
    assert (await desk.next("want"))["table"] == "keys"
    desk.close()


async def test_other_messages_are_passed_on(desk):
    desk.follower.start(1)
    await desk.next("hello")
    desk.control.send({"type": "verdict", "ticket": 7})
    desk.control.send({"type": "control"})
    heard = [await asyncio.wait_for(desk.heard.get(), 5) for _ in range(2)]
    assert [message["type"] for message in heard] == ["verdict", "control"]
