"""Why a connection is not being read, and whether it takes more to write.

Knows one transport, and the one below it over TLS. Knows nothing of HTTP. Several reasons may hold
reading back at once; it goes on when the last is gone. Reading is held as rarely as can be: a
transport that is not read sees neither FIN nor RST.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.flow_control import FlowControl

from gateway.wire.encrypted import beneath

BODY, PIPELINE, WRITE, LAG = 1, 2, 4, 8
"""Reasons: a handler does not take its body; too many requests wait; the client does not read;
the worker is late."""


class Flow(FlowControl):
    """uvicorn's flow control with room for more than one reason."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._below = beneath(transport)
        self._held = 0

    @property
    def unsent(self) -> int:
        """Bytes that wait to be sent; over TLS most of them are out of the transport's sight."""
        unsent = self._transport.get_write_buffer_size()
        return unsent if self._below is None else unsent + self._below.get_write_buffer_size()

    def hold(self, reason: int) -> None:
        """Stops reading for this reason."""
        if not self._held:
            self.read_paused = True
            self._transport.pause_reading()
        self._held |= reason

    def release(self, reason: int) -> None:
        """Takes a reason back."""
        if self._held & reason:
            self._held &= ~reason
            if not self._held:
                self.read_paused = False
                self._transport.resume_reading()

    def pause_reading(self) -> None:
        """What an ASGI cycle calls when its body piles up."""
        self.hold(BODY)

    def resume_reading(self) -> None:
        """What an ASGI cycle calls when it wants more of its body."""
        self.release(BODY)
