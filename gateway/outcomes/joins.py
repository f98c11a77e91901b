"""Joins outcomes to the records that they are outcomes of.

Knows the ledger, addresses and what becomes of an outcome. Knows nothing of who sends outcomes, or
of clocks. Blocking: it lives on the ledger's thread.

What became of an outcome is one of RESULTS. The same outcome again changes nothing; another one for
the same row replaces it. One whose record is not there yet waits: answers are written down after
they are sent, and drained a moment later. Whoever waits too long was never answered, or by nobody
who writes a ledger.

Outcomes are looked up, judged and written many at a time: an object for each would take longer than
all of that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from gateway.names import MAX_METRICS
from gateway.outcomes.address import Address
from gateway.outcomes.arrivals import NONE, NOW, Arrivals, of_list
from gateway.outcomes.clients import EVERYBODYS, Addressed, addressed
from gateway.outcomes.early import Early, Models, Waiting
from gateway.outcomes.labels import About, fitting, name_classes, taken_by
from gateway.outcomes.ledger import ERASED, Ledger
from gateway.outcomes.metric_sums import Metrics
from gateway.outcomes.results import Joined, nothing
from gateway.outcomes.segment import Segment
from gateway.outcomes.written import write_labels, write_numbers
from kernels.ledger import (
    FILE,
    NOT_THERE,
    OUTCOME_MS,
    TOP_AND_CORRECTIONS,
    Words,
    series_of,
    wanted,
)
from kernels.performance import VALUE
from kernels.shares import chosen, limit

# Clocks of others differ from ours.
MAX_AHEAD_MS = 300_000


class Server(Protocol):
    """What has to be known of the server that writes the ledger, as it is now."""

    def about(self, series: int) -> About:
        """What has to be known of a series."""

    def series(self, models: frozenset[str]) -> Words:
        """The numbers of all series of some models."""

    def live(self) -> set[str]:
        """Streams whose records may still come."""

    @property
    def early_ms(self) -> int:
        """How long an outcome may wait for its record."""

    @property
    def reserved_metrics(self) -> Collection[str]:
        """Names of metrics that no other takes the place of."""

    @property
    def share(self) -> float:
        """Of requests, the largest that is written down for any model."""

    @property
    def client_ids(self) -> bool:
        """Whether clients' ids are written down."""


class _Looked(NamedTuple):
    """Where outcomes were looked for, and which of them have no record.

    Attributes:
        addressed: their addresses.
        missing: which of them.
        live: streams whose records may still come.
    """

    addressed: Addressed
    missing: list[int]
    live: set[str]


class Joins:
    """Of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        early: Early,
        server: Server,
        labelled: Callable[[Words], None] = lambda records: None,
    ) -> None:
        """Takes its collaborators.

        Args:
            ledger: of the records.
            metrics: of their numbers.
            early: those that wait.
            server: tells what is in force.
            labelled: told of records whose first outcome was written: (records, RECORD_WORDS), in
                the order in which outcomes were known.
        """
        self._ledger = ledger
        self._metrics = metrics
        self._early = early
        self._server = server
        self._labelled = labelled
        self._fresh: list[Words] = []
        """Records whose first outcome was written, and not told yet."""
        self.late: Counter[str] = Counter()
        """What became of those that had to wait."""
        self.refused_numbers = 0
        """Of metrics that a model is not to have, or that there was no room for."""

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
        looked = self._join(arrivals, models, now_ms, result)
        written = limit(self._server.share)
        for place in looked.missing:
            what = self._without(looked, place, written)
            if what == "early" and not self._put_off(arrivals, place, models, now_ms):
                what = "unknown"
            result.counts[what] += 1
        self._early.keep()
        return result

    def again(self, now_ms: int) -> None:
        """Tries once more those that wait; who has waited too long is unknown.

        Raises:
            StoreFailed: as `join`.
        """
        self._again(self._early.all(), now_ms)
        self._early.keep()

    def forget(self, requests: Collection[Address], named: Collection[int]) -> int:
        """Lets go of outcomes that wait for these requests, as `Early.forget` does; how many.

        Raises:
            StoreFailed: it could not be kept that they are gone.
        """
        return self._early.forget(requests, named)

    # ---- waiting --------------------------------------------------------------------------------

    def _again(self, early: list[Waiting], now_ms: int) -> None:
        by_caller: dict[Models, list[Waiting]] = {}
        for one in early:
            by_caller.setdefault(one.models, []).append(one)
        for models, some in by_caller.items():
            result = nothing()
            looked = self._join(of_list(one.arrival for one in some), models, now_ms, result)
            missing = set(looked.missing)
            for place, one in enumerate(some):
                if place in missing:
                    if now_ms < one.until_ms and self._may_come(looked, place):
                        continue
                    result.counts["unknown"] += 1
                self._early.drop(one)
            self.late.update(result.counts)

    def _without(self, looked: _Looked, place: int, written: int) -> str:
        """What an outcome is that has no record."""
        its = looked.addressed
        number = int(its.stream[place])
        if number != NONE:
            stream, sequence = its.streams[number], int(its.sequence[place])
            if not chosen(sequence, written):
                known = stream in looked.live or self._ledger.knows(stream)
                return "unsampled" if known else "unknown"
            if self._ledger.forgot(stream, sequence):
                return "expired"
        return "early" if self._may_come(looked, place) else "unknown"

    def _may_come(self, looked: _Looked, place: int) -> bool:
        """Whether a record of that id may still come."""
        number = int(looked.addressed.stream[place])
        if number == NONE:
            return self._server.client_ids
        return looked.addressed.streams[number] in looked.live

    def _put_off(self, arrivals: Arrivals, place: int, models: Models, now_ms: int) -> bool:
        arrival = arrivals.one(place)
        if arrival.at_ms is None:
            arrival = arrival._replace(at_ms=now_ms)
        return self._early.add(Waiting(arrival, models, now_ms + self._server.early_ms))

    # ---- joining --------------------------------------------------------------------------------

    def _join(self, arrivals: Arrivals, models: Models, now_ms: int, result: Joined) -> _Looked:
        ahead = arrivals.at_ms > now_ms + MAX_AHEAD_MS
        for place in np.flatnonzero(ahead).tolist():
            result.refuse("invalid", f"{arrivals.id(place)}: at: expected no time to come")
        series = EVERYBODYS if models is None else self._server.series(models)
        its = addressed(arrivals, self._ledger, series)
        for place in np.flatnonzero(its.ambiguous & ~ahead).tolist():
            result.refuse("ambiguous", f"{arrivals.id(place)}: several requests have this id")
        out = ahead | its.ambiguous
        found, files = wanted(its.sequence, arrivals.row), list[Segment]()
        for number in np.unique(its.stream[~out & (its.stream != NONE)]).tolist():
            if self._ledger.knows(its.streams[number]):
                some = np.flatnonzero((its.stream == number) & ~out)
                some = some[np.argsort(its.sequence[some], kind="stable")]
                self._ledger.find(its.streams[number], some, found, files)
        there = found[:, FILE] != NOT_THERE
        try:
            self._write(arrivals, found, files, np.flatnonzero(there), models, now_ms, result)
        finally:  # what was written is told, whatever failed after it: it is never new again
            self._tell()
        return _Looked(its, np.flatnonzero(~there & ~out).tolist(), self._server.live())

    def _tell(self) -> None:
        fresh, self._fresh = self._fresh, []
        if fresh:
            records = np.concatenate(fresh)
            self._labelled(records[np.argsort(records[:, OUTCOME_MS], kind="stable")])

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
        series = series_of(found)[there]
        numbers = set(series.tolist()) - {ERASED}
        about = {number: self._server.about(number) for number in numbers}
        theirs = series != ERASED
        if models is not None:
            theirs &= np.isin(series, [n for n, one in about.items() if one.model in models])
        result.counts["unknown"] += int((~theirs).sum())
        there, series = there[theirs], series[theirs]
        labels = arrivals.metric[there] == NONE
        self._write_labels(
            arrivals, found, files, there[labels], series[labels], about, now_ms, result
        )
        self._write_numbers(arrivals, found, files, there[~labels], series[~labels], about, result)

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
            told = f"{arrivals.id(int(there[one]))}: outcome: expected {taken_by(int(tops[one]))}"
            result.refuse("invalid", told)
        there, values = there[fits], values[fits]
        at_ms = np.where(arrivals.at_ms[there] == NOW, now_ms, arrivals.at_ms[there])
        result.written(write_labels(found[there], files, values, at_ms, self._fresh.append))

    def _write_numbers(
        self,
        arrivals: Arrivals,
        found: Words,
        files: list[Segment],
        there: Words,
        series: Words,
        about: Mapping[int, About],
        result: Joined,
    ) -> None:
        """Those of metrics: a record takes whatever number, of whatever its model may have."""
        kinds = arrivals.metric[there]
        for kind in np.unique(kinds).tolist():
            name, its = arrivals.metrics[kind], kinds == kind
            theirs = [n for n, one in about.items() if one.metrics is None or name in one.metrics]
            taken = its & np.isin(series, theirs)
            self._refuse(arrivals, there[its & ~taken], f"{name}: its model has no such", result)
            if not taken.any():
                continue
            metric = self._metrics.number(name, self._server.reserved_metrics)
            if metric is None:
                told = f"{name}: there is room for {MAX_METRICS}, taken by others or kept for them"
                self._refuse(arrivals, there[taken], told, result)
                continue
            some = there[taken]
            result.written(write_numbers(found[some], files, metric, arrivals.value[some]))

    def _refuse(self, arrivals: Arrivals, places: Words, told: str, result: Joined) -> None:
        self.refused_numbers += len(places)
        for place in places.tolist():
            result.refuse("invalid", f"{arrivals.id(place)}: metric: {told}")
