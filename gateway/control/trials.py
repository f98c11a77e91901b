"""Has models tried out by the supervisor, which alone forks, in processes that may die.

Knows the messages and how many trials run at once. Knows nothing of models or plans.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

from gateway.channel import Channel

DEADLINE_S = 300.0
PARALLEL = 2
RESEND_S = 0.1
# The supervisor ends a trial at its deadline and says so; this long it may take to.
SLACK_S = 10.0


class Trials:
    """Lives on control's event loop."""

    def __init__(self, channel: Channel, epoch: int) -> None:
        """Speaks over `channel`; `epoch` tells reports apart that a predecessor asked for."""
        self._channel = channel
        self._numbers = itertools.count((epoch << 32) + 1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._slots = asyncio.Semaphore(PARALLEL)

    async def try_out(self, held: Mapping[str, Any]) -> dict[str, Any]:
        """The report on a deployment: `ok`, and a `reason` where it is not. Never raises."""
        async with self._slots:
            number = next(self._numbers)
            report: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._waiting[number] = report
            try:
                self._ask(number, held)
                return await asyncio.wait_for(report, DEADLINE_S + SLACK_S)
            except TimeoutError:
                return {"ok": False, "reason": "nobody reported on its trial"}
            finally:
                del self._waiting[number]

    def hear(self, message: dict[str, Any]) -> None:
        """A report."""
        waiting = self._waiting.get(message["id"])
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def _ask(self, number: int, held: Mapping[str, Any]) -> None:
        message = {"type": "trial", "id": number, "held": dict(held), "deadline_s": DEADLINE_S}
        if number in self._waiting and not self._channel.send(message):
            asyncio.get_running_loop().call_later(RESEND_S, self._ask, number, held)
