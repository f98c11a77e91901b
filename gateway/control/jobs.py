"""Runs control's tasks: what is done over and over, and what is done once aside.

Knows tasks, and that what fails is told of. Knows nothing of what they do. None goes on once it is
closed, beside rooms that are closed after it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from gateway.control.troubles import Troubles
from gateway.errors import GatewayError

log = logging.getLogger("penstock.control")

# What has failed is tried again no sooner.
RETRY_S = 2.0


class Jobs:
    """Lives on control's event loop."""

    def __init__(self, troubles: Troubles) -> None:
        """`troubles` is told of what fails again and again."""
        self._troubles = troubles
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Goes on with something aside."""
        if self._closing:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def repeat(self, who: str, work: Callable[[], Awaitable[object]], pause_s: float) -> None:
        """Does something at every interval, at once for the first time; see `until_next`.

        What fails is tried again a little later.
        """
        self.spawn(self._again_and_again(who, work, pause_s))

    def change(self, change: Coroutine[Any, Any, object]) -> None:
        """Changes something for nobody who waits; what fails is told in the log."""
        self.spawn(_told(change))

    async def went_well(self, who: str, work: Awaitable[object]) -> bool:
        """Does something now; where it fails that is told, once however often it does."""
        try:
            await work
        except Exception as error:
            self._troubles.met(who, error)
            return False
        self._troubles.over(who)
        return True

    async def close(self) -> None:
        """Ends all, and returns once they have ended."""
        self._closing = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _again_and_again(
        self, who: str, work: Callable[[], Awaitable[object]], pause_s: float
    ) -> None:
        time = asyncio.get_running_loop().time
        while True:
            well = await self.went_well(who, work())
            await asyncio.sleep(until_next(time(), pause_s if well else max(pause_s, RETRY_S)))


def until_next(now: float, pause_s: float) -> float:
    """Seconds until it is time again, from half a pause to one and a half.

    All that is done as often is done at the same moments: to be woken, and to find nothing of its
    own in the processor's caches, costs control more than most of what it does each second.
    """
    if pause_s <= 0.0:
        return 0.0
    left_s = pause_s - now % pause_s
    return left_s if left_s >= pause_s / 2 else left_s + pause_s


async def _told(change: Coroutine[Any, Any, object]) -> None:
    try:
        await change
    except GatewayError as error:
        log.error("%s", error)
    except Exception as error:
        log.error("a change failed; the last plan stands", exc_info=error)
