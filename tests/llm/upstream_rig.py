"""Upstreams on a clock of the test's own, and a server whose bytes it writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.llm.upstream.names import LookUp
from gateway.llm.upstream.request import request_head
from gateway.llm.upstream.sending import Request
from gateway.llm.upstream.upstreams import Upstreams
from gateway.llm.upstream.words import Body, Limits, Origin, Timeouts
from tests.llm.scripted import Peer, Scripted, Told, ok, scripted

TIMEOUTS = Timeouts(connect_s=5, first_byte_s=20, idle_s=10, total_s=60)


@dataclass
class Rig:
    """
    Attributes:
        now: what the clock says.
    """

    server: Scripted
    upstreams: Upstreams
    origin: Origin
    now: float = 1000.0

    def send(
        self, body: Body = b"ask", origin: Origin | None = None, timeouts: Timeouts = TIMEOUTS
    ) -> tuple[Told, Request]:
        origin = origin or self.origin
        told = Told()
        head = request_head(origin, "/v1/chat/completions", [(b"authorization", b"Bearer x")])
        sending = self.upstreams.send(origin, head, body, told, timeouts)
        assert isinstance(sending, Request)
        return told, sending

    async def kept_alive(self) -> Peer:
        """A connection that has been used and is free."""
        told, _ = self.send(b"first")
        peer = await self.server.accept()
        await peer.answer(ok(b"first"))
        await told.until("end")
        return peer

    def pass_time(self, seconds: float) -> None:
        """Two sweeps: one sees what was heard until now, one that nothing was since."""
        self.upstreams.check(self.now)
        self.now += seconds
        self.upstreams.check(self.now)


@asynccontextmanager
async def rig(
    limits: Limits | None = None, look_up: LookUp | None = None, **origin: int
) -> AsyncIterator[Rig]:
    async with scripted() as server:
        made: list[Rig] = []
        upstreams = Upstreams(
            asyncio.get_running_loop(), limits, look_up or nowhere, clock=lambda: made[0].now
        )
        made.append(Rig(server, upstreams, server.origin(**origin)))
        try:
            yield made[0]
        finally:
            upstreams.close()


async def nowhere(host: str, port: int) -> Sequence[str]:
    """Addresses stand for themselves; names are nobody's."""
    if host == "127.0.0.1":
        return [host]
    raise OSError(f"{host} is not known")
