"""Tells of what goes wrong again and again once, and once more when it is over.

Knows who met which error last. Knows nothing of what they were doing.
"""

from __future__ import annotations

import logging

from gateway.errors import GatewayError

log = logging.getLogger("penstock.control")


class Troubles:
    """Of one control process. A full disk is one trouble, however many meet it."""

    def __init__(self) -> None:
        self._met: dict[str, str] = {}

    def met(self, who: str, error: Exception) -> None:
        """Something that `who` tries over and over has failed."""
        words = str(error) if isinstance(error, GatewayError) else repr(error)
        told = words in self._met.values()
        self._met[who] = words
        if told:
            return
        if isinstance(error, GatewayError):
            log.error("%s", error)
        else:
            log.error("%s failed; what stands goes on", who, exc_info=error)

    def over(self, who: str) -> None:
        """It went well."""
        words = self._met.pop(who, None)
        if words is not None and words not in self._met.values():
            log.warning("over: %s", words)
