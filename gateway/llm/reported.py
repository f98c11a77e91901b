"""Notices that an upstream answers as another model than before, or that other software runs it.

Knows what answers say of themselves. Knows nothing of who is told, or of how answers are read.

Providers that divide requests among several machines tell now one fingerprint, now another: what
was told before is no news. Nor is the first that a worker hears, unless others have heard another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gateway.wire.llm.reading import Reading

MAX_KNOWN: Final = 64
"""Of one upstream; one that tells something new each time is forgotten from the oldest on."""
MAX_CHARS: Final = 200

Told = tuple[str, str]
"""The model and the fingerprint."""


class Reported:
    """Of one version in one worker. Lives on its event loop."""

    def __init__(self, model: str, version: int, tell: Callable[[dict[str, Any]], bool]) -> None:
        """Has heard nothing.

        Args:
            model: whose upstreams they are.
            version: of it.
            tell: tells control, if there is room.
        """
        self._model = model
        self._version = version
        self._tell = tell
        self._known: dict[str, dict[Told, None]] = {}

    def heard(self, upstream: str, reading: Reading) -> None:
        """An upstream has answered."""
        told = reading.model[:MAX_CHARS], reading.fingerprint[:MAX_CHARS]
        known = self._known.setdefault(upstream, {})
        if told in known or not any(told):
            return
        before = next(reversed(known), None)
        message = {
            "type": "reported",
            "model": self._model,
            "version": self._version,
            "upstream": upstream,
            "before": before,
            "now": told,
        }
        if self._tell(message):  # else the next answer says it again
            known[told] = None
            if len(known) > MAX_KNOWN:
                del known[next(iter(known))]
