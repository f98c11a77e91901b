"""Tells chunks of chat to a client that speaks chat: the plainest of the three ways to tell them.

Knows how such a stream is written. Knows nothing of where its chunks come from.
"""

from __future__ import annotations

import orjson

from gateway.wire.llm.asked import Asked
from gateway.wire.llm.fields import Values
from gateway.wire.llm.sse import DONE, frame


class EventsForChat:
    """Writes chunks as the events of one stream."""

    sequence = 0
    """Of the next event; these are not counted."""

    def __init__(self, asked: Asked) -> None:
        """Begins a stream that answers `asked`."""
        self._asked = asked

    def take(self, chunk: Values) -> bytes:
        """One chunk as bytes to send on; the one of the usage only where it was asked for."""
        if self._asked.include_usage:
            chunk = {"usage": None, **chunk}
        elif not chunk.get("choices"):
            return b""
        return frame(orjson.dumps(chunk))

    def finish(self) -> bytes:
        """What ends the stream."""
        return frame(DONE)
