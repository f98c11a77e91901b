"""Tells chunks of chat to a client that speaks chat: the plainest of the three ways to tell them.

Knows how such a stream is written. Knows nothing of where its chunks come from.
"""

from __future__ import annotations

import orjson

from gateway.wire.llm.asked import Asked
from gateway.wire.llm.events import Kind, kind_of_values
from gateway.wire.llm.fields import Values
from gateway.wire.llm.sse import DONE, frame
from gateway.wire.llm.words import Dialect


class EventsForChat:
    """Writes chunks as the events of one stream."""

    sequence = 0
    """Of the next event; these are not counted."""

    def __init__(self, asked: Asked) -> None:
        """Begins a stream that answers `asked`."""
        # Fixed at start.
        self._asked = asked
        # Of the stream so far.
        self.committed = False  # a part of the answer was told

    def take(self, chunk: Values) -> bytes:
        """One chunk as bytes to send on; the one of the usage only where it was asked for."""
        if self._asked.include_usage:
            chunk = {"usage": None, **chunk}
        elif not chunk.get("choices"):
            return b""
        self.committed = self.committed or kind_of_values(Dialect.CHAT, chunk) is Kind.CONTENT
        return frame(orjson.dumps(chunk))

    def finish(self) -> bytes:
        """What ends the stream."""
        return frame(DONE)
