"""Captured rows of one server, as control's event loop sees them.

Knows what is captured of each version, rings in the arena, and the one thread that files belong to.
Knows nothing of how rows come into files, or of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from gateway.capture import ring
from gateway.capture.erasure import Erased, Wanted
from gateway.capture.files import FOLDER
from gateway.capture.schema import Schema
from gateway.capture.table import Hashed
from gateway.config import Config
from gateway.control.blocks import Blocks
from gateway.control.capture_wishes import CaptureWish
from gateway.control.captured_rows import CapturedRows, Facts, Version
from gateway.errors import GatewayError, StoreFailed
from gateway.monitor import layout
from gateway.monitor.arena import Arena
from gateway.taken import Captured

log = logging.getLogger("penstock.control")

# Of one worker.
MIN_RING_BYTES: Final = 64 << 10
T = TypeVar("T")


class Capture:
    """Lives on control's event loop; all that touches files happens on its thread."""

    def __init__(
        self,
        arena: Arena,
        blocks: Blocks,
        home: Path,
        config: Callable[[], Config],
        stream: Callable[[int, int], str],
        hashed: Hashed,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            arena: shared memory.
            blocks: of it.
            home: the home.
            config: what is in force.
            stream: what the ids of a worker's requests begin with, by slot and epoch.
            hashed: the keyed hash of a value.
            monotonic: seconds of a clock that nobody sets.
            wall: seconds since 1970.
        """
        self._arena = arena
        self._blocks = blocks
        self._config = config
        self._thread = ThreadPoolExecutor(1, "capture")
        self._wishes: dict[str, CaptureWish] = {}
        """By the name of the ring; what was captured once goes on being known."""
        self._rows = CapturedRows(
            arena,
            home / FOLDER,
            self._wishes,
            lambda: config().capture,
            stream,
            hashed,
            monotonic,
            wall,
            lambda name: config().scores_of(name).threshold,
        )

    def take(self, name: str, version: int, wish: CaptureWish | None) -> tuple[Captured, ...]:
        """Where a version's rows are kept; nowhere where that is not wanted, or has no room."""
        if wish is None or wish.settings.mode == "off":
            return ()
        key = layout.capture_key(name, version, wish.schema.digest)
        size = max(self._config().capture.ring_bytes // self._arena.workers, MIN_RING_BYTES)
        try:
            block = self._blocks.allocate_capture(key, ring.words_for(size))
        except GatewayError as error:
            log.error("model '%s' version %d is not captured: %s", name, version, error)
            return ()
        self._wishes[key] = wish
        settings, rules = wish.settings, wish.settings.rules
        by_rules = settings.mode == "rules"
        return (
            Captured(
                block,
                _plain(wish.schema),
                settings.mode == "full",
                settings.share,
                rules.confidence_below if by_rules else None,
                rules.score_between if by_rules else None,
                rules.alarms and by_rules,
                settings.subject or "",
                rules.shadow_disagreements and by_rules,
            ),
        )

    def alarm(self, firing: Collection[Version]) -> None:
        """Tells workers of which versions an alarm fires."""
        for block in self._arena.blocks(layout.CAPTURE):
            name, version, _ = layout.capture_of(block.name)
            self._arena.slots(block)[:, ring.ALARM] = (name, version) in firing

    async def look(self) -> None:
        """Takes what workers kept, and writes what is due. Call it about once a second."""
        if self._rows.any:
            await self._aside(self._rows.look)

    async def flush(self) -> None:
        """Writes all that was kept until now.

        Raises:
            StoreFailed: the disk does not take it.
        """
        await self._aside(self._rows.flush)

    async def find(self, wanted: Wanted) -> Erased:
        """The rows of requests or subjects that are in files. Call `flush` before.

        Raises:
            StoreFailed: a file cannot be read.
        """
        return await self._aside(self._rows.find, wanted)

    async def erase(self, wanted: Wanted) -> Erased:
        """Writes the files anew without the rows of requests or subjects.

        Raises:
            StoreFailed: a file cannot be read or written; the same again goes on.
        """
        return await self._aside(self._rows.erase, wanted)

    async def facts(self) -> list[Facts]:
        """What became of each version's rows."""
        return await self._aside(self._rows.facts)

    def facts_now(self) -> list[Facts]:
        """The same on a thread of the caller's."""
        return self._rows.facts()

    async def close(self) -> None:
        """Writes what is left."""
        try:
            if self._wishes:
                await self._aside(self._rows.flush)
        except StoreFailed as error:
            log.error("captured rows are lost: %s", error)
        self._thread.shutdown()

    async def _aside(self, work: Callable[..., T], *arguments: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)


def _plain(schema: Schema) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(schema.text)
    return found
