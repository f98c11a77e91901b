"""Exports traced requests: takes them from the workers, and keeps them until a collector has them.

Knows a bounded queue, and the one thread that waits for the collector. Knows nothing of spans or
OTLP (`otlp` does), nor of which requests are traced. Workers never wait: what finds no room, with
them or here, is dropped and counted.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from gateway.channel import Channel
from gateway.config import Tracing
from gateway.errors import ConfigInvalid
from gateway.spans import TracedRequest

log = logging.getLogger("penstock.tracing")

# Half a thousand spans and more, which is what OpenTelemetry sends together.
MAX_TOGETHER = 128
# A trace is looked for moments after its request.
WAIT_S = 1.0
# Of what is left when the server leaves; the supervisor is patient for longer.
FLUSH_S = 3.0
MAX_MESSAGES_A_TURN = 64
_NEEDED: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")


def check(settings: Tracing) -> None:
    """Finds out now what would otherwise keep every trace from being exported later.

    Raises:
        ConfigInvalid: traces are asked for, and the SDK is not installed or turned off, or the file
            of headers is none.
    """
    if settings.endpoint is None:
        return
    try:
        found = importlib.util.find_spec(_NEEDED)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise ConfigInvalid(
            "tracing.endpoint: needs OpenTelemetry's SDK: pip install 'penstock[otel]'"
        )
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        raise ConfigInvalid("tracing.endpoint: expected no OTEL_SDK_DISABLED: it would do nothing")
    read_headers(settings.headers_file)


def read_headers(path: Path | None, setting: str = "tracing.headers_file") -> dict[str, str]:
    """The headers of exports: `name: value` a line; empty lines and comments (#) are left out.

    Args:
        path: of the file; None: there are none.
        setting: that names it.

    Raises:
        ConfigInvalid: it cannot be read, or a line is no header. What it says is never quoted.
    """
    if path is None:
        return {}
    place = f"{setting}: {path}"
    try:
        lines = path.read_bytes().decode("latin-1").splitlines()
    except OSError as error:
        raise ConfigInvalid(f"{place}: {error.strerror}") from error
    headers = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            found = _HEADER.fullmatch(line)
            if found is None:
                raise ConfigInvalid(f"{place}: line {number}: expected `name: value`")
            headers[found[1]] = found[2]
    return headers


class Exporter(Protocol):
    """Sends requests to a collector; used on the exporting thread, but for `stop`."""

    def export(self, requests: Sequence[TracedRequest]) -> str | None:
        """Waits until they are there; says why they are not."""

    def stop(self) -> None:
        """Gives up what is being sent."""


class Export:
    """The queue and its thread; see the module. Used on control's event loop.

    Attributes:
        exported, failed, dropped: requests that the collector has, that could not be sent, and that
            found no room.
    """

    def __init__(
        self,
        channel: Channel,
        build: Callable[[], Exporter],
        max_queue: int,
        wait_s: float = WAIT_S,
        flush_s: float = FLUSH_S,
    ) -> None:
        """Takes nothing yet.

        Args:
            channel: brings traced requests from all workers.
            build: makes what sends them, on the thread, when there is something to send.
            max_queue: requests that may wait.
            wait_s: how long the first waits for others to be sent together with it.
            flush_s: how long `finish` may take.
        """
        self.exported = self.failed = self.dropped = 0
        self._channel = channel
        self._build = build
        self._max_queue = max_queue
        self._wait_s = wait_s
        self._flush_s = flush_s
        self._queue: SimpleQueue[TracedRequest | None] = SimpleQueue()
        self._taken = 0
        self._exporter: Exporter | None = None
        self._cause: str | None = None
        self._thread = threading.Thread(target=self._run, name="tracing", daemon=True)

    @property
    def counts(self) -> dict[str, int]:
        """Requests by what became of them."""
        return {"exported": self.exported, "failed": self.failed, "dropped": self.dropped}

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes what workers send from now on."""
        self._loop = loop
        self._thread.start()
        loop.add_reader(self._channel.fileno(), self._hear)

    async def finish(self) -> None:
        """Takes what the workers have left, and waits until it is sent, as long as it may."""
        self._loop.remove_reader(self._channel.fileno())
        while self._hear():
            pass
        await asyncio.to_thread(self._close)

    def _hear(self) -> int:
        """Takes what workers have sent; says how many messages."""
        for heard in range(MAX_MESSAGES_A_TURN):
            message = self._channel.receive()
            if message is None:
                return heard
            for request in message.get("requests", ()):
                self._offer(request)
        return MAX_MESSAGES_A_TURN

    def _close(self) -> None:
        failed = self.failed
        self._queue.put(None)
        self._thread.join(self._flush_s)
        if self._exporter is not None:
            self._exporter.stop()
        if lost := self._taken - self.exported - failed:
            log.warning("traces of %d requests were not exported before the end", lost)

    def _offer(self, request: TracedRequest) -> None:
        if self._queue.qsize() < self._max_queue:
            self._taken += 1
            self._queue.put(request)
        else:
            self.dropped += 1

    # ---- on the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        last = False
        while not last:
            requests, last = self._next()
            if requests:
                self._export(requests)

    def _next(self) -> tuple[list[TracedRequest], bool]:
        """The next requests to be sent together, and whether they are the last."""
        requests: list[TracedRequest] = []
        deadline = None
        while len(requests) < MAX_TOGETHER:
            patience_s = None if deadline is None else deadline - time.monotonic()
            try:
                one = self._queue.get(timeout=None if patience_s is None else max(patience_s, 0))
            except Empty:
                break
            if one is None:
                return requests, True
            requests.append(one)
            deadline = deadline or time.monotonic() + self._wait_s
        return requests, False

    def _export(self, requests: Sequence[TracedRequest]) -> None:
        try:
            if self._exporter is None:
                self._exporter = self._build()
            cause = self._exporter.export(requests)
        except Exception as error:  # of whatever library: the next may be exported
            cause = repr(error)
        if cause is None:
            self.exported += len(requests)
        else:
            self.failed += len(requests)
        self._tell(cause)

    def _tell(self, cause: str | None) -> None:
        """Tells of the first failure and of its end, not of each."""
        if cause is not None and self._cause is None:
            log.warning("traces cannot be exported: %s", cause)
        elif cause is None and self._cause is not None:
            log.info("traces are exported again")
        self._cause = cause
