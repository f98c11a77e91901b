"""Follows the plan: loads what is new aside, moves the routes in one step, drains what is old.

Knows the order of a change inside one worker. Knows nothing of why it was decided.

A plan is followed the moment it arrives: its routes name only what every worker has loaded, but for
a worker that was born since. Each model is loaded by itself, so that a slow one holds up no other,
and control hears of each. One that cannot be loaded is tried again, ever later: what this process
lacked, memory say, may be there then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from gateway.catalogue import AnyServed, Catalogue
from gateway.channel import Channel
from gateway.errors import GatewayError
from gateway.plan import Held, Inbox, Plan
from gateway.tables import TableInbox

log = logging.getLogger("penstock.worker")

MAX_MESSAGES_A_TURN = 64
# Models loaded at once. One that hangs leaves room for the others; more would cost memory and take
# the processor from requests.
PARALLEL = 2
RETRY_S = 1.0
MAX_RETRY_S = 60.0
# A newborn worker that cannot load what it should serve gives control this long to come with other
# content before it opens without: clients who wait at its door are better off than refused.
PATIENCE_S = 2.0


@dataclass(slots=True)
class _Refusal:
    """Why a model could not be loaded here, how often it was tried, and when it will be again."""

    reason: str
    tries: int
    again: asyncio.TimerHandle


class Follower:
    """Lives on the worker's event loop; loading happens on `pool`."""

    def __init__(
        self,
        channel: Channel,
        catalogue: Catalogue,
        load: Callable[[Held], Any],
        attach: Callable[[Held, Any], AnyServed],
        discard: Callable[[Any], None],
        release: Callable[[AnyServed], None],
        routed: Callable[[Plan], None],
        hear: Callable[[Mapping[str, Any]], None],
        pool: Executor,
        tables: Sequence[TableInbox] = (),
        parallel: int = PARALLEL,
        retry_s: float = RETRY_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Takes its collaborators.

        Args:
            channel: control's other end.
            catalogue: what this worker serves; written here alone.
            load: loads a model; blocks, called on `pool`.
            attach: makes what was loaded ready to serve.
            discard: lets go of what was loaded and is no longer wanted.
            release: lets go of what has served.
            routed: hears of every plan followed and of every model that came to it.
            hear: takes messages that are no plans.
            pool: threads, more than `parallel`.
            tables: what comes beside the plan.
            parallel: models loaded at once.
            retry_s: pause before a refused model is tried again; doubles each time.
            patience_s: how long the first plan is waited for where something of it was refused.
        """
        # fixed at start
        self._channel = channel
        self._catalogue = catalogue
        self._load = load
        self._attach = attach
        self._discard = discard
        self._release = release
        self._routed = routed
        self._hear = hear
        self._pool = pool
        self._tables = {table.name: table for table in tables}
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(parallel)
        self._first = asyncio.Event()
        self._informed = asyncio.Event()
        self._check_tables()
        self._epoch = 0
        # until replaced
        self._inbox = Inbox()
        self._plan = Plan(0)
        self._patience: asyncio.TimerHandle | None = None  # once per plan: retries add nothing
        # per model
        self._wanted: dict[str, Held] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._refused: dict[str, _Refusal] = {}

    def start(self, epoch: int) -> None:
        """Asks for the newest plan and listens for more.

        What still waits on the link was meant for a predecessor: it is read and dropped.
        """
        while self._channel.receive() is not None:
            pass
        self._epoch = epoch
        self._loop.add_reader(self._channel.fileno(), self._read)
        self._hello()

    def stop(self) -> None:
        """Follows no more plans."""
        self._loop.remove_reader(self._channel.fileno())
        self._end_patience()
        for refusal in self._refused.values():
            refusal.again.cancel()
        for task in self._loading.values():
            task.cancel()

    async def complete(self, within_s: float) -> None:
        """Waits until a plan is followed, all that it routes is loaded, and every table is here.

        A model that cannot be loaded, or takes longer than `within_s`, is waited for no more. A
        table is: who knows no keys refuses everybody.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._first.wait()
        self._first.set()
        self._move()
        await self._informed.wait()

    # ---- plans ----------------------------------------------------------------------------------

    def _hello(self) -> None:
        self._inbox = Inbox()
        if not self._channel.send({"type": "hello", "epoch": self._epoch}):
            self._loop.call_later(0.1, self._hello)

    def _read(self) -> None:
        for _ in range(MAX_MESSAGES_A_TURN):
            message = self._channel.receive()
            if message is None:
                return
            if message["type"] == "lost":
                self._hello()
            elif message["type"] == "plan":
                self._take(message)
            elif message["type"] == "table":
                self._take_table(message)
                return  # the rest in the next turn: a whole table is many messages
            else:
                self._hear(message)

    def _take(self, message: Mapping[str, Any]) -> None:
        plan = self._inbox.take(message)
        if plan is None:
            self._hello()
            return
        self._plan = plan
        self._end_patience()
        self._wanted = {held.id: held for held in plan.held}
        for gone in self._refused.keys() - self._wanted.keys():
            self._refused.pop(gone).again.cancel()
        routed = plan.routed
        # What clients ask for goes first: a newborn worker opens when it has that.
        for held in sorted(plan.held, key=lambda held: held.id not in routed):
            there = (self._catalogue.by_id, self._loading, self._refused)
            if not any(held.id in place for place in there):
                self._begin(held)
        self._move()

    def _take_table(self, message: Mapping[str, Any]) -> None:
        table = self._tables.get(message["name"])
        if table is not None and not table.take(message):
            self._want(table.name)
        self._check_tables()

    def _want(self, table: str) -> None:
        if not self._channel.send({"type": "want", "table": table}):
            self._loop.call_later(0.1, self._want, table)

    def _check_tables(self) -> None:
        if all(table.version is not None for table in self._tables.values()):
            self._informed.set()

    def _move(self) -> None:
        """Goes over to the newest plan as far as its models are here, and says how far that is."""
        plan = self._plan
        refused = {held_id: refusal.reason for held_id, refusal in self._refused.items()}
        self._catalogue.follow(plan, refused)
        self._routed(plan)
        for held_id in [i for i in self._catalogue.by_id if i not in self._wanted]:
            self._release(self._catalogue.by_id.pop(held_id))
        self._ack(plan)
        routed = plan.routed
        if routed & self._loading.keys():
            return
        if not routed & self._refused.keys():
            self._first.set()
        elif self._patience is None:
            self._patience = self._loop.call_later(self._patience_s, self._first.set)

    def _end_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _ack(self, plan: Plan) -> None:
        if plan is not self._plan:
            return  # a newer one was acknowledged while this one waited
        message = {
            "type": "ack",
            "number": plan.number,
            "loading": [held_id for held_id in self._loading if held_id in self._wanted],
            "refused": {held_id: [one.reason, one.tries] for held_id, one in self._refused.items()},
        }
        if not self._channel.send(message):
            self._loop.call_later(0.1, self._ack, plan)

    # ---- models ---------------------------------------------------------------------------------

    def _begin(self, held: Held) -> None:
        self._loading[held.id] = self._loop.create_task(self._hold(held))

    async def _hold(self, held: Held) -> None:
        async with self._room:
            # Plans may have gone over it while it waited its turn, or while it was loaded.
            if held.id in self._wanted:
                try:
                    loaded = await self._loop.run_in_executor(self._pool, self._load, held)
                    self._keep(held, loaded)
                except GatewayError as error:
                    self._refuse(held, str(error))
                except Exception as error:
                    log.exception("model '%s' version %d", held.name, held.version)
                    self._refuse(held, f"loading failed: {type(error).__name__}")
        del self._loading[held.id]
        routed = self._plan.routed
        # Routes are worked out once for all that a newborn worker loads, and not for what is only
        # held.
        if held.id in routed and (self._first.is_set() or not routed & self._loading.keys()):
            self._move()
        else:
            self._ack(self._plan)

    def _keep(self, held: Held, loaded: Any) -> None:
        if held.id not in self._wanted:
            self._discard(loaded)
            return
        self._catalogue.by_id[held.id] = self._attach(held, loaded)
        self._refused.pop(held.id, None)

    def _refuse(self, held: Held, reason: str) -> None:
        if held.id in self._wanted:
            before = self._refused.get(held.id)
            tries = before.tries + 1 if before is not None else 1
            delay = min(MAX_RETRY_S, self._retry_s * 2.0 ** (tries - 1))
            again = self._loop.call_later(delay, self._begin, held)
            self._refused[held.id] = _Refusal(reason, tries, again)
