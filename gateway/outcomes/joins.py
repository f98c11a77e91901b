"""Joins outcomes to the records that they are outcomes of.

Knows the ledger, addresses and what kind of outcome a score takes. Knows nothing of who sends
outcomes, or of clocks. Blocking: it lives on the ledger's thread.

What became of an outcome is one of RESULTS. The same outcome again changes nothing; another one for
the same row replaces it. One whose record is not there yet waits: answers are written down after
they are sent, and drained a moment later. Whoever waits too long was never answered, or by nobody
who writes a ledger.

Outcomes are looked up, judged and written many at a time: an object for each would take longer than
all of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.outcomes.arrivals import NONE, NOW, Arrivals, of_list
from gateway.outcomes.early import Early, Models, Waiting
from gateway.outcomes.labels import About, fitting, name_classes
from gateway.outcomes.labels import wanted as wanted_of
from gateway.outcomes.ledger import Ledger
from gateway.outcomes.metric_sums import MAX_METRICS, Metrics
from gateway.outcomes.segment import Segment
from gateway.outcomes.written import write_labels, write_numbers
from kernels.ledger import (
    ACCEPTED,
    CORRECTED,
    DUPLICATE,
    FILE,
    NOT_THERE,
    SERIES_AND_ROW,
    TOP_AND_CORRECTIONS,
    Words,
    wanted,
)
from kernels.performance import VALUE
from kernels.shares import chosen, limit

RESULTS: Final = (
    *("accepted", "duplicate", "corrected"),
    *("early", "unsampled", "unknown", "expired", "invalid"),
)
_WRITTEN: Final = {ACCEPTED: "accepted", DUPLICATE: "duplicate", CORRECTED: "corrected"}
MAX_TOLD: Final = 10
# Clocks of others differ from ours.
MAX_AHEAD_MS: Final = 300_000


class Joined(NamedTuple):
    """What became of some outcomes.

    Attributes:
        counts: how many of each of RESULTS.
        faults: why some of the invalid ones are.
    """

    counts: dict[str, int]
    faults: list[str]

    def refuse(self, fault: str) -> None:
        """One more is invalid."""
        self.counts["invalid"] += 1
        if len(self.faults) < MAX_TOLD:
            self.faults.append(fault)

    def written(self, became: Words) -> None:
        """So many became what `kernels.ledger` says."""
        for what, count in enumerate(np.bincount(became, minlength=len(_WRITTEN)).tolist()):
            self.counts[_WRITTEN[what]] += count


def nothing() -> Joined:
    """Of no outcomes."""
    return Joined(dict.fromkeys(RESULTS, 0), [])


def document(faults: Sequence[str], joined: Joined) -> dict[str, Any]:
    """The answer to whoever sent outcomes: those that could not be read are among the invalid."""
    counts = joined.counts | {"invalid": joined.counts["invalid"] + len(faults)}
    return {"counts": counts, "faults": [*faults, *joined.faults][:MAX_TOLD]}


class Joins:
    """Of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        early: Early,
        about: Callable[[int], About],
        live: Callable[[str], bool],
        early_ms: Callable[[], int],
        share: Callable[[], float],
    ) -> None:
        """Takes its collaborators.

        Args:
            ledger: of the records.
            metrics: of their numbers.
            early: those that wait.
            about: tells of a series.
            live: whether records of a stream may still come.
            early_ms: how long an outcome may wait for its record.
            share: of requests, the largest that are written down for any model.
        """
        self._ledger = ledger
        self._metrics = metrics
        self._early = early
        self._about = about
        self._live = live
        self._early_ms = early_ms
        self._share = share
        self.late: Counter[str] = Counter()
        """What became of those that had to wait."""

    @property
    def waiting(self) -> int:
        """Outcomes whose record is not there yet."""
        return len(self._early)

    def join(self, arrivals: Arrivals, models: Models, now_ms: int) -> Joined:
        """Writes outcomes into their records.

        Args:
            arrivals: they count in this order.
            models: whose outcomes they may be.
            now_ms: wall clock.

        Raises:
            StoreFailed: a file of the ledger cannot be read or written. Some may have been written:
                sending all of them again is right.
        """
        # Those of the same records that did wait go first: what comes now is newer.
        self._again(self._early.of(arrivals), now_ms)
        result = nothing()
        missing = self._join(arrivals, models, now_ms, result).tolist()
        written = limit(self._share())
        for place in missing:
            result.counts[self._put_off(arrivals, place, models, now_ms, written)] += 1
        self._early.keep()
        return result

    def again(self, now_ms: int) -> None:
        """Tries once more those that wait; who has waited too long is unknown.

        Raises:
            StoreFailed: as `join`.
        """
        self._again(self._early.all(), now_ms)
        self._early.keep()

    # ---- waiting --------------------------------------------------------------------------------

    def _again(self, early: list[Waiting], now_ms: int) -> None:
        by_caller: dict[Models, list[Waiting]] = {}
        for one in early:
            by_caller.setdefault(one.models, []).append(one)
        for models, some in by_caller.items():
            result = nothing()
            arrivals = of_list(one.arrival for one in some)
            missing = set(self._join(arrivals, models, now_ms, result).tolist())
            for place, one in enumerate(some):
                if place in missing:
                    if now_ms < one.until_ms and self._may_come(arrivals, place):
                        continue
                    result.counts["unknown"] += 1
                self._early.drop(one)
            self.late.update(result.counts)

    def _put_off(
        self, arrivals: Arrivals, place: int, models: Models, now_ms: int, written: int
    ) -> str:
        """What becomes of an outcome that has no record."""
        number = int(arrivals.stream[place])
        if number != NONE:
            stream, sequence = arrivals.streams[number], int(arrivals.sequence[place])
            if not chosen(sequence, written):
                known = self._ledger.knows(stream) or self._live(stream)
                return "unsampled" if known else "unknown"
            if self._ledger.forgot(stream, sequence):
                return "expired"
        if not self._may_come(arrivals, place):
            return "unknown"
        arrival = arrivals.one(place)
        if arrival.at_ms is None:
            arrival = arrival._replace(at_ms=now_ms)
        waits = self._early.add(Waiting(arrival, models, now_ms + self._early_ms()))
        return "early" if waits else "unknown"

    def _may_come(self, arrivals: Arrivals, place: int) -> bool:
        """Whether a record of that id may still come."""
        stream = arrivals.stream[place]
        return bool(stream != NONE) and self._live(arrivals.streams[stream])

    # ---- joining --------------------------------------------------------------------------------

    def _join(self, arrivals: Arrivals, models: Models, now_ms: int, result: Joined) -> Words:
        """Which of them have no record."""
        ahead = arrivals.at_ms > now_ms + MAX_AHEAD_MS
        for place in np.flatnonzero(ahead).tolist():
            result.refuse(f"{arrivals.id(place)}: at: expected no time to come")
        found, files = wanted(arrivals.sequence, arrivals.row), list[Segment]()
        for number, stream in enumerate(arrivals.streams):
            if self._ledger.knows(stream):
                its = np.flatnonzero((arrivals.stream == number) & ~ahead)
                by_address = np.argsort(arrivals.sequence[its], kind="stable")
                self._ledger.find(stream, its[by_address], found, files)
        there = found[:, FILE] != NOT_THERE
        self._write(arrivals, found, files, np.flatnonzero(there), models, now_ms, result)
        return np.flatnonzero(~there & ~ahead)

    def _write(
        self,
        arrivals: Arrivals,
        found: Words,
        files: list[Segment],
        there: Words,
        models: Models,
        now_ms: int,
        result: Joined,
    ) -> None:
        """Writes those whose record is the caller's and takes them."""
        series = found[there, SERIES_AND_ROW] >> 32
        about = {number: self._about(number) for number in np.unique(series).tolist()}
        if models is not None:
            known = [number for number, one in about.items() if one.model in models]
            theirs = np.isin(series, known)
            result.counts["unknown"] += int((~theirs).sum())
            there, series = there[theirs], series[theirs]
        labels = arrivals.metric[there] == NONE
        self._write_labels(
            arrivals, found, files, there[labels], series[labels], about, now_ms, result
        )
        self._write_numbers(arrivals, found, files, there[~labels], result)

    def _write_labels(
        self,
        arrivals: Arrivals,
        found: Words,
        files: list[Segment],
        there: Words,
        series: Words,
        about: Mapping[int, About],
        now_ms: int,
        result: Joined,
    ) -> None:
        values, tops = arrivals.value[there], found[there, TOP_AND_CORRECTIONS] >> 32
        name_classes(values, arrivals, there, np.where(tops == VALUE, NONE, series), about)
        fits = fitting(values, tops)
        for one in np.flatnonzero(~fits).tolist():
            place = int(there[one])
            result.refuse(f"{arrivals.id(place)}: outcome: expected {wanted_of(int(tops[one]))}")
        there, values = there[fits], values[fits]
        at_ms = np.where(arrivals.at_ms[there] == NOW, now_ms, arrivals.at_ms[there])
        result.written(write_labels(found[there], files, values, at_ms))

    def _write_numbers(
        self,
        arrivals: Arrivals,
        found: Words,
        files: list[Segment],
        there: Words,
        result: Joined,
    ) -> None:
        """Those of metrics: a record takes whatever number."""
        for kind in np.unique(arrivals.metric[there]).tolist():
            its = there[arrivals.metric[there] == kind]
            metric = self._metrics.number(arrivals.metrics[kind])
            if metric is None:
                for place in its.tolist():
                    result.refuse(f"{arrivals.id(place)}: metric: {MAX_METRICS} others are there")
                continue
            result.written(write_numbers(found[its], files, metric, arrivals.value[its]))
