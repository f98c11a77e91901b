"""How long a connection is waited for, and what happens then.

Knows which clock runs in which state of a connection. Knows nothing of parsing or of turns. The
sweep asks about once a second, so a time-out may be that much late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.config import Limits
from gateway.errors import GatewayError, RequestTooSlow
from gateway.wire.flow import Flow
from gateway.wire.intake import Intake

# Closing with unread bytes resets the connection, and the reset may overtake the refusal that tells
# why; so a refused client is read, and ignored, a little longer.
LINGER_S = 2.0


class Awaited(Protocol):
    """A connection, as its clocks see it.

    Attributes:
        since: when the client last did something; negative as long as it has sent nothing.
        lingering_since: when it was refused; 0.0 as long as it was not.
        stalled: when the bytes that wait to be sent last became fewer.
        unsent: how many they were then.
        last: no request is taken after those that are here.
    """

    transport: asyncio.Transport
    flow: Flow
    intake: Intake
    since: float
    lingering_since: float
    stalled: float
    unsent: int
    last: bool

    @property
    def riding(self) -> bool:
        """A request is being answered, or waits to be."""

    def note_unsent(self, unsent: int) -> None:
        """So many bytes wait to be sent."""

    def refuse(self, error: GatewayError) -> None:
        """Answers, in its turn, what cannot be taken."""


def check(
    connection: Awaited,
    now: float,
    limits: Limits,
    keep_alive_s: float,
    cut: Callable[[str], None],
) -> None:
    """Ends what has waited for the client too long; what waits for us is left in peace.

    Args:
        connection: which one.
        now: the time.
        limits: time-outs of heads, bodies and answers.
        keep_alive_s: how long an idle connection is kept.
        cut: counts, by the limit's name, a client that is not even told.
    """
    waited_s = now - abs(connection.since)
    if connection.flow.write_paused or connection.transport.is_closing():
        _check_unsent(connection, now, limits.write_timeout_s, cut)
    elif connection.lingering_since:
        if now - connection.lingering_since > LINGER_S:
            connection.transport.abort()
    elif connection.flow.read_paused:
        return
    elif connection.intake.begun:
        if connection.intake.head is None:
            if now - connection.intake.arrived > limits.header_timeout_s:
                wanted = f"whole within {limits.header_timeout_s:g} s"
                connection.refuse(RequestTooSlow(f"request head: expected {wanted}"))
        elif waited_s > limits.body_timeout_s:
            wanted = f"a piece every {limits.body_timeout_s:g} s"
            connection.refuse(RequestTooSlow(f"request body: expected {wanted}, got none"))
    elif not connection.riding:
        fresh = connection.since < 0
        if connection.last or waited_s > (limits.header_timeout_s if fresh else keep_alive_s):
            if fresh and not connection.last:
                cut("header_timeout")
            connection.transport.close()


def _check_unsent(
    connection: Awaited, now: float, patience_s: float, cut: Callable[[str], None]
) -> None:
    unsent = connection.flow.unsent
    if unsent != connection.unsent or not connection.stalled:
        connection.note_unsent(unsent)
        connection.stalled = now
    elif not unsent:
        # Over TLS a client is told of the end, and may say that it has heard; few do.
        if now - connection.stalled > LINGER_S:
            connection.transport.abort()
    elif now - connection.stalled > patience_s:
        cut("write_timeout")
        connection.transport.abort()
