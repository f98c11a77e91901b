"""What is put off to the end of a turn of the event loop."""

from __future__ import annotations

import asyncio

import pytest

from gateway.llm.later import TurnEnd

pytestmark = pytest.mark.anyio


async def test_calls_are_made_in_their_order_at_the_end_of_the_turn():
    later, made = TurnEnd(asyncio.get_running_loop()), list[int]()
    later(made.append, 1)
    later(made.append, 2)
    assert made == []
    await asyncio.sleep(0)
    assert made == [1, 2]


async def test_what_a_call_puts_off_comes_after_all_others():
    later, made = TurnEnd(asyncio.get_running_loop()), list[int]()
    later(later, made.append, 2)
    later(made.append, 1)
    await asyncio.sleep(0)
    assert made == [1, 2]
    later(made.append, 3)
    await asyncio.sleep(0)
    assert made == [1, 2, 3]


async def test_one_that_fails_keeps_no_other_from_being_made(caplog):
    later, made = TurnEnd(asyncio.get_running_loop()), list[int]()
    later(lambda: 1 / 0)
    later(made.append, 1)
    await asyncio.sleep(0)
    assert made == [1]
    assert "put off" in caplog.text
