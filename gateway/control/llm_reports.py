"""Upstreams that answer as another model than before: told once, and written down.

Knows what workers have heard, and who is to be told. Knows nothing of how answers are read.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.alerts.notices import Notice, Subject, told_once

RULE: Final = "upstream_changed"
SEVERITY: Final = "warning"
ACTION: Final = "upstream changed"
MAX_KNOWN: Final = 256
"""Of what one upstream ever told."""

Key = tuple[str, int, str]
"""Model, version and upstream."""
Told = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What an upstream says of itself now, and said before.

    Attributes:
        model, version, upstream: whose it is.
        before, now: the model that it says answers, and the fingerprint of what runs that.
        at: seconds since 1970.
        number: of the changes of this upstream.
    """

    model: str
    version: int
    upstream: str
    before: Told
    now: Told
    at: float
    number: int

    @property
    def subject(self) -> str:
        """As the audit calls it."""
        return f"{self.model}/{self.version}/{self.upstream}"

    @property
    def says(self) -> str:
        """In a sentence."""
        return (
            f"upstream '{self.upstream}' answers as {_shown(self.now)}, and answered as"
            f" {_shown(self.before)}"
        )


class Reports:
    """Lives on control's event loop.

    Attributes:
        changes: how many there were of each upstream, since this process began.
    """

    def __init__(
        self, changed: Callable[[Change], None], now: Callable[[], float] = time.time
    ) -> None:
        """Has heard nothing; `changed` hears of each change."""
        self._changed = changed
        self._now = now
        self._known: dict[Key, dict[Told, None]] = {}
        self.changes: collections.Counter[Key] = collections.Counter()

    def heard(self, message: Mapping[str, Any]) -> None:
        """A worker has heard something that it had not heard before."""
        key = (message["model"], message["version"], message["upstream"])
        known = self._known.setdefault(key, {})
        if message["before"] is not None and not known:
            # Of a control process that is new: workers have known that for long.
            known[_told(message["before"])] = None
        now = _told(message["now"])
        if now in known:
            return
        before = next(reversed(known), None)
        known[now] = None
        if len(known) > MAX_KNOWN:
            del known[next(iter(known))]
        if before is not None:
            self.changes[key] += 1
            self._changed(Change(*key, before, now, self._now(), self.changes[key]))


def notice(change: Change) -> Notice:
    """A change as alert sinks are told it."""
    subject = Subject(RULE, change.model, change.version)
    alarm = str(int(change.at * 1000))
    return told_once(subject, alarm, change.at, SEVERITY, change.says, change.says)


def side(told: Told) -> dict[str, str]:
    """As the audit has it."""
    return {"model": told[0], "fingerprint": told[1]}


def _told(given: Any) -> Told:
    return str(given[0]), str(given[1])


def _shown(told: Told) -> str:
    model, fingerprint = told
    return f"'{model}'" + (f" ({fingerprint})" if fingerprint else "")
