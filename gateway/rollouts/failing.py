"""Tells from counts whether a version fails so much that it must not wait for statistics.

Knows totals of answers and failures, and two bounds. Knows nothing of clocks, of where counts come
from, or of what follows: the same counts in the same order always come to the same.

Failures are those that are the model's or the gateway's fault (500); what a client did wrong, and
what was refused for want of time or room, is neither success nor failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from gateway.config import Failing

Kind = Literal["crash", "in_a_row", "share"]


class Tally(NamedTuple):
    """Requests that were answered well and that failed, ever: both only grow."""

    ok: int
    failed: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a version must not be asked any more.

    Attributes:
        kind: a crash of a worker that ran it; failures in a row; a share of failures.
        says: one sentence for a person, with the bound.
        failed, requests: so many of so many; for a crash the one request that is known of.
        bound: of failures in a row, or of the share; for a crash 1.
    """

    kind: Kind
    says: str
    failed: int
    requests: int
    bound: float

    def plain(self) -> Mapping[str, Any]:
        """As the audit and the API tell it."""
        return asdict(self)


def crash(worker: int, how: str) -> Evidence:
    """A worker was running it when that ended by `how` (`signal SIGSEGV`)."""
    return Evidence("crash", f"worker {worker} crashed natively while it ran it ({how})", 1, 1, 1)


class Watch:
    """One version, held against what else could answer.

    A version is left alone for as long as the other fails as badly over the same requests: whatever
    the reason is, sending them there would help nobody.
    """

    __slots__ = ("_last", "_row_began", "_share_began")

    def __init__(self, own: Tally, other: Tally) -> None:
        """Begins with the counts as they are.

        Args:
            own: of the version.
            other: of what would answer in its place; no counts where there is nothing.
        """
        self._last = own
        # Counts of both where the present row of failures began, and where the share's requests do.
        self._row_began = self._share_began = (own, other)

    def look(self, own: Tally, other: Tally, bounds: Failing) -> Evidence | None:
        """What the counts come to. It is asked at each failure, or soon after several of them.

        Where there were successes since the last look, the newest failure alone begins a row: it is
        what the look is for.
        """
        if own.ok > self._last.ok:
            first = Tally(own.ok, own.failed - min(1, own.failed - self._last.failed))
            self._row_began = (first, other)
        self._last = own
        return self._in_a_row(own, other, bounds) or self._share(own, other, bounds)

    def _in_a_row(self, own: Tally, other: Tally, bounds: Failing) -> Evidence | None:
        began, others_began = self._row_began
        failed = own.failed - began.failed
        if failed < bounds.in_a_row:
            return None
        if _fails(others_began, other, bounds):
            self._row_began = (own, other)  # from here on it has as many chances again
            return None
        said = f"{failed} failures in a row (bound {bounds.in_a_row})"
        return Evidence("in_a_row", said, failed, failed, bounds.in_a_row)

    def _share(self, own: Tally, other: Tally, bounds: Failing) -> Evidence | None:
        began, others_began = self._share_began
        failed, requests = own.failed - began.failed, sum(own) - sum(began)
        if requests < bounds.of:
            return None
        self._share_began = (own, other)
        if failed / requests <= bounds.share or _fails(others_began, other, bounds):
            return None
        said = (
            f"{failed} of {requests} requests failed"
            f" (bound {100 * bounds.share:g} % of at least {bounds.of})"
        )
        return Evidence("share", said, failed, requests, bounds.share)


def _fails(began: Tally, now: Tally, bounds: Failing) -> bool:
    """Whether a share above the bound has failed since."""
    failed, requests = now.failed - began.failed, sum(now) - sum(began)
    return failed > bounds.share * requests
