"""Asks who sends a request before its endpoint is called.

Knows heads, principals and what a request to a model's endpoint asks for. Knows nothing of how
principals are found or counted. Where access is open nothing of this exists: endpoints are called
directly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING, Any

from gateway.access.credentials import Credentials
from gateway.access.principal import FOREVER, Principal
from gateway.access.roles import Permission
from gateway.exchange import Endpoint

if TYPE_CHECKING:
    from gateway.wire.head import Head

OPEN_PATHS = frozenset({b"/v2/health/live", b"/v2/health/ready"})
"""What probes ask, which have no key."""
# A smaller body is read before it is refused, so that its connection lives on.
SMALL_BODY_BYTES = 65_536

Series = Callable[..., memoryview]
"""By id of a key, model and version: the word that counts its requests; with True beside them, of
those that name the version."""
NO_MODEL = ("", 0)
"""What requests are counted under that ask for no inference."""


@dataclass(slots=True, eq=False)
class Passage:
    """What was found out about a head, kept on it for the requests that repeat it.

    Attributes:
        door: the endpoint for which it was found out.
        principal: who sends it; looked at each time, since it may end.
        count: one word, of the version behind the door; of a route's, one that nobody reads.
        counts: of models and versions that are known later, as far as any was asked.
    """

    door: Door
    principal: Principal
    count: memoryview
    counts: dict[tuple[str, int], memoryview] = field(default_factory=dict)


class Guard:
    """One per worker.

    Attributes:
        doors: what stands before the endpoints, by raw path; the worker replaces it with the plan.
    """

    def __init__(self, credentials: Credentials, series: Series) -> None:
        self._credentials = credentials
        self._series = series
        self.doors: Mapping[bytes, Door] = {}

    def principal(self, head: Head) -> Principal:
        """Who sends a request.

        Raises:
            Unauthenticated: nobody that is known.
        """
        return self._credentials.find(head.headers, head.shown)

    def calling(self, head: Head) -> Principal:
        """As `principal`, and counts a request that asks for no inference.

        Raises:
            Unauthenticated: nobody that is known.
        """
        principal = self.principal(head)
        self._series(principal.id, *NO_MODEL)[0] += 1
        return principal

    def counts(self, number: int) -> bool:
        """Whether whoever is counted under this number may still come."""
        return self._credentials.knows(number)

    def arriving(self, head: Head) -> None:
        """Refuses, before it is read, a large body that its sender may not send.

        Raises:
            Unauthenticated, Forbidden: it may not.
        """
        small = head.length is not None and head.length <= SMALL_BODY_BYTES
        if (small and not head.expects_continue) or head.path in OPEN_PATHS:
            return
        door = self.doors.get(head.path) if head.method == b"POST" else None
        if door is None:
            self.principal(head)
        else:
            door.judge(head)

    def remembers(self, head: Head) -> bool:
        """Whether a head that was seen before may pass without being asked anew."""
        passage = head.passage
        return (
            passage is not None
            and passage.door is self.doors.get(head.path)
            and passage.principal.until > time()
        )

    def count(self, head: Head, model: str, version: int) -> None:
        """Counts a request that passed a route's door, once it is known which version answers."""
        passage = head.passage
        if passage is not None:
            answers = model, version
            count = passage.counts.get(answers)
            if count is None:
                count = self._series(passage.principal.id, model, version)
                passage.counts[answers] = count
            count[0] += 1

    def pass_to(self, door: Door, head: Head) -> Passage:
        """Finds out whether a head may pass to an endpoint.

        Raises:
            Unauthenticated, Forbidden: it may not.
        """
        principal = self.principal(head)
        principal.require(Permission.INFER, door.model)
        count = memoryview(bytearray(8)).cast("q")
        if door.version is not None and door.model is not None:
            named = (True,) if door.named else ()
            count = self._series(principal.id, door.model, door.version, *named)
        return Passage(door, principal, count)


class Door:
    """What stands before a model's endpoint: `enter` is the endpoint for those who may call it."""

    __slots__ = ("_guard", "_pass_on", "model", "named", "version")

    def __init__(
        self,
        guard: Guard,
        endpoint: Endpoint,
        model: str | None,
        version: int | None,
        named: bool = False,
    ) -> None:
        """Stands before one path.

        Args:
            guard: asks who comes.
            endpoint: of the path.
            model: None where its requests name one in their body: whoever reads that asks whether
                they may.
            version: None where it is known later which answers, and `Guard.count` counts them.
            named: the path names the version.
        """
        self._guard = guard
        # Calling a bound method costs less than calling an object that has one, by as much as the
        # look at a remembered passage.
        self._pass_on: Endpoint = endpoint.__call__  # type: ignore[operator]
        self.model = model
        self.version = version
        self.named = named

    def enter(self, exchange: Any) -> None:
        """Counts the request and passes it on, or raises what it is refused with.

        Args:
            exchange: of one of the carriers, which keep the head that it came with.
        """
        passage = exchange.head.passage
        if passage is None or passage.door is not self:
            passage = self.judge(exchange.head)
        until = passage.principal.until
        if until is not FOREVER and until <= time():  # the clock alone costs as much as the rest
            passage = self.judge(exchange.head)
        passage.count[0] += 1
        self._pass_on(exchange)

    def judge(self, head: Head) -> Passage:
        """Finds out anew whether a head may pass, and remembers it there."""
        passage = head.passage = self._guard.pass_to(self, head)
        return passage
