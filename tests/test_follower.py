"""A worker follows the newest plan: loads aside, moves its routes in one step, then lets go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.catalogue import Catalogue, Served
from gateway.channel import pair
from gateway.errors import ModelRefused
from gateway.follower import Follower
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
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        asyncio.get_running_loop().add_reader(self.control.fileno(), self.listen)
        self.refuse: dict[str, str] = {}
        self.go = threading.Event()
        self.go.set()
        self.pool = ThreadPoolExecutor(1)
        self.follower = Follower(
            self.worker,
            self.catalogue,
            self.load,
            lambda model, loaded: served(model),
            self.release,
            self.routed,
            self.heard.put_nowait,
            self.pool,
            tables,
        )

    def listen(self) -> None:
        while (message := self.control.receive()) is not None:
            self.said.put_nowait(message)

    def load(self, model: Held) -> None:
        assert self.go.wait(10)
        self.events.append(f"load {model.name}")
        if model.name in self.refuse:
            raise ModelRefused(self.refuse[model.name])

    def release(self, gone: Served) -> None:
        self.events.append(f"release {gone.held.name}")

    def routed(self, newest: Plan) -> None:
        self.events.append(f"route {newest.number}")

    def send(self, newest: Plan) -> None:
        assert self.control.send(self.outbox.message(newest))

    def send_table(self, rows: dict[str, Any]) -> None:
        for message in whole("keys", 1, rows):
            assert self.control.send(message)

    async def close(self) -> None:
        self.go.set()
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
    await made.close()


async def test_new_models_are_loaded_before_routes_move_and_old_ones_go_after(desk):
    desk.follower.start(1)
    assert (await desk.next("hello"))["epoch"] == 1
    desk.send(plan(1, held("a")))
    await desk.next("ack")
    desk.send(plan(2, held("b")))
    assert (await desk.next("ack")) == {"type": "ack", "number": 2, "refused": {}}
    assert desk.events == ["load a", "route 1", "load b", "route 2", "release a"]


async def test_what_waited_for_a_predecessor_is_dropped(desk):
    desk.send(plan(1, held("a")))
    desk.control.send({"type": "verdict", "ticket": 1})
    desk.follower.start(2)
    await desk.next("hello")
    await asyncio.sleep(0)
    assert (desk.heard.qsize(), desk.events) == (0, [])


async def test_plans_coalesce_while_one_is_being_followed(desk):
    desk.follower.start(1)
    await desk.next("hello")
    desk.go.clear()
    desk.send(plan(1, held("a")))
    await asyncio.sleep(0.01)
    for number, name in enumerate("bcd", 2):
        desk.send(plan(number, held(name)))
    await asyncio.sleep(0.01)
    desk.go.set()
    acked = [(await desk.next("ack"))["number"] for _ in range(2)]
    assert acked == [1, 4]
    assert desk.events == ["load a", "route 1", "load d", "route 4", "release a"]


async def test_a_model_that_cannot_be_loaded_is_refused_with_the_reason_and_the_rest_is_held(desk):
    desk.refuse = {"bad": "corrupt"}
    desk.follower.start(1)
    await desk.next("hello")
    bad, good = held("bad"), held("good")
    desk.send(plan(1, bad, good))
    assert (await desk.next("ack"))["refused"] == {bad.id: "corrupt"}
    assert list(desk.catalogue.by_id) == [good.id]
    # It is not tried again with every plan.
    desk.send(plan(2, bad, good))
    await desk.next("ack")
    assert desk.events.count("load bad") == 1


async def test_a_follower_that_lacks_a_part_asks_for_all(desk):
    desk.follower.start(1)
    await desk.next("hello")
    desk.outbox.message(plan(1, held("a")))  # lost on the way
    desk.send(plan(2, held("a"), held("b")))
    await desk.next("hello")
    desk.outbox.forget()
    desk.send(plan(2, held("a"), held("b")))
    assert (await desk.next("ack"))["number"] == 2


async def test_the_first_plan_is_waited_for(desk):
    desk.follower.start(1)
    first = asyncio.ensure_future(desk.follower.complete())
    await asyncio.sleep(0.01)
    assert not first.done()
    desk.send(plan(1, held("a")))
    await asyncio.wait_for(first, 5)
    assert desk.events == ["load a", "route 1"]


@pytest.mark.parametrize("table_first", [True, False])
async def test_every_table_is_waited_for_whichever_comes_first(table_first):
    rows: dict[str, int] = {}
    desk = Desk([TableInbox("keys", rows.update, lambda changed, _: rows.update(changed))])
    desk.follower.start(1)
    await desk.next("hello")
    complete = asyncio.ensure_future(desk.follower.complete())
    steps = [lambda: desk.send(plan(1, held("a"))), lambda: desk.send_table({"k": 1})]
    for step in reversed(steps) if table_first else steps:
        await asyncio.sleep(0.01)
        assert not complete.done()
        step()
    await asyncio.wait_for(complete, 5)
    assert rows == {"k": 1}
    await desk.close()


async def test_who_lacks_a_table_asks_for_it():
    desk = Desk([TableInbox("keys", lambda rows: None, lambda rows, dropped: None)])
    desk.follower.start(1)
    await desk.next("hello")
    desk.control.send(change("others", 4, 4, {}, []))
    desk.control.send(change("keys", 4, 4, {}, []))
    assert (await desk.next("want"))["table"] == "keys"
    await desk.close()


async def test_other_messages_are_passed_on(desk):
    desk.follower.start(1)
    await desk.next("hello")
    desk.control.send({"type": "verdict", "ticket": 7})
    desk.control.send({"type": "control"})
    heard = [await asyncio.wait_for(desk.heard.get(), 5) for _ in range(2)]
    assert [message["type"] for message in heard] == ["verdict", "control"]
