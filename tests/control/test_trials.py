"""A trial's report comes back to whoever asked for it, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from gateway.channel import Channel, pair
from gateway.control.trials import PARALLEL, Trials

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    control, supervisor = pair()
    yield control, supervisor
    control.close()
    supervisor.close()


async def asked(supervisor: Channel) -> list[dict[str, Any]]:
    """All that has been asked since, and at least one message."""
    async with asyncio.timeout(5):
        await anyio.wait_readable(supervisor)
    found = []
    while (message := supervisor.receive()) is not None:
        found.append(message)
    return found


async def test_the_report_is_the_supervisors(ends):
    control, supervisor = ends
    trials = Trials(control, epoch=1)
    waiting = asyncio.ensure_future(trials.try_out({"name": "m"}))
    (request,) = await asked(supervisor)
    assert (request["type"], request["held"]) == ("trial", {"name": "m"})
    trials.hear({"type": "trial", "id": request["id"], "ok": False, "reason": "no"})
    assert (await waiting)["reason"] == "no"


async def test_a_report_that_a_predecessor_asked_for_answers_nobody(ends):
    control, supervisor = ends
    before = asyncio.ensure_future(Trials(control, epoch=1).try_out({"name": "old"}))
    (stale,) = await asked(supervisor)
    before.cancel()
    trials = Trials(control, epoch=2)
    waiting = asyncio.ensure_future(trials.try_out({"name": "new"}))
    (request,) = await asked(supervisor)
    trials.hear({"type": "trial", "id": stale["id"], "ok": False, "reason": "of the old one"})
    trials.hear({"type": "trial", "id": request["id"], "ok": True})
    assert (await waiting)["ok"]


async def test_only_so_many_run_at_once(ends):
    control, supervisor = ends
    trials = Trials(control, epoch=1)
    waiting = [asyncio.ensure_future(trials.try_out({"name": str(n)})) for n in range(5)]
    seen = 0
    while seen < 5:
        requests = await asked(supervisor)
        assert len(requests) <= PARALLEL
        for request in requests:
            trials.hear({"type": "trial", "id": request["id"], "ok": True})
        seen += len(requests)
    assert all([(await one)["ok"] for one in waiting])


async def test_a_full_link_only_delays_it(ends):
    control, supervisor = ends
    while control.send({"type": "filler"}):
        pass
    trials = Trials(control, epoch=1)
    waiting = asyncio.ensure_future(trials.try_out({"name": "m"}))
    assert {message["type"] for message in await asked(supervisor)} == {"filler"}
    (request,) = await asked(supervisor)
    trials.hear({"type": "trial", "id": request["id"], "ok": True})
    assert (await waiting)["ok"]
