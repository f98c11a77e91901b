"""The fake as a thread of this process, with a handle on it, or as this process' only purpose.

Knows sockets, threads and the event loop. Knows nothing of what is answered.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any, Self, cast

import uvloop

from gateway.llm.fake.answers import Answers
from gateway.llm.fake.connection import Connection
from gateway.llm.fake.records import PATIENCE_S, Received, Records
from gateway.llm.fake.script import Script, changed

HOST = "127.0.0.1"
_BACKLOG = 4096


class FakeProvider:
    """A fake on a thread of its own, from `with` to its end.

    Attributes:
        port: on loopback.
        records: what came.
    """

    def __init__(self, **script: Any) -> None:
        """Takes instructions for every request (`Script`)."""
        self.port = 0
        self.records = Records()
        self._answers = Answers(changed(Script(), script), self.records.counts)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake provider", daemon=True)
        self._listening = threading.Event()
        self._connections: set[asyncio.BaseTransport] = set()

    @property
    def origin(self) -> str:
        """Its scheme, address and port."""
        return f"http://{HOST}:{self.port}"

    def url(self, script: str = "", version: str = "/v1") -> str:
        """A base URL, for all of whose requests an instruction holds (`tokens=3&rate=10`)."""
        return f"{self.origin}/~{script}{version}" if script else f"{self.origin}{version}"

    @property
    def received(self) -> list[Received]:
        """The requests so far, oldest first."""
        return self.records.all()

    def named(self, name: str) -> list[Received]:
        """Those whose script has this name."""
        return [one for one in self.received if one.script.name == name]

    def wait(
        self, found: Callable[[list[Received]], object], within_s: float = PATIENCE_S
    ) -> list[Received]:
        """Waits until what was received is as `found` wants it.

        Raises:
            TimeoutError: it is not in time.
        """
        return self.records.wait(found, within_s)

    def always(self, **script: Any) -> None:
        """Instructions for every request from now on, over plain ones."""
        self._call(lambda: setattr(self._answers, "script", changed(Script(), script)))

    def next(self, **script: Any) -> None:
        """Instructions for one request: the next that has none queued for it."""
        changed(Script(), script)  # a slip is the caller's to know of
        self._call(lambda: self._answers.queued.append(script))

    def forget(self) -> None:
        """Begins anew: no requests, no counts of failures, nothing queued."""
        self._call(self._answers.forget)
        self.records.clear()

    def hang_up(self) -> None:
        """Closes every connection, as a provider does that is restarted."""

        def close() -> None:
            for transport in list(self._connections):
                transport.close()

        self._call(close)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _call(self, act: Callable[[], None]) -> None:
        """Has it done on the fake's own thread, and returns when it is."""
        done = threading.Event()

        def both() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(both)
        done.wait()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            server = self._loop.run_until_complete(self._listen())
            self._listening.set()
            self._loop.run_forever()
            server.close()
            for transport in list(self._connections):
                transport.abort()  # type: ignore[attr-defined]
            # One turn for what aborting has to call.
            self._loop.run_until_complete(asyncio.sleep(0))
        finally:
            self._loop.close()

    async def _listen(self) -> asyncio.AbstractServer:
        def connection() -> Connection:
            return _Kept(self._loop, self._answers, self.records, self._connections)

        server = await self._loop.create_server(connection, HOST, 0, backlog=_BACKLOG)
        self.port = cast(asyncio.Server, server).sockets[0].getsockname()[1]
        return server


class _Kept(Connection):
    """A connection that its server can close."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answers: Answers,
        records: Records,
        kept: set[asyncio.BaseTransport],
    ) -> None:
        super().__init__(loop, answers, records)
        self._kept = kept

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._kept.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._kept.discard(self.transport)


def serve(port: int, script: Script, host: str = HOST) -> None:
    """Answers until the process is told to end (SIGTERM or SIGINT); keeps counts alone."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        records = Records(max_kept=0)
        answers = Answers(script, records.counts)
        server = await loop.create_server(
            lambda: Connection(loop, answers, records), host, port, backlog=_BACKLOG
        )
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        async with server:
            await ended.wait()

    uvloop.run(run())
