"""A connection of the control port, which tells the application whose certificate it has.

Knows uvicorn's protocol and where a scope keeps a certificate. Knows nothing of who that is.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.access.certificates import read_certificate
from gateway.access.scopes import SHOWN


class Line(HttpToolsProtocol):
    """uvicorn's, which copies its state into the scope of every request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection begins."""
        super().connection_made(transport)
        shown = read_certificate(transport.get_extra_info("peercert"))
        if shown is not None:
            self.app_state = {**self.app_state, SHOWN: shown}
