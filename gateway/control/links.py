"""Control's side of the links to the workers: sends plans, hears acks and mail.

Knows who has acknowledged what. Knows nothing of how a plan is made or what a model is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.channel import Channel
from gateway.control.tables import Tables
from gateway.plan import Outbox, Plan

Mail = Callable[[int, Mapping[str, Any]], None]
# A full link empties as soon as its worker reads; a dead one's successor reads what waits.
RESEND_S = 0.1
MAX_MESSAGES_A_TURN = 64


class Refusal(NamedTuple):
    """Why a worker could not load a model, and how often it has tried."""

    reason: str
    tries: int


class Links:
    """All workers, as control sees them. Lives on control's event loop."""

    def __init__(
        self, channels: Sequence[Channel], mail: Mail, news: Callable[[bool], None]
    ) -> None:
        """Listens at once.

        Args:
            channels: one per worker.
            mail: takes what is no word on plans.
            news: hears that a worker got further, and whether one refuses what it did not before.
        """
        self._channels = channels
        self._mail = mail
        self._news = news
        self._outboxes = [Outbox() for _ in channels]
        self._acked = [0] * len(channels)
        self._loading: list[frozenset[str]] = [frozenset() for _ in channels]
        self._refused: list[dict[str, Refusal]] = [{} for _ in channels]
        self._plan: Plan | None = None
        self.tables = Tables(self.tell, len(channels))
        self._loop = asyncio.get_running_loop()
        for slot, channel in enumerate(channels):
            self._loop.add_reader(channel.fileno(), self._read, slot)
            # What the process before this one was asked and had not answered is lost.
            channel.send({"type": "control"})

    @property
    def acked(self) -> tuple[int, ...]:
        """The newest plan number that each worker follows."""
        return tuple(self._acked)

    @property
    def refused(self) -> tuple[Mapping[str, Refusal], ...]:
        """What each worker could not load of the plan it follows, by deployment id."""
        return tuple(self._refused)

    def publish(self, plan: Plan) -> None:
        """Sends a plan to every worker."""
        self._plan = plan
        for slot in range(len(self._channels)):
            self._send(slot, plan)

    def tell(self, slot: int, message: dict[str, Any]) -> bool:
        """Sends one worker a message; False where its link is full."""
        return self._channels[slot].send(message)

    def tell_all(self, message: dict[str, Any]) -> None:
        """Sends every worker a message, where its link is full as soon as it is not."""
        for slot in range(len(self._channels)):
            self._insist(slot, message)

    def _insist(self, slot: int, message: dict[str, Any]) -> None:
        if not self.tell(slot, message):
            self._loop.call_later(RESEND_S, self._insist, slot, message)

    def followed(self, number: int) -> bool:
        """All workers follow plan `number` or a newer one."""
        return min(self._acked, default=number) >= number

    def loading(self, held_id: str) -> bool:
        """Some worker has not loaded this deployment yet."""
        return any(held_id in mine for mine in self._loading)

    def refusal(self, held_id: str) -> str | None:
        """Why some worker could not load this deployment, if one could not."""
        return next((mine[held_id].reason for mine in self._refused if held_id in mine), None)

    def close(self) -> None:
        """Stops listening."""
        for channel in self._channels:
            self._loop.remove_reader(channel.fileno())

    def _send(self, slot: int, plan: Plan) -> None:
        if plan is not self._plan:
            return  # a newer one took its place while this one waited
        if not self._channels[slot].send(self._outboxes[slot].message(plan)):
            self._outboxes[slot].forget()
            self._loop.call_later(RESEND_S, self._send, slot, plan)

    def _read(self, slot: int) -> None:
        for _ in range(MAX_MESSAGES_A_TURN):
            message = self._channels[slot].receive()
            if message is None:
                return
            self._hear(slot, message)

    def _hear(self, slot: int, message: Mapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "hello":
            self._acked[slot] = 0
            self._loading[slot] = frozenset()
            self._refused[slot] = {}
            self._outboxes[slot].forget()
            if self._plan is not None:
                self._send(slot, self._plan)
            self.tables.greet(slot)
        elif kind == "want":
            self.tables.send_whole(slot, message["table"])
        elif kind == "ack":
            before = self._refused[slot]
            self._acked[slot] = max(self._acked[slot], message["number"])
            self._loading[slot] = frozenset(message["loading"])
            self._refused[slot] = {h: Refusal(*told) for h, told in message["refused"].items()}
            self._news(bool(self._refused[slot].keys() - before.keys()))
        else:
            self._mail(slot, message)
