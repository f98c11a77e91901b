"""Follows the plan: loads what is new aside, moves the routes in one step, drains what is old.

Knows the order of a change inside one worker. Knows nothing of why it was decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any

from gateway.catalogue import Catalogue, Served
from gateway.channel import Channel
from gateway.errors import GatewayError
from gateway.plan import Held, Inbox, Plan

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
    ) -> None:
        self._channel = channel
        self._catalogue = catalogue
        self._load = load
        self._attach = attach
        self._release = release
        self._routed = routed
        self._hear = hear
        self._pool = pool
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

    async def first_plan(self) -> None:
        """Waits until one plan is wholly followed."""
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
        self._first.set()

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
