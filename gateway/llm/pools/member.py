"""One upstream of a pool, as one worker has come to know it.

Knows counts, how fast it was, and its breaker. Knows nothing of other upstreams.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import ceil, exp, inf
from typing import Final

from gateway.config.llm import LlmBreaker, LlmUpstream
from gateway.llm.pools.breaker import Breaker, State

# How long a slow answer is remembered: 10 s is long enough to steer past a stall, and short enough
# that an upstream which was slow is tried again within a minute.
DECAY_S: Final = 10.0
# Of an upstream that has not answered yet one request finds out; further ones find it slow.
_UNKNOWN_S: Final = 1e6
# Without a word on how long, as after a failure: the first pause, and each further twice as long.
_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 60.0


class Outcome(Enum):
    """How a request ended, as far as its upstream is concerned."""

    OK = "ok"
    FAILED = "failed"
    """It, or the way to it, is broken: an error of its own, a cut connection, time ran out."""
    LIMITED = "limited"
    """It is well and takes no more for now (429)."""
    REFUSED = "refused"
    """It answered that the request is wrong: it is well."""
    LEFT = "left"
    """The client left, or the gateway failed: nothing is known."""


@dataclass(frozen=True, slots=True)
class Health:
    """Of one upstream in one worker, for showing.

    Attributes:
        called: in metrics and logs.
        state: of its breaker.
        ready_in_s: until it may be asked again; 0: now, or once its probe has answered.
        in_flight: requests under way.
        first_byte_s: how long answers take to begin, slow ones weighing more; None: not known.
        asked, failed, limited: requests since it was made.
        why: what the last failure was.
        lacks: why it is left out; empty: it is not.
    """

    called: str
    state: State
    ready_in_s: float
    in_flight: int
    first_byte_s: float | None
    asked: int
    failed: int
    limited: int
    why: str
    lacks: str = ""


class Member:
    """Lives on a worker's event loop; `Pool` and `Picked` alone write to it.

    Attributes:
        lacks: why it is left out, a key say; empty: it is not.
        room: requests that it may have under way now.
    """

    __slots__ = (
        "_limited_in_a_row",
        "_seen_at",
        "_slowness_s",
        "asked",
        "breaker",
        "called",
        "failed",
        "in_flight",
        "index",
        "lacks",
        "limited",
        "max_parallel",
        "room",
        "weight",
        "why",
    )

    def __init__(self, index: int, upstream: LlmUpstream, breaker: LlmBreaker) -> None:
        self.index = index
        self.called = upstream.called
        self.weight = upstream.weight
        self.max_parallel: float = inf if upstream.max_parallel is None else upstream.max_parallel
        self.breaker = Breaker(breaker)

        # until left out, or back
        self.lacks = ""
        self.room = self.max_parallel

        self.in_flight = 0
        self.asked = 0
        self.failed = 0
        self.limited = 0
        self.why = ""
        self._slowness_s = -1.0  # none yet
        self._seen_at = 0.0
        self._limited_in_a_row = 0

    def leave_out(self, lacks: str) -> None:
        """Is asked no more, for this reason; empty: is asked again."""
        self.lacks = lacks
        self.room = 0.0 if lacks else self.max_parallel

    def close(self) -> None:
        """Is asked again at once, whatever it has failed; one that is left out is not."""
        self._limited_in_a_row = 0
        self.breaker.close()

    def answered(self, now: float, first_byte_s: float) -> None:
        """An answer has begun after so long.

        Peak-sensitive: a slower one counts at once, a faster one by and by.

        Source: the peak EWMA of Twitter's Finagle, in its balancer with two choices.
        """
        self._limited_in_a_row = 0
        slowness = self._slowness_s
        if first_byte_s < slowness:
            kept = exp((self._seen_at - now) / DECAY_S)
            first_byte_s += (slowness - first_byte_s) * kept
        self._slowness_s = first_byte_s
        self._seen_at = now

    def load(self, now: float) -> float:
        """Seconds that one more request may be expected to wait here, for comparing."""
        if self._slowness_s < 0.0:
            return self.in_flight * _UNKNOWN_S
        # Forgotten while nothing is heard, so that one that was slow is tried again.
        kept = exp((self._seen_at - now) / DECAY_S)
        return self._slowness_s * kept * (self.in_flight + 1)

    def pause_s(self, told: float | None) -> float:
        """How long one that takes no more is left, by what it said or did not say."""
        self._limited_in_a_row += 1
        if told is not None:
            return told
        return min(_PAUSE_S * 2.0 ** min(self._limited_in_a_row - 1, 30), _MAX_PAUSE_S)

    def limits(self, now: float) -> bool:
        """Whether a pause that it asked for (429) is all that keeps it from being asked."""
        well = self.breaker.state(now) == "closed" and self.in_flight < self.room
        return well and self._limited_in_a_row > 0 and self.breaker.ready_at > now

    def hindrance(self, now: float) -> str:
        """Why it takes no request now, in a few words; empty: it does."""
        left_s = self.breaker.ready_at - now
        if self.lacks:
            return f"'{self.called}' is left out: {self.lacks}"
        if self.breaker.state(now) == "half_open" and left_s > 0.0:
            return f"'{self.called}' is tried again after {self.why or 'failures'}"
        if self.breaker.state(now) == "open":
            return (
                f"'{self.called}' is left alone for {ceil(left_s)} s after {self.why or 'failures'}"
            )
        if left_s > 0.0:
            return f"'{self.called}' wants a pause of {ceil(left_s)} s"
        if self.in_flight >= self.room:
            return f"'{self.called}' has the {self.in_flight} requests that it may have"
        return ""

    def health(self, now: float) -> Health:
        """As it is shown."""
        ready_at = self.breaker.ready_at
        return Health(
            called=self.called,
            state=self.breaker.state(now),
            ready_in_s=0.0 if ready_at == inf else max(ready_at - now, 0.0),
            in_flight=self.in_flight,
            first_byte_s=None if self._slowness_s < 0.0 else self._slowness_s,
            asked=self.asked,
            failed=self.failed,
            limited=self.limited,
            why=self.why,
            lacks=self.lacks,
        )
