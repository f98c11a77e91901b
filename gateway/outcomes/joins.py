"""Joins outcomes to the records that they are outcomes of.

Knows the ledger, addresses and what kind of outcome a score takes. Knows nothing of who sends
outcomes, or of clocks. Blocking: it lives on the ledger's thread.

What became of an outcome is one of RESULTS. The same outcome again changes nothing; another one for
the same row replaces it. One whose record is not there yet waits: answers are written down after
they are sent, and drained a moment later. Whoever waits too long was never answered, or by nobody
who writes a ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from gateway.outcomes.address import Address, parse_id
from gateway.outcomes.arrivals import Arrival, Read, Value
from gateway.outcomes.ledger import Found, Ledger
from kernels.ledger import (
    ACCEPTED,
    CORRECTED,
    DUPLICATE,
    SERIES_AND_ROW,
    TOP_AND_CORRECTIONS,
    Reals,
    Words,
    write_outcomes,
)
from kernels.performance import BINARY, VALUE

RESULTS: Final = (
    *("accepted", "duplicate", "corrected"),
    *("early", "unknown", "expired", "invalid"),
)
_WRITTEN: Final = {ACCEPTED: "accepted", DUPLICATE: "duplicate", CORRECTED: "corrected"}
MAX_TOLD: Final = 10
# Clocks of others differ from ours.
MAX_AHEAD_MS: Final = 300_000
MAX_EARLY: Final = 100_000

Models = frozenset[str] | None
"""Whose outcomes a caller may send; None: everybody's."""


class About(NamedTuple):
    """What has to be known of a series.

    Attributes:
        model: whose answers they are.
        classes: names of its classes, and their numbers.
    """

    model: str
    classes: Mapping[str, int]


class Joined(NamedTuple):
    """What became of some outcomes.

    Attributes:
        counts: how many of each of RESULTS.
        faults: why some of the invalid ones are.
    """

    counts: dict[str, int]
    faults: list[str]


def document(read: Read, joined: Joined) -> dict[str, Any]:
    """The answer to whoever sent outcomes: those that could not be read are among the invalid."""
    counts = joined.counts | {"invalid": joined.counts["invalid"] + len(read.faults)}
    return {"counts": counts, "faults": [*read.faults, *joined.faults][:MAX_TOLD]}


class _Waiting(NamedTuple):
    arrival: Arrival
    models: Models
    until_ms: int


class Joins:
    """Of one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        about: Callable[[int], About],
        live: Callable[[str], bool],
        early_ms: Callable[[], int],
        max_early: int = MAX_EARLY,
        labelled: Callable[[Words], None] = lambda records: None,
    ) -> None:
        """Takes its collaborators.

        Args:
            ledger: of the records.
            about: tells of a series.
            live: whether records of a stream may still come.
            early_ms: how long an outcome may wait for its record.
            max_early: how many may.
            labelled: told of records whose first outcome was written: (records, RECORD_WORDS).
        """
        self._ledger = ledger
        self._about = about
        self._live = live
        self._early_ms = early_ms
        self._max_early = max_early
        self._labelled = labelled
        self._fresh: list[Words] = []
        """Records whose first outcome was written, and not told yet."""
        self._early: dict[tuple[str, int], _Waiting] = {}
        self.late: Counter[str] = Counter()
        """What became of those that had to wait."""

    @property
    def waiting(self) -> int:
        """Outcomes whose record is not there yet."""
        return len(self._early)

    def join(self, arrivals: Sequence[Arrival], models: Models, now_ms: int) -> Joined:
        """Writes outcomes into their records.

        Args:
            arrivals: they count in this order.
            models: whose outcomes they may be.
            now_ms: wall clock.

        Raises:
            StoreFailed: a file of the ledger cannot be read. Some may have been written: sending
                all of them again is right.
        """
        result = Joined(dict.fromkeys(RESULTS, 0), [])
        left = self._join(arrivals, models, now_ms, result)
        for arrival, address in left:
            result.counts[self._put_off(arrival, address, models, now_ms)] += 1
        return result

    def again(self, now_ms: int) -> None:
        """Tries once more those that wait; who has waited too long is unknown."""
        early, self._early = self._early, {}
        by_caller: dict[Models, list[_Waiting]] = {}
        for one in early.values():
            by_caller.setdefault(one.models, []).append(one)
        for models, some in by_caller.items():
            result = Joined(dict.fromkeys(RESULTS, 0), [])
            left = {
                _key(arrival): address
                for arrival, address in self._join(
                    [one.arrival for one in some], models, now_ms, result
                )
            }
            for one in some:
                address = left.get(_key(one.arrival))
                if address is None:
                    continue
                if now_ms < one.until_ms and self._live(address.stream):
                    self._early[_key(one.arrival)] = one
                else:
                    result.counts["unknown"] += 1
            self.late.update(result.counts)

    def _put_off(self, arrival: Arrival, address: Address, models: Models, now_ms: int) -> str:
        """What becomes of an outcome that has no record."""
        if self._ledger.forgot(*address):
            return "expired"
        if not self._live(address.stream) or len(self._early) >= self._max_early:
            return "unknown"
        at_ms = now_ms if arrival.at_ms is None else arrival.at_ms
        waiting = _Waiting(arrival._replace(at_ms=at_ms), models, now_ms + self._early_ms())
        self._early[_key(arrival)] = waiting
        return "early"

    def _join(
        self, arrivals: Iterable[Arrival], models: Models, now_ms: int, result: Joined
    ) -> list[tuple[Arrival, Address]]:
        """Those that have no record."""
        streams: dict[str, list[tuple[Arrival, Address]]] = {}
        for arrival in arrivals:
            address = parse_id(arrival.id)
            if address is None:
                result.counts["unknown"] += 1
            elif arrival.at_ms is not None and arrival.at_ms > now_ms + MAX_AHEAD_MS:
                _refuse(result, f"{arrival.id}: at: expected no time to come")
            else:
                streams.setdefault(address.stream, []).append((arrival, address))
        left: list[tuple[Arrival, Address]] = []
        try:
            for stream, some in streams.items():
                left += self._join_stream(stream, some, models, now_ms, result)
        finally:  # what was written is told, whatever failed after it: it is never new again
            fresh, self._fresh = self._fresh, []
            if fresh:
                self._labelled(np.concatenate(fresh))
        return left

    def _join_stream(
        self,
        stream: str,
        some: Sequence[tuple[Arrival, Address]],
        models: Models,
        now_ms: int,
        result: Joined,
    ) -> list[tuple[Arrival, Address]]:
        sequences = np.array([address.sequence for _, address in some], np.int64)
        rows = np.array([arrival.row for arrival, _ in some], np.int64)
        at_ms = np.array([a.at_ms if a.at_ms is not None else now_ms for a, _ in some], np.int64)
        outcomes = np.array([_number(arrival.outcome) for arrival, _ in some])
        missing = np.ones(len(some), np.bool_)
        for found in self._ledger.find(stream, sequences, rows):
            missing[found.asked] = False
            fitting = self._fitting(found, some, outcomes, models, result)
            became, fresh = _write(fitting, outcomes, at_ms)
            if len(fresh):
                self._fresh.append(fresh)
            for one in became.tolist():
                result.counts[_WRITTEN[one]] += 1
        return [some[place] for place in np.flatnonzero(missing).tolist()]

    def _fitting(
        self,
        found: Found,
        some: Sequence[tuple[Arrival, Address]],
        outcomes: Reals,
        models: Models,
        result: Joined,
    ) -> Found:
        """Without those whose record takes no such outcome. Names of classes become numbers."""
        words = found.records[found.places]
        tops = (words[:, TOP_AND_CORRECTIONS] >> 32).tolist()
        numbers = (words[:, SERIES_AND_ROW] >> 32).tolist()
        kept = np.ones(len(tops), np.bool_)
        about = {series: self._about(series) for series in set(numbers)}
        for place, (asked, top, series) in enumerate(
            zip(found.asked.tolist(), tops, numbers, strict=True)
        ):
            arrival = some[asked][0]
            if models is not None and about[series].model not in models:
                kept[place] = False
                result.counts["unknown"] += 1
                continue
            if isinstance(arrival.outcome, str) and top != VALUE:
                outcomes[asked] = about[series].classes.get(arrival.outcome, np.nan)
            wanted = _misfit(outcomes[asked], top)
            if wanted:
                kept[place] = False
                _refuse(result, f"{arrival.id}: outcome: expected {wanted}")
        return found._replace(asked=found.asked[kept], places=found.places[kept])


def _key(arrival: Arrival) -> tuple[str, int]:
    return arrival.id, arrival.row


def _number(value: Value) -> float:
    return np.nan if isinstance(value, str) else value


def _misfit(outcome: float, top: int) -> str:
    """What was expected of an outcome that a score does not take; empty where it does."""
    if top == VALUE:
        return "" if outcome == outcome else "a number"
    if top == BINARY:
        return "" if outcome in (0.0, 1.0) else "0, 1 or the name of a class"
    fits = outcome == outcome and outcome >= 0 and outcome.is_integer() and outcome < 2**31
    return "" if fits else "the number or the name of a class"


def _refuse(result: Joined, fault: str) -> None:
    result.counts["invalid"] += 1
    if len(result.faults) < MAX_TOLD:
        result.faults.append(fault)


def _write(found: Found, outcomes: Reals, at_ms: Words) -> tuple[Words, Words]:
    """Writes outcomes into the records that were found.

    Args:
        found: where they are.
        outcomes: of all that were asked for.
        at_ms: when each was known.

    Returns:
        What became of each, and the records that had no outcome before, as they are now.

    Raises:
        StoreFailed: the disk takes them no more.
    """
    # Several may be of one record.
    places, which = np.unique(found.places, return_inverse=True)
    records = found.records[places]
    became = np.empty(len(found.places), np.int64)
    chosen = outcomes[found.asked], at_ms[found.asked]
    write_outcomes(records, records.view(np.float64), which, *chosen, became)
    changed = np.unique(which[became != DUPLICATE])
    found.segment.put(places[changed], records[changed])
    return became, records[np.unique(which[became == ACCEPTED])]
