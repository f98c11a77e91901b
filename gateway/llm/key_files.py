"""Has keys of providers read again whose files have changed: secrets are rotated while all serve.

Knows files by their stamps. Knows nothing of requests: those under way end with the key that they
began with.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError
from gateway.llm.deployment import LlmDeployment
from gateway.llm.targets import Target

log = logging.getLogger("penstock.llm")

WATCH_S: Final = 2.0

Stamp = tuple[int, int, int]
Renewed = list[tuple[LlmDeployment, tuple[Target, ...]]]


class KeyFiles:
    """Lives on a worker's event loop; looks at files on a thread."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Executor,
        deployments: Callable[[], Iterable[LlmDeployment]],
        reload: Callable[[LlmDeployment], tuple[Target, ...]],
    ) -> None:
        """Takes its collaborators.

        Args:
            loop: the worker's.
            pool: threads.
            deployments: what serves now.
            reload: makes the targets of one anew; blocks, and raises GatewayError.
        """
        self._loop = loop
        self._pool = pool
        self._deployments = deployments
        self._reload = reload
        self._stamps: dict[Path, Stamp | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to look, now and then."""
        self._timer = self._loop.call_later(WATCH_S, self._look)

    def stop(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        wanted = [(one, files) for one in self._deployments() if (files := _files(one))]
        self.start()
        if wanted:
            self._loop.run_in_executor(self._pool, self._renewed, wanted).add_done_callback(
                self._take
            )

    def _renewed(self, wanted: Sequence[tuple[LlmDeployment, Sequence[Path]]]) -> Renewed:
        """On a thread: what has changed since the last look, made anew."""
        now = {path: _stamp(path) for _, files in wanted for path in files}
        before, self._stamps = self._stamps, now
        renewed = []
        for deployment, files in wanted:
            changed = any(path in before and before[path] != now[path] for path in files)
            # What a new version lacked may have come before the first look.
            if changed or any(one.lacks for one in deployment.targets):
                try:
                    found = self._reload(deployment)
                except GatewayError as error:
                    log.error("%s: the key it had goes on", error)
                    continue
                targets = tuple(map(_better, deployment.targets, found))
                if targets != tuple(deployment.targets):
                    renewed.append((deployment, targets))
        return renewed

    def _take(self, done: asyncio.Future[Renewed]) -> None:
        if done.cancelled():
            return
        if error := done.exception():
            log.error("keys of providers were not looked at: %s", error)
            return
        for deployment, targets in done.result():
            deployment.take(targets)
            log.info("model '%s': a key of its providers was read again", deployment.name)


def _files(deployment: LlmDeployment) -> list[Path]:
    providers = deployment.settings.providers.values()
    return [one.api_key_file for one in providers if one.api_key_file is not None]


def _better(before: Target, now: Target) -> Target:
    """A key that has gone, or that is none, takes nobody's place."""
    if now.lacks and not before.lacks:
        log.error("%s: the key it had goes on", now.lacks)
        return before
    return now


def _stamp(path: Path) -> Stamp | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
