"""Control's side of keyed tables: every worker gets the whole once, then what changes.

Knows what waits for each worker. Knows nothing of what rows mean. Lives on control's event loop.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import tables

# A full link empties as soon as its worker reads.
RESEND_S = 0.05
# Writing one part takes about a millisecond: control answers others in between.
MESSAGES_A_TURN = 8
# What waits for a worker that does not read; one that is further behind starts anew.
MAX_WAITING = 1000


@dataclass(slots=True)
class _Table:
    version: int
    rows: dict[str, Any]


class Tables:
    """All tables, and what of them each worker still has to be sent."""

    def __init__(self, send: Callable[[int, dict[str, Any]], bool], slots: int) -> None:
        """`send` gives one worker a message, or says that its link is full."""
        self._send = send
        self._tables: dict[str, _Table] = {}
        self._waiting: list[collections.deque[dict[str, Any]]] = [
            collections.deque() for _ in range(slots)
        ]
        self._pumping = [False] * slots
        self._loop = asyncio.get_running_loop()

    def publish(
        self,
        name: str,
        version: int,
        rows: Mapping[str, Any],
        dropped: Iterable[str] = (),
    ) -> None:
        """Makes a table known, or changes one that is.

        A worker that followed an earlier control process may be at this version already, so the
        first message only names it: who has another version asks for the whole.
        """
        table = self._tables.get(name)
        if table is None:
            self._tables[name] = _Table(version, dict(rows))
            message = tables.change(name, version, version, {}, ())
        else:
            message = tables.change(name, table.version, version, rows, dropped)
            table.version = version
            table.rows.update(rows)
            for key in message["drop"]:
                table.rows.pop(key, None)
        for slot, waiting in enumerate(self._waiting):
            if len(waiting) >= MAX_WAITING:
                self.greet(slot)
            else:
                waiting.append(message)
                self._start(slot)

    def greet(self, slot: int) -> None:
        """Sends a newborn worker everything."""
        self._waiting[slot].clear()
        for name in self._tables:
            self.send_whole(slot, name)

    def send_whole(self, slot: int, name: str) -> None:
        """Sends a worker a whole table."""
        table = self._tables.get(name)
        if table is not None:
            waiting = self._waiting[slot]
            kept = [message for message in waiting if message["name"] != name]
            waiting.clear()
            waiting.extend([*kept, *tables.whole(name, table.version, table.rows)])
            self._start(slot)

    def _start(self, slot: int) -> None:
        if not self._pumping[slot]:
            self._pumping[slot] = True
            self._pump(slot)

    def _pump(self, slot: int) -> None:
        waiting = self._waiting[slot]
        for _ in range(MESSAGES_A_TURN):
            if not waiting:
                self._pumping[slot] = False
                return
            if not self._send(slot, waiting[0]):
                self._loop.call_later(RESEND_S, self._pump, slot)
                return
            waiting.popleft()
        self._loop.call_soon(self._pump, slot)
