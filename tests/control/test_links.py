"""Control sends plans and knows who follows them, whoever dies in between."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import pytest

from gateway.channel import Channel, pair
from gateway.control.links import Links
from gateway.plan import Inbox
from tests.plans import held, plan

pytestmark = pytest.mark.anyio


class Office:
    """Links to two workers, of which the test holds the other ends."""

    def __init__(self) -> None:
        self.ends = [pair(), pair()]
        self.mail: list[tuple[int, Any]] = []
        self.news: list[bool] = []
        self.links = Links(
            [ours for ours, _ in self.ends],
            lambda slot, message: self.mail.append((slot, message)),
            self.news.append,
        )

    def worker(self, slot: int) -> Channel:
        return self.ends[slot][1]

    async def says(self, slot: int, message: dict[str, Any]) -> None:
        """A worker sends a message, and control has heard it."""
        ours, theirs = self.ends[slot]
        assert theirs.send(message)
        async with asyncio.timeout(5):
            while select.select([ours], [], [], 0)[0]:  # noqa: ASYNC110 - control tells nobody
                await asyncio.sleep(0)

    def plans_at(self, slot: int) -> list[dict[str, Any]]:
        found = []
        while (message := self.worker(slot).receive()) is not None:
            if message["type"] == "plan":
                found.append(message)
        return found


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made = Office()
    yield made
    made.links.close()
    for ours, theirs in made.ends:
        ours.close()
        theirs.close()


def ack(number: int, loading: Sequence[str] = (), **refused: str) -> dict[str, Any]:
    told = {held: [reason, 1] for held, reason in refused.items()}
    return {"type": "ack", "number": number, "loading": loading, "refused": told}


async def test_a_new_control_says_that_it_is_new(office):
    assert [office.worker(slot).receive() for slot in (0, 1)] == [{"type": "control"}] * 2


async def test_a_plan_is_followed_when_all_follow_it_or_a_newer_one(office):
    office.links.publish(plan(2, held("a")))
    await office.says(0, ack(3))
    assert not office.links.followed(2)
    await office.says(1, ack(2))
    assert office.links.followed(2)


async def test_a_model_is_loading_until_no_worker_loads_it(office):
    for slot in (0, 1):
        await office.says(slot, ack(1, loading=["a", "b"]))
    await office.says(0, ack(1, loading=["b"]))
    assert [office.links.loading(held) for held in "ab"] == [True, True]
    await office.says(1, ack(1, loading=["b"]))
    assert [office.links.loading(held) for held in "ab"] == [False, True]


async def test_one_workers_refusal_is_known_and_told_when_it_is_new(office):
    await office.says(0, ack(1))
    await office.says(1, ack(1, a="corrupt"))
    await office.says(1, ack(1, a="corrupt"))
    assert [office.links.refusal(held) for held in "ab"] == ["corrupt", None]
    assert office.news == [False, True, False]


async def test_a_worker_that_was_born_again_gets_the_whole_plan_and_owes_a_new_ack(office):
    office.links.publish(plan(1, held("a")))
    office.plans_at(0)
    await office.says(0, ack(1, a="corrupt"))
    await office.says(0, {"type": "hello", "epoch": 2})
    (message,) = office.plans_at(0)
    assert Inbox().take(message) == plan(1, held("a"))
    assert (office.links.acked, office.links.refused[0]) == ((0, 0), {})


async def test_a_worker_that_says_hello_before_there_is_a_plan_gets_it_when_there_is(office):
    await office.says(0, {"type": "hello", "epoch": 1})
    assert office.plans_at(0) == []
    office.links.publish(plan(1, held("a")))
    assert len(office.plans_at(0)) == 1


async def test_a_full_link_gets_the_newest_plan_once_it_is_read(office):
    number = 0
    while office.ends[0][0].send({"type": "filler"}):
        pass
    for number in range(1, 4):
        office.links.publish(plan(number, held("a", digest=str(number))))
    assert office.plans_at(0) == []
    async with asyncio.timeout(5):
        await anyio.wait_readable(office.worker(0))
    (message,) = office.plans_at(0)
    assert Inbox().take(message) == plan(number, held("a", digest="3"))


async def test_what_is_neither_hello_nor_ack_is_mail(office):
    await office.says(1, {"type": "repository", "ticket": 1})
    assert office.mail == [(1, {"type": "repository", "ticket": 1})]


async def test_what_all_workers_are_told_reaches_one_whose_link_was_full(office):
    while office.links.tell(0, {"type": "noise"}):
        pass
    office.links.tell_all({"type": "news"})
    assert office.worker(1).receive()["type"] == "control"
    assert office.worker(1).receive() == {"type": "news"}
    async with asyncio.timeout(5):
        while (message := office.worker(0).receive()) != {"type": "news"}:
            if message is None:
                await asyncio.sleep(0.01)
