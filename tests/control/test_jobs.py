"""What control does aside goes on when it fails, and ends when control does."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.jobs import Jobs, until_next
from gateway.control.troubles import Troubles
from gateway.errors import StoreFailed

pytestmark = pytest.mark.anyio


@pytest.fixture
def jobs():
    return Jobs(Troubles())


async def test_closing_returns_when_all_have_ended_and_begins_nothing_more(jobs):
    ended, begun = [], asyncio.Event()

    async def long():
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # it takes a moment to leave
            ended.append("long")

    jobs.spawn(long())
    await begun.wait()
    await jobs.close()
    assert ended == ["long"]
    jobs.spawn(long())
    await jobs.close()
    assert ended == ["long"]


async def test_what_is_repeated_goes_on_until_it_is_closed(jobs):
    times: asyncio.Queue[int] = asyncio.Queue()

    async def count():
        times.put_nowait(1)

    jobs.repeat("counting", count, 0.0)
    for _ in range(3):
        await times.get()
    await jobs.close()
    assert times.empty()


@given(st.floats(0.0, 1e6), st.sampled_from([0.2, 1.0, 2.0, 10.0]))
def test_what_is_done_as_often_is_done_at_the_same_moments(now, pause_s):
    left_s = until_next(now, pause_s)
    assert 0.5 * pause_s <= left_s <= 1.5 * pause_s
    moment = (now + left_s) / pause_s
    assert moment == pytest.approx(round(moment), abs=1e-6)


def test_what_has_no_pause_is_done_again_at_once():
    assert until_next(7.3, 0.0) == 0.0


async def test_what_fails_is_told_once_and_once_more_when_it_is_over(jobs, caplog):
    async def fails():
        raise StoreFailed("the disk is full")

    async def goes_well():
        pass

    assert not await jobs.went_well("keys", fails())
    assert not await jobs.went_well("keys", fails())
    assert await jobs.went_well("keys", goes_well())
    assert [record.message for record in caplog.records] == [
        "the disk is full",
        "over: the disk is full",
    ]


async def test_a_change_that_fails_is_told_and_takes_nobody_along(jobs, caplog):
    async def fails():
        raise RuntimeError("nobody foresaw this")

    jobs.change(fails())
    while not caplog.records:  # noqa: ASYNC110 - it is told within a turn or two
        await asyncio.sleep(0)
    assert "a change failed; the last plan stands" in caplog.text
