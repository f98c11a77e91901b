"""Writes audit entries from control's event loop, in the order in which things happened.

Knows a queue and the audit. Knows nothing of what is written.

What somebody asks for is recorded before it is done: an answer is only given, and a change only
made, once its entry is on disk. What control decides by itself (a quarantine, say) cannot wait for
a disk: it is queued and written as soon as the disk takes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.control.audit import Actor, by_itself, note
from gateway.control.store import Store
from gateway.control.troubles import Troubles
from gateway.errors import StoreFailed

log = logging.getLogger("penstock.control")

Values = Mapping[str, Any] | None
# A full disk must not become a full memory.
MAX_WAITING = 10_000
RETRY_S = 2.0
MAX_TOLD = 1000  # characters, of what is lost at the end


class Note(Protocol):
    """Writes a decision down: `Recorder.note`, as those who decide see it."""

    def __call__(
        self, action: str, subject: str, before: Values = None, after: Values = None
    ) -> None:
        """Returns at once."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An entry that is not on disk; `written` is set for whoever waits for it."""

    at: float
    actor: Actor
    action: str
    subject: str
    before: Values
    after: Values
    written: asyncio.Future[None] | None


class Recorder:
    """Lives on control's event loop; writes on a thread."""

    def __init__(
        self, store: Store, troubles: Troubles, now: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._troubles = troubles
        self._now = now
        self._waiting: deque[_Waiting] = deque()
        self._news = asyncio.Event()
        self._itself = by_itself()
        self._closing = False

    def note(self, action: str, subject: str, before: Values = None, after: Values = None) -> None:
        """Something that control decided by itself. Returns at once."""
        if len(self._waiting) >= MAX_WAITING:
            log.error("audit: %s of %s is lost: %d wait", action, subject, MAX_WAITING)
            return
        self._put(self._itself, action, subject, before, after, None)

    async def record(
        self, actor: Actor, action: str, subject: str, before: Values = None, after: Values = None
    ) -> None:
        """Something that somebody asked for. Returns when it is on disk.

        Raises:
            StoreFailed: it cannot be written: what was asked for is not to be done.
        """
        written = asyncio.get_running_loop().create_future()
        self._put(actor, action, subject, before, after, written)
        await written

    async def run(self) -> None:
        """Writes until `close`, and then what is left; says what the disk does not take."""
        while self._waiting or not self._closing:
            await self._news.wait()
            self._news.clear()
            while self._waiting and not await self._write_all():
                if self._closing:
                    self._tell_lost()
                    return
                await asyncio.sleep(RETRY_S)

    def _tell_lost(self) -> None:
        # Nobody waits for them: who did was told.
        what = ", ".join(f"{one.action} of {one.subject}" for one in self._waiting)[:MAX_TOLD]
        log.error(
            "audit: %d entries are lost, they cannot be written: %s", len(self._waiting), what
        )

    def close(self) -> None:
        """Lets `run` come to its end."""
        self._closing = True
        self._news.set()

    def _put(
        self,
        actor: Actor,
        action: str,
        subject: str,
        before: Values,
        after: Values,
        written: asyncio.Future[None] | None,
    ) -> None:
        entry = _Waiting(self._now(), actor, action, subject, before, after, written)
        self._waiting.append(entry)
        self._news.set()

    async def _write_all(self) -> bool:
        """Writes everything that waits in one transaction; False where that failed."""
        batch = list(self._waiting)
        try:
            await asyncio.to_thread(self._write, batch)
        except Exception as cause:  # no thread to be had, say: it must not be the end of writing
            error = cause if isinstance(cause, StoreFailed) else StoreFailed(f"audit: {cause}")
            self._troubles.met("audit", error)
            # Who waits is told now; what nobody waits for is tried again.
            for entry in batch:
                if entry.written is not None:
                    self._waiting.remove(entry)
                    _tell(entry.written, error)
            return False
        self._troubles.over("audit")
        for entry in batch:
            self._waiting.popleft()
            if entry.written is not None:
                _tell(entry.written, None)
        return True

    def _write(self, batch: Sequence[_Waiting]) -> None:
        with self._store.write() as db:
            for one in batch:
                note(db, one.actor, one.action, one.subject, one.before, one.after, one.at)


def _tell(written: asyncio.Future[None], error: StoreFailed | None) -> None:
    if written.done():  # whoever waited has left
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)
