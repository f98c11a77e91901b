"""What becomes of a request to a language model once it is over.

Knows in which order it is counted. Knows nothing of how requests are answered: each has been when
it comes here, and nothing that goes wrong here reaches anybody.
"""

from __future__ import annotations

from gateway.exchange import Exchange
from gateway.llm.counting import Counting
from gateway.llm.names import Chosen
from gateway.llm.told import Happened
from gateway.wire.llm.words import Dialect


class Watch:
    """Of one version in one worker. Lives on its event loop."""

    def __init__(self, counting: Counting) -> None:
        """Takes what counts."""
        self._counting = counting

    def over(
        self, exchange: Exchange, chosen: Chosen, dialect: Dialect, happened: Happened
    ) -> None:
        """A request is over."""
        self._counting.over(dialect, happened)

    def mark(self, now: float) -> None:
        """Tells how every upstream is. Called twice a second."""
        self._counting.mark(now)

    def leave(self, now: float) -> None:
        """The last request is over."""
        self._counting.leave(now)
