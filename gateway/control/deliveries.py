"""Delivers letters: signed, in their order for each sink, again and again until they arrive.

Knows sinks, letters and HTTP. Knows nothing of alarms.

A sink has a task and a queue of its own: one that is away holds up nobody else. At least once: a
letter that arrived while its answer was lost is sent again, under the same id. What a receiver
refuses for good, or has not taken after `max_attempts`, dies.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import os
import random
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import httpx

from gateway.alerts.notices import Notice
from gateway.alerts.shapes import SHAPES
from gateway.alerts.signatures import headers, read_secret
from gateway.config import AlertSink
from gateway.control.alert_store import AlertStore, Letter
from gateway.control.tracing import read_headers
from gateway.control.troubles import Troubles
from gateway.errors import ConfigInvalid, StoreFailed

log = logging.getLogger("penstock.alerts")

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 300.0
# A sink that has been away for days must not take all memory.
MAX_WAITING: Final = 1000
# Of those that ask for the impossible, the ones that may stand for a passing state.
_PASSING: Final = frozenset({401, 403, 404, 408, 425, 429})


class _Refused(Exception):
    """The receiver will never take this letter."""


class Deliveries:
    """Lives on control's event loop.

    Attributes:
        counts: attempts by sink and result: delivered, failed, dead.
    """

    def __init__(
        self,
        store: AlertStore,
        sinks: Callable[[], Iterable[AlertSink]],
        troubles: Troubles,
        first_pause_s: float = FIRST_PAUSE_S,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Sends nothing yet.

        Args:
            store: where letters are kept.
            sinks: those that are configured now.
            troubles: told of what goes wrong again and again.
            first_pause_s: after a letter's first failure; it doubles with each.
            wall: seconds since 1970.
        """
        self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._store = store
        self._sinks = sinks
        self._troubles = troubles
        self._first_pause_s = first_pause_s
        self._wall = wall
        self._queues: dict[str, collections.deque[Letter]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def put(self, letters: Iterable[Letter]) -> None:
        """Sends letters as soon as it may be. Call it on the loop."""
        for letter in letters:
            queue = self._queues.setdefault(letter.sink, collections.deque())
            queue.append(letter)
            if letter.sink not in self._tasks:
                work = self._empty(letter.sink, queue)
                self._tasks[letter.sink] = asyncio.get_running_loop().create_task(work)

    def waits(self, sink: str) -> bool:
        """Whether something is on its way to a sink."""
        return bool(self._queues.get(sink))

    async def close(self) -> None:
        """Stops; what is on its way is sent after the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- one sink -------------------------------------------------------------------------------

    async def _empty(self, name: str, queue: collections.deque[Letter]) -> None:
        try:
            while queue:
                await self._deliver(queue)
                queue.popleft()
        finally:
            del self._tasks[name]

    async def _deliver(self, queue: collections.deque[Letter]) -> None:
        """Returns when the first letter has arrived or died."""
        letter, attempts = queue[0], 0
        while True:
            await self._thin(queue)
            sink = next((one for one in self._sinks() if one.name == letter.sink), None)
            if sink is None:
                return await self._bury(letter, attempts, "there is no such sink any more")
            attempts += 1
            reason, refused = await self._attempt(sink, letter.notice)
            if reason is None:
                self._troubles.over(f"sink {sink.name}")
                await self._kept(self._store.delivered, letter)
                return self._count(sink.name, "delivered")
            self._count(sink.name, "failed")
            self._troubles.met(f"sink {sink.name}", ConfigInvalid(f"sink {sink.name}: {reason}"))
            if refused or attempts >= sink.max_attempts:
                return await self._bury(letter, attempts, reason)
            await asyncio.sleep(pause_s(attempts, self._first_pause_s))

    async def _thin(self, queue: collections.deque[Letter]) -> None:
        """Of too many that wait the oldest die, but for the first, which is being sent.

        Before each attempt: the first may take an hour, and what comes meanwhile is no less.
        """
        while len(queue) > MAX_WAITING:
            await self._bury(queue[1], 0, f"more than {MAX_WAITING} wait")
            del queue[1]

    async def _attempt(self, sink: AlertSink, notice: Notice) -> tuple[str | None, bool]:
        """Why it was not taken, and whether it never will be."""
        try:
            async with asyncio.timeout(sink.timeout_s):
                await self._send(sink, notice)
        except _Refused as error:
            return str(error), True
        except TimeoutError:
            return f"no answer within {sink.timeout_s:g} s", False
        except (ConfigInvalid, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return str(error) or type(error).__name__, False
        except Exception as error:  # of a port beyond all ports, say, or of a library's own
            # Whatever it is, the sink's task goes on: it would be the last letter that it sends.
            log.exception("sink %s", sink.name)
            return type(error).__name__, False
        return None, False

    async def _send(self, sink: AlertSink, notice: Notice) -> None:
        message = SHAPES[sink.kind](notice)
        url, secret, more = await asyncio.to_thread(secrets_of, sink)
        if message.path and not httpx.URL(url).path.strip("/"):
            url = url.rstrip("/") + message.path
        now = int(self._wall())
        sent = {**more, **headers(secret, notice["event"], now, message.body)}
        sent["content-type"] = message.content_type
        sent["user-agent"] = "penstock"
        async with (
            httpx.AsyncClient(timeout=sink.timeout_s) as client,
            # Nobody reads what the receiver says beyond its status.
            client.stream("POST", url, content=message.body, headers=sent) as answer,
        ):
            status = answer.status_code
        if status // 100 == 2:
            return
        if status // 100 == 4 and status not in _PASSING:
            raise _Refused(f"answered {status}")
        raise ConfigInvalid(f"answered {status}")

    async def _bury(self, letter: Letter, attempts: int, reason: str) -> None:
        self._count(letter.sink, "dead")
        log.error("%s to sink %s: given up: %s", letter.notice["event"], letter.sink, reason)
        await self._kept(self._store.bury, letter, attempts, reason, self._wall())

    async def _kept(self, change: Callable[..., None], *arguments: object) -> None:
        try:
            await asyncio.to_thread(change, *arguments)
        except StoreFailed as error:  # it is sent again after a restart
            self._troubles.met("alerts", error)

    def _count(self, sink: str, result: str) -> None:
        self.counts[sink, result] += 1


def pause_s(attempts: int, first_s: float = FIRST_PAUSE_S) -> float:
    """After so many failures; by chance, so that many servers do not knock together."""
    longest = min(first_s * 2 ** (attempts - 1), LONGEST_PAUSE_S)
    return float(longest * random.uniform(0.5, 1.0))


def secrets_of(sink: AlertSink) -> tuple[str, bytes | None, Mapping[str, str]]:
    """URL, secret and headers as they are now: files may have been replaced.

    Raises:
        ConfigInvalid: one cannot be read. What it says is never quoted.
    """
    place = f"alerts.sinks '{sink.name}'"
    url = sink.url
    try:
        if sink.url_file is not None:
            url = sink.url_file.read_text().strip()
        secret = None
        if sink.secret_file is not None:
            secret = read_secret(sink.secret_file.read_text())
        elif sink.secret_env is not None:
            secret = read_secret(os.environ.get(sink.secret_env, ""))
    except OSError as error:
        raise ConfigInvalid(f"{place}: {error.filename}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigInvalid(f"{place}: secret: {error}") from error
    if not url or not url.startswith(("http://", "https://")):
        raise ConfigInvalid(f"{place}: url_file: expected a URL")
    return url, secret, read_headers(sink.headers_file, f"{place}.headers_file")
