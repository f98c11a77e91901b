"""An answer that was held back, in case that no other model gives one.

Knows the client's end. Knows nothing of why it was held back, or of what it has cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.llm.relay import Whole
from gateway.llm.streamed import Streamed
from gateway.wire.answers import Written


@dataclass(frozen=True, slots=True)
class Spare:
    """Whole, as the client would have got it.

    Attributes:
        body: of the answer, or all events of its stream.
        headers: what it says of who gave it.
        streamed: the client wants it as events.
    """

    body: bytes
    headers: Written
    streamed: bool

    @classmethod
    def of(cls, relay: Whole | Streamed, headers: Written) -> Spare:
        """What a relay that is at its end holds back."""
        if isinstance(relay, Whole):
            return cls(relay.body, headers, streamed=False)
        return cls(relay.held, headers, streamed=True)

    def give(self, exchange: Any) -> None:
        """The client gets it."""
        if not self.streamed:
            exchange.reply(200, self.body, self.headers)
            return
        stream = exchange.stream(200, self.headers)
        stream.write(self.body)
        stream.end()
