"""Follows the plan: loads what is new aside, moves the routes in one step, drains what is old.

Knows the order of a change inside one worker. Knows nothing of why it was decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from gateway.catalogue import Catalogue, Served
from gateway.channel import Channel
from gateway.errors import GatewayError
from gateway.plan import Held, Inbox, Plan
from gateway.tables import TableInbox

log = logging.getLogger("penstock.worker")

MAX_MESSAGES_A_TURN = 64


class Follower:
    """Lives on the worker's event loop; loading and closing happen on `pool`."""

    def __init__(
        self,
        channel: Channel,
        catalogue: Catalogue,
        load: Callable[[Held], Any],
        attach: Callable[[Held, Any], Served],
        release: Callable[[Served], None],
        routed: Callable[[Plan], None],
        hear: Callable[[Mapping[str, Any]], None],
        pool: Executor,
        tables: Sequence[TableInbox] = (),
    ) -> None:
        self._channel = channel
        self._catalogue = catalogue
        self._load = load
        self._attach = attach
        self._release = release
        self._routed = routed
        self._hear = hear
        self._pool = pool
        self._tables = {table.name: table for table in tables}
        self._inbox = Inbox()
        self._newest: Plan | None = None
        self._following: asyncio.Task[None] | None = None
        self._refused: dict[str, str] = {}
        self._loop = asyncio.get_running_loop()
        self._first = asyncio.Event()

    def start(self, epoch: int) -> None:
        """Asks for the newest plan and listens for more.

        What still waits on the link was meant for a predecessor: it is read and dropped.
        """
        while self._channel.receive() is not None:
            pass
        self._loop.add_reader(self._channel.fileno(), self._read)
        self._hello(epoch)

    def stop(self) -> None:
        """Follows no more plans."""
        self._loop.remove_reader(self._channel.fileno())
        if self._following is not None:
            self._following.cancel()

    async def complete(self) -> None:
        """Waits until one plan is wholly followed and every table is here."""
        await self._first.wait()

    def _hello(self, epoch: int) -> None:
        self._inbox = Inbox()
        if not self._channel.send({"type": "hello", "epoch": epoch}):
            self._loop.call_later(0.1, self._hello, epoch)
        self._epoch = epoch

    def _read(self) -> None:
        for _ in range(MAX_MESSAGES_A_TURN):
            message = self._channel.receive()
            if message is None:
                return
            if message["type"] == "plan":
                self._take(message)
            elif message["type"] == "table":
                self._take_table(message)
                return  # the rest in the next turn: a whole table is many messages
            else:
                self._hear(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        plan = self._inbox.take(message)
        if plan is None:
            self._hello(self._epoch)
            return
        # Plans coalesce: while one is being followed, only the newest of those that arrive is kept.
        self._newest = plan
        if self._following is None or self._following.done():
            self._following = self._loop.create_task(self._follow_newest())

    def _take_table(self, message: Mapping[str, Any]) -> None:
        table = self._tables.get(message["name"])
        if table is not None and not table.take(message):
            self._want(table.name)
        self._check_complete()

    def _want(self, table: str) -> None:
        if not self._channel.send({"type": "want", "table": table}):
            self._loop.call_later(0.1, self._want, table)

    def _check_complete(self) -> None:
        here = all(table.version is not None for table in self._tables.values())
        if here and self._catalogue.plan.number:
            self._first.set()

    async def _follow_newest(self) -> None:
        while self._newest is not None:
            plan, self._newest = self._newest, None
            try:
                await self._follow(plan)
            except Exception:
                log.exception("plan %d could not be followed", plan.number)

    async def _follow(self, plan: Plan) -> None:
        wanted = {held.id for held in plan.held}
        self._refused = {held: why for held, why in self._refused.items() if held in wanted}
        missing = [
            held
            for held in plan.held
            if held.id not in self._catalogue.by_id and held.id not in self._refused
        ]
        for held in missing:
            await self._hold(held)
        self._catalogue.follow(plan, self._refused)
        self._routed(plan)
        for held_id in [i for i in self._catalogue.by_id if i not in wanted]:
            self._release(self._catalogue.by_id.pop(held_id))
        self._ack(plan)
        self._check_complete()

    async def _hold(self, held: Held) -> None:
        try:
            loaded = await self._loop.run_in_executor(self._pool, self._load, held)
            self._catalogue.by_id[held.id] = self._attach(held, loaded)
        except GatewayError as error:
            self._refused[held.id] = str(error)
        except Exception as error:
            log.exception("model '%s' version %d", held.name, held.version)
            self._refused[held.id] = f"loading failed: {type(error).__name__}"

    def _ack(self, plan: Plan) -> None:
        message = {"type": "ack", "number": plan.number, "refused": self._refused}
        if not self._channel.send(message):
            self._loop.call_later(0.1, self._ack, plan)
