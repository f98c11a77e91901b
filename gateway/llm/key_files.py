"""Has keys of providers read again whose files have changed: secrets are rotated while all serve.

Knows files by their stamps, as they were before a key was read from them: whatever comes after that
is a change. Knows nothing of requests: those under way end with the key that they began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final, NamedTuple

from gateway.errors import GatewayError
from gateway.llm.deployment import LlmDeployment
from gateway.llm.settings import Settings
from gateway.llm.targets import Target

log = logging.getLogger("penstock.llm")

WATCH_S: Final = 2.0

Stamps = Mapping[Path, tuple[int, int, int] | None]
"""Of files: inode, size and when they were written; None: there is none."""


class Changed(NamedTuple):
    """A deployment of which a key's file is another.

    Attributes:
        targets: made anew; None: they could not be, and it keeps those that it has.
    """

    deployment: LlmDeployment
    stamps: Stamps
    targets: tuple[Target, ...] | None


class KeyFiles:
    """Lives on a worker's event loop; looks at files on a thread, one look at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Executor,
        reload: Callable[[Settings], tuple[Target, ...]],
    ) -> None:
        """Takes its collaborators.

        Args:
            loop: the worker's.
            pool: threads.
            reload: makes the targets of a version; blocks, and raises ModelRefused.
        """
        self._loop = loop
        self._pool = pool
        self._reload = reload
        self._seen: dict[LlmDeployment, Stamps] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    def watch(self, deployment: LlmDeployment, stamps: Stamps) -> None:
        """Looks after a version whose keys were read once its files had these stamps."""
        if stamps:
            self._seen[deployment] = stamps

    def forget(self, deployment: LlmDeployment) -> None:
        """It has answered its last request."""
        self._seen.pop(deployment, None)

    def start(self) -> None:
        """Looks in a while, and again in a while after that."""
        self._timer = self._loop.call_later(WATCH_S, self._look)

    def stop(self) -> None:
        """Looks no more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if not self._seen:
            self.start()
            return
        seen = list(self._seen.items())
        self._loop.run_in_executor(self._pool, self._changed, seen).add_done_callback(self._take)

    def _changed(self, seen: Sequence[tuple[LlmDeployment, Stamps]]) -> list[Changed]:
        """On a thread: what has other stamps than were seen, made anew."""
        changed = []
        for deployment, before in seen:
            now = stamps_of(deployment.settings)
            if now == before:
                continue
            targets = None
            try:
                found = self._reload(deployment.settings)
                targets = tuple(map(_better, deployment.targets, found))
            except GatewayError as error:
                log.error("%s: the key it had goes on", error)
            changed.append(Changed(deployment, now, targets))
        return changed

    def _take(self, done: asyncio.Future[list[Changed]]) -> None:
        if self._stopped or done.cancelled():
            return
        self.start()  # only now: of two looks at once the slower would undo what the other saw
        if error := done.exception():
            log.error("keys of providers were not looked at: %s", error)
            return
        for deployment, stamps, targets in done.result():
            if deployment not in self._seen:
                continue
            self._seen[deployment] = stamps
            if targets is not None:
                deployment.renew(targets)
                log.info("model '%s': a key of its providers was read again", deployment.name)


def _better(before: Target, now: Target) -> Target:
    """A key that has gone, or that is none, takes nobody's place."""
    if now.lacks and not before.lacks:
        log.error("%s: the key it had goes on", now.lacks)
        return before
    return now


def stamps_of(settings: Settings) -> Stamps:
    """Of the files that keys of a version's providers are in. Blocks."""
    providers = settings.providers.values()
    return {path: _stamp(path) for one in providers if (path := one.api_key_file) is not None}


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
