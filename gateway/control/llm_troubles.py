"""Upstreams that are left alone, or refuse the gateway: told in the log, and to alert sinks.

Knows what workers show of their upstreams, and what was told when. Knows nothing of how an upstream
is judged, or of who reads alerts.

One that comes and goes is told at most once a minute, and what was told last becomes true again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.alerts.notices import Notice, Subject, told_once
from gateway.llm.pools import Trouble
from gateway.monitor.upstreams import LEFT_OUT, UpstreamCounts

log = logging.getLogger("penstock.control")

RULE: Final = "upstream_left_alone"
SEVERITY: Final = "warning"
# A restart is over by then, and so are the first few probes.
ALARM_S: Final = 60.0
TELL_AGAIN_S: Final = 60.0
_REFUSALS: Final = (Trouble.CREDENTIALS.value, Trouble.QUOTA.value)

Key = tuple[str, int, str]
"""Model, version and upstream."""
Version = tuple[str, int]


@dataclass(slots=True)
class _Upstream:
    """What is remembered of one.

    Attributes:
        alone_since: none but probes get there since then; None: it takes requests.
        said_alone: what the log said last.
        told_at: when each kind of line was written last.
        failed: requests, at the last look.
    """

    alone_since: float | None = None
    said_alone: bool = False
    told_at: dict[str, float] = field(default_factory=dict)
    failed: int = 0

    def may_tell(self, kind: str, now: float) -> bool:
        """Whether a line of a kind may be written, which it is then."""
        if now - self.told_at.get(kind, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return False
        self.told_at[kind] = now
        return True


class LlmTroubles:
    """Lives on control's event loop."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Has seen nothing.

        Args:
            clock: seconds, monotonic.
            wall: seconds since 1970.
        """
        self._clock = clock
        self._wall = wall
        self._known: dict[Key, _Upstream] = {}
        self._firing: dict[Version, Notice] = {}

    def look(self, found: Iterable[UpstreamCounts]) -> list[Notice]:
        """Writes into the log what has changed. Called once a second.

        Returns:
            What alert sinks are to be told: that upstreams of a version have been left alone for
            long, and that none is any more.
        """
        now = self._clock()
        before, self._known = self._known, {}
        long_alone: dict[Version, list[str]] = {}
        for one in found:
            called = one.called
            if not called.upstream or not one.workers:
                continue
            key = called.model, called.version, called.upstream
            known = self._known[key] = before.get(key) or _Upstream()
            why = _alone(one)
            self._of_standing(known, key, why, now)
            self._of_refusals(known, key, one, now)
            if known.alone_since is not None and now - known.alone_since >= ALARM_S:
                long_alone.setdefault(key[:2], []).append(f"'{called.upstream}' ({why})")
        return self._of_alarms(long_alone)

    def _of_standing(self, known: _Upstream, key: Key, why: str, now: float) -> None:
        if not why:
            known.alone_since = None
        elif known.alone_since is None:
            known.alone_since = now
        if bool(why) is known.said_alone:
            return
        if known.may_tell("alone" if why else "well", now):
            known.said_alone = bool(why)
            said = f"is left alone: {why}" if why else "takes requests"
            log.warning(
                "%smodel '%s' version %d: upstream '%s' %s", "" if why else "over: ", *key, said
            )

    def _of_refusals(self, known: _Upstream, key: Key, one: UpstreamCounts, now: float) -> None:
        fails, known.failed = one.failed > known.failed, one.failed
        if not fails:
            return
        for health in one.workers.values():
            kind = health.trouble.partition(":")[0]
            if kind in _REFUSALS and known.may_tell(kind, now):
                log.error(
                    "model '%s' version %d: upstream '%s' refuses us: %s", *key, health.trouble
                )

    def _of_alarms(self, long_alone: Mapping[Version, list[str]]) -> list[Notice]:
        begun, over = (
            long_alone.keys() - self._firing.keys(),
            self._firing.keys() - long_alone.keys(),
        )
        at = self._wall()
        ended = [_over(self._firing.pop(version), at) for version in over]
        firing = {version: _notice(*version, long_alone[version], at) for version in begun}
        self._firing |= firing
        return [*firing.values(), *ended]


def _alone(one: UpstreamCounts) -> str:
    """Why workers leave it alone; empty where none does."""
    alone = [health for health in one.workers.values() if health.breaker != "closed"]
    if not alone:
        return ""
    why = next((health.trouble for health in alone if health.trouble), "it fails")
    if all(health.breaker == LEFT_OUT for health in alone):
        return why
    return f"{why}, by {len(alone)} of {len(one.workers)} workers"


def _notice(model: str, version: int, upstreams: list[str], at: float) -> Notice:
    says = f"left alone for a minute: {', '.join(sorted(upstreams))}"
    subject = Subject(RULE, model, version)
    return told_once(subject, str(int(at * 1000)), at, SEVERITY, says, says)


def _over(notice: Notice, at: float) -> Notice:
    """The same alarm, resolved."""
    event = f"{notice['id']}-2"
    return {**notice, "event": event, "status": "resolved", "at": at, "resolved_at": at}
